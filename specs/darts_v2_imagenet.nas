# The cells of `darts_v2` in the authors' network for ImageNet: 14 cells of 48 channels behind a stem of
# two states, the first of them at twice the resolution.
import "recipes/darts_imagenet.nas"

op relu_conv_bn(kernel, width, stride = 1) = relu >> conv(kernel, width, stride) >> bn
op reduce_bn(width = -1) = relu >> factorized_reduce(width) >> bn
op preprocess(width, stride = 1) = if stride == 1 then relu_conv_bn(1, width) else reduce_bn(width)
op sep_conv(kernel, stride = 1) =
       relu >> depthwise_conv(kernel, stride) >> conv(1) >> bn
    >> relu >> depthwise_conv(kernel) >> conv(1) >> bn
op dil_conv(kernel) = relu >> depthwise_conv(kernel, 1, dilation = 2) >> conv(1) >> bn

motif cell(before, last; width, stride = 1, lag = 1) -> (out) {
    a = before : preprocess(width, lag)
    b = last : preprocess(width)
    node h[4]
    if stride == 1 {
        {a, b} -> h[0] : sep_conv(3)
        {a, b} -> h[1] : sep_conv(3)
        b -> h[2] : sep_conv(3)
        a -> h[2]
        a -> h[3]
        h[0] -> h[3] : dil_conv(3)
    } else {
        {a, b} -> h[0] : max_pool(3, 2)
        h[0] -> h[1]
        b -> h[1] : max_pool(3, 2)
        a -> h[2] : max_pool(3, 2)
        h[0] -> h[2]
        h[0] -> h[3]
        b -> h[3] : max_pool(3, 2)
    }
    out = concat(h)
}

network darts_v2_imagenet(image: [3, 224, 224]; cells = 14, width = 48) -> (logits: [1000]) {
    s0 = image : conv(3, width // 2, 2) >> bn >> relu >> conv(3, width, 2) >> bn
    s1 = s0 : relu >> conv(3, width, 2) >> bn
    first = cell(s0, s1; width = width, lag = 2)
    body = tied chain cell(s1, first; width = width) times cells - 1
        reduce at cells // 3 - 1, 2 * cells // 3 - 1
    body -> logits : global_avg_pool >> linear(1000)
}
