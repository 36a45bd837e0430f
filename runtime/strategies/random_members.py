"""The strategy `random`: random members, the best of them by its shared weights."""

from __future__ import annotations

from torch import Tensor

from bayesnas.runtime.strategies.interface import Removal, Strategy
from bayesnas.runtime.tasks.bundle import Inputs


class RandomChoice(Strategy):
    """`random`: some random members inside the budgets, the best by held-out loss.

    The weights learn along random paths (Guo et al., *Single path one-shot NAS*, ECCV 2020), one
    member a step, so that they are those the members are judged by.
    """

    default_draws = 24

    def step(self, inputs: Inputs, targets: Tensor, searching: bool) -> float:  # noqa: ARG002
        """The weights of one random member learn."""
        return self.learn_member(inputs, targets, self.space.draw(self.random))

    def update(self, number: int, rounds: int) -> Removal:
        """The best of the members drawn, after the last round."""
        if number < rounds:
            return Removal()
        return self.keep_judged(self.random_members())
