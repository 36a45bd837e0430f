# ProxylessNAS (Cai, Zhu, Han, ICLR 2019): inverted bottlenecks of kernel 3, 5 or 7 and expansion 3
# or 6 in 21 layers for ImageNet; all but the first layer of a stage may be skipped.
op bottleneck(kernel, factor, width, stride) =
       conv(1, expand = factor) >> bn >> relu6
    >> depthwise_conv(kernel, stride) >> bn >> relu6 >> conv(1, width) >> bn

choice layer(width, stride = 1) =
      bottleneck(3, 3, width, stride) | bottleneck(3, 6, width, stride)
    | bottleneck(5, 3, width, stride) | bottleneck(5, 6, width, stride)
    | bottleneck(7, 3, width, stride) | bottleneck(7, 6, width, stride)

motif stage(x; width, layers = 4, stride = 2) -> (out) {
    node h[layers]
    x ~> h[0] : layer(width, stride)
    retain 1 into h[0]
    for k in 1..layers {
        h[k - 1] -> h[k]  # the residual, and all that is left of a skipped layer
        h[k - 1] ~> h[k] : layer(width)
    }
    out = sum(h[layers - 1])
}

network proxyless(image: [3, 224, 224]; classes = 1000) -> (logits: [classes]) {
    stem = image : conv(3, 32, 2) >> bn >> relu6
    first = stem : depthwise_conv(3) >> bn >> relu6 >> conv(1, 16) >> bn
    a = stage(first; width = 24)
    b = stage(a; width = 40)
    c = stage(b; width = 80)
    d = stage(c; width = 96, stride = 1)
    e = stage(d; width = 192)
    f = stage(e; width = 320, stride = 1, layers = 1)
    f -> logits : conv(1, 1280) >> bn >> relu6 >> global_avg_pool >> linear(classes)
}
