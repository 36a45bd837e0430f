# The network in which BayesNAS trains what it found on CIFAR-10 (Zhou, Yang, Wang, Pan, ICML 2019;
# the authors' net_cifar.py): that of DARTS with normalisations before what they normalise, and no
# auxiliary head. In batches of 128; what else is not told is as DARTS has it.
import "ops/bayesnas.nas"
import "recipes/darts_cifar10.nas"

network bayesnas_cifar10(
    image: [3, 32, 32]; cells = 20, width = 36, classes = 10
) -> (logits: [classes]) {
    stem = image : conv(3, 3 * width)
    body = tied chain cell(stem, stem; width = width) times cells
        reduce at cells // 3, 2 * cells // 3
    body -> logits : bn >> global_avg_pool >> linear(classes)
}

train { batch_size = 128 }
