"""Answers by class: the confusion matrix, and what is read off it."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
from attrs import field, frozen

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]


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
        """Balanced accuracy: the mean recall of the classes that have examples."""
        return float(np.nanmean(self.recall))

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


def _shares(part: Array, whole: Array) -> Array:
    """float64 [K]; NaN where there is nothing to have a share of."""
    shares = np.full(len(whole), np.nan)
    np.divide(part, whole, out=shares, where=whole > 0)
    return shares
