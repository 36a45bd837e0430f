"""Layers of recurrent networks, whose steps are calls of one module."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Pick(nn.Module):
    """One position of a series, counted from 0."""

    def __init__(self, index: int) -> None:
        super().__init__()
        self.index = index

    def forward(self, z: Tensor) -> Tensor:
        """z: [N, C, L]."""
        return z[:, :, self.index]


class Series(nn.Module):
    """Vectors side by side as a series of them."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.length = length

    def forward(self, z: Tensor) -> Tensor:
        """z: [N, L * C]; what leaves is [N, C, L]."""
        return z.view(z.shape[0], self.length, -1).transpose(1, 2)


class Zeros(nn.Module):
    """A state to begin with."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, z: Tensor) -> Tensor:
        """z: [N, ...]; what leaves is [N, width]."""
        return z.new_zeros(z.shape[0], self.width)


class Complement(nn.Module):
    """What a gate leaves."""

    def forward(self, z: Tensor) -> Tensor:
        """z: [N, ...]."""
        return 1 - z


class Highway(nn.Module):
    """A state s and what replaces it where a gate c is open (Srivastava et al. 2015).

    `activation` is 0 for none, 1 for tanh, 2 for relu and 3 for sigmoid.
    """

    def __init__(self, activation: int) -> None:
        super().__init__()
        self.activation = (nn.Identity(), nn.Tanh(), nn.ReLU(), nn.Sigmoid())[activation]

    def forward(self, z: Tensor) -> Tensor:
        """z: [N, 3 C, ...]: s, c and g."""
        s, c, g = z.chunk(3, dim=1)
        opened: Tensor = s + c.sigmoid() * (self.activation(g) - s)
        return opened


class Carried(nn.Module):
    """A state that goes on where the last call ended, in calls while `carries` is set.

    Rows of a call are the first ones of `state`, which has as many as any call; where it is
    `fresh`, a call begins as if there had been none.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.carries = False
        self.state: Tensor = nn.Buffer(torch.zeros(1, width), persistent=False)
        self.fresh: Tensor = nn.Buffer(torch.ones((), dtype=torch.bool), persistent=False)

    def forward(self, start: Tensor) -> Tensor:
        """start: [N, width], what the state is at the first call."""
        if not self.carries:
            return start
        return torch.where(self.fresh.clone(), start, self.state[: len(start)])

    def keep(self, state: Tensor) -> None:
        """state: [N, width], what the next call goes on from; no gradient goes back there."""
        if self.carries:
            self.state[: len(state)].copy_(state.detach())
            self.fresh.fill_(False)


class Matrix(nn.Linear):
    """A matrix that each position is multiplied by.

    In training a `share` of its numbers is zero, the same ones until `draw` chooses others (Wan et
    al. 2013; Merity et al. 2018).
    """

    def __init__(self, channels: int, width: int, share: float = 0.0) -> None:
        super().__init__(channels, width, bias=False)
        self.share = share
        self.kept: Tensor | None = None

    def draw(self) -> None:
        """Choose the numbers that are zero."""
        self.kept = nn.functional.dropout(torch.ones_like(self.weight), self.share)

    def forward(self, z: Tensor) -> Tensor:
        """z: [N, C] or [N, C, L]."""
        weight: Tensor = self.weight
        if self.training and self.kept is not None:
            weight = weight * self.kept
        return nn.functional.linear(z.movedim(1, -1), weight).movedim(-1, 1)


def draw_matrices(network: nn.Module) -> None:
    """Let each matrix of a network drop other numbers: once a pass, whatever it is called in."""
    for module in network.modules():
        if isinstance(module, Matrix) and module.share:
            module.draw()
