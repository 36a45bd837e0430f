"""Data of one's own: arrays `x` and `y` (and `x_test`, `y_test`), or `npz:FILE` of them.

In a file, `x_val` and `y_val` stand in for a missing test part.

Arrays of objects are never read: unpickling would run code that a file may hold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias

import numpy as np
import torch

from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, quote
from bayesnas.runtime.data.dataset import Data, Part
from bayesnas.runtime.data.registry import Request
from bayesnas.runtime.data.splits import reserve_test
from bayesnas.runtime.tasks.interface import Array, Task, wrong
from bayesnas.runtime.tasks.registry import task_of

_LAYOUTS: Final = "[N, features], [N, channels, length] or [N, channels, height, width]"
# How an array is called in diagnostics, from its key.
_Places: TypeAlias = Callable[[str], str]


def load(request: Request) -> Data:
    """The data set in an .npz file.

    Raises:
        DiagnosticError: D510 (file), and what `data_of_arrays` raises.
    """
    path = Path(request.argument)
    return _data(request.name, _load(path), f"`{path}`", lambda key: f"`{key}` in `{path}`")


def data_of_arrays(
    x: Array,
    y: Array,
    x_test: Array | None = None,
    y_test: Array | None = None,
    name: str = "arrays",
) -> Data:
    """A data set of arrays; without a test part, a fifth of the examples is held out for it.

    Args:
        x: examples [N, features], [N, channels, length] or [N, channels, height, width]; bytes are
            pixels, other numbers are taken as they are.
        y: targets; whole numbers from 0 [N] are classes.
        x_test: examples of the test part, shaped like those of ``x``.
        y_test: their targets.
        name: what the data set is called in files and messages.

    Raises:
        DiagnosticError: D511 (an array is missing), D512 (its type or shape), D513 (numbers that
            are none), D514 (targets).
    """
    given = {"x": x, "y": y, "x_test": x_test, "y_test": y_test}
    arrays = {key: np.asarray(array) for key, array in given.items() if array is not None}
    return _data(name, arrays, f"`{name}`", lambda key: f"`{key}` of `{name}`")


def _data(name: str, arrays: Mapping[str, Array], whole: str, places: _Places) -> Data:
    x, y = (_array(arrays, key, "x", whole) for key in ("x", "y"))
    inputs = _inputs(places("x"), x)
    _check_count(whole, "", inputs, y)
    task = task_of(y, places("y"))
    train = Part(torch.from_numpy(inputs), task.targets(y, places("y")))
    # What was saved to validate with is as good as a test part, since no search reads it.
    ends = (end for end in ("_test", "_val") if f"x{end}" in arrays or f"y{end}" in arrays)
    if (end := next(ends, None)) is not None:
        x, y = (_array(arrays, f"{key}{end}", f"x{end}", whole) for key in ("x", "y"))
        inputs = _inputs(places(f"x{end}"), x)
        _check_count(whole, end, inputs, y)
        test = Part(torch.from_numpy(inputs), task.targets(y, places(f"y{end}")))
        _check_shapes(whole, train, test, f"x{end}")
        note = "" if end == "_test" else f"{whole} has no `x_test`: `x{end}` is the test part"
    else:
        every = train
        train, test = _hold_out(places("y"), task, every)
        note = (
            f"{whole} has no `x_test`: {len(test):,} of its {len(every):,} examples, "
            "of every class a fifth and in every run the same, are the test part"
        )
    return Data.of(name, task, train, test, "none", note)


# -------------------------------------------------------------------------------------- reading


def _load(path: Path) -> Mapping[str, Array]:
    """The arrays a data set is made of, as they lie in the file."""
    if not path.is_file():
        remedy = "name a file that `numpy.savez` wrote"
        raise DiagnosticError(Diagnostic("D510", f"no file `{path}`", help=remedy))
    try:
        stream = path.open("rb")
    except OSError as error:
        reason = _reason(error)
        raise wrong(f"`{path}`", "D510", "cannot be opened", "make it readable", reason) from None
    with stream:  # numpy leaves what it opens and cannot read to the garbage collector
        return _read(path, stream)


def _read(path: Path, stream: BinaryIO) -> Mapping[str, Array]:
    place, remedy = f"`{path}`", "save it with `numpy.savez(FILE, x=x, y=y)`"
    try:
        file = np.load(stream, allow_pickle=False)
    except Exception as error:  # numpy and zipfile raise many kinds for a broken file
        raise wrong(place, "D510", "is not an .npz file", remedy, _reason(error)) from None
    if not isinstance(file, np.lib.npyio.NpzFile):
        raise wrong(place, "D510", "holds a single array, not `x` and `y`", remedy)
    tested = "_test" if {"x_test", "y_test"} & {*file.files} else "_val"
    wanted = [key for key in ("x", "y", f"x{tested}", f"y{tested}") if key in file.files]
    return {key: _member(f"`{key}` in {place}", file, key) for key in wanted}


def _member(place: str, file: Mapping[str, Array], key: str) -> Array:
    remedy = "save an array of numbers, `dtype=float`"
    objects = wrong(place, "D512", "holds Python objects, not numbers", remedy)
    try:
        array = file[key]
    except Exception as error:  # as above, and zlib too
        if "allow_pickle" in str(error):
            raise objects from None
        remedy = "save the file again"
        raise wrong(place, "D510", "cannot be read", remedy, _reason(error)) from None
    if not isinstance(array, np.ndarray):  # something else that was put into the archive
        raise objects
    return array


def _reason(error: Exception) -> str:
    text = (str(error).splitlines() or [""])[0].rstrip(".") or type(error).__name__
    return text[:1].lower() + text[1:]


# ------------------------------------------------------------------------------------- checking


def _array(arrays: Mapping[str, Array], key: str, first: str, whole: str) -> Array:
    """The array of that key; ``first`` is the other one of its pair, or itself."""
    if key not in arrays:
        keys = (f"it has {quote(arrays)}",) if arrays else ()
        remedy = "save it with `numpy.savez(FILE, x=x, y=y)`"
        if first != "x":
            remedy = f"save `{first}` and `y{first[1:]}` both, or neither"
        raise wrong(whole, "D511", f"has no array `{key}`", remedy, *keys)
    return arrays[key]


def _check_count(whole: str, end: str, inputs: Array, targets: Array) -> None:
    """As many targets as examples, in arrays whose keys end in ``end``."""
    if targets.ndim and targets.size and len(inputs) != len(targets):
        what = f"has {len(inputs):,} examples in `x{end}` and {len(targets):,} labels in `y{end}`"
        raise wrong(whole, "D512", what, "save one label an example")


def _inputs(place: str, array: Array) -> Array:
    """The numbers of examples: bytes stay bytes, others become floating point."""
    if array.dtype.kind not in "biuf":
        raise wrong(place, "D512", f"holds `{array.dtype}`, not numbers", "encode it as numbers")
    if not 2 <= array.ndim <= 4:
        raise wrong(place, "D512", f"is {list(array.shape)}", f"save it as {_LAYOUTS}")
    if array.size == 0:
        raise wrong(place, "D512", f"is empty: {list(array.shape)}", "save some examples")
    if array.dtype != np.uint8:
        small = array.dtype.itemsize <= (4 if array.dtype.kind == "f" else 2)
        array = array.astype(np.float32 if small else np.float64)
    with np.errstate(over="ignore"):  # networks compute in 32 bits
        bad = ~np.isfinite(array.astype(np.float32)) if array.dtype != np.uint8 else array[:0]
    if bad.any():
        count = int(bad.sum())
        first = int(np.flatnonzero(bad.reshape(len(bad), -1).any(axis=1))[0])
        raise wrong(
            place,
            "D513",
            f"has {count:,} numbers that are not finite" if count > 1 else "has a NaN or infinity",
            "fill them in, or leave those examples out",
            f"the first stands in example {first} (counted from 0)",
        )
    return np.ascontiguousarray(array)


def _check_shapes(whole: str, train: Part, test: Part, key: str) -> None:
    shapes = [list(part.inputs.shape[1:]) for part in (train, test)]
    if shapes[0] != shapes[1]:
        what = f"has examples {shapes[0]} in `x` and {shapes[1]} in `{key}`"
        raise wrong(whole, "D512", what, "save both in one shape")


def _hold_out(place: str, task: Task, whole: Part) -> tuple[Part, Part]:
    """All but a fifth of every class, and that fifth: the same in every run, whatever its seed."""
    parts = reserve_test(task.strata(whole.targets), place)
    train, test = (whole.subset(torch.from_numpy(positions)) for positions in parts)
    return train, test
