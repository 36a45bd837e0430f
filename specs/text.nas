# Language models on windows of tokens, `--data text:FILE`: how far back each block looks, and whether
# it attends, is searched. `text` predicts what follows each token (after Vaswani et al., NIPS 2017).
op look(kernel, dilation) =
    layer_norm >> conv(kernel, dilation = dilation, causal = 1, bias = 1) >> gelu
op attend(heads) = layer_norm >> attention(heads, causal = 1)
op mlp(width) = layer_norm >> conv(1, expand = 2, bias = 1) >> gelu >> conv(1, width, bias = 1)

choice mixers = look(2, 1) | look(3, 2) | look(3, 8) | attend(2) | attend(4)

motif block(tokens; width) -> (out) {
    node mixed, answered
    tokens -> mixed
    tokens ~> mixed : mixers
    mixed -> answered : skip
    mixed ~> answered : mlp(width)
    out = sum(answered)
}

network text(
    tokens: [length]; length = 64, words = 64, width = 48, blocks = 3
) -> (next: [words, length]) {
    read = tokens : embedding(words, width) >> position
    body = chain block(read; width = width) times blocks
    body -> next : layer_norm >> conv(1, words, bias = 1)
}
