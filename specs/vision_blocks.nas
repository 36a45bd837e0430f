# Blocks of image networks side by side, each with squeeze-and-excitation or without (Hu, Shen, Sun,
# CVPR 2018): ConvNeXt's (Liu et al., CVPR 2022), shuffled groups (Zhang et al., CVPR 2018), inverted
# bottlenecks (Howard et al., ICCV 2019) and strips of a rectangular kernel.
op convnext(kernel, width) =
       depthwise_conv(kernel, bias = 1) >> layer_norm >> conv(1, expand = 4, bias = 1)
    >> gelu >> conv(1, width, bias = 1) >> layer_scale(6)
op shuffled(groups) =
       conv(1, groups = groups) >> bn >> relu >> channel_shuffle(groups)
    >> depthwise_conv(3) >> bn >> conv(1, groups = groups) >> bn
op bottleneck(kernel, width) =
       conv(1, expand = 4) >> bn >> hard_swish >> depthwise_conv(kernel)
    >> bn >> hard_swish >> conv(1, width) >> bn
op strips(length) =
       depthwise_conv(length, kernel_width = 1) >> depthwise_conv(1, kernel_width = length)
    >> group_norm(4) >> silu >> conv(1) >> bn
op excite(squeezed, width) = linear(squeezed) >> relu >> linear(width) >> sigmoid

choice inner(width) =
    convnext(7, width) | convnext(3, width) | shuffled(4) | bottleneck(5, width) | strips(7)

motif block(x; width) -> (out) {
    node inside, gate, h
    x ~> inside : inner(width)
    mean = inside : global_avg_pool
    mean ~> gate : excite(width // 4, width) | excite(width // 2, width)
    gated = product(inside, gate)
    x -> h  # the residual
    {inside, gated} ~> h : skip
    retain 1 into inside, gate, h
    out = sum(h)
}

network vision_blocks(image: [3, 32, 32]; width = 32, blocks = 3) -> (logits: [10]) {
    stem = image : conv(3, width, 2) >> layer_norm
    fine = chain block(stem; width = width) times blocks
    half = fine : layer_norm >> conv(3, 2 * width, 2, bias = 1)
    coarse = chain block(half; width = 2 * width) times blocks
    coarse -> logits : global_avg_pool >> layer_norm >> linear(10)
}
