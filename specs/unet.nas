# A U-Net (Ronneberger, Fischer, Brox, MICCAI 2015): a class for each pixel. The convolutions, the way
# back to the resolution and the skips are searched; a skip that is dropped is not concatenated.
op conv_bn(kernel, width) = conv(kernel, width) >> bn >> relu
op separable(kernel, width) = depthwise_conv(kernel) >> conv(1, width) >> bn >> relu
op atrous(width) = conv(3, width, dilation = 2) >> bn >> relu

choice convolution(width) =
    conv_bn(3, width) | conv_bn(1, width) | separable(5, width) | atrous(width)
choice rise(width) = transposed_conv(2, width) | upsample(2) >> conv(3, width)

motif twice(x; width) -> (out) {
    node h[2]
    x ~> h[0] : convolution(width)
    h[0] ~> h[1] : convolution(width) | skip
    retain 1 into h
    out = sum(h[1])
}

motif decoder(deep, fine; width) -> (out) {
    node risen
    deep ~> risen : rise(width)
    retain 1 into risen
    joined = concat(risen)
    fine ~> joined : skip | conv_bn(1, width)
    out = twice(joined; width = width)
}

network unet(image: [3, 32, 32]; width = 16, classes = 2) -> (mask: [classes, 32, 32]) {
    a = twice(image; width = width)
    half = a : max_pool(2, 2)
    b = twice(half; width = 2 * width)
    quarter = b : max_pool(2, 2)
    c = twice(quarter; width = 4 * width)
    d = decoder(c, b; width = 2 * width)
    e = decoder(d, a; width = width)
    e -> mask : conv(1, classes, bias = 1)
}
