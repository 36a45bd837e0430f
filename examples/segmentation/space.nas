# Which pixels of a scene are of a digit: an encoder and a decoder, the operations and the way over
# which fine detail goes past the middle are searched.
op sep(kernel) = relu >> depthwise_conv(kernel) >> conv(1) >> bn(affine = 0)

choice layer = sep(3) | sep(5) | relu >> conv(3) >> bn(affine = 0) | skip >> bn(affine = 0)

network scenes(scene: [1, 16, 16]; width = 8) -> (mask: [2, 16, 16]) {
    stem = scene : conv(3, width) >> bn
    node fine, coarse, wide
    stem ~> fine : layer
    down = fine : relu >> conv(3, 2 * width, stride = 2) >> bn
    down ~> coarse : layer
    up = coarse : relu >> conv(1, width) >> bn >> upsample(2)
    {fine, up} ~> wide : layer
    retain 1 into fine
    retain 1 into coarse
    wide -> mask : relu >> conv(1, 2)
}

search { warmup_epochs = 8; rounds = 5; epochs = 2 }

train { epochs = 20 }
