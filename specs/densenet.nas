# DenseNet-BC (Huang, Liu, van der Maaten, Weinberger, CVPR 2017), 100 layers of growth rate 12 for
# CIFAR-10. Every skip to every later layer of a block is searched: with all of them it is the
# paper's network, of 769,162 parameters.
op layer(growth) = bn >> relu >> conv(1, 4 * growth) >> bn >> relu >> conv(3, growth)
op transition(width) = bn >> relu >> conv(1, width) >> avg_pool(2, 2)

motif dense(x; layers, growth) -> (out) {
    node seen[layers], h[layers]
    for k in 0..layers {
        seen[k] = concat()
        {x, h[..k]} ~> seen[k] : skip
        h[k] = seen[k] : layer(growth)
    }
    out = concat(x, h)
}

network densenet(image: [3, 32, 32]; layers = 16, growth = 12) -> (logits: [10]) {
    stem = image : conv(3, 2 * growth)
    a = dense(stem; layers = layers, growth = growth)
    b = a : transition((2 + layers) * growth // 2)
    c = dense(b; layers = layers, growth = growth)
    d = c : transition((2 + 3 * layers) * growth // 4)
    e = dense(d; layers = layers, growth = growth)
    e -> logits : bn >> relu >> global_avg_pool >> linear(10)
}
