# How posterior-guided NAS trains shake-shake networks on CIFAR-10 (Zhou, Sun, Luo, Zha, Zeng, AAAI 2020,
# supplement 1.1; the authors' train_cifar.py). Their weight decay is d^2/N, 50 / 500,000, of 26 2x96d;
# 26 2x160d has 150 / 500,000, `weight_decay = 3e-4`. In the paper it is weighted by 1 - p, and p is learned
# all the time: `compress --importance pgnas` does so for half of its epochs. Not in it here: the noise of
# shake-shake, and AutoAugment, which the code has before shifts and the paper does not name.
train {
    epochs = 1800
    batch_size = 128
    optimizer = sgd
    learning_rate = 0.01
    schedule = cosine
    momentum = 0.9
    nesterov = yes
    weight_decay = 1e-4
    decay_norms = no
    gradient_clip = 5
    augment = shift_flip
    cutout = 16
}
