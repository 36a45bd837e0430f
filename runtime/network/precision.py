"""In what numbers a network computes: 32 bits, or 16 where that is asked for.

On NVIDIA's GPUs PyTorch lets convolutions of 32 bits round their factors to TF32, which keeps 11
binary digits of 24. Training steps and judgements may; derivatives in the gates may not.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

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
    backends: Any = torch.backends
    kinds = backends.cuda.matmul, backends.cudnn.conv
    before = [kind.fp32_precision for kind in kinds]
    try:
        for kind in kinds:
            kind.fp32_precision = "ieee"
        yield
    finally:
        for kind, own in zip(kinds, before, strict=True):
            kind.fp32_precision = own
