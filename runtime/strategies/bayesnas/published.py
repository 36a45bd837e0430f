"""The strategy `bayesnas`: Algorithms 1 and 2 of BayesNAS (Zhou et al., ICML 2019).

Deviations are listed in docs/algorithm.md.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from bayesnas.compiler.passes.gamma import Dependency, derive_gamma
from bayesnas.compiler.space.choices import Member
from bayesnas.runtime.runs.progress import say_note
from bayesnas.runtime.runs.reading import ANY_NUMBER, Schema, both, one_of, open_record, table
from bayesnas.runtime.strategies.bayesnas.posterior import GatePosterior, Layout
from bayesnas.runtime.strategies.bayesnas.pruning import Pruner
from bayesnas.runtime.strategies.gaussian import Gaussian
from bayesnas.runtime.strategies.interface import (
    COLUMNS,
    Looks,
    Problem,
    Removal,
    Strategy,
)
from bayesnas.runtime.tasks.bundle import Inputs

RETAINED_BY = 0.75  # share of the rounds after which `retain` holds; the rest trains what is left


class Published(Strategy):
    """Gates learn with the weights; those without positive entropy go after each update."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        dependency: Dependency = (
            "recursive" if problem.settings.dependency == "recursive" else "local"
        )
        self.gammas = derive_gamma(problem.graph, dependency)
        self.pruner = Pruner(problem.graph, self.net.gates, self._fits)
        self.posterior = GatePosterior.start(Layout.of(problem.graph, self.net.gates))
        self.gate_report: dict[int, dict[str, float]] = {}  # what was found of each gate last
        self.said_missed = False

    def gates(self) -> Tensor:
        """w, and 0 where a gate is pruned."""
        return self.posterior.gates()

    def step(self, inputs: Inputs, targets: Tensor, searching: bool) -> float:
        """Weights by SGD; gates by plain gradient steps, once the search has begun."""
        self.net.keep(self.space.candidates())
        gates = self.gates().requires_grad_(searching)
        loss = self.net.descend(inputs, targets, gates)
        if searching:
            assert gates.grad is not None
            rate = self.settings.gate_learning_rate
            self.posterior.w = self.posterior.w - rate * gates.grad.to(torch.float64)
            self.posterior.fix_gauge()
        return loss

    def update(self, number: int, rounds: int) -> Removal:
        """Curvature, the posterior's update, and what is pruned by it."""
        settings, net = self.settings, self.net
        gates = self.gates()
        net.keep(self.space.candidates())
        curvature = net.curvature(gates, net.sample(net.fit_part, settings.curvature_examples))
        gradient = net.gradient(gates, net.fit_part)
        saliencies = self.posterior.saliencies(gradient, curvature).cpu()
        changes = self.posterior.evidence_changes(gradient, curvature)
        residual = self.posterior.infer(
            gradient / settings.lambda_w, curvature / settings.lambda_w, self.gammas
        )
        self._say_missed(residual, number)
        self._report(changes)
        removal = self.pruner.decide(
            self.posterior,
            saliencies,
            frozenset(self.net.gates.groups.keys() - self.space.candidates()),
            settings.prune_fraction,
            min(1.0, number / (RETAINED_BY * rounds)),
        )
        self._remove(removal.reasons)
        worth = {group: -change for group, change in changes.items()}
        member = self._narrow(worth, rounds - number + 1)
        if number < rounds:
            return removal
        refused = () if settings.discretize == "yes" else removal.refused
        last = self._last(member) if settings.discretize == "yes" else self._within()
        self._finish_widths()
        return Removal({**removal.reasons, **last}, refused)

    def looks(self, rounds: int, trained: int) -> Looks:
        """With the gradient of all examples and the curvature of some, every round."""
        rest, fit = super().looks(rounds, trained), len(self.net.fit_part)
        few = min(self.settings.curvature_examples, fit)
        return Looks(rest.forward, rounds * fit, rounds * few)

    def _say_missed(self, residual: float, number: int) -> None:
        """Where (16) was not minimised; once a search."""
        if residual and not self.said_missed:
            say_note(
                f"the update of round {number} found no minimum of the loss's quadratic model "
                f"(relative residual {residual:.1e}): its weights are held near those of the "
                "training; a larger `curvature_examples` helps"
            )
            self.said_missed = True

    def _fits(self, gone: Collection[str]) -> bool:
        """Whether the budgets can be met without these groups."""
        bounded = self.problem.widths or self.problem.prices
        if self.settings.discretize == "no" or not bounded.budgets:
            return True
        rest = self.space.restricted(self.space.candidates() - set(gone))
        return self.problem.possible(rest, {})

    def _report(self, changes: Mapping[str, float]) -> None:
        for edge, row in zip(self.problem.graph.searched(), self.posterior.rows(), strict=True):
            gate = edge.searched_gate
            if gate.group in self.space.candidates():
                self.gate_report[gate.number] = row | {"evidence_change": changes[gate.group]}

    def _remove(self, groups: Iterable[str]) -> None:
        self.space = self.space.restricted(self.space.candidates() - set(groups))
        self.posterior.remove(gate for group in groups for gate in self.net.gates.groups[group])
        self.posterior.fix_gauge()

    def _last(self, member: Member | None) -> Mapping[str, str]:
        """What goes besides after the last round, where one member shall be left."""
        if member is not None:
            last = self.keep_only(member, "evidence")
        elif self.draws:
            last = self._draw()
        else:
            gates = self.net.gates
            last = self.settle(gates.named(gates.maximum(self.posterior.gamma)), "discretize")
        self._remove(last.reasons)
        return last.reasons

    def _within(self) -> Mapping[str, str]:
        """What goes besides for the budgets, where several operations of a connection may stay."""
        if self.problem.widths is not None or not self.problem.prices.budgets:
            return {}  # channels go as far as it takes
        gone = frozenset(self.net.gates.groups.keys() - self.space.candidates())
        last = self.pruner.within(self.posterior.gamma, gone, self.problem.prices)
        self._remove(last.reasons)
        return last.reasons

    def _draw(self) -> Removal:
        """Members drawn from N(w, C) of the groups, judged; the best stays."""
        means, variances = (
            self.net.gates.mean(column.cpu())
            for column in (self.posterior.solved.abs(), self.posterior.variance)
        )
        members = self.drawn_members(Gaussian.independent(means, variances))
        return self.keep_judged(members)

    def remedy(self) -> str:
        """A weaker penalty."""
        weaker = f"--option lambda_w={self.settings.lambda_w / 10:g}"
        return f"lower `lambda_w`, for instance `{weaker}`"

    def rows(self) -> list[dict[str, Any]]:
        """What was found of each gate last; empty before the first round."""
        return [
            {name: self.gate_report.get(n, {}).get(name) for name in COLUMNS}
            for n in range(len(self.net.gates))
        ]

    def state(self) -> dict[str, Any]:
        """With the posterior."""
        return super().state() | {
            "posterior": self.posterior.state(),
            "gate_report": self.gate_report,
        }

    def state_schema(self) -> Schema:
        """With what `state` adds."""
        gates = one_of([str(n) for n in range(len(self.net.gates))])
        own = {
            "posterior": self.posterior.state_schema(),
            "gate_report": table(table(ANY_NUMBER, one_of(COLUMNS)), gates),
        }
        return both(super().state_schema(), open_record(own))

    def restore(self, state: Mapping[str, Any]) -> None:
        """Back to what `state` gave."""
        super().restore(state)
        self.posterior.restore(state["posterior"])
        self.gate_report = state["gate_report"]
