"""What a trained network does to its inputs before anything else."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def standardised(x: Tensor, network: Any) -> Tensor:
    """x: [N, C, ...], bytes as shares of 255, to mean 0 and deviation 1 of each channel."""
    if x.dtype == torch.uint8:
        x = x.to(torch.float32) / 255
    x = (x - network.input_mean) / network.input_std  # in their type, which may be a finer one
    return x.to(next(network.parameters(), network.input_std).dtype)


def standardised_by(x: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """The same by statistics of one of several inputs; the result is of 32 bits."""
    if x.dtype == torch.uint8:
        x = x.to(torch.float32) / 255
    return ((x - mean) / std).to(torch.float32)
