"""How many examples of each class there are in each part, and what follows from the numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from attrs import field, frozen

from bayesnas.dsl.diagnostics import quote
from bayesnas.runtime.data.dataset import Data
from bayesnas.runtime.data.splits import held_counts, none_held
from bayesnas.runtime.tasks.interface import Task
from bayesnas.runtime.tasks.parts import Array

_SHOWN: Final = 10  # classes by name
_FEW: Final = 100  # examples of a part, with which a share is known to no more than 5 points
_FEW_OF_A_CLASS: Final = 10
_LOPSIDED: Final = 4  # times as many examples of one class as of another


@frozen
class Census:
    """The examples of a data set by stratum (class), int64 [S] a part.

    ``held_out`` is of the training part: what a search judges by, None for a training.
    """

    name: str
    task: Task
    train: Array = field(eq=False)
    held_out: Array | None = field(eq=False)
    test: Array = field(eq=False)

    @classmethod
    def of(cls, data: Data, holdout: float | None, purpose: str = "search") -> Census:
        """Of a data set whose training part is split by that share for a purpose, or not at all.

        Raises:
            DiagnosticError: D514 (each class has a single example, and none can be held out).
        """
        strata = [data.task.strata(part.targets) for part in (data.train, data.test)]
        most = max(len(data.task.strata_names), *(int(s.max(initial=-1)) + 1 for s in strata))
        train, test = (np.bincount(s, minlength=most) for s in strata)
        if holdout is None:
            return cls(data.name, data.task, train, None, test)
        held = held_counts(train, holdout)
        if not held.any():
            raise none_held(f"`{data.name}`", purpose)
        return cls(data.name, data.task, train - held, held, test)

    # ------------------------------------------------------------------------------------- texts

    def record(self) -> dict[str, Any]:
        """For ``settings.json``: numbers of examples, and by class where there are classes."""
        parts = dict(self._parts())
        by_class = {
            name: {part: int(counts[k]) for part, counts in parts.items()}
            for k, name in enumerate(self.task.strata_names)
        }
        whole = {part: int(counts.sum()) for part, counts in parts.items()}
        return {**whole, "classes": by_class} if by_class else whole

    def notes(self, weighted: bool) -> list[str]:
        """The numbers, and warnings; ``weighted``: classes are weighted alike already."""
        learned = [self._scarce(), "" if weighted else self._lopsided()]
        return [note for note in (self._numbers(), *self.judged(), *learned) if note]

    def judged(self) -> list[str]:
        """Warnings on the parts whose scores are told."""
        return [note for note in (self._absent(), self._tiny()) if note]

    def _parts(self) -> list[tuple[str, Array]]:
        held = [] if self.held_out is None else [("held_out", self.held_out)]
        return [("train", self.train), *held, ("test", self.test)]

    def _judging(self) -> list[tuple[str, Array]]:
        """The parts whose scores are told, in words."""
        held = [] if self.held_out is None else [("held-out", self.held_out)]
        return [*held, ("test", self.test)]

    def _numbers(self) -> str:
        words = {"train": "examples to train on", "held_out": "held out", "test": "to test"}
        whole = [f"{counts.sum():,} {words[part]}" for part, counts in self._parts()]
        text = f"`{self.name}` has {', '.join(whole)}"
        names = self.task.strata_names
        if not names:
            return text
        order = range(len(names))
        if len(names) <= _SHOWN:
            return f"{text}; by class {', '.join(self._of(k) for k in order)}"
        largest = max(order, key=lambda k: self.train[k])
        smallest = min(order, key=lambda k: self.train[k])
        if all((counts == counts[0]).all() for _, counts in self._parts()):
            each = " + ".join(f"{counts[0]:,}" for _, counts in self._parts())
            return f"{text}, in {len(names):,} classes, {each} of each"
        return (
            f"{text}, in {len(names):,} classes, from {self._of(smallest)} to {self._of(largest)} "
            "(`settings.json` has all)"
        )

    def _of(self, k: int) -> str:
        """`cat` 64 + 16 + 20."""
        return f"{quote([self.task.strata_names[k]])} " + " + ".join(
            f"{counts[k]:,}" for _, counts in self._parts()
        )

    def _absent(self) -> str:
        """On classes that are in no judged part."""
        texts = []
        for what, counts in self._judging():
            if names := self._called(counts == 0):
                texts.append(f"no {what} examples of {names}")
        if not texts:
            return ""
        return f"there are {' and '.join(texts)}: the {self.task.metric} says nothing about them"

    def _tiny(self) -> str:
        """On parts whose score is known to a few points alone."""
        texts = []
        for what, counts in self._judging():
            count = int(counts.sum())
            error = self.task.standard_error(0.5, count) if 0 < count < _FEW else None
            if error is not None:
                texts.append(f"on {count} {what} examples by ± {self.task.error_text(error)}")
        if not texts:
            return ""
        return f"chance alone moves the {self.task.metric} {' and '.join(texts)} or so"

    def _scarce(self) -> str:
        if not (names := self._called(self.train < _FEW_OF_A_CLASS)):
            return ""
        return f"there are fewer than {_FEW_OF_A_CLASS} training examples of {names}"

    def _lopsided(self) -> str:
        names, counts = self.task.strata_names, self.train
        if not names or counts.max() <= _LOPSIDED * counts.min():
            return ""
        most, least = int(counts.argmax()), int(counts.argmin())
        return (
            f"classes are out of balance: {counts[most]:,} training examples of "
            f"{quote([names[most]])}, {counts[least]:,} of {quote([names[least]])}; "
            f"always answering {quote([names[most]])} would be right for "
            f"{counts[most] / counts.sum():.1%}; "
            "`--option class_weights=balanced` lets all classes count alike"
        )

    def _called(self, which: Array) -> str:
        """Names of some classes, or how many they are."""
        names: Sequence[str] = [
            name for name, chosen in zip(self.task.strata_names, which, strict=False) if chosen
        ]
        if len(names) <= _SHOWN:
            return quote(names)
        return f"{len(names):,} of {len(self.task.strata_names):,} classes"
