"""Searched edges: `MixedEdge` runs each candidate by itself, `ScheduledEdge` by a schedule."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn


class SearchedEdge(nn.Module):
    """A searched edge: its candidate operations, without those named in `pruned`."""

    def __init__(self, candidates: dict[str, nn.Module]) -> None:
        super().__init__()
        self.candidates = nn.ModuleDict(candidates)
        self.pruned: set[str] = set()
        self.shapes: dict[torch.Size, torch.Size] = {}

    @torch.no_grad()
    def zeros(self, z: Tensor) -> Tensor:
        """What leaves an edge without candidates; its shape is tried once on one example."""
        if z.shape[1:] not in self.shapes:
            operation = next(iter(self.candidates.values()))
            training = operation.training
            self.shapes[z.shape[1:]] = operation.eval()(z[:1]).shape[1:]
            operation.train(training)
        return z.new_zeros(1).broadcast_to(len(z), *self.shapes[z.shape[1:]])


class MixedEdge(SearchedEdge):
    """A searched edge: its candidate operations, each scaled by its gate, summed."""

    def __init__(self, **candidates: nn.Module) -> None:
        super().__init__(candidates)

    def forward(self, z: Tensor, gates: Tensor) -> Tensor:
        """z: [N, ...]; gates: [1, K] for all examples, or [N, K], one row for each."""
        total = None
        for k, (name, operation) in enumerate(self.candidates.items()):
            if name not in self.pruned:
                y = scaled(operation, z, gates[:, k])
                total = y if total is None else total + y
        return self.zeros(z) if total is None else total


class ScheduledEdge(SearchedEdge):
    """A mixed edge whose candidates run as a schedule has it."""

    def __init__(self, **candidates: Candidate) -> None:
        super().__init__({name: one.operation for name, one in candidates.items()})
        self.plans = candidates

    def forward(
        self, z: Tensor, gates: Tensor, made: dict[tuple[str, ...], Tensor] | None = None
    ) -> Tensor:
        """z: [N, ...]; gates: [1, K] for all examples, or [N, K], one row for each.

        `made` holds what all edges that read z have made of it, by the names of the stages.
        """
        made = {} if made is None else made
        total = None
        for k, (name, candidate) in enumerate(self.plans.items()):
            if name not in self.pruned:
                y = candidate(z, gates[:, k], made)
                total = y if total is None else total.add_(y)
        return self.zeros(z) if total is None else total


class Candidate:
    """An operation of a scheduled edge.

    `shared` names the stages it starts with, which run once for all that read the same tensor;
    `fold` multiplies the gate into the last stage.
    """

    def __init__(
        self,
        operation: nn.Module,
        shared: Sequence[str] = (),
        fold: Callable[[nn.Module, Tensor, Tensor], Tensor] | None = None,
    ) -> None:
        self.operation = operation
        self.names = tuple(shared)
        self.fold = scaled if fold is None else fold
        stages = list(operation) if type(operation) is nn.Sequential else [operation]
        self.first = stages[: len(shared)]
        *self.inner, self.last = stages[len(shared) :] or [nn.Identity()]

    def __call__(self, z: Tensor, gate: Tensor, made: dict[tuple[str, ...], Tensor]) -> Tensor:
        """What the operation makes of z, times its gate."""
        for k, stage in enumerate(self.first):
            names = self.names[: k + 1]
            if names not in made:
                made[names] = stage(z)
            z = made[names]
        for stage in self.inner:
            z = stage(z)
        return self.fold(self.last, z, gate)


def scaled(operation: nn.Module, z: Tensor, gate: Tensor) -> Tensor:
    """`operation(z)` times the gate: [1], or [N], one for each example."""
    y: Tensor = operation(z)
    return y * gate.view(-1, *[1] * (y.dim() - 1))


def scaled_norm(norm: nn.BatchNorm1d | nn.BatchNorm2d, z: Tensor, gate: Tensor) -> Tensor:
    """The same of a batch normalisation; one gate for all examples goes into its scale."""
    if len(gate) > 1:
        return scaled(norm, z, gate)
    weight = gate.repeat(norm.num_features) if norm.weight is None else norm.weight * gate
    bias = None if norm.bias is None else norm.bias * gate
    momentum = 0.0 if norm.momentum is None else norm.momentum
    if norm.training and norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)
        if norm.momentum is None:
            momentum = 1 / float(norm.num_batches_tracked)
    by_batch = norm.training or norm.running_mean is None
    return nn.functional.batch_norm(
        z, norm.running_mean, norm.running_var, weight, bias, by_batch, momentum, norm.eps
    )
