"""Data sets of `torch.utils.data`: read once, and kept as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from bayesnas.runtime.data.arrays import data_of_arrays
from bayesnas.runtime.data.dataset import Data
from bayesnas.runtime.data.registry import Standardise
from bayesnas.runtime.tasks.parts import Array, wrong


class Examples(Protocol):
    """A map-style data set: its items are pairs of an example and its target."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def __getitem__(self, index: int, /) -> Any:
        """One of them."""
        ...


def data_of_dataset(
    train: Examples,
    test: Examples | None = None,
    name: str = "dataset",
    standardise: Standardise = "auto",
) -> Data:
    """A data set of a ``torch.utils.data.Dataset``, of torchvision's or one's own.

    Every item is read once, and what is random in it is drawn once; ``augment`` augments images of
    bytes anew in each pass. Without a test part, a fifth of the examples is held out for it.

    Args:
        train: items (example, target): tensors, arrays or pictures of one shape, and numbers, texts
            or rows of numbers. Its ``classes``, if it has such, are what whole numbers stand for.
        test: items of the test part.
        name: what the data set is called in files and messages.
        standardise: as for `data_of_arrays`.

    Raises:
        DiagnosticError: D512 (it is not map-style, or its items are no pairs of one shape), and
            what `data_of_arrays` raises.
    """
    x, y = _arrays(train, f"`train` of `{name}`")
    x_test, y_test = (None, None) if test is None else _arrays(test, f"`test` of `{name}`")
    data = data_of_arrays(x, y, x_test, y_test, name, standardise)
    count = len(x) + (0 if x_test is None else len(x_test))
    return data.noted(f"{count:,} examples of `{name}` are read once and kept in memory")


def _arrays(dataset: Examples, place: str) -> tuple[Array, Array]:
    """Examples and targets, stacked."""
    if not hasattr(dataset, "__getitem__") or not hasattr(dataset, "__len__"):
        remedy = "give a data set with a length whose items go by number"
        if hasattr(dataset, "dataset"):
            remedy = "give the data set itself: `loader.dataset`"
        raise wrong(place, "D512", f"is a `{type(dataset).__name__}`, not map-style", remedy)
    items = [dataset[k] for k in range(len(dataset))]
    if not items:
        raise wrong(place, "D512", "is empty", "give some examples")
    if not all(isinstance(item, Sequence) and len(item) == 2 for item in items):
        remedy = "let each item be an example and its target"
        raise wrong(place, "D512", "has items that are no pairs", remedy)
    x = _stacked([item[0] for item in items], f"examples of {place}")
    y = _stacked([item[1] for item in items], f"targets of {place}")
    return x, _named(y, getattr(dataset, "classes", None))


def _stacked(values: Sequence[Any], place: str) -> Array:
    try:
        return np.stack([np.asarray(value) for value in values])
    except Exception as error:  # whatever another library's object makes of it
        reason = (str(error).splitlines() or [type(error).__name__])[0].lower().rstrip(".")
        remedy = "give all of them one shape and type"
        raise wrong(place, "D512", "cannot be stacked", remedy, reason) from None


def _named(labels: Array, classes: object) -> Array:
    """Whole numbers as the names that they stand for."""
    names = isinstance(classes, Sequence) and all(isinstance(name, str) for name in classes)
    if not names or labels.ndim != 1 or labels.dtype.kind not in "iu":
        return labels
    assert isinstance(classes, Sequence)
    within = bool(labels.min() >= 0 and labels.max() < len(classes))
    return np.array(classes)[labels] if within and len({*classes}) == len(classes) else labels
