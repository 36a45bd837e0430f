# Small networks for pictures of 32 x 32, searched and trained without a GPU. Each of three stages
# halves the picture at its entry, so that little is computed at full size; there are no depthwise
# convolutions, which cost little on paper and much time on a CPU.
import "recipes/quick.nas"

op convolution(kernel, width, stride = 1) = conv(kernel, width, stride) >> bn >> gelu
op pooled(kernel, width) = conv(kernel, width) >> max_pool(3, 2) >> bn >> gelu

choice entry(width) =
    pooled(3, width) | pooled(1, width) | convolution(3, width, 2) | convolution(5, width, 2)
choice inner(width) = convolution(3, width) | convolution(1, width) | skip

motif stage(x; width) -> (out) {
    node a, b, c
    x ~> a : entry(width)
    a ~> b : inner(width)
    {a, b} ~> c : inner(width)
    retain 1 into a, b
    retain 2 into c
    out = sum(c)
}

network quick_images(image: [3, 32, 32]; width = 32, classes = 10) -> (logits: [classes]) {
    stem = image : conv(3, width) >> bn >> gelu
    fine = stage(stem; width = 2 * width)
    half = stage(fine; width = 3 * width)
    coarse = stage(half; width = 4 * width)
    coarse -> logits : global_avg_pool >> linear(classes)
    budget parameters <= 600K
    budget flops <= 80M
}

search {
    warmup_epochs = 3
    rounds = 6
    epochs = 1
    batch_size = 128
    learning_rate = 0.1
    augment = shift_flip
}

train { epochs = 80; augment = shift_flip; cutout = 12; label_smoothing = 0.1 }
