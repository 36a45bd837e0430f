# Two inputs and two outputs: a picture and a map of distances in, what is there and where it is out.
# Both are read by edges of their own, then by one searched encoder; docs/ports.md trains it.

motif cell(x) -> (out) {
    node h[2]
    x ~> h[0] : relu >> conv(3) >> bn | relu >> depthwise_conv(3) >> bn | skip
    {x, h[0]} ~> h[1] : relu >> conv(3) >> bn | max_pool(3) >> bn | skip
    out = sum(h)
}

network two_tasks(
    image: [1, 16, 16], depth: [1, 16, 16]; width = 8, cells = 2
) -> (label: [3], mask: [2, 16, 16]) {
    node both
    image -> both : conv(3, width) >> bn
    depth -> both : conv(3, width) >> bn
    y = chain cell(both) times cells
    y[cells - 1] ~> label :
          relu >> global_avg_pool >> linear(3)
        | relu >> global_avg_pool >> linear(width) >> relu >> linear(3)
    y[cells - 1] -> mask : relu >> conv(1, 2)
}

learn { label = classification(smoothing = 0.05); mask = classification * 0.5 }

search { warmup_epochs = 4; rounds = 3; epochs = 1; curvature_examples = 128 }

train { epochs = 10 }
