# NAS-Bench-201 (Dong, Yang, ICLR 2020): cells of 4 nodes and 6 edges, 5 cells a stage, residual
# blocks between the stages. An edge may be dropped, which is the paper's `zeroize`. The skip and
# the pool are normalised, which costs nothing, so that sums of candidates keep their scale.
op relu_conv_bn(kernel, width = -1, stride = 1) = relu >> conv(kernel, width, stride) >> bn

op normal = bn(affine = 0)

choice operations = skip >> normal | relu_conv_bn(1) | relu_conv_bn(3) | avg_pool(3) >> normal

motif cell(x) -> (out) {
    node h[4]
    x -> h[0]
    for k in 1..4 { h[..k] ~> h[k] : operations }
    out = sum(h[3])
}

motif residual(x; width) -> (out) {
    a = x : relu_conv_bn(3, width, 2)
    a -> out : relu_conv_bn(3)
    x -> out : avg_pool(2, 2) >> conv(1, width)
}

network nasbench201(image: [3, 32, 32]; cells = 5, width = 16) -> (logits: [10]) {
    stem = image : conv(3, width) >> bn
    a = tied(0) chain cell(stem) times cells
    b = residual(a; width = 2 * width)
    c = tied(0) chain cell(b) times cells
    d = residual(c; width = 4 * width)
    e = tied(0) chain cell(d) times cells
    e -> logits : bn >> relu >> global_avg_pool >> linear(10)
}
