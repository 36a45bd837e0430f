# Two cameras see half of a digit each. How each half is read, and when the two are brought
# together, is searched.
op sep(kernel) = relu >> depthwise_conv(kernel) >> conv(1) >> bn(affine = 0)

choice layer = sep(3) | sep(5) | skip >> bn(affine = 0)

motif branch(x; width) -> (out) {
    node h[2]
    stem = x : conv(3, width) >> bn
    stem ~> h[0] : layer
    h[0] ~> h[1] : layer
    retain 1 into h
    out = concat(stem, h[1])
}

network halves(left: [1, 8, 4], right: [1, 8, 4]; width = 8) -> (digit: [10]) {
    a = branch(left; width = width)
    b = branch(right; width = width)
    both = concat(a, b)
    node early, late
    both ~> early : relu >> conv(1) >> bn | relu >> conv(3) >> bn
    early ~> late : relu >> conv(3) >> bn | skip
    retain 1 into early
    retain 1 into late
    late -> digit : relu >> flatten >> linear(10)
}

search { warmup_epochs = 8; rounds = 5; epochs = 2 }

train { epochs = 25 }
