# A space of networks for npz:waves.npz, as `bayesnas init` wrote it.
#
# 960 examples of [2, 64] (series, channels and length), 4 classes (0, 1, 2, 3).
# A start that fits. Change what you like; docs/tutorial.md goes through
# such a file step by step, and docs/language.md is the whole language. Then, in this order:
#
#     bayesnas search space.nas --data npz:waves.npz -o search
#     bayesnas train search/pruned.nas --data npz:waves.npz -o train
#     bayesnas eval train

# Two convolutions along the series; a wider reach by dilation or by a larger kernel.
op layer(kernel, dilation) = relu >> conv(kernel, dilation = dilation) >> bn
op pair(kernel, dilation) = layer(kernel, dilation) >> dropout(10) >> layer(kernel, dilation)

choice temporal = pair(3, 1) | pair(3, 2) | pair(3, 4) | pair(7, 1)

# Blocks with a residual; `~>` is searched. Wider or deeper: `--set width=32 --set blocks=6`.
network waves(series: [2, 64]; blocks = 4, width = 16) -> (answer: [4]) {
    # A bound on what is found, if you need one:
    # budget parameters <= 100K
    node h[blocks + 1]
    series -> h[0] : conv(1, width) >> bn
    for k in 0..blocks {
        h[k] -> h[k + 1]  # the residual
        h[k] ~> h[k + 1] : temporal
    }
    h[blocks] -> answer : relu >> global_avg_pool >> linear(4)
}

# Steps count, examples times epochs over batch_size: for a more careful search, write more epochs.
search { warmup_epochs = 8; rounds = 5; epochs = 2; batch_size = 32 }

train { epochs = 30; batch_size = 32 }
