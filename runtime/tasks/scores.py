"""How good a network is: a score, and its answers by class, by target or by label."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from attrs import field, frozen

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]


@frozen
class Score:
    """How good a network is on some examples.

    Args:
        loss: mean negative log-likelihood, nats an example.
        quality: the task's metric, larger is better.
        more: other metrics by their names, those of `Task.more_metrics`.
    """

    loss: float
    quality: float
    more: Mapping[str, float] = field(factory=dict)


@frozen
class Report:
    """A score, and the answers by class where the task has classes, or by target or label.

    ``parts`` are of a task of several outputs: the report of each, by its port.
    """

    score: Score
    confusion: Confusion | None = None
    measures: Measures | None = None
    parts: Mapping[str, Report] = field(factory=dict)

    def record(self, part: str) -> dict[str, Any]:
        """For files, what it has besides the score of the part: ``test_by_class``."""
        entries = {}
        if self.confusion is not None:
            entries[f"{part}_by_class"] = self.confusion.record()
        if self.measures is not None:
            entries[f"{part}_by_{self.measures.what}"] = self.measures.record()
        for port, report in self.parts.items():
            entries |= report.record(f"{part}_{port}")
        return entries


@frozen
class Confusion:
    """How many examples of each class had which answer.

    Args:
        classes: the K classes' names.
        counts: int64 [K, K], a row for each true class, a column for each answer.
    """

    classes: tuple[str, ...]
    counts: Array = field(eq=False)

    @property
    def examples(self) -> Array:
        """Of each class, int64 [K]."""
        return np.asarray(self.counts.sum(axis=1))

    @property
    def answered(self) -> Array:
        """How many answers each class was, int64 [K]."""
        return np.asarray(self.counts.sum(axis=0))

    @property
    def recall(self) -> Array:
        """The share of each class's examples that were answered right; NaN without examples."""
        return _shares(self.counts.diagonal(), self.examples)

    @property
    def precision(self) -> Array:
        """The share of each class's answers that were right; NaN where it was never answered."""
        return _shares(self.counts.diagonal(), self.answered)

    @property
    def f1(self) -> Array:
        """The harmonic mean of precision and recall; NaN for a class that never comes at all."""
        return _shares(2 * self.counts.diagonal(), self.examples + self.answered)

    @property
    def balanced(self) -> float:
        """Balanced accuracy: the mean recall of the classes that have examples; NaN without any."""
        recall = self.recall[self.examples > 0]
        return float(recall.mean()) if len(recall) else math.nan

    def worst(self) -> list[int]:
        """Numbers of the classes with examples, the lowest recall first."""
        recall = self.recall
        return [int(k) for k in np.argsort(recall, kind="stable") if not math.isnan(recall[k])]

    def mistakes(self) -> list[tuple[int, int, int]]:
        """How many examples of a class were answered as another: (n, class, answer), most first."""
        wrong = self.counts.copy()
        np.fill_diagonal(wrong, 0)
        rows, columns = np.nonzero(wrong)
        found = [(int(wrong[k, a]), int(k), int(a)) for k, a in zip(rows, columns, strict=True)]
        return sorted(found, key=lambda mistake: -mistake[0])

    def record(self) -> dict[str, Any]:
        """For files: the numbers of each class, and its answers where there are any."""
        columns = zip(
            self.classes, self.examples, self.precision, self.recall, self.f1, strict=True
        )
        return {
            name: {
                "examples": int(examples),
                **{
                    word: None if math.isnan(share) else float(share)
                    for word, share in zip(("precision", "recall", "f1"), shares, strict=True)
                },
                "answers": {
                    self.classes[a]: int(self.counts[k, a]) for a in np.flatnonzero(self.counts[k])
                },
            }
            for k, (name, examples, *shares) in enumerate(columns)
        }


@frozen
class Measures:
    """Some numbers for each of the things that are predicted.

    Args:
        what: one of them is called, in a word.
        names: of the numbers.
        rows: the numbers of each, by its name; NaN where there is none.
    """

    what: str
    names: tuple[str, ...]
    rows: Mapping[str, tuple[float, ...]] = field(eq=False)

    def record(self) -> dict[str, dict[str, float | None]]:
        """For files, the numbers by their names."""
        return {
            row: {
                name: None if math.isnan(number) else number
                for name, number in zip(self.names, numbers, strict=True)
            }
            for row, numbers in self.rows.items()
        }

    def texts(self) -> list[tuple[str, ...]]:
        """Rows of a table for people."""
        return [
            (row, *("-" if math.isnan(number) else f"{number:.4g}" for number in numbers))
            for row, numbers in self.rows.items()
        ]


def _shares(part: Array, whole: Array) -> Array:
    """float64 [K]; NaN where there is nothing to have a share of."""
    shares = np.full(len(whole), np.nan)
    np.divide(part, whole, out=shares, where=whole > 0)
    return shares
