# TreeCell-A, which Cai, Yang, Zhang, Han, Yu found (ICML 2018; tree_cells.py of their code), in the
# place of every 3x3 convolution of their PyramidNet: 18 blocks a group, widened by 84. BayesNAS puts
# what it finds beside it. Sums stand where the authors' code takes means.
import "recipes/pyramidnet.nas"

op pointwise(width = -1) = bn >> relu >> conv(1, width)
op grouped(stride) = bn >> relu >> conv(3, -1, stride, groups = 2)
op separable(kernel) = bn >> relu >> depthwise_conv(kernel) >> conv(1)
op shortcut(width, stride) = (if stride == 1 then skip else avg_pool(2, 2)) >> pad_channels(width)

motif tree(x; stride) -> (out) {
    a = x : grouped(stride)
    b = x : grouped(stride)
    a1 = a : pointwise
    a2 = a : max_pool(3)
    b1 = b : separable(5)
    b2 = b : separable(3)
    half = a1 : chunk(0) >> avg_pool(3)
    rest = a1 : chunk(1) >> separable(7)
    a3 = concat(half, rest)
    a3 -> out
    a2 -> out : separable(3) + separable(5)
    b1 -> out : separable(5) + avg_pool(3) + avg_pool(3)
    b2 -> out : avg_pool(3) + separable(3)
}

motif block(x; width, stride) -> (out) {
    a = x : bn >> conv(1, width)
    b = tree(a; stride = stride)
    b -> out : pointwise(4 * width) >> bn
    x -> out : shortcut(4 * width, stride)
}

network treecell_a(
    image: [3, 32, 32]; blocks = 18, widening = 84, classes = 10
) -> (logits: [classes]) {
    node h[3 * blocks + 1]
    image -> h[0] : conv(3, 16) >> bn
    for k in 0..3 * blocks {
        h[k + 1] = block(
            h[k]; width = (96 * blocks + 2 * widening * (k + 1) + 3 * blocks) // (12 * blocks) * 2,
            stride = 1 + (k == blocks or k == 2 * blocks)
        )
    }
    h[3 * blocks] -> logits : bn >> relu >> global_avg_pool >> linear(classes)
}
