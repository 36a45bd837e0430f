# How PathLevel-EAS trains a PyramidNet of tree cells on CIFAR-10 (Cai et al., ICML 2018; the
# authors' run_pyramidnet.py).
train {
    epochs = 300
    batch_size = 64
    optimizer = sgd
    learning_rate = 0.1
    schedule = cosine
    momentum = 0.9
    nesterov = yes
    weight_decay = 1e-4
    decay_norms = yes
    gradient_clip = 0
    augment = shift_flip
}
