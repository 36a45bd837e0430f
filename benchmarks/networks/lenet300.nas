# LeNet-300-100, for images of 28 x 28.
network lenet300(image: [channels, 28, 28]; channels = 1) -> (logits: [10]) {
    image -> logits : flatten >> linear(300) >> relu >> linear(100) >> relu >> linear(10)
}
