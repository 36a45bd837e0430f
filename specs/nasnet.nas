# The micro cell of NASNet (Zoph et al., CVPR 2018) with the operations of ENAS (Pham et al., ICML
# 2018): each of 5 nodes sums two operations, each on one chosen predecessor. All nodes are
# concatenated, where ENAS concatenates those that no other node reads.
import "ops/darts.nas"

choice enas(stride = 1) =
      skip_connect(stride) | sep_conv(3, stride) | sep_conv(5, stride)
    | pool_avg(3, stride) | pool_max(3, stride)

motif cell(before, last; width, stride = 1, lag = 1) -> (out) {
    a = before : preprocess(width, lag)
    b = last : preprocess(width)
    node left[5], right[5], h[5]
    for k in 0..5 {
        {a, b} ~> {left[k], right[k]} : enas(stride)
        h[..k] ~> {left[k], right[k]} : enas
        h[k] = sum(left[k], right[k])
    }
    retain 1 into left, right
    out = concat(h)
}

network nasnet(image: [3, 32, 32]; cells = 8, width = 16) -> (logits: [10]) {
    stem = image : conv(3, 3 * width) >> bn
    body = tied chain cell(stem, stem; width = width) times cells
        reduce at cells // 3, 2 * cells // 3
    body -> logits : global_avg_pool >> linear(10)
}
