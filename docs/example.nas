motif cell(x) -> (out) {
    node h[2]
    x ~> h[0] : conv(3) >> bn | max_pool(3) >> bn | skip
    {x, h[0]} ~> h[1] : conv(3) >> bn | max_pool(3) >> bn | skip
    out = concat(h)
}

network tiny(image: [1, 8, 8]; width = 8) -> (logits: [10]) {
    stem = image : conv(3, width) >> bn >> relu
    y = cell(stem)
    y -> logits : relu >> global_avg_pool >> linear(10)
}
