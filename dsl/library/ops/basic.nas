# Everyday operations, each composed from primitives.
# A `width` of -1 is as many channels as come in.

op conv_bn(kernel, width = -1, stride = 1) = conv(kernel, width, stride) >> bn
op conv_bn_relu(kernel, width = -1, stride = 1) = conv(kernel, width, stride) >> bn >> relu
op bn_relu_conv(kernel, width = -1, stride = 1) = bn >> relu >> conv(kernel, width, stride)
op classifier(classes) = global_avg_pool >> linear(classes)
