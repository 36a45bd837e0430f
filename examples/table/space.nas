# A space of networks for csv:wine.csv, as `bayesnas init` wrote it.
#
# 142 examples of [13] (rows of numbers), 3 classes (A, B, C).
# A start that fits. Change what you like; docs/tutorial.md goes through
# such a file step by step, and docs/language.md is the whole language. Then, in this order:
#
#     bayesnas search space.nas --data csv:wine.csv --target grower -o search
#     bayesnas train search/pruned.nas --data csv:wine.csv --target grower -o train
#     bayesnas eval train

# What a layer may be: its activation is searched, and whether there is one at all.
choice units(width) =
    linear(width) >> bn >> relu | linear(width) >> bn >> silu | linear(width) >> bn >> tanh | skip

# Each layer may read all before it; two of these connections stay. `~>` is searched.
motif stack(x; layers, width) -> (out) {
    node h[layers + 1]
    x -> h[0] : linear(width) >> bn
    for k in 0..layers { h[..k + 1] ~> h[k + 1] : units(width) }
    retain 2 into h
    out = sum(h[layers])
}

# Wider or deeper: `--set width=128 --set layers=6`, in the search or only in the training.
network wine(row: [13]; layers = 3, width = 32) -> (answer: [3]) {
    # A bound on what is found, if you need one:
    # budget parameters <= 20K
    body = stack(row; layers = layers, width = width)
    body -> answer : dropout(10) >> linear(3)
}

# Steps count, examples times epochs over batch_size: for a more careful search, write more epochs.
search { warmup_epochs = 30; rounds = 6; epochs = 8; batch_size = 16 }

train { epochs = 120; batch_size = 16 }
