# A space in which searches collapse: six edges, each of four operations or none, over three stages of
# 32 x 32 images. Identities and pools learn at once, convolutions are better in the end. All cells
# share one architecture. Every candidate ends in a normalisation without scale, so that the gates
# compare use and not scale.
op convolution(kernel) = relu >> conv(kernel) >> bn(affine = 0)
op pool = max_pool(3) >> bn(affine = 0)
op identity = skip >> bn(affine = 0)

choice operations = convolution(3) | convolution(1) | pool | identity

motif cell(x) -> (out) {
    node a, b, y
    x ~> a : operations
    {x, a} ~> b : operations
    {x, a, b} ~> y : operations
    out = sum(y)
}

network droppable(image: [3, 32, 32]; width = 8) -> (logits: [10]) {
    stem = image : conv(3, width) >> bn
    a = tied(0) cell(stem)
    b = a : relu >> conv(3, 2 * width, 2) >> bn
    c = tied(0) cell(b)
    d = c : relu >> conv(3, 4 * width, 2) >> bn
    e = tied(0) cell(d)
    e -> logits : relu >> global_avg_pool >> linear(10)
}

train { epochs = 25; learning_rate = 0.1; augment = shift_flip }
