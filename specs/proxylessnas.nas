# ProxylessNAS (Cai, Zhu, Han, ICLR 2019): inverted bottlenecks of kernel 3, 5 or 7 and expansion 3
# or 6 in 21 layers for ImageNet; all but the first layer of a stage may be skipped.
op bottleneck(kernel, factor, width, stride) =
    conv(1, expand = factor) >> bn >> relu6 >> depthwise_conv(kernel, stride) >> bn >> relu6
    >> conv(1, width) >> bn
op mbconv(kernel, factor, width, stride, residual) =
    if residual then skip + bottleneck(kernel, factor, width, stride)
    else bottleneck(kernel, factor, width, stride)

choice layer(width, stride = 1, residual = 1) =
      mbconv(3, 3, width, stride, residual) | mbconv(3, 6, width, stride, residual)
    | mbconv(5, 3, width, stride, residual) | mbconv(5, 6, width, stride, residual)
    | mbconv(7, 3, width, stride, residual) | mbconv(7, 6, width, stride, residual)

motif stage(x; width, layers = 4, stride = 2) -> (out) {
    node h[layers]
    x ~> h[0] : layer(width, stride, 0)
    for k in 1..layers { h[k - 1] ~> h[k] : layer(width) | skip }
    retain 1 into h
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
