# The cells that DARTS found by its second-order search (Liu, Simonyan, Yang, ICLR 2019: `DARTS_V2` of
# the authors' genotypes.py) in their network for CIFAR-10: 20 cells of 36 channels. Trained from
# scratch, so normalisations have scale and shift, and pools have none.
import "recipes/darts_cifar10.nas"

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

network darts_v2(image: [3, 32, 32]; cells = 20, width = 36) -> (logits: [10]) {
    stem = image : conv(3, 3 * width) >> bn
    body = tied chain cell(stem, stem; width = width) times cells
        reduce at cells // 3, 2 * cells // 3
    body -> logits : global_avg_pool >> linear(10)
}
