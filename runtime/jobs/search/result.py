"""What a search ended with, in numbers."""

from __future__ import annotations

from typing import Any

from attrs import asdict, frozen

from bayesnas.compiler.graph.cost import Cost
from bayesnas.runtime.tasks.interface import Task
from bayesnas.runtime.tasks.scores import Score


@frozen
class SearchResult:
    """What a search ended with; ``holdout`` is the score of what is left of the supernet on
    held-out training examples."""

    strategy: str
    supernet: Cost
    found: Cost
    rounds: int
    operations: int
    operations_left: int
    holdout: Score
    task: Task
    images_trained: int  # forward and backward for the weights
    images_evaluated: int  # forward alone, or backward to the gates
    seconds: float
    seed: int
    device: str
    figure: str
    advice: str | None  # how to get the pictures, where `dot` is missing

    def record(self) -> dict[str, Any]:
        """As ``result.json`` has it: the score under its metric's name."""
        plain = asdict(self, filter=lambda field, _: field.name not in ("holdout", "task"))
        costs = {"supernet": self.supernet.record(), "found": self.found.record()}
        score = self.task.entries("holdout", self.holdout)
        return {**plain, **costs, **score, "learned": self.task.learned}
