# The operations of BayesNAS (Zhou, Yang, Wang, Pan, ICML 2019), as in the authors' code for what was
# found (CNN/ops.py): normalised before they convolve, dilated convolutions over all channels. Here
# pools leave their padding out, where the authors' see zeros.

op relu_conv_bn(kernel, width, stride = 1) = bn >> relu >> conv(kernel, width, stride)
op reduce_bn(width = -1) = factorized_reduce >> bn >> relu >> conv(1, width)

# What aligns an input of a cell: half the resolution where it comes from before a reduction.
op preprocess(width, stride = 1) = if stride == 1 then relu_conv_bn(1, width) else reduce_bn(width)

op sep_conv(kernel, stride = 1) =
       bn >> relu >> depthwise_conv(kernel, stride) >> conv(1)
    >> bn >> relu >> depthwise_conv(kernel) >> conv(1)
op dil_conv(kernel, stride = 1) = bn >> relu >> conv(kernel, -1, stride, dilation = 2) >> conv(1)
op pool_max(kernel, stride = 1) = max_pool(kernel, stride)
op pool_avg(kernel, stride = 1) = avg_pool(kernel, stride)
op skip_connect(stride = 1) = if stride == 1 then skip else bn >> conv(1, -1, stride)
