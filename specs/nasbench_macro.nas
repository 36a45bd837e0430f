# NAS-Bench-Macro (Su et al., CVPR 2021): a chain of 8 layers in stages of 2, 3 and 3, each the
# identity or an inverted bottleneck of kernel 3 and expansion 3, or of kernel 5 and expansion 6.
op bottleneck(kernel, factor, width, stride = 1) =
       conv(1, expand = factor) >> bn >> relu
    >> depthwise_conv(kernel, stride) >> bn >> relu >> conv(1, width) >> bn

motif stage(x; width, layers) -> (out) {
    node h[layers]
    x ~> h[0] : conv(1, width, 2) >> bn | bottleneck(3, 3, width, 2) | bottleneck(5, 6, width, 2)
    retain 1 into h[0]
    for k in 1..layers {
        h[k - 1] -> h[k]  # the identity, and the residual of a bottleneck
        h[k - 1] ~> h[k] : bottleneck(3, 3, width) | bottleneck(5, 6, width)
    }
    out = sum(h[layers - 1])
}

network macro(image: [3, 32, 32]; width = 32) -> (logits: [10]) {
    stem = image : conv(3, width) >> bn >> relu
    a = stage(stem; width = 2 * width, layers = 2)
    b = stage(a; width = 4 * width, layers = 3)
    c = stage(b; width = 8 * width, layers = 3)
    c -> logits : conv(1, 1280) >> bn >> relu >> global_avg_pool >> linear(10)
}
