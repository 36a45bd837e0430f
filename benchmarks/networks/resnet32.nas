# A residual network of three stages, one block each (ResNet-8), for images of 32 x 32.
motif block(x; width, stride) -> (out) {
    a = x : conv(3, width, stride) >> bn >> relu >> conv(3, width) >> bn
    b = x : if stride > 1 then conv(1, width, stride) >> bn else skip
    joined = sum(a, b)
    out = joined : relu
}

network resnet(image: [3, 32, 32]; width = 16) -> (logits: [10]) {
    stem = image : conv(3, width) >> bn >> relu
    a = block(stem; width = width, stride = 1)
    b = block(a; width = 2 * width, stride = 2)
    c = block(b; width = 4 * width, stride = 2)
    c -> logits : global_avg_pool >> linear(10)
}
