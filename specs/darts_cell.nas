# The DARTS cell (Liu, Simonyan, Yang: DARTS, ICLR 2019) without the zero operation, in the
# supernet of 8 cells and 16 channels; search settings of BayesNAS (Zhou et al., ICML 2019).
import "ops/darts.nas"

choice darts7(stride = 1) =
      sep_conv(3, stride) | sep_conv(5, stride) | dil_conv(3, stride) | dil_conv(5, stride)
    | pool_max(3, stride) | pool_avg(3, stride) | skip_connect(stride)

motif cell(before, last; width, stride = 1, lag = 1) -> (out) {
    a = before : preprocess(width, lag)
    b = last : preprocess(width)
    node h[4]
    for k in 0..4 {
        {a, b} ~> h[k] : darts7(stride)
        h[..k] ~> h[k] : darts7
    }
    retain 2 into h
    out = concat(h)
}

network darts(image: [3, 32, 32]; cells = 8, width = 16) -> (logits: [10]) {
    stem = image : conv(3, 3 * width) >> bn
    body = tied chain cell(stem, stem; width = width) times cells
        reduce at cells // 3, 2 * cells // 3
    body -> logits : global_avg_pool >> linear(10)
}

search { lambda_w = 0.01; warmup_epochs = 5; rounds = 10; epochs = 1; learning_rate = 0.025 }

train { epochs = 600; batch_size = 96; learning_rate = 0.025; augment = shift_flip }
