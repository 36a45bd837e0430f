# A space of networks for text:manual.txt, as `bayesnas init` wrote it.
#
# 5,813 windows of 64 tokens (characters), each of which learns what comes next: one of 103.
# A start that fits. Change what you like; docs/tutorial.md goes through
# such a file step by step, and docs/language.md is the whole language. Then, in this order:
#
#     bayesnas search space.nas --data text:manual.txt -o search
#     bayesnas train search/pruned.nas --data text:manual.txt -o train
#     bayesnas eval train

# Two convolutions over what came before; a wider reach by dilation or by a larger kernel.
op layer(kernel, dilation) = relu >> conv(kernel, dilation = dilation, causal = 1) >> bn
op pair(kernel, dilation) = layer(kernel, dilation) >> dropout(10) >> layer(kernel, dilation)

choice temporal = pair(3, 1) | pair(3, 2) | pair(3, 4) | pair(7, 1)

# Blocks with a residual; `~>` is searched. Wider or deeper: `--set width=64 --set blocks=6`.
network manual(tokens: [64]; blocks = 4, width = 32) -> (next: [103, 64]) {
    node h[blocks + 1]
    tokens -> h[0] : embedding(103, width)
    for k in 0..blocks {
        h[k] -> h[k + 1]  # the residual
        h[k] ~> h[k + 1] : temporal
    }
    h[blocks] -> next : relu >> conv(1, 103)
}

# Steps count, examples times epochs over batch_size: for a more careful search, write more epochs.
search { warmup_epochs = 2; rounds = 4; epochs = 1; batch_size = 64 }

train { epochs = 8; batch_size = 64 }
