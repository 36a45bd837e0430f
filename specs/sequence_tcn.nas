# A temporal convolutional network (Bai, Kolter, Koltun, 2018) for sequences [channels, length]: the
# dilation and the kernel of every residual block are searched. No position reads what comes after it.
op layer(kernel, dilation) = relu >> conv(kernel, dilation = dilation, causal = 1) >> bn
op pair(kernel, dilation) =
    layer(kernel, dilation) >> dropout(10) >> layer(kernel, dilation) >> dropout(10)

choice temporal = pair(3, 1) | pair(3, 2) | pair(3, 4) | pair(3, 8) | pair(7, 1)

network tcn(sequence: [4, 128]; blocks = 6, width = 32, classes = 5) -> (logits: [classes]) {
    node h[blocks + 1]
    sequence -> h[0] : conv(1, width) >> bn
    for k in 0..blocks {
        h[k] -> h[k + 1]  # the residual
        h[k] ~> h[k + 1] : temporal
    }
    h[blocks] -> logits : relu >> global_avg_pool >> linear(classes)
}
