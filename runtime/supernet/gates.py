"""The gates of a supernet: their numbers, and which of them are tied to one weight."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from attrs import frozen
from torch import Tensor

from bayesnas.compiler.graph.model import Graph


@frozen(eq=False)
class Gates:
    """G gates in R groups: tied gates share one, an untied gate is a group of its own.

    ``groups`` are the gates of each group, by its name, in the order of their first gates;
    ``numbers`` are the places of the groups in that order; ``group_of_gate`` [G] is the place of
    each gate's group, int64, on the supernet's device.
    """

    groups: Mapping[str, tuple[int, ...]]
    numbers: Mapping[str, int]
    group_of_gate: Tensor

    @classmethod
    def of(cls, graph: Graph, device: torch.device) -> Gates:
        """The gates of a graph."""
        names = [edge.searched_gate.group for edge in graph.searched()]
        groups: dict[str, list[int]] = {}
        for gate, name in enumerate(names):
            groups.setdefault(name, []).append(gate)
        numbers = {name: number for number, name in enumerate(groups)}
        places = torch.tensor([numbers[name] for name in names], dtype=torch.int64, device=device)
        return cls({name: tuple(gates) for name, gates in groups.items()}, numbers, places)

    def __len__(self) -> int:
        """G."""
        return len(self.group_of_gate)

    # ------------------------------------------------------------------------- from groups to gates

    def table(self, weights: Mapping[str, float]) -> Tensor:
        """Weights by group as float64 [R] on the CPU; 0 where a group is not named."""
        return torch.tensor([weights.get(g, 0.0) for g in self.groups], dtype=torch.float64)

    def spread(self, values: Tensor) -> Tensor:
        """Values of the groups [R] at every gate [G], on the supernet's device; differentiable."""
        return values.to(self.group_of_gate.device)[self.group_of_gate]

    def at(self, weights: Mapping[str, float]) -> Tensor:
        """What a supernet takes for weights by group: float32 [G]."""
        return self.spread(self.table(weights).to(torch.float32))

    # ------------------------------------------------------------------------- from gates to groups

    def named(self, values: Tensor) -> dict[str, float]:
        """Values of the groups [R] by their names."""
        return dict(zip(self.groups, values.to(torch.float64).tolist(), strict=True))

    def sum(self, values: Tensor) -> Tensor:
        """Of the gates [G] of every group [R]."""
        return values.new_zeros(len(self.groups)).index_add(0, self._places(values), values)

    def mean(self, values: Tensor) -> Tensor:
        """Of the gates [G] of every group [R]."""
        return self.sum(values) / self.sum(torch.ones_like(values))

    def maximum(self, values: Tensor) -> Tensor:
        """Of the gates [G] of every group [R]."""
        zeros = values.new_zeros(len(self.groups))
        return zeros.scatter_reduce(0, self._places(values), values, "amax", include_self=False)

    def tied(self, gradient: Tensor, curvature: Tensor) -> tuple[Tensor, Tensor]:
        """Derivatives in the groups' weights, [R] and [R, R], from those in the gates; on the CPU.

        Tied gates move together: sums over the gates of a group.
        """
        ties = gradient.new_zeros(len(self), len(self.groups))
        ties.scatter_(1, self._places(gradient)[:, None], 1)
        return (ties.T @ gradient).cpu(), (ties.T @ curvature @ ties).cpu()

    def _places(self, values: Tensor) -> Tensor:
        return self.group_of_gate.to(values.device)
