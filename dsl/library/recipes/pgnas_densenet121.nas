# How posterior-guided NAS trains DenseNet-121 on ImageNet (Zhou, Sun, Luo, Zha, Zeng, AAAI 2020, supplement
# 1.2; crops, mirrors and turns are those of the authors' code, whose imagenet_eval.py has a cosine instead of steps). Its
# weight decay is d^2/N, 100 / 1,200,000, and leaves stem and classifier out. Not in it here: the code's color
# jitter, which leaves the hue.
train {
    epochs = 180
    batch_size = 300
    optimizer = sgd
    learning_rate = 0.1
    schedule = steps
    rate_decay = 0.1
    rate_steps = "90, 140, 160"
    momentum = 0.9
    nesterov = yes
    weight_decay = 8.3e-5
    decay_norms = no
    gradient_clip = 0
    augment = flip
    crop = 0.08
    rotate = 10
}
