# The operations of DARTS (Liu, Simonyan, Yang 2019), as in the authors' code for what was found:
# normalisation with scale and shift, pools without any.

op relu_conv_bn(kernel, width, stride = 1) = relu >> conv(kernel, width, stride) >> bn
op reduce_bn(width = -1) = relu >> factorized_reduce(width) >> bn

# What aligns an input of a cell: half the resolution where it comes from before a reduction.
op preprocess(width, stride = 1) = if stride == 1 then relu_conv_bn(1, width) else reduce_bn(width)

op sep_conv(kernel, stride = 1) =
       relu >> depthwise_conv(kernel, stride) >> conv(1) >> bn
    >> relu >> depthwise_conv(kernel) >> conv(1) >> bn
op dil_conv(kernel, stride = 1) =
    relu >> depthwise_conv(kernel, stride, dilation = 2) >> conv(1) >> bn
op pool_max(kernel, stride = 1) = max_pool(kernel, stride)
op pool_avg(kernel, stride = 1) = avg_pool(kernel, stride)
op skip_connect(stride = 1) = if stride == 1 then skip else reduce_bn

# The auxiliary heads, on maps of 8 x 8 and 7 x 7: a mean over windows leaves 2 x 2.
op head_cifar10(classes) =
       relu >> avg_pool(5, 3, padded = 0) >> conv(1, 128) >> bn >> relu
    >> conv(2, 768, 2) >> bn >> relu >> flatten >> linear(classes)
op head_imagenet(classes) =
       relu >> avg_pool(5, 2, padded = 0) >> conv(1, 128) >> bn
    >> relu >> conv(2, 768, 2) >> relu >> flatten >> linear(classes)
