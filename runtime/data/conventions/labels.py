"""Labels as they are saved: columns, one-hot rows and texts become one label per example."""

from __future__ import annotations

from typing import Final

import numpy as np
from attrs import frozen

from bayesnas.dsl.diagnostics import quote
from bayesnas.runtime.tasks.parts import Array, wrong

_COLUMN: Final = "[N, 1]: one label per example"
_ONE_HOT: Final = "one-hot: the column of the 1 is the class"


@frozen
class Labels:
    """Labels, as a rule [N]; ``remark`` is what was done to them, ``columns`` of how many.

    Rows of 0 and 1 stay rows unless each has a single 1.
    """

    array: Array
    remark: str = ""
    columns: int | None = None


def read_labels(place: str, array: Array, like: Labels | None = None) -> Labels:
    """Labels with the ways they are saved made alike; what is no such way stays as it is.

    Rows are ``like`` those of the training part, where that is given: a few may look otherwise.

    Raises:
        DiagnosticError: D514 (rows of shares; bytes that are no text).
    """
    array = _texts(place, array)
    if array.ndim != 2 or array.dtype.kind not in "biufU":
        return Labels(array)
    if array.shape[1] == 1:
        return Labels(array[:, 0], _COLUMN)
    rows_stay = len(array) == 1 if like is None else like.array.ndim == 2
    if array.dtype.kind == "U" or not array.size or rows_stay:
        return Labels(array)
    ones, rows = array == 1, array.sum(axis=1, dtype=np.float64)
    if (ones | (array == 0)).all():
        several = int((ones.sum(axis=1) != 1).sum())
        if not several:
            return Labels(ones.argmax(axis=1), _ONE_HOT, array.shape[1])
        remark = f"rows of 0 and 1, not a single 1 in {several:,} of {len(array):,}: several labels"
        return Labels(array, remark, array.shape[1])
    if array.dtype.kind == "f" and (array >= 0).all() and np.allclose(rows, 1, atol=1e-3):
        remedy = "save `y.argmax(axis=1)`, if the largest share is the class"
        raise wrong(place, "D514", "has soft labels: shares of several classes", remedy)
    return Labels(array)


def _texts(place: str, array: Array) -> Array:
    """Texts in whatever form as one; anything else as it is."""
    if array.dtype.kind == "O" and array.size and all(isinstance(y, str) for y in array.flat):
        return array.astype(str)
    if array.dtype.kind == "S":
        try:
            return np.char.decode(array, "utf-8")
        except UnicodeDecodeError:
            remedy = "save texts, or number the classes from 0"
            raise wrong(place, "D514", "holds bytes that are no text", remedy) from None
    return array


def check_columns(place: str, labels: Labels) -> None:
    """Refuse one-hot labels of a training part with a class that no example has.

    Raises:
        DiagnosticError: D514.
    """
    if labels.columns is None or labels.array.ndim != 1:
        return
    absent = np.setdiff1d(np.arange(labels.columns), labels.array)
    if len(absent):
        what = f"has {labels.columns} columns, and no example of class {absent[0]}"
        raise wrong(place, "D514", what, "save examples of every class, or leave its column out")


def check_alike(place: str, labels: Labels, first: str, of_first: Labels) -> None:
    """Refuse labels of two parts that do not tell classes alike.

    Raises:
        DiagnosticError: D514.
    """
    texts = [one.array.dtype.kind == "U" for one in (labels, of_first)]
    if texts[0] != texts[1]:
        kinds = [f"{'texts' if text else 'numbers'}" for text in texts]
        what = f"holds {kinds[0]}, `{first}` {kinds[1]}"
        raise wrong(place, "D514", what, "save the labels of both alike")
    if None not in (labels.columns, of_first.columns) and labels.columns != of_first.columns:
        what = f"has {labels.columns} columns, `{first}` has {of_first.columns}"
        raise wrong(place, "D514", what, "save the labels of both alike")


def label_notes(named: dict[str, Labels]) -> list[str]:
    """What was done to labels of these names."""
    by_remark: dict[str, list[str]] = {}
    for name, labels in named.items():
        if labels.remark:
            by_remark.setdefault(labels.remark, []).append(name)
    return [
        f"{quote(names)} {'are' if len(names) > 1 else 'is'} {remark}"
        for remark, names in by_remark.items()
    ]


def class_note(name: str, labels: Labels) -> str:
    """Which classes texts are, in their order."""
    if labels.array.dtype.kind != "U":
        return ""
    classes = [str(label) for label in np.unique(labels.array)]
    return f"the texts in `{name}` are the classes, in this order: {quote(classes)}"
