# torchvision's recipe of 2021 for a single device: its 8 x 128 images a step are 8 batches of 128.
# Not in it here: the repeated sampler, and training at another resolution than testing. Its warm-up
# begins at a hundredth of the rate, ours at a fifth, and its last layer's bias decays.
train {
    epochs = 600
    batch_size = 128
    accumulate = 8
    optimizer = sgd
    learning_rate = 0.5
    schedule = cosine_epoch
    warmup_epochs = 5
    momentum = 0.9
    nesterov = no
    weight_decay = 2e-5
    decay_norms = no
    gradient_clip = 0
    average = 0.99997
    augment = flip
    crop = 0.08
    policy = trivial
    erase = 0.1
    mixup = 0.2
    label_smoothing = 0.1
    cutmix = 1.0
}
