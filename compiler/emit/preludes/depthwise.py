"""Depthwise convolutions with a backward pass that is fast on CPUs.

There, oneDNN's backward passes are slow where a depthwise kernel is wider than 3 or dilated, by up
to 16 times, and in bfloat16 where it has a stride; its forward pass and its narrow undilated
backward passes in float32 are fast, and the former can be had from the latter. Measured by
`python -m benchmarks.kernels`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


class DepthwiseConv2d(nn.Conv2d):
    """A convolution of each channel by itself; on a CPU with a backward pass of our own."""

    def forward(self, z: Tensor) -> Tensor:
        """z: [N, C, H, W]."""
        if z.device.type != "cpu":  # there PyTorch's is fast
            return super().forward(z)
        y: Tensor = Depthwise.apply(z, self.weight, self.stride[0], self.dilation[0])
        return y if self.bias is None else y + self.bias.view(-1, 1, 1)


class Depthwise(torch.autograd.Function):
    """Depthwise convolution with a padding of dilation * (kernel // 2) and an odd, square kernel.

    Everything is brought back to what is fast: forward passes, and backward passes without
    dilation whose kernel is at most 3 wide.
    """

    @staticmethod
    def forward(z: Tensor, weight: Tensor, stride: int, dilation: int) -> Tensor:
        """z: [N, C, H, W]; weight: [C, 1, k, k]."""
        padding = dilation * (weight.shape[-1] // 2)
        return nn.functional.conv2d(z, weight, None, stride, padding, dilation, len(weight))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG004
        """What the backward pass needs."""
        z, weight, ctx.stride, ctx.dilation = inputs
        ctx.save_for_backward(z, weight)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of z and the weight, where they are needed; g: like what leaves."""
        z, weight = (saved.to(g.dtype) for saved in ctx.saved_tensors)  # autocast's are mixed
        gradients: list[Tensor | None] = [None, None]
        if ctx.needs_input_grad[0]:
            gradients[0] = input_gradient(g, z, weight, ctx.stride, ctx.dilation)
        if ctx.needs_input_grad[1]:
            gradients[1] = weight_gradient(g, z, weight, ctx.stride, ctx.dilation)
        return *gradients, None, None


def convolution_backward(
    g: Tensor,
    z: Tensor,
    weight: Tensor,
    stride: int,
    padding: list[int],
    dilation: int,
    which: int,
) -> Tensor:
    """Gradient in z (`which` 0) or in the weight (1) of a depthwise convolution, by PyTorch."""
    mask = [which == 0, which == 1, False]
    steps = [stride, stride], padding, [dilation, dilation]
    gradients: Sequence[Tensor] = torch.ops.aten.convolution_backward(
        g, z, weight, None, *steps, False, [0, 0], len(weight), mask
    )
    return gradients[which]


def input_gradient(g: Tensor, z: Tensor, weight: Tensor, stride: int, dilation: int) -> Tensor:
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
    around = [dilation * padding] * 2
    exact = torch.promote_types(g.dtype, torch.float32)  # bfloat16 takes 15 times as long
    wide, like, taps = (tensor.to(exact) for tensor in (g, z, weight))
    return convolution_backward(wide, like, taps, stride, around, dilation, 0).to(g.dtype)


def weight_gradient(g: Tensor, z: Tensor, weight: Tensor, stride: int, dilation: int) -> Tensor:
    """In the weight, by strips of the kernel that are at most 3 wide."""
    kernel = weight.shape[-1]
    padding = kernel // 2
    if stride == dilation and stride > 1:
        z = z[:, :, ::stride, ::stride].contiguous(memory_format=torch.channels_last)
        return weight_gradient(g, z, weight, 1, 1)
    if dilation > 1 and stride > 1:
        around = [dilation * padding] * 2
        return convolution_backward(g, z, weight, stride, around, dilation, 1)
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


def phases(z: Tensor, step: int) -> Tensor:
    """Every `step`-th row and column, from each start, as examples of their own."""
    height, width = z.shape[2:]
    if height % step or width % step:
        z = nn.functional.pad(z, [0, -width % step, 0, -height % step])
    parts = [z[:, :, i::step, j::step] for i in range(step) for j in range(step)]
    return torch.cat(parts).contiguous(memory_format=torch.channels_last)
