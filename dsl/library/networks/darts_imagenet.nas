# The network in which DARTS trains what it found on ImageNet (train_imagenet.py): 14 cells of 48
# channels behind a stem of two states, the first at twice the resolution, and a head that learns too.
import "ops/darts_evaluation.nas"
import "recipes/darts_imagenet.nas"

network darts_imagenet(
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
