# ResNet-50 with four parallel kernels, as posterior-guided NAS searches it (Zhou, Sun, Luo, Zha, Zeng,
# AAAI 2020): in the place of every 3x3 convolution stand 1x1, 3x3, and dilated 3x3 and 5x5 that reach
# over 5x5 and 9x9, with a quarter of the maps each.
import "recipes/pgnas_resnet50.nas"

op first(kernel, width, stride) = conv(kernel, width, stride) >> bn >> relu
op project(width, stride) = conv(1, width, stride) >> bn

motif bottleneck(x; width, stride = 1, wider = 0) -> (out) {
    node part[4]
    a = x : first(1, width, 1)
    a ~> part[0] : conv(1, width // 4, stride)
    a ~> part[1] : conv(3, width // 4, stride)
    a ~> part[2] : conv(3, width // 4, stride, dilation = 2)
    a ~> part[3] : conv(5, width // 4, stride, dilation = 2)
    b = concat(part)
    c = b : bn >> relu >> conv(1, 4 * width) >> bn
    node both
    c -> both
    if stride == 2 or wider {
        x -> both : project(4 * width, stride)
    } else {
        x -> both
    }
    out = both : relu
}

motif stage(x; blocks, width, stride) -> (out) {
    node h[blocks]
    h[0] = bottleneck(x; width = width, stride = stride, wider = 1)
    for k in 1..blocks { h[k] = bottleneck(h[k - 1]; width = width) }
    out = h[blocks - 1] : skip
}

network resnet50(
    image: [3, 224, 224]; width = 64, p = 3, q = 4, r = 6, s = 3, classes = 1000
) -> (logits: [classes]) {
    stem = image : first(7, width, 2) >> max_pool(3, 2)
    a = stage(stem; blocks = p, width = width, stride = 1)
    b = stage(a; blocks = q, width = 2 * width, stride = 2)
    c = stage(b; blocks = r, width = 4 * width, stride = 2)
    d = stage(c; blocks = s, width = 8 * width, stride = 2)
    d -> logits : global_avg_pool >> linear(classes)
}

search { strategy = pgnas; discretize = no; weight_decay = 6.7e-5; draws = 1500 }
