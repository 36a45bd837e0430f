# A residual network for tables (Gorishniy, Rubachev, Khrulkov, Babenko, 2021): the hidden width and
# the activation of every block are searched. `--set columns=15 --set outputs=3` fits it to a table.
op block(width, hidden) = bn >> linear(hidden) >> relu >> dropout(10) >> linear(width)
op smooth(width, hidden) = bn >> linear(hidden) >> silu >> dropout(10) >> linear(width)

choice blocks(width) =
      block(width, width // 2) | block(width, 2 * width)
    | smooth(width, width // 2) | smooth(width, 2 * width)

network table(
    row: [columns]; columns = 10, depth = 3, width = 32, outputs = 1
) -> (answer: [outputs]) {
    node h[depth + 1]
    row -> h[0] : linear(width)
    for k in 0..depth {
        h[k] -> h[k + 1]  # the residual
        h[k] ~> h[k + 1] : blocks(width)
    }
    h[depth] -> answer : bn >> relu >> linear(outputs)
}
