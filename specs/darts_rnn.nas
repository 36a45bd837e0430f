# The recurrent cell of DARTS (Liu, Simonyan, Yang, ICLR 2019) as its authors search it: each of 8 nodes
# picks one state before it and one activation, and lets it through by a highway; one matrix a node,
# states normalised, one cell for all steps, which are written out. Words come in, scores of the next
# one go out. Other than theirs, the decoder has weights of its own and masks are drawn at both ends.
choice activation = highway(0) | highway(1) | highway(2) | highway(3)

motif cell(x, before; width, nodes) -> (after) {
    node s[nodes + 1], picked[nodes], past[nodes], row[nodes]
    node part[nodes * (nodes + 1) // 2], gated[nodes * (nodes + 1) // 2]
    both = concat(x, before)
    first = both : linear(2 * width, bias = 0)
    start = concat(before, first)
    start -> s[0] : highway(1) >> bn(affine = 0)
    for i in 0..nodes {
        past[i] = concat(s[..i + 1])
        past[i] -> row[i] : series(i + 1) >> conv(1, 2 * width)
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
    text: [steps]; words = 64, width = 32, nodes = 8, steps = 12
) -> (next: [words, steps]) {
    embedded = text : embedding(words, width) >> dropout(20)
    node x[steps], h[steps + 1]
    h[0] = embedded : zeros(width)
    for t in 0..steps {
        x[t] = embedded : pick(t)
        h[t + 1] = shared cell(x[t], h[t]; width = width, nodes = nodes)
    }
    states = concat(h[1..])
    states -> next : series(steps) >> dropout(20) >> conv(1, words, bias = 1)
}
