# How DARTS trains what it found on CIFAR-10 (Liu, Simonyan, Yang, ICLR 2019; the authors' train.py):
# 20 cells of 36 channels. Its auxiliary head, of weight 0.4, is part of the network:
# networks/darts_cifar10.nas.
train {
    epochs = 600
    batch_size = 96
    optimizer = sgd
    learning_rate = 0.025
    schedule = cosine_epoch
    momentum = 0.9
    nesterov = no
    weight_decay = 3e-4
    decay_norms = yes
    gradient_clip = 5
    drop_path = 0.2
    augment = shift_flip
    cutout = 16
}
