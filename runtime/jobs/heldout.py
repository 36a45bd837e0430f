"""What a training holds out: looked at each few epochs, to tell its course and keep the best."""

from __future__ import annotations

import math
from typing import Any, Final

from attrs import define, field

from bayesnas.compiler.settings import TrainSettings
from bayesnas.runtime.data.dataset import Data
from bayesnas.runtime.data.examples import Examples
from bayesnas.runtime.network.learning.learner import Learner
from bayesnas.runtime.network.training import evaluate
from bayesnas.runtime.runs.reading import COUNT, NUMBER, Schema, maybe, record

TOLD: Final = 10  # times that the course of a training is told, on its way
FEW: Final = 5  # epochs from one look to the next, at most


def told_every(epochs: int) -> int:
    """Epochs from one line on the course of a training to the next."""
    return max(1, epochs // TOLD)


def looked_every(epochs: int) -> int:
    """Epochs from one look to the next: each line has a look of its own."""
    return max(count for count in range(1, FEW + 1) if told_every(epochs) % count == 0)


def looks(epochs: int) -> int:
    """How often a training looks at what it holds out; once at its end."""
    return math.ceil(epochs / looked_every(epochs))


@define
class HeldOut:
    """Examples that train nothing.

    Args:
        data: whose they are.
        part: they themselves; None: there are none.
        settings: of the training.
        at_once: examples that are looked at together.
        best: with `keep = best` the quality, the epoch and the weights that were the best so far.
    """

    data: Data
    part: Examples | None
    settings: TrainSettings
    at_once: int
    best: dict[str, Any] | None = field(default=None, init=False)

    def look(self, learner: Learner, epoch: int) -> dict[str, float]:
        """The score of what was learned in so many epochs, for files, where there is to be one.

        The best weights are remembered.
        """
        epochs = self.settings.epochs
        due = epoch % looked_every(epochs) == 0 or epoch == epochs
        if self.part is None or not due:
            return {}
        score = evaluate(learner.judged, self.data, self.part, self.at_once)
        best = -math.inf if self.best is None else self.best["quality"]
        if self.settings.keep == "best" and score.quality >= best:  # which a NaN is not
            weights = {name: z.clone() for name, z in learner.kept.state_dict().items()}
            self.best = {"quality": score.quality, "epoch": epoch, "model": weights}
        return self.data.task.entries("holdout", score)

    def columns(self) -> tuple[str, ...]:
        """Names of the entries that `look` makes."""
        return () if self.part is None else self.data.task.columns("holdout")

    def schema(self, weights: Schema) -> Schema:
        """What a checkpoint has of ``best``, by that of weights."""
        return maybe(record({"quality": NUMBER, "epoch": COUNT, "model": weights}))
