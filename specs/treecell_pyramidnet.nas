# The tree-structured cell of Cai, Yang, Zhang, Han, Yu (ICML 2018) in the place of every 3x3
# convolution of a PyramidNet with bottlenecks (Han, Kim, Kim, CVPR 2017). A cell is a tree of depth
# 3 with two branches a node; cells are not tied, so that each finds its own paths. Widths are even, as
# theirs are; settings of the search are those of BayesNAS (Zhou et al., ICML 2019).
import "recipes/pyramidnet.nas"

op separable(kernel, stride = 1) = depthwise_conv(kernel, stride) >> conv(1) >> bn >> relu
op identity(stride = 1) = if stride == 1 then skip else factorized_reduce >> bn
op shortcut(width, stride) = (if stride == 1 then skip else avg_pool(2, 2)) >> pad_channels(width)

choice paths(stride = 1) =
      conv(1, stride = stride) >> bn >> relu
    | identity(stride)
    | separable(3, stride)
    | separable(5, stride)
    | separable(7, stride)
    | max_pool(3, stride)
    | avg_pool(3, stride)

motif tree(x; stride) -> (out) {
    node n[15]
    x -> n[0]
    for k in 1..15 { n[(k - 1) // 2] ~> n[k] : paths(1 + (stride - 1) * (k < 3)) }
    retain 1 into n
    out = sum(n[7..])
}

motif plain(x; stride) -> (out) {
    out = x : conv(3, stride = stride)
}

motif block(x; motif inner, width, stride) -> (out) {
    a = x : bn >> conv(1, width) >> bn >> relu
    b = inner(a; stride = stride)
    b -> out : bn >> relu >> conv(1, 4 * width) >> bn
    x -> out : shortcut(4 * width, stride)
}

motif pyramid(image; motif inner, blocks, widening, step) -> (out) {
    node h[3 * blocks + 1]
    image -> h[0] : conv(3, 16) >> bn
    for k in 0..3 * blocks {
        h[k + 1] = block(
            h[k]; inner = inner, width = 16 + widening * (k + 1) // (3 * blocks * step) * step,
            stride = 1 + (k == blocks or k == 2 * blocks)
        )
    }
    out = h[3 * blocks] : bn >> relu >> global_avg_pool
}

network treecell(image: [3, 32, 32]; blocks = 6, widening = 84) -> (logits: [10]) {
    features = pyramid(image; inner = tree, blocks = blocks, widening = widening, step = 2)
    features -> logits : linear(10)
}

network pyramidnet(image: [3, 32, 32]; blocks = 18, widening = 270) -> (logits: [10]) {
    features = pyramid(image; inner = plain, blocks = blocks, widening = widening, step = 1)
    features -> logits : linear(10)
}

search { lambda_w = 0.01; batch_size = 32; learning_rate = 0.1 }
