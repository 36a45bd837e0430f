"""The strategy `largest`: the biggest member inside the budgets."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from bayesnas.runtime.strategies.interface import Removal, Strategy
from bayesnas.runtime.tasks.bundle import Inputs


class Largest(Strategy):
    """`largest`: the biggest member inside the budgets, without a look at the data."""

    trains: ClassVar[bool] = False

    def step(self, inputs: Inputs, targets: Tensor, searching: bool) -> float:  # noqa: ARG002
        """Nothing is trained."""
        raise AssertionError("the largest member needs no training")

    def update(self, number: int, rounds: int) -> Removal:  # noqa: ARG002
        """Everything else goes."""
        return self.settle(self.sizes(), "largest")
