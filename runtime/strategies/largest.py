"""The strategy `largest`: the biggest member inside the budgets."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from bayesnas.compiler.space.members import group_costs
from bayesnas.runtime.strategies.interface import Removal, Strategy
from bayesnas.runtime.tasks.bundle import Inputs


class Largest(Strategy):
    """`largest`: the biggest member inside the budgets, without a look at the data."""

    trains: ClassVar[bool] = False

    def step(self, inputs: Inputs, targets: Tensor, searching: bool) -> float:  # noqa: ARG002
        """Nothing is trained."""
        raise AssertionError("the largest member needs no training")

    def update(self, number: int, rounds: int) -> Removal:  # noqa: ARG002
        """The member of most parameters, or most of what the budgets count."""
        prices = self.problem.prices
        name = prices.budgets[0].cost if prices.budgets else "parameters"
        return self.settle(group_costs(prices.graph, name), "largest")
