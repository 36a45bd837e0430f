# The operations of DARTS (Liu, Simonyan, Yang 2019), as in the authors' code for the search:
# normalisation without scale and shift, pools normalised.

op relu_conv_bn(kernel, width, stride = 1) = relu >> conv(kernel, width, stride) >> bn(affine = 0)
op reduce_bn(width = -1) = relu >> factorized_reduce(width) >> bn(affine = 0)

# What aligns an input of a cell: half the resolution where it comes from before a reduction.
op preprocess(width, stride = 1) = if stride == 1 then relu_conv_bn(1, width) else reduce_bn(width)

op sep_conv(kernel, stride = 1) =
       relu >> depthwise_conv(kernel, stride) >> conv(1) >> bn(affine = 0)
    >> relu >> depthwise_conv(kernel) >> conv(1) >> bn(affine = 0)
op dil_conv(kernel, stride = 1) =
    relu >> depthwise_conv(kernel, stride, dilation = 2) >> conv(1) >> bn(affine = 0)
op pool_max(kernel, stride = 1) = max_pool(kernel, stride) >> bn(affine = 0)
op pool_avg(kernel, stride = 1) = avg_pool(kernel, stride) >> bn(affine = 0)
op skip_connect(stride = 1) = if stride == 1 then skip else reduce_bn
