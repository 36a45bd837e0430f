# LeNet-5 in the widths of Caffe's, for images of 8 x 8: convolutions keep the resolution.
network lenet(image: [1, 8, 8]) -> (logits: [10]) {
    image -> logits : conv(5, 20, bias = 1) >> max_pool(2, stride = 2)
        >> conv(5, 50, bias = 1) >> max_pool(2, stride = 2)
        >> flatten >> linear(500) >> relu >> linear(10)
}
