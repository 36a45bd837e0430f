# LeNet-5 in the widths of Caffe's, for images of 28 x 28: convolutions keep the resolution.
network lenet5(image: [channels, 28, 28]; channels = 1) -> (logits: [10]) {
    image -> logits : conv(5, 20, bias = 1) >> max_pool(2, stride = 2)
        >> conv(5, 50, bias = 1) >> max_pool(2, stride = 2)
        >> flatten >> linear(500) >> relu >> linear(10)
}
