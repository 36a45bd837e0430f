# The cells that BayesNAS found with lambda_w = 0.01, 0.007 and 0.005 (Zhou, Yang, Wang, Pan, ICML 2019;
# CNN/pre_trained of the authors' code) in their network for CIFAR-10: table 1 of the paper.
import "ops/bayesnas.nas"
import "recipes/darts_cifar10.nas"

# These two have one convolution where the authors' general code has two halves.
op halved(width, stride = 1) =
    (if stride == 1 then skip else conv(1, -1, stride)) >> bn >> relu >> conv(1, width)

motif cell_010(before, last; width, stride = 1, lag = 1) -> (out) {
    a = before : halved(width, lag)
    b = last : preprocess(width)
    node h[4]
    if stride == 1 {
        b -> h[0] : sep_conv(5)
        a -> h[0] : sep_conv(5) + max_pool(3) + avg_pool(3) + skip
        b -> h[1] : max_pool(3) + skip
        b -> h[2]
        a -> h[2] : max_pool(3)
        h[0] -> h[3] : avg_pool(3)
    } else {
        b -> h[0] : skip_connect(2)
        a -> h[0] : sep_conv(3, 2) + sep_conv(5, 2) + max_pool(3, 2) + avg_pool(3, 2)
        a -> h[1] : max_pool(3, 2) + avg_pool(3, 2)
        a -> h[2] : sep_conv(3, 2) + avg_pool(3, 2)
        h[0] -> h[3] : sep_conv(5)
    }
    out = concat(h)
}

motif cell_007(before, last; width, stride = 1, lag = 1) -> (out) {
    a = before : halved(width, lag)
    b = last : preprocess(width)
    node h[4]
    if stride == 1 {
        a -> h[0] : sep_conv(3) + skip
        b -> h[1] : sep_conv(3) + skip
        b -> h[2]
        a -> h[2] : sep_conv(3)
        a -> h[3] : sep_conv(5) + max_pool(3) + avg_pool(3)
        h[0] -> h[3]
    } else {
        b -> h[0] : sep_conv(5, 2) + avg_pool(3, 2)
        a -> h[0] : sep_conv(5, 2) + max_pool(3, 2) + avg_pool(3, 2) + skip_connect(2)
        a -> h[1] : avg_pool(3, 2)
        h[0] -> h[1]
        a -> h[2] : avg_pool(3, 2)
        h[0] -> h[2] : sep_conv(5) + skip
        h[0] -> h[3] : max_pool(3) + avg_pool(3)
    }
    out = concat(h)
}

motif cell_005(before, last; width, stride = 1, lag = 1) -> (out) {
    a = before : preprocess(width, lag)
    b = last : preprocess(width)
    node h[4]
    if stride == 1 {
        a -> h[0] : max_pool(3) + avg_pool(3) + skip
        b -> h[1]
        a -> h[1] : sep_conv(5)
        b -> h[2] : avg_pool(3)
        a -> h[2] : max_pool(3) + skip
        a -> h[3] : sep_conv(5)
        h[0] -> h[3] : max_pool(3)
    } else {
        b -> h[0] : sep_conv(3, 2) + sep_conv(5, 2) + max_pool(3, 2)
        a -> h[0] : max_pool(3, 2) + avg_pool(3, 2)
        h[0] -> h[1] : max_pool(3) + avg_pool(3) + skip
        a -> h[2] : max_pool(3, 2) + skip_connect(2)
        a -> h[3] : sep_conv(3, 2) + max_pool(3, 2)
        h[0] -> h[3] : max_pool(3)
    }
    out = concat(h)
}

network lambda_010(image: [3, 32, 32]; cells = 20, width = 36) -> (logits: [10]) {
    stem = image : conv(3, 3 * width)
    body = tied chain cell_010(stem, stem; width = width) times cells
        reduce at cells // 3, 2 * cells // 3
    body -> logits : bn >> global_avg_pool >> linear(10)
}

network lambda_007(image: [3, 32, 32]; cells = 20, width = 36) -> (logits: [10]) {
    stem = image : conv(3, 3 * width)
    body = tied chain cell_007(stem, stem; width = width) times cells
        reduce at cells // 3, 2 * cells // 3
    body -> logits : bn >> global_avg_pool >> linear(10)
}

network lambda_005(image: [3, 32, 32]; cells = 20, width = 36) -> (logits: [10]) {
    stem = image : conv(3, 3 * width)
    body = tied chain cell_005(stem, stem; width = width) times cells
        reduce at cells // 3, 2 * cells // 3
    body -> logits : bn >> global_avg_pool >> linear(10)
}

train { batch_size = 128 }
