"""What is to be predicted of the columns of a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from attrs import frozen

from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, quote
from bayesnas.runtime.data.tables.columns import is_texts
from bayesnas.runtime.data.tables.files import Column, Table
from bayesnas.runtime.tasks.classification import Classification
from bayesnas.runtime.tasks.interface import Task
from bayesnas.runtime.tasks.multilabel import Multilabel
from bayesnas.runtime.tasks.parts import Array, wrong
from bayesnas.runtime.tasks.regression import Regression

_FEW: Final = 20  # whole numbers that are taken for classes
_USE: Final = "which is to be predicted"


@frozen
class Targets:
    """The columns that are predicted, of the rows that have them all.

    Args:
        names: of the columns.
        array: texts [N] for classes, else float64 [N, K].
        rows: a mask of the rows of the table that have them.
    """

    names: tuple[str, ...]
    array: Array
    rows: Array

    @classmethod
    def of(
        cls,
        table: Table,
        names: Sequence[str],
        outputs: int,
        learned: Task | None = None,
        said: str | None = None,
    ) -> Targets:
        """Texts are classes, and so are a few whole numbers; else numbers are predicted.

        How many ``outputs`` a network has tells more: many classes have many, a number has one.
        What a network has ``learned`` tells it all, and so does the objective that is ``said``.

        Raises:
            DiagnosticError: D514 (several columns that are no numbers, or no row that has them),
                D516 (no such column, or none is named).
        """
        if not names:
            raise _unnamed(table)
        columns = [table.column(name, _USE) for name in names]
        present = [c != "" if is_texts(c) else ~np.isnan(c) for c in columns]
        rows = np.all(present, axis=0)
        if not rows.any():
            what = f"has no row with {quote(names)}"
            raise wrong(table.place, "D514", what, "name a column that is filled in: `--target`")
        columns = [column[rows] for column in columns]
        known = said or (learned and learned.objective)
        classes = known == "classification" or (not known and _are_classes(columns[0], outputs))
        if len(columns) == 1 and classes:
            return cls(tuple(names), _texts(columns[0], learned), rows)
        texts = [name for name, c in zip(names, columns, strict=True) if is_texts(c)]
        if texts:
            what = f"has texts in {quote(texts)}, of which one alone is predicted as classes"
            if len(columns) == 1:
                what = f"has texts in {quote(texts)}, and numbers are predicted"
            raise wrong(table.place, "D514", what, "name one column, or columns of numbers")
        return cls(tuple(names), np.stack(columns, axis=1), rows)

    def task(self, place: str, said: str | None = None) -> Task:
        """What is learned of them, as far as that is not ``said``; ``place`` names the table.

        Raises:
            DiagnosticError: D514 (a single class, a constant, a label of all or none).
        """
        if self.array.ndim == 1:
            return _classification(self.array, place, self.names[0])
        labels = len(self.names) > 1 and Multilabel.suits(self.array)
        kind = Multilabel if said == "multilabel" or (labels and not said) else Regression
        where = f"{quote(self.names)} of {place}"
        return kind.of_targets(self.array, where, self.names)


def _classification(texts: Array, place: str, name: str) -> Classification:
    """Classes in order: of whole numbers as numbers, else as texts."""
    classes = sorted(set(map(str, texts)))
    if all(text.lstrip("-").isdecimal() for text in classes):
        classes.sort(key=int)
    if len(classes) == 1:
        what = f"has a single class in `{name}`, `{classes[0]}`"
        raise wrong(place, "D514", what, "name a column of two classes or more")
    return Classification(tuple(classes))


def _unnamed(table: Table) -> DiagnosticError:
    remedy = "name it: `--target COLUMN`"
    if table.columns:
        remedy = f"name it, as in `--target {list(table.columns)[-1]}`"
    return DiagnosticError(
        Diagnostic(
            "D516",
            f"{table.place} has columns, and none is said to be predicted",
            notes=(f"it has {quote(list(table.columns))}",),
            help=remedy,
        )
    )


def _are_classes(column: Column, outputs: int) -> bool:
    if is_texts(column):
        return True
    if not (column == np.floor(column)).all():
        return False
    distinct = len(np.unique(column))
    return distinct == 2 if outputs == 1 else distinct <= _FEW or distinct == outputs


def _texts(column: Column, learned: Task | None) -> Array:
    """Classes by their names: whole numbers without a point.

    Where the ``learned`` ones are all numbers, texts of one number are one class: `1`, `1.0`.
    """
    if not is_texts(column):
        return np.array([*map(_named, column)])
    known = learned.classes if isinstance(learned, Classification) else ()
    by_number = {_number(name): name for name in known}
    if None in by_number:
        return column
    return np.array(
        [text if text in known else by_number.get(_number(text), text) for text in column]
    )


def _named(number: float) -> str:
    return f"{number:.0f}" if number == np.floor(number) else str(number)


def _number(text: str) -> float | None:
    """The finite number that a text is, if any."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if np.isfinite(number) else None
