# The recurrent cell of DARTS (Liu, Simonyan, Yang, ICLR 2019) in the language model that its authors
# search it in: each of 8 nodes picks one state before it and one activation, and lets it through by a
# highway; one matrix a node, shared by its edges, states normalised, the mean of the nodes carried on.
# Words are scored by the vectors they are looked up with. Dropouts are in percent: of whole words, of
# features at all positions, and of the state at all positions and nodes; drop_weights of the nodes'
# matrices (AWD-LSTM; Merity, Keskar, Socher, ICLR 2018: 50). The authors search with width 300,
# drop_inputs 20 and 75 in a row (80), drop_states 25, drop_outputs 75, and evaluate with width 850,
# drop_words 10; they drop no weights.
choice activation = highway(0) | highway(1) | highway(2) | highway(3)

motif cell(x, mask, before; width, nodes, drop) -> (after) {
    node s[nodes + 1], open[nodes], picked[nodes], past[nodes], row[nodes]
    node part[nodes * (nodes + 1) // 2], gated[nodes * (nodes + 1) // 2]
    kept = product(before, mask)
    both = concat(x, kept)
    first = both : linear(2 * width, bias = 0)
    start = concat(before, first)
    start -> s[0] : highway(1) >> bn(affine = 0)
    for i in 0..nodes {
        open[i] = product(s[i], mask)
        past[i] = concat(open[..i + 1])
        past[i] -> row[i] : series(i + 1) >> matrix(2 * width, drop)
        for j in 0..i + 1 {
            row[i] -> part[i * (i + 1) // 2 + j] : pick(j)
            gated[i * (i + 1) // 2 + j] = concat(s[j], part[i * (i + 1) // 2 + j])
            gated[i * (i + 1) // 2 + j] ~> picked[i] : activation
        }
        picked[i] -> s[i + 1] : bn(affine = 0)
    }
    retain 1 into picked
    all = concat(s[1..])
    after = all : series(nodes) >> global_avg_pool
}

network darts_rnn(
    text: [steps]; words = 64, width = 32, nodes = 8, steps = 35, drop_words = 0,
    drop_inputs = 20, drop_states = 10, drop_outputs = 20, drop_weights = 0
) -> (next: [words, steps]) {
    read = text : embedding(words, width, drop = drop_words) >> dropout(drop_inputs, locked = 1)
    start = read : zeros(width)
    mask = start : complement >> dropout(drop_states)
    states = scan cell(read, mask; width = width, nodes = nodes, drop = drop_weights) from start
    states -> next : dropout(drop_outputs, locked = 1) >> unembedding(words, bias = 1)
}
