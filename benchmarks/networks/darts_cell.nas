# The cells that DARTS found by its second-order search (`specs/darts_v2.nas`), three of them.
import "ops/darts_evaluation.nas"

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

network darts_cell(image: [3, size, size]; cells = 4, width = 16, size = 32) -> (logits: [10]) {
    stem = image : conv(3, 3 * width) >> bn
    body = tied chain cell(stem, stem; width = width) times cells
        reduce at cells // 3, 2 * cells // 3
    body -> logits : global_avg_pool >> linear(10)
}
