# A space of networks for folder:digits, as `bayesnas init` wrote it.
#
# 1,437 examples of [1, 16, 16] (grey images), 10 classes (0, 1, 2, 3, 4, ...).
# A start that fits. Change what you like; docs/tutorial.md goes through
# such a file step by step, and docs/language.md is the whole language. Then, in this order:
#
#     bayesnas search space.nas --data folder:digits -o search
#     bayesnas train search/pruned.nas --data folder:digits -o train
#     bayesnas eval train

# What a layer may be. Each ends in a normalisation, so that the search compares use and not scale.
op sep(kernel, stride = 1) = relu >> depthwise_conv(kernel, stride) >> conv(1) >> bn(affine = 0)
op dil(kernel, stride = 1) =
    relu >> depthwise_conv(kernel, stride, dilation = 2) >> conv(1) >> bn(affine = 0)
op pool(stride = 1) = max_pool(3, stride) >> bn(affine = 0)
op skip_bn(stride = 1) = (if stride == 1 then skip else factorized_reduce) >> bn(affine = 0)
op fit(width, stride = 1) =
    (if stride == 1 then relu >> conv(1, width) else relu >> factorized_reduce(width)) >> bn

choice layer(stride = 1) =
    sep(3, stride) | sep(5, stride) | dil(3, stride) | pool(stride) | skip_bn(stride)

# A cell: every node may read the two cells before it and all nodes before it in the cell.
# `~>` is searched; of the connections into a node, two stay.
motif cell(before, last; width, stride = 1, lag = 1) -> (out) {
    a = before : fit(width, lag)
    b = last : fit(width)
    node h[3]
    for k in 0..3 {
        {a, b} ~> h[k] : layer(stride)
        h[..k] ~> h[k] : layer
    }
    retain 2 into h
    out = concat(h)
}

# Wider or deeper: `--set width=32 --set cells=6`, in the search or only in the training.
network digits(image: [1, 16, 16]; cells = 3, width = 8) -> (answer: [10]) {
    # A bound on what is found, if you need one:
    # budget parameters <= 100K
    stem = image : conv(3, width) >> bn
    body = tied chain cell(stem, stem; width = width) times cells
        reduce at cells // 3, 2 * cells // 3
    body -> answer : global_avg_pool >> linear(10)
}

# Steps count, examples times epochs over batch_size: for a more careful search, write more epochs.
search { warmup_epochs = 8; rounds = 5; epochs = 2; batch_size = 32 }

train { epochs = 30; batch_size = 32 }
