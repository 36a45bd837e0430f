# Eight convolutions in the manner of VGG (Simonyan and Zisserman 2015), normalised, for CIFAR-10.
op pair(width) =
       conv(3, width) >> bn >> relu >> conv(3, width) >> bn >> relu

network vgg(image: [3, size, size]; width = 32, size = 32) -> (logits: [10]) {
    image -> logits : pair(width) >> max_pool(2, stride = 2)
        >> pair(2 * width) >> max_pool(2, stride = 2)
        >> pair(4 * width) >> max_pool(2, stride = 2)
        >> pair(8 * width) >> global_avg_pool >> linear(10)
}
