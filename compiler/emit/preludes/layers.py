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
        """z: [N, C, H, W]."""
        return torch.cat([self.even(z[:, :, ::2, ::2]), self.odd(z[:, :, 1::2, 1::2])], dim=1)


# Where it reads 2 to 7 channels, PyTorch's backward pass of such a convolution is wrong on some
# CPUs, or ends the process: oneDNN's, channels last, by AVX2.
class SubsampledConv2d(nn.Conv2d):
    """A convolution of 1x1 with a stride: takes the pixels it reads, then convolves each."""

    def forward(self, z: Tensor) -> Tensor:
        """z: [N, C, H, W]."""
        down, right = self.stride
        pixels = z[:, :, ::down, ::right]
        return nn.functional.conv2d(pixels, self.weight, self.bias, groups=self.groups)


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
