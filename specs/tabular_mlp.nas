# A network for a table of numbers: which layers read which earlier ones, through which activation,
# is searched. `--data npz:FILE` reads a table of 64 columns; `--data digits` has as many pixels.
choice units(width) =
    linear(width) >> bn >> relu | linear(width) >> bn >> silu | linear(width) >> bn >> tanh | skip

motif stack(x; layers, width) -> (out) {
    node h[layers + 1]
    x -> h[0] : linear(width) >> bn
    for k in 0..layers { h[..k + 1] ~> h[k + 1] : units(width) }
    retain 2 into h
    out = sum(h[layers])
}

network mlp(features: [64]; layers = 4, width = 64, classes = 10) -> (logits: [classes]) {
    body = stack(features; layers = layers, width = width)
    body -> logits : dropout(20) >> linear(classes)
}
