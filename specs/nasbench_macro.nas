# NAS-Bench-Macro (Su et al., CVPR 2021): a chain of 8 layers in stages of 2, 3 and 3, each the
# identity or an inverted bottleneck of kernel 3 and expansion 3, or of kernel 5 and expansion 6.
op bottleneck(kernel, factor, width, stride) =
    conv(1, expand = factor) >> bn >> relu >> depthwise_conv(kernel, stride) >> bn >> relu
    >> conv(1, width) >> bn
op mbconv(kernel, factor, width, stride) =
    if stride == 1 then skip + bottleneck(kernel, factor, width, stride)
    else bottleneck(kernel, factor, width, stride)
op identity(width, stride) = if stride == 1 then skip else conv(1, width, stride) >> bn

choice layer(width, stride) =
    identity(width, stride) | mbconv(3, 3, width, stride) | mbconv(5, 6, width, stride)

motif stage(x; width, layers) -> (out) {
    node h[layers]
    x ~> h[0] : layer(width, 2)
    for k in 1..layers { h[k - 1] ~> h[k] : layer(width, 1) }
    retain 1 into h
    out = sum(h[layers - 1])
}

network macro(image: [3, 32, 32]; width = 32) -> (logits: [10]) {
    stem = image : conv(3, width) >> bn >> relu
    a = stage(stem; width = 2 * width, layers = 2)
    b = stage(a; width = 4 * width, layers = 3)
    c = stage(b; width = 8 * width, layers = 3)
    c -> logits : conv(1, 1280) >> bn >> relu >> global_avg_pool >> linear(10)
}
