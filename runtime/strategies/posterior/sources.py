"""What is known of members before one is judged: its capacity, derivatives, losses in training."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import torch
from attrs import frozen
from torch import Tensor

from bayesnas.compiler.graph.cost import graph_cost
from bayesnas.compiler.graph.model import Graph
from bayesnas.compiler.space.choices import Member
from bayesnas.compiler.space.members import group_costs
from bayesnas.runtime.strategies.evidence import Look

SOURCES: Final = ("capacity", "gradient", "curvature", "training")
OPERATIONS: Final = len(SOURCES)  # the block of the operations themselves
_FLAT: Final = 1e-9  # a deviation below which a source does not tell members apart


@frozen(eq=False)
class Capacity:
    """How much members compute: the logarithm of their multiply-accumulates, in doublings.

    ``costs`` [R] are those of each group, which are taken to add up; ``fixed`` is what every member
    costs, one at least.
    """

    costs: Tensor
    fixed: float

    @classmethod
    def of(cls, graph: Graph, numbers: Mapping[str, int]) -> Capacity:
        """Of the network that is wanted; ``numbers`` are the places of its groups."""
        costs = torch.zeros(len(numbers), dtype=torch.float64)
        for group, cost in group_costs(graph, "flops").items():
            costs[numbers[group]] = cost
        return cls(costs, max(1.0, graph_cost(graph).flops - float(costs.sum())))

    def doublings(self, members: Tensor) -> Tensor:
        """Of members [M, R]: [M]."""
        return torch.log2(self.fixed + members @ self.costs)

    def slope(self, at: Tensor) -> Tensor:
        """What a little of each group adds to the doublings at a point [R]: [R]."""
        return self.costs / (self.fixed + at @ self.costs) / math.log(2)


@frozen(eq=False)
class Sources:
    """Scores of members by each source, and by every group that they keep.

    All float64. Losses of members are regressed on them. Each of `SOURCES`, and the groups
    together, have the variance 1 over the members that they were scaled by.

    Args:
        numbers: the places of the groups.
        capacity: of the network that is wanted.
        center: the mean of the gates, at which the derivatives were taken [R].
        gradient: of the mean loss in the gates there [R].
        curvature: of it [R, R].
        training: what each group does to the loss of steps that train a member [R].
        scales: what `SOURCES` and the groups are divided by [K].
        origin: what is taken off them before [K].
        living: of a member, the groups that something reads. Others cost and do nothing.
    """

    numbers: Mapping[str, int]
    capacity: Capacity
    center: Tensor
    gradient: Tensor
    curvature: Tensor
    training: Tensor
    scales: Tensor
    origin: Tensor
    living: Callable[[Member], Member]

    @classmethod
    def of(
        cls,
        capacity: Capacity,
        look: Look,
        training: Tensor,
        members: Sequence[Member],
        living: Callable[[Member], Member],
    ) -> Sources:
        """Scaled by some random members, two at least."""
        known = (look.numbers, capacity, look.mean, look.gradient, look.curvature, training)
        ones = torch.ones(OPERATIONS + len(look.mean), dtype=torch.float64)
        plain = cls(*known, ones, torch.zeros_like(ones), living)
        scores = plain.scores(plain.rows(members))
        deviations = scores.std(dim=0)
        scales = torch.where(deviations > _FLAT, deviations, torch.inf)
        together = float(deviations[OPERATIONS:].square().sum().sqrt())
        scales[OPERATIONS:] = together if together > _FLAT else torch.inf
        return cls(*known, scales, scores.mean(dim=0), living)

    @property
    def blocks(self) -> Tensor:
        """The block of each score [K], int64: a source alone is one, all groups are another."""
        groups = len(self.center)
        return torch.tensor([*range(OPERATIONS), *[OPERATIONS] * groups])

    def rows(self, members: Sequence[Member]) -> Tensor:
        """Members as rows of the groups that live in them [M, R]."""
        numbers = ([self.numbers[group] for group in self.living(member)] for member in members)
        return indicators([*numbers], len(self.numbers))

    def scores(self, members: Tensor) -> Tensor:
        """Of members [M, R], 1 for each group that they keep: [M, K]."""
        d = members - self.center
        first = d @ self.gradient
        second = first + ((d @ self.curvature) * d).sum(dim=1) / 2
        columns = (self.capacity.doublings(members), first, second, members @ self.training)
        return (
            torch.cat([torch.stack(columns, dim=1), members], dim=1) - self.origin
        ) / self.scales

    def slopes(self, at: Tensor) -> Tensor:
        """The derivative of the scores in the groups at a point [R]: [R, K]."""
        second = self.gradient + self.curvature @ (at - self.center)
        columns = (self.capacity.slope(at), self.gradient, second, self.training)
        groups = torch.eye(len(at), dtype=at.dtype)
        return torch.cat([torch.stack(columns, dim=1), groups], dim=1) / self.scales


def indicators(rows: Sequence[Sequence[int]], size: int) -> Tensor:
    """Rows that are 1 at these places and 0 elsewhere [len(rows), size], float64."""
    result = torch.zeros(len(rows), size, dtype=torch.float64)
    for row, places in zip(result, rows, strict=True):
        row[places] = 1
    return result
