# ResNet-20 (He et al., CVPR 2016) for CIFAR-10, with 1x1 convolutions where shapes change.
motif block(x; width, stride) -> (out) {
    a = x : conv(3, width, stride) >> bn >> relu >> conv(3, width) >> bn
    b = x : if stride > 1 then conv(1, width, stride) >> bn else skip
    joined = sum(a, b)
    out = joined : relu
}

motif stage(x; width, stride) -> (out) {
    a = block(x; width = width, stride = stride)
    b = block(a; width = width, stride = 1)
    out = block(b; width = width, stride = 1)
}

network resnet20(image: [3, size, size]; width = 16, size = 32) -> (logits: [10]) {
    stem = image : conv(3, width) >> bn >> relu
    a = stage(stem; width = width, stride = 1)
    b = stage(a; width = 2 * width, stride = 2)
    c = stage(b; width = 4 * width, stride = 2)
    c -> logits : global_avg_pool >> linear(10)
}
