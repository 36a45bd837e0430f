# The network in which DARTS trains what it found on CIFAR-10 (Liu, Simonyan, Yang, ICLR 2019; the
# authors' model.py): 20 cells of 36 channels, and behind the second reduction a head that learns too.
import "ops/darts_evaluation.nas"
import "recipes/darts_cifar10.nas"

network darts_cifar10(
    image: [3, 32, 32]; cells = 20, width = 36, classes = 10
) -> (logits: [classes], auxiliary: [classes]) {
    stem = image : conv(3, 3 * width) >> bn
    body = tied chain cell(stem, stem; width = width) times cells
        reduce at cells // 3, 2 * cells // 3
    body -> logits : global_avg_pool >> linear(classes)
    body[2 * cells // 3] -> auxiliary : head_cifar10(classes)
}

learn { auxiliary = auxiliary * 0.4 }
