# A DARTS-style space for 8 x 8 grey images, small enough to search on a laptop in a minute.
# Every candidate ends in a normalisation, so that the gates compare use and not scale.
op sep(kernel, stride = 1) = relu >> depthwise_conv(kernel, stride) >> conv(1) >> bn(affine = 0)
op dil(kernel, stride = 1) =
    relu >> depthwise_conv(kernel, stride, dilation = 2) >> conv(1) >> bn(affine = 0)
op pool(stride = 1) = max_pool(3, stride) >> bn(affine = 0)
op skip_bn(stride = 1) = (if stride == 1 then skip else factorized_reduce) >> bn(affine = 0)
op fit(width, stride = 1) =
    (if stride == 1 then relu >> conv(1, width) else relu >> factorized_reduce(width)) >> bn

choice ops(stride = 1) =
    sep(3, stride) | sep(5, stride) | dil(3, stride) | pool(stride) | skip_bn(stride)

motif cell(before, last; width, stride = 1, lag = 1) -> (out) {
    a = before : fit(width, lag)
    b = last : fit(width)
    node h[3]
    for k in 0..3 {
        {a, b} ~> h[k] : ops(stride)
        h[..k] ~> h[k] : ops
    }
    retain 2 into h
    out = concat(h)
}

network digits(image: [1, 8, 8]; cells = 3, width = 8) -> (logits: [10]) {
    stem = image : conv(3, width) >> bn
    body = tied chain cell(stem, stem; width = width) times cells
        reduce at cells // 3, 2 * cells // 3
    body -> logits : global_avg_pool >> linear(10)
}

search { warmup_epochs = 8; rounds = 8; epochs = 3 }

train { epochs = 30 }
