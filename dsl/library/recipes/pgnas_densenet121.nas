# How posterior-guided NAS trains DenseNet-121 on ImageNet (Zhou, Sun, Luo, Zha, Zeng, AAAI 2020, supplement
# 1.2; crops and mirrors are those of the authors' code). Its weight decay is d^2/N, 100 / 1,200,000, and leaves
# stem and classifier out. Not in it here: steps, since the paper divides the rate by 10 at epochs 90, 140 and
# 160, where this is a cosine, as in the authors' published imagenet_eval.py; the code's rotation by up to
# 10 degrees; and its color jitter, which leaves the hue.
train {
    epochs = 180
    batch_size = 300
    optimizer = sgd
    learning_rate = 0.1
    schedule = cosine
    momentum = 0.9
    nesterov = yes
    weight_decay = 8.3e-5
    decay_norms = no
    gradient_clip = 0
    augment = flip
    crop = 0.08
}
