# Transformer encoders (Vaswani et al., NIPS 2017) on patches of images (Dosovitskiy et al., ICLR 2021)
# and on series: in each block the heads and the ratio of the MLP are searched, and so is the depth,
# as either half may be dropped.
op attend(heads) = layer_norm >> attention(heads)
op mlp(ratio, width) =
    layer_norm >> conv(1, expand = ratio, bias = 1) >> gelu >> conv(1, width, bias = 1)

choice heads = attend(2) | attend(4) | attend(8)
choice ratios(width) = mlp(1, width) | mlp(2, width) | mlp(4, width)

motif block(tokens; width) -> (out) {
    node asked, answered
    tokens -> asked
    tokens ~> asked : heads
    asked -> answered
    asked ~> answered : ratios(width)
    out = sum(answered)
}

network transformer(image: [3, 32, 32]; patch = 4, width = 64, blocks = 6) -> (logits: [10]) {
    tokens = image : conv(patch, width, patch, bias = 1) >> position
    body = chain block(tokens; width = width) times blocks
    body -> logits : layer_norm >> global_avg_pool >> linear(10)
}

network series_transformer(sequence: [4, 128]; patch = 4, width = 64, blocks = 4) -> (logits: [5]) {
    tokens = sequence : conv(patch, width, patch, bias = 1) >> position
    body = chain block(tokens; width = width) times blocks
    body -> logits : layer_norm >> global_avg_pool >> linear(5)
}
