# A DenseNet-style motif (Huang et al., CVPR 2017) for 8 x 8 grey images: every layer reads the
# concatenation of what came before it. Which earlier layers it reads, and how, is searched.
choice bridge = bn(affine = 0) | max_pool(3) >> bn(affine = 0) | conv(3) >> bn(affine = 0)

op layer(growth) = relu >> conv(1, 4 * growth) >> bn >> relu >> conv(3, growth)
op transition(width) = bn >> relu >> conv(1, width) >> avg_pool(3, 2)

motif dense(x; layers, growth) -> (out) {
    node seen[layers], h[layers]
    for k in 0..layers {
        seen[k] = concat()
        {x, h[..k]} ~> seen[k] : bridge
        h[k] = seen[k] : layer(growth)
    }
    out = concat(x, h)
}

network densenet(image: [1, 8, 8]; layers = 3, growth = 8) -> (logits: [10]) {
    stem = image : conv(3, 2 * growth) >> bn
    first = dense(stem; layers = layers, growth = growth)
    middle = first : transition(3 * growth)
    second = dense(middle; layers = layers, growth = growth)
    second -> logits : bn >> relu >> global_avg_pool >> linear(10)
}

search { warmup_epochs = 8; rounds = 8; epochs = 3; lambda_w = 0.02; gate_learning_rate = 0.1 }

train { epochs = 30 }
