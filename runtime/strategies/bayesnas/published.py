"""The strategy `bayesnas`: Algorithms 1 and 2 of BayesNAS (Zhou et al., ICML 2019).

Deviations are listed in docs/algorithm.md.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from bayesnas.compiler.passes.gamma import Dependency, derive_gamma
from bayesnas.compiler.space.prices import best_member
from bayesnas.runtime.runs.reading import ANY_NUMBER, Schema, both, one_of, open_record, table
from bayesnas.runtime.strategies.bayesnas.posterior import Layout, Posterior
from bayesnas.runtime.strategies.bayesnas.pruning import Pruner
from bayesnas.runtime.strategies.interface import COLUMNS, Removal, Strategy, Task, judged

RETAINED_BY = 0.75  # share of the rounds after which `retain` holds; the rest trains what is left


class Published(Strategy):
    """Gates learn with the weights; those without positive entropy go after each update."""

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        dependency: Dependency = "recursive" if task.settings.dependency == "recursive" else "local"
        self.gammas = derive_gamma(task.graph, dependency)
        self.pruner = Pruner(task.graph, self._fits)
        self.posterior = Posterior.start(Layout.of(task.graph, task.net.device))
        self.gate_report: dict[int, dict[str, float]] = {}  # what was found of each gate last

    def gates(self) -> Tensor:
        """w, and 0 where a gate is pruned."""
        return self.posterior.gates()

    def step(self, inputs: Tensor, labels: Tensor, searching: bool) -> float:
        """Weights by SGD; gates by plain gradient steps, once the search has begun."""
        self.net.keep(self.space.candidates())
        gates = self.gates().requires_grad_(searching)
        loss = self.net.descend(inputs, labels, gates)
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
        changes = self.posterior.evidence_change(gradient, curvature).cpu()
        self.posterior.infer(
            gradient / settings.lambda_w, curvature / settings.lambda_w, self.gammas
        )
        self._report(changes)
        removal = self.pruner.decide(
            self.posterior,
            changes,
            frozenset(self.pruner.groups.keys() - self.space.candidates()),
            settings.prune_fraction,
            min(1.0, number / (RETAINED_BY * rounds)),
        )
        self._remove(removal.reasons)
        if number < rounds or settings.discretize == "no":
            return removal
        return Removal({**removal.reasons, **self._last()})

    def _fits(self, gone: Collection[str]) -> bool:
        """Whether the budgets can be met without these groups."""
        if not self.task.prices.budgets or self.settings.discretize == "no":
            return True
        left = self.space.restricted(self.space.candidates() - set(gone))
        return best_member(left, {}, self.task.prices) is not None

    def _report(self, changes: Tensor) -> None:
        lost = (-changes).tolist()
        for edge, row in zip(self.task.graph.searched(), self.posterior.rows(), strict=True):
            assert edge.gate is not None
            if str(edge.group) in self.space.candidates():
                self.gate_report[edge.gate] = row | {"evidence_change": lost[edge.gate]}

    def _remove(self, groups: Iterable[str]) -> None:
        self.space = self.space.restricted(self.space.candidates() - set(groups))
        gates = [e.gate for g in groups for e in self.pruner.groups[g] if e.gate is not None]
        self.posterior.remove(gates)
        self.posterior.fix_gauge()

    def _last(self) -> Mapping[str, str]:
        """What goes besides after the last round, where one member shall be left."""
        if self.draws:
            last = self._draw()
        else:
            gamma = {
                group: max(
                    float(self.posterior.gamma[e.gate or 0]) for e in self.pruner.groups[group]
                )
                for group in self.space.candidates()
            }
            last = self.settle(gamma, "discretize")
        self._remove(last.reasons)
        return last.reasons

    def _draw(self) -> Removal:
        """Members drawn from N(w, C) of the groups, judged; the best stays."""
        posterior, count = self.posterior, len(self.net.groups)
        zeros = torch.zeros(count, dtype=torch.float64)
        sizes = zeros.index_add(0, self.net.group_of_gate.cpu(), torch.ones_like(posterior.w.cpu()))
        means, variances = (
            zeros.index_add(0, self.net.group_of_gate.cpu(), column.cpu()) / sizes
            for column in (posterior.solved.abs(), posterior.variance)
        )
        root = torch.diag(variances.clamp_min(0).sqrt())
        return self.keep_only(judged(self.net, self.drawn_members(means, root)), "judged")

    def rows(self) -> list[dict[str, Any]]:
        """What was found of each gate last; empty before the first round."""
        return [
            {name: self.gate_report.get(n, {}).get(name) for name in COLUMNS}
            for n in range(self.posterior.layout.gates)
        ]

    def state(self) -> dict[str, Any]:
        """With the posterior."""
        return super().state() | {
            "posterior": self.posterior.state(),
            "gate_report": self.gate_report,
        }

    def state_schema(self) -> Schema:
        """With what `state` adds."""
        gates = one_of([str(n) for n in range(self.posterior.layout.gates)])
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
