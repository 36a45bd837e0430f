"""Layers that PyTorch does not have, or has wrong."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class FactorizedReduce(nn.Module):
    """Halve the resolution by two 1x1 convolutions, one shifted by a pixel (Liu et al. 2019)."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.even = nn.Conv2d(channels, width // 2, 1, bias=False)
        self.odd = nn.Conv2d(channels, width // 2, 1, bias=False)

    def forward(self, z: Tensor) -> Tensor:
        """z: [N, C, H, W]; beyond the end of odd sizes are zeros."""
        even, odd = z[:, :, ::2, ::2], z[:, :, 1::2, 1::2]
        if odd.shape != even.shape:
            around = [0, z.shape[3] % 2, 0, z.shape[2] % 2]
            odd = nn.functional.pad(odd, around)
        return torch.cat([self.even(even), self.odd(odd)], dim=1)


# Where it reads 2 to 7 channels, PyTorch's backward pass of such a convolution is wrong on some
# CPUs, or ends the process: oneDNN's, channels last, by AVX2.
class SubsampledConv2d(nn.Conv2d):
    """A convolution of 1x1 with a stride: takes the pixels it reads, then convolves each."""

    def forward(self, z: Tensor) -> Tensor:
        """z: [N, C, H, W]."""
        down, right = self.stride
        pixels = z[:, :, ::down, ::right]
        return nn.functional.conv2d(pixels, self.weight, self.bias, groups=self.groups)


class CausalConv1d(nn.Conv1d):
    """A convolution of which no position reads what comes after it."""

    def forward(self, z: Tensor) -> Tensor:
        """z: [N, C, L]."""
        before = self.dilation[0] * (self.kernel_size[0] - 1)
        return super().forward(nn.functional.pad(z, [before, 0]))


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation of the channels at each position."""

    def forward(self, z: Tensor) -> Tensor:
        """z: [N, C, ...]."""
        return super().forward(z.movedim(1, -1)).movedim(-1, 1)


class LayerScale(nn.Module):
    """Multiply each channel by a number that is learned, from 10^-exponent on."""

    def __init__(self, channels: int, exponent: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels,), 10.0**-exponent))

    def forward(self, z: Tensor) -> Tensor:
        """z: [N, C, ...]."""
        return z * self.weight.view(-1, *[1] * (z.dim() - 2))


class Chunk(nn.Module):
    """One of equal parts of the channels, counted from 0."""

    def __init__(self, index: int, parts: int) -> None:
        super().__init__()
        self.index = index
        self.parts = parts

    def forward(self, z: Tensor) -> Tensor:
        """z: [N, C, ...]."""
        return z.chunk(self.parts, dim=1)[self.index]


class PadChannels(nn.Module):
    """Channels of zeros after those that come in, up to `width`."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.added = width - channels

    def forward(self, z: Tensor) -> Tensor:
        """z: [N, C, ...]."""
        around = [0, 0] * (z.dim() - 2)  # nothing round the map itself
        return nn.functional.pad(z, [*around, 0, self.added])


class Sum(nn.ModuleList):
    """Several operations on one input, summed."""

    def forward(self, z: Tensor) -> Tensor:
        """z: [N, ...]."""
        first, *others = self
        total: Tensor = first(z)
        for operation in others:
            total = total + operation(z)
        return total
