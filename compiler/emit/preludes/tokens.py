"""Layers of transformers: tokens are the positions of a map, their features its channels."""

from __future__ import annotations

from typing import Any

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


class DroppingEmbedding(TokenEmbedding):
    """An embedding that forgets a share of all words in each batch (Merity et al. 2018)."""

    def __init__(self, words: int, width: int, share: float) -> None:
        super().__init__(words, width)
        self.share = share

    def forward(self, z: Tensor) -> Tensor:
        """z: [N, L], whole numbers; what leaves is [N, C, L]."""
        words = self.weight.new_ones(self.num_embeddings)
        kept = nn.functional.dropout(words, self.share, self.training)
        return super().forward(z) * kept[z.long()][:, None]


class Unembedding(nn.Module):
    """How much words are like a vector; `weight` is that of an embedding, and set after."""

    def __init__(self, words: int, bias: bool) -> None:
        super().__init__()
        self.register_parameter("weight", None)
        self.bias = nn.Parameter(torch.zeros(words)) if bias else None

    def forward(self, z: Tensor) -> Tensor:
        """z: [N, C, ...]; what leaves is [N, words, ...]."""
        vectors: Any = self.weight
        return nn.functional.linear(z.movedim(1, -1), vectors, self.bias).movedim(-1, 1)
