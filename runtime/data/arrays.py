"""Data of one's own from NumPy: `npz:FILE` with `x` and `y`, and `x_test` and `y_test` if wanted.

Arrays of objects are never read: unpickling would run code that a file may hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeAlias

import numpy as np
import torch
from attrs import frozen

from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, quote
from bayesnas.runtime.data.dataset import Data, Part

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

TEST_SHARE: Final = 0.2
_LAYOUTS: Final = "[N, features], [N, channels, length] or [N, channels, height, width]"


def read_arrays(name: str, path: Path) -> Data:
    """The data set in an .npz file, ``name`` as the command line calls it.

    Raises:
        DiagnosticError: D510 (file), D511 (an array is missing), D512 (its type or shape), D513
            (numbers that are none), D514 (labels).
    """
    arrays = _load(path)
    train = _part(path, arrays, "x", "y")
    classes = _check_classes(path, train)
    note = ""
    if "x_test" in arrays or "y_test" in arrays:
        test = _part(path, arrays, "x_test", "y_test")
        _check_test(path, train, test)
    else:
        whole = train
        train, test = _hold_out(path, whole)
        note = (
            f"`{path}` has no `x_test`: {len(test):,} of its {len(whole):,} examples, "
            "of every class a fifth and in every run the same, are the test part"
        )
    return Data.of(name, [str(k) for k in range(classes)], train, test, "none", note)


# -------------------------------------------------------------------------------------- reading


def _load(path: Path) -> Mapping[str, Array]:
    """The arrays a data set is made of, as they lie in the file."""
    if not path.is_file():
        remedy = "name a file that `numpy.savez` wrote"
        raise DiagnosticError(Diagnostic("D510", f"no file `{path}`", help=remedy))
    try:
        stream = path.open("rb")
    except OSError as error:
        remedy = "make it readable"
        raise _Wrong(path).error("D510", "cannot be opened", remedy, _reason(error)) from None
    with stream:  # numpy leaves what it opens and cannot read to the garbage collector
        return _read(path, stream)


def _read(path: Path, stream: BinaryIO) -> Mapping[str, Array]:
    remedy = "save it with `numpy.savez(FILE, x=x, y=y)`"
    try:
        file = np.load(stream, allow_pickle=False)
    except Exception as error:  # numpy and zipfile raise many kinds for a broken file
        raise _Wrong(path).error("D510", "is not an .npz file", remedy, _reason(error)) from None
    if not isinstance(file, np.lib.npyio.NpzFile):
        raise _Wrong(path).error("D510", "holds a single array, not `x` and `y`", remedy)
    wanted = [key for key in ("x", "y", "x_test", "y_test") if key in file.files]
    return {key: _member(path, file, key) for key in wanted}


def _member(path: Path, file: Mapping[str, Array], key: str) -> Array:
    wrong = _Wrong(path, key)
    objects = wrong.error(
        "D512", "holds Python objects, not numbers", "save an array of numbers, `dtype=float`"
    )
    try:
        array = file[key]
    except Exception as error:  # as above, and zlib too
        if "allow_pickle" in str(error):
            raise objects from None
        remedy = "save the file again"
        raise wrong.error("D510", "cannot be read", remedy, _reason(error)) from None
    if not isinstance(array, np.ndarray):  # something else that was put into the archive
        raise objects
    return array


def _reason(error: Exception) -> str:
    text = (str(error).splitlines() or [""])[0].rstrip(".") or type(error).__name__
    return text[:1].lower() + text[1:]


@frozen
class _Wrong:
    """Diagnostics of one file, or of one array in it."""

    path: Path
    key: str = ""

    def error(self, code: str, what: str, remedy: str, *notes: str) -> DiagnosticError:
        place = f"`{self.key}` in `{self.path}`" if self.key else f"`{self.path}`"
        return DiagnosticError(Diagnostic(code, f"{place} {what}", notes=notes, help=remedy))


# ------------------------------------------------------------------------------------- checking


def _part(path: Path, arrays: Mapping[str, Array], x: str, y: str) -> Part:
    """The examples in `x` with the labels in `y`."""
    for key in (x, y):
        if key not in arrays:
            found = (f"it has {quote(arrays)}",) if arrays else ()
            remedy = "save it with `numpy.savez(FILE, x=x, y=y)`"
            if x != "x":
                remedy = f"save `{x}` and `{y}` both, or neither"
            raise _Wrong(path).error("D511", f"has no array `{key}`", remedy, *found)
    inputs = _inputs(_Wrong(path, x), arrays[x])
    labels = _labels(_Wrong(path, y), arrays[y])
    if len(inputs) != len(labels):
        raise _Wrong(path).error(
            "D512",
            f"has {len(inputs):,} examples in `{x}` and {len(labels):,} labels in `{y}`",
            "save one label an example",
        )
    return Part(torch.from_numpy(inputs), torch.from_numpy(labels))


def _inputs(wrong: _Wrong, array: Array) -> Array:
    """The numbers of examples: bytes stay bytes, others become floating point."""
    if array.dtype.kind not in "biuf":
        raise wrong.error("D512", f"holds `{array.dtype}`, not numbers", "encode it as numbers")
    if not 2 <= array.ndim <= 4:
        raise wrong.error("D512", f"is {list(array.shape)}", f"save it as {_LAYOUTS}")
    if array.size == 0:
        raise wrong.error("D512", f"is empty: {list(array.shape)}", "save some examples")
    if array.dtype != np.uint8:
        small = array.dtype.itemsize <= (4 if array.dtype.kind == "f" else 2)
        array = array.astype(np.float32 if small else np.float64)
    with np.errstate(over="ignore"):  # networks compute in 32 bits
        bad = ~np.isfinite(array.astype(np.float32)) if array.dtype != np.uint8 else array[:0]
    if bad.any():
        count = int(bad.sum())
        first = int(np.flatnonzero(bad.reshape(len(bad), -1).any(axis=1))[0])
        raise wrong.error(
            "D513",
            f"has {count:,} numbers that are not finite" if count > 1 else "has a NaN or infinity",
            "fill them in, or leave those examples out",
            f"the first stands in example {first} (counted from 0)",
        )
    return np.ascontiguousarray(array)


def _labels(wrong: _Wrong, array: Array) -> Array:
    """Labels as int64."""
    if array.ndim != 1:
        remedy = "save one whole number an example, the number of its class"
        raise wrong.error("D512", f"is {list(array.shape)}, not [N]", remedy)
    if array.size == 0:
        raise wrong.error("D512", "is empty: [0]", "save some examples")
    remedy = "number the classes from 0"
    if array.dtype.kind not in "biuf":
        raise wrong.error("D514", f"holds `{array.dtype}`, not numbers of classes", remedy)
    if array.dtype.kind == "f" and not (np.isfinite(array) & (array == np.floor(array))).all():
        raise wrong.error("D514", "holds labels that are not whole numbers", remedy)
    if array.min() < 0:
        raise wrong.error("D514", f"has the label {int(array.min())}", remedy)
    if (highest := int(array.max())) > np.iinfo(np.int64).max:
        raise wrong.error("D514", f"has the label {highest}", remedy)
    return np.ascontiguousarray(array.astype(np.int64))


def _check_classes(path: Path, train: Part) -> int:
    """How many classes there are: every one from 0 to the highest has examples to learn from."""
    present = np.unique(train.labels.numpy())
    highest = int(present[-1])
    wrong = _Wrong(path, "y")
    if len(present) == 1:
        raise wrong.error("D514", f"has a single class, {highest}", "save two classes or more")
    if len(present) != highest + 1:
        gap = next(k for k in range(highest) if k == len(present) or int(present[k]) != k)
        raise wrong.error(
            "D514",
            f"has labels up to {highest} and none that is {gap}",
            "number the classes 0, 1, 2, ... without gaps",
        )
    return highest + 1


def _check_test(path: Path, train: Part, test: Part) -> None:
    shapes = [list(part.inputs.shape[1:]) for part in (train, test)]
    if shapes[0] != shapes[1]:
        raise _Wrong(path).error(
            "D512",
            f"has examples {shapes[0]} in `x` and {shapes[1]} in `x_test`",
            "save both in one shape",
        )
    if (label := int(test.labels.max())) > (highest := int(train.labels.max())):
        raise _Wrong(path, "y_test").error(
            "D514", f"has the label {label}, `y` goes up to {highest}", "give both the same classes"
        )


def _hold_out(path: Path, whole: Part) -> tuple[Part, Part]:
    """All but a fifth of every class, and that fifth: the same in every run, whatever its seed."""
    # RandomState: its numbers are the same in every version of NumPy.
    chance = np.random.RandomState(0)
    labels = whole.labels.numpy()
    by_class = np.split(np.argsort(labels, kind="stable"), np.bincount(labels).cumsum()[:-1])
    fit, held = [], []
    for members in by_class:
        shuffled = members[chance.permutation(len(members))]
        count = max(1, round(TEST_SHARE * len(members))) if len(members) > 1 else 0
        held.append(shuffled[:count])
        fit.append(shuffled[count:])
    if not any(map(len, held)):
        raise _Wrong(path, "y").error(
            "D514",
            "has one example a class: none can be held out for the test",
            "save more examples, or `x_test` and `y_test`",
        )
    train, test = (whole.subset(torch.from_numpy(np.sort(np.concatenate(p)))) for p in (fit, held))
    return train, test
