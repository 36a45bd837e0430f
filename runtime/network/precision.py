"""In what numbers a network computes: 32 bits, or 16 where that is asked for.

On NVIDIA's GPUs PyTorch lets convolutions of 32 bits round their factors to TF32, which has the ten
digits of 16-bit numbers after the point. Training steps may; what is compared or decided by, such
as curvature, may not.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


def precisely(precision: str, device: torch.device) -> torch.autocast:
    """Products and convolutions in here by that setting: ``float32`` or ``bfloat16``.

    Weights stay in 32 bits; normalisation and sums over many numbers are as autocast has them.
    """
    low = precision == "bfloat16"
    return torch.autocast(device.type, torch.bfloat16, enabled=low)


def wide(outputs: Tensor) -> Tensor:
    """Outputs in 32 bits at least, as losses want them."""
    return outputs.float() if outputs.dtype == torch.bfloat16 else outputs


@contextmanager
def exactly() -> Iterator[None]:
    """Convolutions and products in here are of 32 bits, without TF32."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before
