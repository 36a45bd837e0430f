# A temporal convolutional network (Bai, Kolter, Koltun, 2018) for sequences [channels, length]: the
# dilation and the kernel of every residual block are searched. Padding is symmetric, not causal.
op layer(kernel, dilation) = conv(kernel, dilation = dilation) >> bn >> relu >> dropout(10)
op dilated(kernel, dilation) = skip + (layer(kernel, dilation) >> layer(kernel, dilation))

choice temporal =
      dilated(3, 1) | dilated(3, 2) | dilated(3, 4) | dilated(3, 8) | dilated(7, 1) | skip

network tcn(sequence: [4, 128]; blocks = 6, width = 32, classes = 5) -> (logits: [classes]) {
    node h[blocks + 1]
    sequence -> h[0] : conv(1, width) >> bn
    for k in 0..blocks { h[k] ~> h[k + 1] : temporal }
    retain 1 into h
    h[blocks] -> logits : relu >> global_avg_pool >> linear(classes)
}
