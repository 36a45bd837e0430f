# How PC-DARTS trains on ImageNet (Xu et al., ICLR 2020; P-DARTS' schedule): as DARTS does, with a
# larger batch, five epochs of warm-up and a rate that falls in a line.
train {
    epochs = 250
    batch_size = 1024
    optimizer = sgd
    learning_rate = 0.5
    schedule = linear_tail
    warmup_epochs = 5
    momentum = 0.9
    nesterov = no
    weight_decay = 3e-5
    decay_norms = yes
    gradient_clip = 5
    augment = flip
    crop = 0.08
    color_jitter = 0.4
    label_smoothing = 0.1
}
