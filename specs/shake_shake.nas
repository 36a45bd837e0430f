# Shake-shake 26 2x96d (Gastaldi 2017) without its noise, as posterior-guided NAS takes it (Zhou, Sun, Luo,
# Zha, Zeng, AAAI 2020; shake_shake.py of their code), to be trained, and narrowed by `compress
# --importance pgnas`. There each channel has a drop probability, and a mask for all that reads it; in the
# paper each convolution has a probability, and masks of its own for the channels that it reads.
import "recipes/pgnas_cifar10.nas"

op branch(width, stride) = relu >> conv(3, width, stride) >> bn >> relu >> conv(3, width) >> bn
op shortcut(width, stride) =
    (if stride == 1 then conv(1, width) else factorized_reduce(width)) >> bn

motif block(x; width, stride = 1, wider = 0) -> (out) {
    x -> out : branch(width, stride)
    x -> out : branch(width, stride)
    if wider {
        x -> out : shortcut(width, stride)
    } else {
        x -> out
    }
}

motif stage(x; blocks, width, stride) -> (out) {
    node h[blocks]
    h[0] = block(x; width = width, stride = stride, wider = 1)
    for k in 1..blocks { h[k] = block(h[k - 1]; width = width) }
    out = h[blocks - 1] : skip
}

network shake_shake(
    image: [3, 32, 32]; width = 96, blocks = 4, classes = 10
) -> (logits: [classes]) {
    stem = image : conv(3, 16) >> bn
    a = stage(stem; blocks = blocks, width = width, stride = 1)
    b = stage(a; blocks = blocks, width = 2 * width, stride = 2)
    c = stage(b; blocks = blocks, width = 4 * width, stride = 2)
    c -> logits : relu >> global_avg_pool >> linear(classes)
}
