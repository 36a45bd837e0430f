# The cells of `darts_v2` in the authors' network for ImageNet: 14 cells of 48 channels behind a stem of
# two states, the first of them at twice the resolution, and a head that learns too.
import "ops/darts_evaluation.nas"
import "recipes/darts_imagenet.nas"

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

network darts_v2_imagenet(
    image: [3, 224, 224]; cells = 14, width = 48, classes = 1000
) -> (logits: [classes], auxiliary: [classes]) {
    s0 = image : conv(3, width // 2, 2) >> bn >> relu >> conv(3, width, 2) >> bn
    s1 = s0 : relu >> conv(3, width, 2) >> bn
    first = cell(s0, s1; width = width, lag = 2)
    body = tied chain cell(s1, first; width = width) times cells - 1
        reduce at cells // 3 - 1, 2 * cells // 3 - 1
    body -> logits : global_avg_pool >> linear(classes)
    body[2 * cells // 3 - 1] -> auxiliary : head_imagenet(classes)
}

learn { auxiliary = auxiliary * 0.4 }
