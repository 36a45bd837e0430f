# Two resolutions side by side that exchange what they know again and again, after HRNet (Sun, Xiao,
# Liu, Wang, CVPR 2019): how each stream goes on, and how the streams fuse, is searched.
op conv_bn(kernel) = conv(kernel) >> bn
op separable(kernel) = depthwise_conv(kernel) >> conv(1) >> bn
op down_conv(width) = conv(3, width, 2) >> bn
op down_pool(width) = avg_pool(2, 2) >> conv(1, width) >> bn
op up(kernel, width) = conv(kernel, width) >> bn >> upsample(2)

choice along = conv_bn(3) | separable(3) | separable(5) | skip

motif exchange(fine, coarse; width) -> (finer, coarser) {
    node f, c
    fine ~> f : along
    coarse ~> f : up(1, width) | up(3, width)
    coarse ~> c : along
    fine ~> c : down_conv(2 * width) | down_pool(2 * width)
    finer = f : relu
    coarser = c : relu
}

network multiscale(image: [3, 32, 32]; width = 16, times_exchanged = 4) -> (logits: [10]) {
    stem = image : conv(3, width) >> bn >> relu
    half = stem : conv(3, 2 * width, 2) >> bn >> relu
    fine, coarse = chain exchange(stem, half; width = width) times times_exchanged
    a = fine : conv(3, 2 * width, 2) >> bn >> relu
    both = concat(a, coarse)
    both -> logits : global_avg_pool >> linear(10)
}
