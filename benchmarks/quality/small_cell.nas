# A space small enough to train every member: 4 searched edges of 4 candidates, 256 members. Both
# cells share one architecture. Every candidate ends in a normalisation without scale, so that the
# gates compare use and not scale.
op convolution(kernel) = relu >> conv(kernel) >> bn(affine = 0)
op pool = max_pool(3) >> bn(affine = 0)
op identity = skip >> bn(affine = 0)

choice operations = convolution(3) | convolution(1) | pool | identity

motif cell(x) -> (out) {
    node h[2], y
    x ~> h[0] : operations
    {x, h[0]} ~> h[1] : operations
    x ~> y : operations
    h[1] -> y
    retain 1 into h[0], y
    retain 2 into h[1]
    out = sum(y)
}

network small(image: [3, 16, 16]; width = 8) -> (logits: [10]) {
    stem = image : conv(3, width) >> bn
    a = tied(0) cell(stem)
    b = a : relu >> conv(3, 2 * width, 2) >> bn
    c = tied(0) cell(b)
    c -> logits : relu >> global_avg_pool >> linear(10)
}

train { epochs = 6; learning_rate = 0.1 }
