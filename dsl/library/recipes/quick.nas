# A good network in minutes, of our own: 30 passes, a short warm-up, a running mean of the weights.
train {
    epochs = 30
    batch_size = 128
    learning_rate = 0.2
    schedule = cosine
    warmup_epochs = 2
    weight_decay = 5e-4
    decay_norms = no
    average = 0.99
}
