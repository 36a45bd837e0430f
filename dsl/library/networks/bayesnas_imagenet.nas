# The network in which BayesNAS trains what it found on ImageNet (net_imagenet.py): 14 cells of 48
# channels behind the stem of DARTS, without an auxiliary head.
import "ops/bayesnas.nas"
import "recipes/darts_imagenet.nas"

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
