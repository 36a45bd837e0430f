"""Backward passes that take other ways than PyTorch's."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class DenseGradient(torch.autograd.Function):
    """Passes z on; its gradient, perhaps a slice of a concatenation, is made dense once for all."""

    @staticmethod
    def forward(z: Tensor) -> Tensor:
        """z: [N, ...]."""
        return z.view_as(z)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:  # noqa: ARG004
        """Note the memory format: a dense gradient has the same."""
        [z] = inputs
        ctx.last = z.dim() == 4 and z.is_contiguous(memory_format=torch.channels_last)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        """g: like z."""
        return g.movedim(1, -1).contiguous().movedim(-1, 1) if ctx.last else g.contiguous()
