"""The strategy `thompson`: what each option does to the loss, by regression over random members.

Every training step of the search is an experiment: a member, and the loss of its batch. With x [R]
the member's groups and t the step, the model is

    loss = a(t) + x^T beta + noise,    beta ~ N(0, tau^2),    noise ~ N(0, sigma^2),

and both variances are those of the largest evidence (MacKay, *Bayesian interpolation*, Neural
Computation 1992). Members are drawn from the posterior of beta to be trained more (Thompson,
*Biometrika* 1933), and at last to be judged on held-out examples. Before, in the warm-up, the
weights learn under random parts of the space, as those of `evidence` do; how much that helps stands
in docs/algorithm.md. No derivative is taken in the gates.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor

from bayesnas.compiler.space.choices import Member
from bayesnas.compiler.space.prices import best_member
from bayesnas.runtime.runs.progress import say_note
from bayesnas.runtime.runs.reading import (
    COUNT,
    NUMBER,
    Schema,
    agreeing,
    between,
    both,
    listed,
    open_record,
)
from bayesnas.runtime.strategies.gaussian import Gaussian
from bayesnas.runtime.strategies.interface import Problem, Removal, Strategy, judged, random_member
from bayesnas.runtime.strategies.linear_algebra import eigh
from bayesnas.runtime.strategies.sampling import thinned

UNIFORM: Final = 0.3  # share of the search's steps whose member is any, however it looks
DRIFT: Final = 101  # steps whose mean loss stands for a(t)
LEAST: Final = 50  # steps before members are drawn from what they say
ITERATIONS: Final = 50  # of the variances; they settle in about ten


def effects(members: Tensor, losses: Tensor) -> Gaussian:
    """The posterior of what each group does to the loss, in nats an example [R].

    Bayesian linear regression of losses on members, its variances by evidence.

    The slow drift of the losses is taken off first, and with it what does not vary.

    Args:
        members: which groups were in, or by how much, [T, R], T > 0; float64.
        losses: nats an example, [T], float64.

    Raises:
        NumericalError: members are not finite.
    """
    x, y = detrended(members), detrended(losses[:, None])[:, 0]
    values, vectors = eigh(x.T @ x, "the Gram matrix of the members")
    values, projected = values.clamp_min(0), vectors.T @ (x.T @ y)
    noise = prior = max(float(y.square().mean()), 1e-12)
    for _ in range(ITERATIONS):
        ridge = values + noise / prior
        solved, determined = projected / ridge, float((values / ridge).sum())
        residual = float((y - x @ (vectors @ solved)).square().sum())
        noise = max(residual / max(len(y) - determined, 1.0), 1e-12)
        prior = max(float(solved.square().sum()) / max(determined, 1e-12), 1e-12)
    precision = values / noise + 1 / prior
    return Gaussian(vectors @ (projected / noise / precision), vectors / precision.sqrt())


def detrended(series: Tensor) -> Tensor:
    """A series [T, K] less its running mean over `DRIFT` steps, fewer at the ends."""
    half = DRIFT // 2
    sums = torch.cat([series.new_zeros(1, series.shape[1]), series.cumsum(dim=0)])
    steps = torch.arange(len(series))
    first, last = (steps - half).clamp_min(0), (steps + half + 1).clamp_max(len(series))
    return series - (sums[last] - sums[first]) / (last - first)[:, None]


class Thompson(Strategy):
    """Trains members, learns from their losses what is good, and judges the best at last."""

    likes = 24

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.members: list[list[int]] = []  # of every step of the search, the numbers of its groups
        self.losses: list[float] = []
        self.learned = 0  # steps that the posterior is of
        self.posterior: Gaussian | None = None

    def step(self, inputs: Tensor, targets: Tensor, searching: bool) -> float:
        """A random part of the space learns in the warm-up, then one member."""
        if not searching:
            part = thinned(self.space, self.settings.operation_drop, self.random)
            self.net.keep(part.candidates())
            return self.net.descend(inputs, targets, self.net.gates.at(part.mean()))
        member = self._member()
        self.net.keep(member)
        loss = self.net.descend(inputs, targets, self.net.gates.at(dict.fromkeys(member, 1.0)))
        self.members.append(sorted(self.net.gates.numbers[group] for group in member))
        self.losses.append(loss)
        return loss

    def _member(self) -> Member:
        """One drawn from the posterior, or any."""
        if self.posterior is not None and self.random.random() >= UNIFORM:
            values = self.net.gates.named(-self.posterior.sample(self.net.generator))
            member = best_member(self.space, values, self.problem.prices)
            if member is not None:
                return member
        return random_member(self.space, self.problem.prices, self.random)

    def update(self, number: int, rounds: int) -> Removal:
        """The effects anew; after the last round the best of the members drawn from them."""
        self._learn(len(self.losses))
        if number < rounds:
            return Removal()
        return self.keep_only(judged(self.net, self._drawn()), "judged")

    def _learn(self, steps: int) -> None:
        """By the later half of so many: what is good for a beginner may not be so later."""
        self.learned = steps
        first = steps // 2
        if steps - first < LEAST:
            return
        x = torch.zeros(steps - first, len(self.net.gates.groups), dtype=torch.float64)
        for row, numbers in zip(x, self.members[first:steps], strict=True):
            row[numbers] = 1
        self.posterior = effects(x, torch.tensor(self.losses[first:steps], dtype=torch.float64))
        error = self.posterior.deviation
        for group, n in self.net.gates.numbers.items():
            self.report[group] = {"w": -float(self.posterior.mean[n]), "error": float(error[n])}

    def _drawn(self) -> list[Member]:
        """Members for the judge.

        Raises:
            DiagnosticError: D604 (status 1) if none was found inside the budgets.
        """
        if self.posterior is None:
            say_note(
                f"{len(self.losses)} steps of the search are too few to learn from "
                f"({2 * LEAST} would do): random members are judged; raise `epochs` or `rounds`"
            )
            return self.random_members()
        return self.drawn_members(-self.posterior)

    def state(self) -> dict[str, Any]:
        """With all members and losses so far."""
        own = {"members": self.members, "losses": self.losses, "learned": self.learned}
        return super().state() | own

    def state_schema(self) -> Schema:
        """With what `state` adds."""
        groups = listed(between(0, len(self.net.gates.groups) - 1))
        own = {"members": listed(groups), "losses": listed(NUMBER), "learned": COUNT}
        return both(super().state_schema(), open_record(own), agreeing(_miscounted))

    def restore(self, state: Mapping[str, Any]) -> None:
        """Back to what `state` gave."""
        super().restore(state)
        self.members, self.losses = state["members"], state["losses"]
        self._learn(state["learned"])


def _miscounted(state: Mapping[str, Any]) -> str | None:
    """What does not fit together in a state; None if nothing."""
    if len(state["members"]) != len(state["losses"]):
        return "members and losses are not of one length"
    if state["learned"] > len(state["losses"]):
        return "learned is more than there are losses"
    return None
