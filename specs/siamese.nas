# Two images, one question: are they of one kind? One tower of searched blocks reads both, with the
# same weights (Bromley et al., NIPS 1993), and what it says of them is compared in several ways.
op conv_bn(kernel) = conv(kernel) >> bn
op separable(kernel) = depthwise_conv(kernel) >> conv(1) >> bn

choice operation = conv_bn(3) | separable(3) | separable(5) | max_pool(3) >> bn | skip

motif tower(image; width, nodes) -> (features) {
    node h[nodes]
    image -> h[0] : conv(3, width, 2) >> bn >> relu
    for k in 1..nodes {
        h[..k] ~> h[k] : operation
        retain 2 into h[k]
    }
    features = h[nodes - 1] : relu >> global_avg_pool
}

network siamese(left: [3, 32, 32], right: [3, 32, 32]; width = 24, nodes = 4) -> (logits: [2]) {
    a = shared tower(left; width = width, nodes = nodes)
    b = shared tower(right; width = width, nodes = nodes)
    both = product(a, b)
    node compared
    {a, b} -> compared : linear(2 * width)
    both ~> compared : linear(2 * width) | linear(width) >> relu >> linear(2 * width)
    compared -> logits : relu >> linear(2)
}
