"""The strategy `evidence`: options go, a few at a time, by what the evidence loses with each.

The living members of the space, all alike, are the prior of the gates: its mean is the chance that
a random member keeps an operation. To remove an option is another prior, and the change in log
evidence says whether the data miss it. With L(w) the mean loss, g and H its gradient and curvature
at the mean m, and N examples, Jensen's inequality bounds the log evidence of a prior with mean m',

    log E[exp(-N L(w))] >= -N E[L(w)] ~ -N (L(m) + g^T d + d^T H d / 2) + const,    d = m' - m,

and the change of this bound with an option's removal, an example, is what an option is worth. H is
full: of two operations that are substitutes, the second is worth more once the first is gone.
What was tried besides, and how well it did, stands in docs/experiments.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import torch
from attrs import evolve, frozen
from torch import Tensor

from bayesnas.compiler.space.choices import Member, MemberSpace
from bayesnas.compiler.space.prices import Prices, best_member
from bayesnas.runtime.runs.reading import FLAG, Schema, both, listed, one_of, open_record
from bayesnas.runtime.strategies.gaussian import Gaussian
from bayesnas.runtime.strategies.interface import (
    Looks,
    Problem,
    Removal,
    Strategy,
    evidence_change,
)
from bayesnas.runtime.strategies.linear_algebra import cholesky, eigh
from bayesnas.runtime.supernet.supernet import RECALIBRATION, Supernet
from bayesnas.runtime.tasks.bundle import Inputs

PATIENCE: Final = 3  # rounds after which a choice that has not changed is taken; see `_watch`
SLOPE: Final = 4  # times as many examples for the gradient, which costs a tenth of the curvature
SAMPLED: Final = 0.4  # share of the options that is left to the draws, where there are any


@frozen
class Look:
    """The quadratic model of the mean loss at the mean of a space, and the posterior by it.

    All float64 over the groups [R]: ``mean`` is the prior's; ``gradient`` [R] and ``curvature``
    [R, R] are those of the loss there; ``price`` is what a group costs, in nats an example, so
    that the best member by ``values`` lies inside the budgets. The posterior is that of the gates
    under the whole likelihood.
    """

    numbers: Mapping[str, int]
    mean: Tensor
    gradient: Tensor
    curvature: Tensor
    price: Tensor
    prior_variance: Tensor
    posterior: Gaussian

    @classmethod
    def at(cls, space: MemberSpace, problem: Problem) -> Look:
        """The model of a space by the weights its supernet has now."""
        net, tie = problem.net, problem.net.gates
        gates = tie.at(space.mean())
        net.keep(space.candidates())
        with net.recalibrated(gates):
            part = net.sample(net.fit_part, SLOPE * problem.settings.curvature_examples)
            slope = net.gradient(gates, part)
            few = part.first(problem.settings.curvature_examples)
            g, H = tie.tied(slope, net.curvature(gates, few))
        prior = prior_covariance(space, tie.numbers)
        mean = tie.table(space.mean())
        posterior = laplace(mean, prior, g, H, len(net.fit_part))
        price = multiplier(space, tie.named(-g), problem.prices) * joint_prices(net, problem.prices)
        return cls(tie.numbers, mean, g, H, price, prior.diagonal(), posterior)

    @staticmethod
    def examples(problem: Problem) -> Looks:
        """What a look takes."""
        fit, few = len(problem.net.fit_part), problem.settings.curvature_examples
        return Looks(min(RECALIBRATION, fit), min(SLOPE * few, fit), min(few, fit))

    @property
    def values(self) -> dict[str, float]:
        """What a member gains by each group to first order, less its price."""
        gains = (-self.gradient - self.price).tolist()
        return {group: gains[n] for group, n in self.numbers.items()}

    def unpriced(self) -> Look:
        """The same where nothing has a price."""
        return evolve(self, price=torch.zeros_like(self.price))

    def changes(self, space: MemberSpace) -> dict[str, float]:
        """What each option's removal changes in the log evidence, plus the price that it saves.

        In nats an example. The space is the one looked at.
        """
        slope = self.gradient + self.price
        changes = {}
        for arriving, _ in space.nodes():
            node = evolve(space, connections=arriving)
            places = torch.tensor([self.numbers[o] for c in arriving for o in c.options])
            H = self.curvature[places][:, places]
            for option in node.options():
                after = node.without(option).mean()
                d = torch.tensor(
                    [after.get(o, 0.0) for c in arriving for o in c.options], dtype=slope.dtype
                )
                d -= self.mean[places]
                changes[option] = evidence_change(slope[places], H, d)
        return changes

    def report(self, space: MemberSpace) -> dict[str, dict[str, float]]:
        """What is known of every group that is still open: (17) to (19) on this posterior."""
        variance, mean = self.posterior.variance, self.posterior.mean
        rows = {}
        for group in space.candidates():
            n = self.numbers[group]
            gamma, C, w = (float(v[n]) for v in (self.prior_variance, variance, mean))
            row = {"w": float(self.mean[n]), "w_solved": w, "gamma": gamma, "C": C}
            row["error"] = math.sqrt(C)
            if gamma > C > 0:
                omega = math.sqrt(1 / gamma - C / gamma**2)
                row |= {"omega": omega, "s": abs(w) / omega}
            rows[group] = row
        return rows


def prior_covariance(space: MemberSpace, numbers: Mapping[str, int]) -> Tensor:
    """Covariance [R, R] of the gates over random members, connections taken as independent.

    Of the candidates of one connection at most one is kept: diag(p) - p p^T. Along a common shift
    of all of them it is singular or nearly so, which holds the scale of the gates in place.
    """
    covariance = torch.zeros(len(numbers), len(numbers), dtype=torch.float64)
    means = space.mean()
    for connection in space.connections:
        places = torch.tensor([numbers[o] for o in connection.options])
        p = torch.tensor([means[o] for o in connection.options], dtype=torch.float64)
        covariance[places[:, None], places] = torch.diag(p) - torch.outer(p, p)
    return covariance


def laplace(
    mean: Tensor, prior: Tensor, gradient: Tensor, curvature: Tensor, examples: int
) -> Gaussian:
    """The posterior N(mean - C N g, C) of the gates, C = (prior^-1 + N H)^-1.

    Args:
        mean: of the prior [R], where the derivatives were taken.
        prior: covariance [R, R], may be singular.
        gradient: g [R] of the mean loss.
        curvature: H [R, R] of the mean loss, positive semidefinite.
        examples: N, which makes the mean a sum.

    Raises:
        NumericalError: H is not finite, or too far from positive semidefinite.
    """
    values, vectors = eigh(prior, "the prior covariance of the gates")
    half = vectors * values.clamp_min(0).sqrt()
    inner = torch.eye(len(mean), dtype=mean.dtype) + examples * half.T @ curvature @ half
    lower = cholesky(inner, "the posterior precision of the gates")
    root = torch.linalg.solve_triangular(lower, half.T, upper=False).T
    return Gaussian(mean - root @ (root.T @ gradient) * examples, root)


# ----------------------------------------------------------------------------------------- budgets


def joint_prices(net: Supernet, prices: Prices) -> Tensor:
    """What each group takes of the budget that it takes most of, [R], dimensionless."""
    return torch.tensor(
        [max(prices.shares[group], default=0.0) for group in net.gates.groups], dtype=torch.float64
    )


def multiplier(space: MemberSpace, values: Mapping[str, float], prices: Prices) -> float:
    """What the whole budget is worth, in units of the values: 0 where it does not bind.

    The least at which the member of the largest values less prices lies inside the budgets
    (a Lagrange multiplier, by bisection).
    """
    if not prices.budgets:
        return 0.0
    free = prices.unlimited()

    def fits(worth: float) -> bool:
        priced = {
            group: values[group] - worth * max(prices.shares[group]) for group in space.candidates()
        }
        member = best_member(space, priced, free)
        return member is not None and prices.fit(member)

    low, high = 0.0, max(map(abs, values.values()), default=0.0) or 1.0
    if fits(low):
        return low
    for _ in range(20):
        if fits(high):
            break
        low, high = high, 2 * high
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high


# ---------------------------------------------------------------------------------------- strategy


class Evidence(Strategy):
    """Removes the options that the evidence misses least, until one member is left.

    With ``discretize = no`` it ends where the constraints hold and every removal would lower the
    evidence; several operations may then stay on one edge, and nothing is drawn, unless the
    settings ask for it.
    """

    default_draws = 24

    @property
    def draws(self) -> int:
        """Unasked, none where several operations may stay: what is drawn is a discrete member.

        None where widths are searched, which say which member is best with its channels.
        """
        if self.problem.widths is not None:
            return 0
        asked = self.settings.discretize == "yes" or self.settings.draws
        return super().draws if asked else 0

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.total = self.space.excess()
        self.choices: list[list[str]] = []  # the best member as it looked in each round

    def step(self, inputs: Inputs, targets: Tensor, searching: bool) -> float:  # noqa: ARG002
        """The weights learn under random parts of the space, so that each works without others."""
        return self.learn_part(inputs, targets)

    def update(self, number: int, rounds: int) -> Removal:
        """Derivatives at the mean, then as many removals as are due."""
        look = Look.at(self.space, self.problem)
        for group, row in look.report(self.space).items():
            self.report[group] = self.report.get(group, {}) | row
        if self.draws and number == rounds:
            return self._draw(look)
        self._report_changes(look)
        changes = look.changes(self.space)
        before = self.space.candidates()
        member = self._narrow({group: -c for group, c in changes.items()}, rounds - number + 1)
        if member is not None:  # it stays, whatever else does
            changes = {option: c for option, c in changes.items() if option not in member}
        self._remove(changes, self._due(number, rounds), look)
        if self.problem.widths is None:
            self._watch(changes)
        elif number == rounds:
            self._settle(member)
        return Removal(dict.fromkeys(sorted(before - self.space.candidates()), "evidence"))

    def _settle(self, member: Member | None) -> None:
        """The member with its channels, where widths are searched."""
        if member is not None and self.settings.discretize == "yes":
            self.space = self.space.only(member)
        self._finish_widths()

    def _report_changes(self, look: Look) -> None:
        changes = look.unpriced().changes(self.space)
        for group in self.space.candidates() & changes.keys():
            self.report[group]["evidence_change"] = changes[group]

    def _remove(self, changes: Mapping[str, float], due: int, look: Look) -> None:
        """Remove the options that are missed least, as many as are due and can go."""
        order = iter(sorted(changes, key=lambda option: (-changes[option], option)))
        while due > 0 and (option := next(order, None)) is not None:
            if changes[option] < 0 and not self._must_go(option):
                continue
            if option in self.space.options() and self._can_go(option, look):
                self.space = self.space.without(option)
                due -= 1

    def _due(self, number: int, rounds: int) -> int:
        """How many options go in this round, so that all have gone after the last."""
        rounds_left, excess = rounds - number + 1, self.space.excess()
        if self.draws:
            excess -= math.ceil(SAMPLED * self.total)
            rounds_left -= 1
        return max(0, math.ceil(excess / rounds_left))

    def _can_go(self, option: str, look: Look) -> bool:
        """Whether a member inside the budgets is left without it."""
        return self.problem.possible(self.space.without(option), look.values)

    def _must_go(self, option: str) -> bool:
        """Whether a constraint of the space asks for removals such as this, missed or not."""
        if self.settings.discretize == "yes":
            return True
        crowded = any(
            kept is not None and len(arriving) > kept and any(option in c.options for c in arriving)
            for arriving, kept in self.space.nodes()
        )
        return crowded or not self.problem.prices.fit(self.space.candidates())

    def _watch(self, changes: Mapping[str, float]) -> None:
        """Take a choice that has not changed for `PATIENCE` rounds early, if nothing is drawn.

        It is the member that would be missed most. Only once half of the options have gone: before,
        it follows the loudest gradients.
        """
        if self.space.excess() > self.total / 2:
            return
        missed = {option: -change for option, change in changes.items()}
        choice = best_member(self.space, missed, self.problem.prices)
        self.choices.append(sorted(choice or ()))
        recent = self.choices[-PATIENCE:]
        discrete = self.settings.discretize == "yes" and not self.draws
        if discrete and len(recent) == PATIENCE and all(c == recent[0] for c in recent):
            self.stable = True
        if self.space.excess() == 0:
            self.stable = True

    def _draw(self, look: Look) -> Removal:
        """Members drawn from the posterior of the gates, judged; the best stays."""
        members = self.drawn_members(look.posterior)
        return self.keep_judged(members)

    def looks(self, rounds: int, trained: int) -> Looks:
        """With one look a round."""
        rest = super().looks(rounds, trained)
        each = Look.examples(self.problem)
        return Looks(
            rest.forward + rounds * each.forward, rounds * each.gradient, rounds * each.curvature
        )

    def finish(self) -> Removal:
        """What an early end still has to remove."""
        if self.settings.discretize == "no" or self.space.excess() == 0:
            return Removal()
        member = frozenset(self.choices[-1])
        return self.keep_only(member, "evidence")

    def state(self) -> dict[str, Any]:
        """With the choices so far."""
        return super().state() | {"choices": self.choices, "stable": self.stable}

    def state_schema(self) -> Schema:
        """With what `state` adds."""
        choices = listed(listed(one_of(self.net.gates.groups)))
        own = open_record({"choices": choices, "stable": FLAG})
        return both(super().state_schema(), own)

    def restore(self, state: Mapping[str, Any]) -> None:
        """Back to what `state` gave."""
        super().restore(state)
        self.choices, self.stable = state["choices"], state["stable"]
