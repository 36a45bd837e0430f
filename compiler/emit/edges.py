"""Source of the classes that emitted supernets are made of: searched edges, fast convolutions.

`MIXED_EDGE` runs each candidate by itself. `SHARED_EDGE` is what a schedule needs: the same class
with the same parameters, whose candidates share their first stages, and `DEPTHWISE`, the same
convolution with another backward pass.
"""

from __future__ import annotations

from typing import Final

_SHAPE: Final = '''
    @torch.no_grad()
    def shape(self, z):
        """Shape of what leaves the edge, tried once on one example."""
        if z.shape[1:] not in self.shapes:
            operation = next(iter(self.candidates.values()))
            training = operation.training
            self.shapes[z.shape[1:]] = operation.eval()(z[:1]).shape[1:]
            operation.train(training)
        return self.shapes[z.shape[1:]]
'''

MIXED_EDGE: Final = (
    '''
class MixedEdge(nn.Module):
    """A searched edge: its candidate operations, each scaled by its gate, summed.

    Candidates named in `pruned` are left out; an edge without any passes zeros on.
    """

    def __init__(self, **candidates):
        super().__init__()
        self.candidates = nn.ModuleDict(candidates)
        self.pruned = set()
        self.shapes = {}

    def forward(self, z, gates):
        """z: [N, ...]; gates: [1, K] for all examples, or [N, K], one row for each."""
        total = None
        for k, (name, operation) in enumerate(self.candidates.items()):
            if name not in self.pruned:
                y = operation(z)
                y = y * gates[:, k].view(-1, *[1] * (y.dim() - 1))
                total = y if total is None else total + y
        if total is None:
            total = z.new_zeros(1).broadcast_to(len(z), *self.shape(z))
        return total
'''
    + _SHAPE
)

SHARED_EDGE: Final = (
    '''
class Shared:
    """A tensor that several operations read; what they share of their first stages runs once."""

    def __init__(self, z):
        self.z = z
        self.done = {}

    def after(self, stages, names):
        """The tensor after these stages; `names` tell equal ones apart from others."""
        z = self.z
        for k, stage in enumerate(stages):
            if names[: k + 1] not in self.done:
                self.done[names[: k + 1]] = stage(z)
            z = self.done[names[: k + 1]]
        return z


class DenseGradient(torch.autograd.Function):
    """Passes z on; its gradient, perhaps a slice of a concatenation, is made dense once for all."""

    @staticmethod
    def forward(z):
        return z.view_as(z)

    @staticmethod
    def setup_context(ctx, inputs, output):
        [z] = inputs
        ctx.last = z.dim() == 4 and z.is_contiguous(memory_format=torch.channels_last)

    @staticmethod
    def backward(ctx, g):
        return g.movedim(1, -1).contiguous().movedim(-1, 1) if ctx.last else g.contiguous()


def scaled_norm(norm, z, gate):
    """`norm(z) * gate` without a pass of its own: the gate goes into the scale."""
    weight = gate.repeat(norm.num_features) if norm.weight is None else norm.weight * gate
    bias = None if norm.bias is None else norm.bias * gate
    momentum = 0.0 if norm.momentum is None else norm.momentum
    if norm.training:
        norm.num_batches_tracked.add_(1)
        if norm.momentum is None:
            momentum = 1 / float(norm.num_batches_tracked)
    return nn.functional.batch_norm(
        z, norm.running_mean, norm.running_var, weight, bias, norm.training, momentum, norm.eps
    )


class MixedEdge(nn.Module):
    """A searched edge: its candidate operations, each scaled by its gate, summed.

    `shared` tells of each candidate how many stages at its start may serve others that read the
    same tensor. Candidates named in `pruned` are left out; an edge without any passes zeros on.
    """

    def __init__(self, shared, /, **candidates):
        super().__init__()
        self.candidates = nn.ModuleDict(candidates)
        self.pruned = set()
        self.shapes = {}
        self.parts = {}
        for count, (name, operation) in zip(shared, candidates.items()):
            stages = list(operation) if type(operation) is nn.Sequential else [operation]
            names = tuple(repr(stage) for stage in stages[:count])
            self.parts[name] = stages[:count], names, stages[count:]

    def forward(self, z, gates):
        """z: [N, ...] or Shared; gates: [1, K] for all examples, or [N, K], one row for each."""
        z = z if isinstance(z, Shared) else Shared(z)
        total = None
        for k, (name, (first, names, own)) in enumerate(self.parts.items()):
            if name not in self.pruned:
                y = z.after(first, names)
                for stage in own[:-1]:
                    y = stage(y)
                total = self.added(total, y, own[-1:], gates[:, k])
        if total is None:
            z = z.z
            total = z.new_zeros(1).broadcast_to(len(z), *self.shape(z))
        return total

    def added(self, total, z, last, gate):
        """The total so far and the gate times what the last stage makes of z."""
        last = last[0] if last else nn.Identity()
        if len(gate) == 1 and type(last) in (nn.BatchNorm1d, nn.BatchNorm2d):
            y = scaled_norm(last, z, gate)
        else:
            y = last(z)
            y = y * gate.view(-1, *[1] * (y.dim() - 1))
        return y if total is None else total.add_(y)
'''
    + _SHAPE
)

# On CPUs, oneDNN's backward passes are slow where a depthwise kernel is wider than 3 or dilated, by
# up to 12 times; its forward pass and its narrow undilated backward passes are fast, and the former
# can be had from the latter. Measured by `python -m benchmarks.kernels`.
DEPTHWISE: Final = '''
class DepthwiseConv2d(nn.Conv2d):
    """A convolution of each channel by itself; on a CPU with a backward pass of our own."""

    def forward(self, z):
        """z: [N, C, H, W]."""
        narrow = self.kernel_size[0] <= 3 and self.dilation[0] == 1
        if narrow or z.device.type != "cpu":  # there PyTorch's is fast
            return super().forward(z)
        return Depthwise.apply(z, self.weight, self.stride[0], self.dilation[0])


class Depthwise(torch.autograd.Function):
    """Depthwise convolution with a padding of dilation * (kernel // 2) and an odd, square kernel.

    Everything is brought back to what is fast: forward passes, and backward passes without
    dilation whose kernel is at most 3 wide.
    """

    @staticmethod
    def forward(z, weight, stride, dilation):
        padding = dilation * (weight.shape[-1] // 2)
        return nn.functional.conv2d(z, weight, None, stride, padding, dilation, len(weight))

    @staticmethod
    def setup_context(ctx, inputs, output):
        z, weight, ctx.stride, ctx.dilation = inputs
        ctx.save_for_backward(z, weight)

    @staticmethod
    def backward(ctx, g):
        z, weight = ctx.saved_tensors
        gradients = [None, None]
        if ctx.needs_input_grad[0]:
            gradients[0] = input_gradient(g, z, weight, ctx.stride, ctx.dilation)
        if ctx.needs_input_grad[1]:
            gradients[1] = weight_gradient(g, z, weight, ctx.stride, ctx.dilation)
        return *gradients, None, None


def convolution_backward(g, z, weight, stride, padding, dilation, which):
    """Gradient in z (`which` 0) or in the weight (1) of a depthwise convolution, by PyTorch."""
    mask = [which == 0, which == 1, False]
    steps = [stride, stride], padding, [dilation, dilation]
    return torch.ops.aten.convolution_backward(
        g, z, weight, None, *steps, False, [0, 0], len(weight), mask
    )[which]


def input_gradient(g, z, weight, stride, dilation):
    """In z: at stride 1 a convolution of g with the kernel turned round."""
    padding = weight.shape[-1] // 2
    if stride == 1:
        turned = weight.flip(2, 3)
        return nn.functional.conv2d(g, turned, None, 1, dilation * padding, dilation, len(weight))
    if stride == dilation:  # it reads every `stride`-th row and column alone
        inner = input_gradient(g, g, weight, 1, 1)
        count, channels, height, width = z.shape
        spread = inner.new_zeros(count, height, width, channels).movedim(3, 1)
        spread[:, :, ::stride, ::stride] = inner
        return spread
    padding = [dilation * padding] * 2
    return convolution_backward(g, z, weight, stride, padding, dilation, 0)


def weight_gradient(g, z, weight, stride, dilation):
    """In the weight, by strips of the kernel that are at most 3 wide."""
    kernel = weight.shape[-1]
    padding = kernel // 2
    if stride == dilation and stride > 1:
        z = z[:, :, ::stride, ::stride].contiguous(memory_format=torch.channels_last)
        return weight_gradient(g, z, weight, 1, 1)
    if dilation > 1 and stride > 1:
        paddings = [dilation * padding] * 2
        return convolution_backward(g, z, weight, stride, paddings, dilation, 1)
    if dilation > 1:
        return weight_gradient(phases(g, dilation), phases(z, dilation), weight, 1, 1)
    if kernel <= 3:
        return convolution_backward(g, z, weight, stride, [padding, padding], 1, 1)
    strips, narrow = [], weight.new_zeros(len(weight), 1, kernel, 3)  # its values do not matter
    for start in range(0, kernel, 3):
        first = min(start, kernel - 3)
        moved = nn.functional.pad(z, [padding - first, first - padding + 2])
        strip = convolution_backward(g, moved, narrow, stride, [padding, 0], 1, 1)
        strips.append(strip[..., start - first :])
    return torch.cat(strips, dim=3)


def phases(z, step):
    """Every `step`-th row and column, from each start, as examples of their own."""
    height, width = z.shape[2:]
    if height % step or width % step:
        z = nn.functional.pad(z, [0, -width % step, 0, -height % step])
    parts = [z[:, :, i::step, j::step] for i in range(step) for j in range(step)]
    return torch.cat(parts).contiguous(memory_format=torch.channels_last)
'''
