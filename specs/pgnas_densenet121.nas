# DenseNet-121 as posterior-guided NAS searches it (Zhou, Sun, Luo, Zha, Zeng, AAAI 2020; densenet.py of
# their code): every layer, and the transition behind a block, learns a drop probability for each source
# that it reads. With all of them it is the network of Huang et al. (CVPR 2017) behind three 3x3
# convolutions.
import "recipes/pgnas_densenet121.nas"

op deep_stem(width) =
       conv(3, width // 2, 2) >> bn >> relu >> conv(3, width // 2)
    >> bn >> relu >> conv(3, width) >> bn >> relu >> max_pool(3, 2)
op layer(growth) = bn >> relu >> conv(1, 4 * growth) >> bn >> relu >> conv(3, growth)
op transition(width) = bn >> relu >> conv(1, width) >> avg_pool(2, 2)

motif dense(x; layers, growth) -> (out) {
    node seen[layers], h[layers]
    for k in 0..layers {
        seen[k] = concat()
        {x, h[..k]} ~> seen[k] : skip
        h[k] = seen[k] : layer(growth)
    }
    out = concat()
    {x, h} ~> out : skip
}

motif last(x; layers, growth) -> (out) {
    node seen[layers], h[layers]
    for k in 0..layers {
        seen[k] = concat()
        {x, h[..k]} ~> seen[k] : skip
        h[k] = seen[k] : layer(growth)
    }
    out = concat(x, h)
}

network densenet121(
    image: [3, 224, 224]; growth = 32, p = 6, q = 12, r = 24, s = 16, classes = 1000
) -> (logits: [classes]) {
    stem = image : deep_stem(2 * growth)
    a = dense(stem; layers = p, growth = growth)
    b = a : transition((2 + p) * growth // 2)
    c = dense(b; layers = q, growth = growth)
    d = c : transition((2 + p + 2 * q) * growth // 4)
    e = dense(d; layers = r, growth = growth)
    f = e : transition((2 + p + 2 * q + 4 * r) * growth // 8)
    g = last(f; layers = s, growth = growth)
    g -> logits : bn >> relu >> global_avg_pool >> linear(classes)
}

search { strategy = pgnas; discretize = no; weight_decay = 8.3e-5; draws = 1500 }
