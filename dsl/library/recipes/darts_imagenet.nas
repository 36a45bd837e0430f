# How DARTS trains what it found on ImageNet (train_imagenet.py): 14 cells of 48 channels. Its
# auxiliary head, of weight 0.4, is part of the network: networks/darts_imagenet.nas. Images are
# brought to the network's size before crops are cut out of them; there they are cut out of the
# whole image.
train {
    epochs = 250
    batch_size = 128
    optimizer = sgd
    learning_rate = 0.1
    schedule = exponential
    rate_decay = 0.97
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
