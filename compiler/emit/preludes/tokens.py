"""Layers of transformers: tokens are the positions of a map, their features its channels."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SelfAttention(nn.Module):
    """Each position asks all of them, in several heads (Vaswani et al. 2017)."""

    def __init__(
        self,
        channels: int,
        heads: int,
        width: int,
        keys: int,
        values: int,
        bias: bool = True,
        causal: bool = False,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.causal = causal
        self.queries = nn.Linear(channels, keys, bias=bias)
        self.keys = nn.Linear(channels, keys, bias=bias)
        self.values = nn.Linear(channels, values, bias=bias)
        self.out = nn.Linear(values, width, bias=bias)

    def forward(self, z: Tensor) -> Tensor:
        """z: [N, C, ...]."""
        tokens = z.flatten(2).transpose(1, 2)
        q, k, v = self.queries(tokens), self.keys(tokens), self.values(tokens)
        q, k, v = (self.split(x) for x in (q, k, v))
        y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        y = self.out(y.transpose(1, 2).flatten(2))
        answers: Tensor = y.transpose(1, 2).reshape(z.shape[0], -1, *z.shape[2:])
        return answers

    def split(self, x: Tensor) -> Tensor:
        """[N, L, features] dealt to the heads: [N, heads, L, features of one]."""
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)


class Position(nn.Module):
    """Add a vector that is learned for each position."""

    def __init__(self, channels: int, length: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(0.02 * torch.randn(channels, length))

    def forward(self, z: Tensor) -> Tensor:
        """z: [N, C, ...]."""
        return z + self.weight.view(-1, *z.shape[2:])


class TokenEmbedding(nn.Embedding):
    """A vector that is learned for each word."""

    def forward(self, z: Tensor) -> Tensor:
        """z: [N, L], whole numbers; what leaves is [N, C, L]."""
        return super().forward(z.long()).transpose(1, 2)
