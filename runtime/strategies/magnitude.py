"""The strategy `magnitude`: the largest gates stay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from bayesnas.runtime.runs.reading import Schema, both, like, open_record
from bayesnas.runtime.strategies.interface import Problem, Removal, Strategy
from bayesnas.runtime.tasks.bundle import Inputs


class Magnitude(Strategy):
    """`magnitude`: gates learn with the weights; the largest stay (Han et al., NeurIPS 2015)."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.w = problem.net.gates.table(self.space.mean())

    def gates(self) -> Tensor:
        """w, tied gates alike."""
        return self.net.gates.spread(self.w.to(torch.float32))

    def step(self, inputs: Inputs, targets: Tensor, searching: bool) -> float:
        """Weights by SGD; gates by plain gradient steps, once the search has begun."""
        self.net.keep(self.space.candidates())
        w = self.w.clone().requires_grad_(searching)
        loss = self.net.descend(inputs, targets, self.net.gates.spread(w.to(torch.float32)))
        if searching:
            assert w.grad is not None
            self.w = self.w - self.settings.gate_learning_rate * w.grad
        return loss

    def update(self, number: int, rounds: int) -> Removal:
        """The member of the largest weights, after the last round."""
        size = self.net.gates.named(self.w.abs())
        self.report = {group: {"w": w} for group, w in self.net.gates.named(self.w).items()}
        return self.settle(size, "magnitude") if number == rounds else Removal()

    def state(self) -> dict[str, Any]:
        """With the gates."""
        return super().state() | {"w": self.w}

    def state_schema(self) -> Schema:
        """With what `state` adds."""
        return both(super().state_schema(), open_record({"w": like(self.w)}))

    def restore(self, state: Mapping[str, Any]) -> None:
        """Back to what `state` gave."""
        super().restore(state)
        self.w = state["w"].cpu()
