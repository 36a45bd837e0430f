# A residual network for digits: what `compression.md` makes smaller.
network widths(image: [1, 8, 8]; width = 16) -> (logits: [10]) {
    stem = image : conv(3, width) >> bn >> relu
    a = stem : conv(3, width) >> bn >> relu >> conv(3, width) >> bn
    b = sum(stem, a)
    c = b : relu >> conv(3, 2 * width, stride = 2) >> bn
    c -> logits : relu >> global_avg_pool >> linear(10)
}
