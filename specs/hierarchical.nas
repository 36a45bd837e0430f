# Hierarchical representations (Liu et al., ICLR 2018): the cell is a graph whose edges carry motifs,
# which are themselves graphs of operations. Wherever motif t stands, it has one architecture. Nodes
# sum what arrives, where the paper concatenates and projects; an edge of the cell carries one motif.
import "ops/basic.nas"
import "ops/darts.nas"

op depthwise(kernel) = depthwise_conv(kernel) >> bn >> relu
op separable(kernel) = depthwise_conv(kernel) >> conv(1) >> bn >> relu
op identity = skip >> bn(affine = 0)

choice operations =
    conv_bn_relu(1) | depthwise(3) | separable(3) | pool_max(3) | pool_avg(3) | identity

motif low(x) -> (out) {
    node h[4]
    x -> h[0]
    for k in 1..4 { h[..k] ~> h[k] : operations }
    out = sum(h[3])
}

motif edge(x; motifs) -> (out) {
    node m[motifs]
    for t in 0..motifs { m[t] = tied(t) low(x) }
    m ~> out : skip
    retain 1 into out
}

motif high(x; motifs, nodes) -> (out) {
    node h[nodes], e[nodes * nodes]
    x -> h[0]
    for j in 1..nodes { for i in 0..j { e[nodes * j + i] = edge(h[i]; motifs = motifs) } }
    for j in 1..nodes { e[nodes * j..(nodes + 1) * j] -> h[j] }
    out = sum(h[nodes - 1])
}

network hierarchical(image: [3, 32, 32]; motifs = 6, width = 16, nodes = 5) -> (logits: [10]) {
    stem = image : conv(3, width) >> bn
    a = tied(0) high(stem; motifs = motifs, nodes = nodes)
    b = a : conv(3, 2 * width, 2) >> bn >> relu
    c = tied(0) high(b; motifs = motifs, nodes = nodes)
    d = c : conv(3, 4 * width, 2) >> bn >> relu
    e = tied(0) high(d; motifs = motifs, nodes = nodes)
    e -> logits : global_avg_pool >> linear(10)
}
