# How posterior-guided NAS trains ResNet-50 on ImageNet (Zhou, Sun, Luo, Zha, Zeng, AAAI 2020, supplement
# 1.2; crops, mirrors and turns are those of the authors' code). Its weight decay is d^2/N, 80 / 1,200,000. Not in
# it here: the code's color jitter, which leaves the hue.
train {
    epochs = 90
    batch_size = 256
    optimizer = sgd
    learning_rate = 0.1
    schedule = steps
    rate_decay = 0.1
    rate_steps = "30, 60"
    momentum = 0.9
    nesterov = yes
    weight_decay = 6.7e-5
    decay_norms = no
    gradient_clip = 0
    augment = flip
    crop = 0.08
    rotate = 10
}
