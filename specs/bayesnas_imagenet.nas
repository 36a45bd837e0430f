# The cell of BayesNAS that its authors published for ImageNet (CNN/pre_trained/imagenet: the one found
# with lambda_w = 0.01) in their network: table 2 of the paper.
import "ops/bayesnas.nas"
import "recipes/darts_imagenet.nas"

op halved(width, stride = 1) =
    (if stride == 1 then skip else conv(1, -1, stride)) >> bn >> relu >> conv(1, width)

motif cell(before, last; width, stride = 1, lag = 1) -> (out) {
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

network bayesnas_imagenet(
    image: [3, 224, 224]; cells = 14, width = 48, classes = 1000
) -> (logits: [classes]) {
    s0 = image : conv(3, width // 2, 2) >> bn >> relu >> conv(3, width, 2) >> bn
    s1 = s0 : relu >> conv(3, width, 2)
    first = cell(s0, s1; width = width, lag = 2)
    body = tied chain cell(s1, first; width = width) times cells - 1
        reduce at cells // 3 - 1, 2 * cells // 3 - 1
    body -> logits : bn >> global_avg_pool >> linear(classes)
}
