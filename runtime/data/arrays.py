"""Data of one's own: arrays `x` and `y` (and `x_test`, `y_test`), or `npz:FILE` of them.

In a file, `x_val` and `y_val` stand in for a missing test part.

Arrays of objects are never read: unpickling would run code that a file may hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import torch
from attrs import frozen
from torch import Tensor

from bayesnas.compiler.operations.primitives import Shape
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, quote
from bayesnas.runtime.data.conventions.axes import rearrangement
from bayesnas.runtime.data.conventions.keys import examples_key, roles_of, taken
from bayesnas.runtime.data.conventions.labels import (
    Labels,
    check_alike,
    check_columns,
    class_note,
    label_notes,
    read_labels,
)
from bayesnas.runtime.data.dataset import Data, Part, Reading
from bayesnas.runtime.data.registry import STANDARDISE, Request, Standardise, check_word
from bayesnas.runtime.data.splits import reserve_test, split_words
from bayesnas.runtime.tasks.interface import Array, Task, wrong
from bayesnas.runtime.tasks.registry import task_of

# What to do with arrays of no numbers, by the kind of their type.
_ENCODINGS: Final = {
    "c": "save real and imaginary parts as channels: `np.stack([x.real, x.imag], 1)`",
    "M": "save seconds: `x.astype('datetime64[s]').astype(float)`",
    "V": "save the fields as columns: `numpy.lib.recfunctions.structured_to_unstructured(x)`",
}
_LAYOUTS: Final = "[N, features], [N, channels, length] or [N, channels, height, width]"


@frozen
class _Given:
    """Arrays by their roles, and how they are called in diagnostics."""

    whole: str
    arrays: Mapping[str, Array]
    names: Mapping[str, str]
    between: str = "of"
    notes: tuple[str, ...] = ()

    @property
    def judged(self) -> str:
        """What roles of the test part end in; `_val` stands in, and empty is no such part.

        What was saved to validate with is as good as a test part, since no search reads it.
        """
        ends = (end for end in ("_test", "_val") if {f"x{end}", f"y{end}"} & self.arrays.keys())
        return next(ends, "")

    def place(self, role: str) -> str:
        """An array as its user knows it."""
        return f"`{self.names[role]}` {self.between} {self.whole}"


def load(request: Request) -> Data:
    """The data set in an .npz file; the names that others give its arrays are known as well.

    Raises:
        DiagnosticError: D510 (file), and what `data_of_arrays` raises.
    """
    given = _load(Path(request.argument))
    if request.learned is not None:
        return _to_judge(request.name, given, request.learned)
    return _data(request.name, given, request.options.standardise)


def read_examples(path: Path, shape: Shape) -> tuple[Tensor, str]:
    """The examples [N, *shape] in an .npy file, or those in an .npz file; what was done to them.

    One example without the axis of examples is taken as well; axes are moved as for a training.
    Bytes stay bytes.

    Raises:
        DiagnosticError: D505 (they have another shape), D510 (file), D511 (no array of examples),
            D512 (type), D513 (numbers that are none).
    """
    place = f"`{path}`"
    with _opened(path) as stream:
        file = _file(path, stream, "save it with `numpy.save(FILE, x)`")
        if isinstance(file, np.lib.npyio.NpzFile):
            key = examples_key(place, file.files)
            place = f"`{key}` in {place}"
            file = _member(place, file, key)
    for array in (file, file[None]):
        own = tuple(array.shape[1:])
        change = rearrangement(own, shape)
        if own == shape or change is not None:
            inputs = torch.from_numpy(_inputs(place, array))
            return (inputs, "") if change is None else (change.of(inputs), change.said)
    what = f"is {list(file.shape)}, the network takes {list(shape)}"
    raise wrong(place, "D505", what, f"save the examples as [N, {', '.join(map(str, shape))}]")


def data_of_arrays(
    x: Array,
    y: Array,
    x_test: Array | None = None,
    y_test: Array | None = None,
    name: str = "arrays",
    standardise: Standardise = "auto",
) -> Data:
    """A data set of arrays; without a test part, a fifth of the examples is held out for it.

    Args:
        x: examples [N, features], [N, channels, length] or [N, channels, height, width]; bytes are
            pixels, other numbers are taken as they are. Where a network declares channels that
            stand last or are left out here, they are moved or added.
        y: targets; whole numbers from 0 [N] are classes, as a column [N, 1] or one-hot
            [N, classes] too, and so are texts [N]; other rows of 0 and 1 are several labels, and
            floating-point numbers [N] or [N, targets] are predicted as numbers.
        x_test: examples of the test part, shaped like those of ``x``.
        y_test: their targets.
        name: what the data set is called in files and messages.
        standardise: whether inputs are brought to mean 0 and deviation 1; ``"auto"`` leaves whole
            numbers that an embedding of the network looks up as they are, ``"no"`` all numbers.

    Raises:
        DiagnosticError: D418 (``standardise``), D511 (an array is missing), D512 (its type or
            shape), D513 (numbers that are none), D514 (targets).
    """
    check_word("standardise", standardise, STANDARDISE)
    given = {"x": x, "y": y, "x_test": x_test, "y_test": y_test}
    whole = f"`{name}`"
    arrays = {key: _as_array(key, whole, a) for key, a in given.items() if a is not None}
    return _data(name, _Given(whole, arrays, {key: key for key in arrays}), standardise)


def _as_array(key: str, whole: str, array: object) -> Array:
    try:
        return np.asarray(array)
    except Exception as error:  # whatever another library's object makes of it
        remedy = "give an array of numbers"
        raise wrong(f"`{key}` of {whole}", "D512", "is no array", remedy, _reason(error)) from None


def _data(name: str, given: _Given, standardise: Standardise) -> Data:
    x, labels = _examples(given, "")
    check_columns(given.place("y"), labels)
    task = task_of(labels.array, given.place("y"))
    train = Part(torch.from_numpy(x), task.targets(labels.array, given.place("y")))
    named = {given.names["y"]: labels}
    if end := given.judged:
        test, named[given.names[f"y{end}"]] = _test_part(given, end, task, train, labels)
        note = f"{given.whole} has no `x_test`: `{given.names[f'x{end}']}` is the test part"
        note = "" if end == "_test" else note
    else:
        every = train
        train, test = _hold_out(given.place("y"), task, every)
        note = (
            f"{given.whole} has no `x_test`: {len(test):,} of its {len(every):,} examples, "
            f"{split_words(task)}, are the test part"
        )
    notes = [*given.notes, note, *label_notes(named), class_note(given.names["y"], labels)]
    reading = Reading(given.arrays["x"].dtype.kind in "iu" and x.dtype != np.uint8, standardise)
    return Data.of(name, task, train, test, "none", "; ".join(filter(None, notes)), reading)


def _test_part(
    given: _Given, end: str, task: Task, train: Part, labels: Labels
) -> tuple[Part, Labels]:
    """The part whose roles end in ``end``, like the training part with its ``labels``."""
    inputs, of_test = _examples(given, end)
    place = given.place(f"y{end}")
    check_alike(place, of_test, given.names["y"], labels)
    test = Part(torch.from_numpy(inputs), task.targets(of_test.array, place))
    _check_shapes(given, train, test, f"x{end}")
    return test, of_test


def _examples(given: _Given, end: str) -> tuple[Array, Labels]:
    """The inputs and labels of the part whose roles end in ``end``."""
    x, y = (_array(given, role + end, f"x{end}") for role in ("x", "y"))
    inputs = _inputs(given.place(f"x{end}"), x)
    labels = read_labels(given.place(f"y{end}"), y)
    _check_count(given, end, inputs, labels.array)
    return inputs, labels


def _to_judge(name: str, given: _Given, learned: Task) -> Data:
    """The test part, or the one that stands in for it, or else all examples."""
    end = given.judged
    inputs, labels = _examples(given, end)
    targets = learned.targets_by_name(labels.array, given.place(f"y{end}"))
    x, judged = given.names["x"], given.names[f"x{end}"]
    note = f"`{judged}` of {given.whole} is judged, `{x}` is not" if end else ""
    notes = [*given.notes, note, *label_notes({given.names[f"y{end}"]: labels})]
    part = Part(torch.from_numpy(inputs), targets)
    return Data.to_judge(name, learned, part, "; ".join(filter(None, notes)), Reading(whole=False))


# -------------------------------------------------------------------------------------- reading


def _load(path: Path) -> _Given:
    """The arrays a data set is made of, as they lie in the file."""
    with _opened(path) as stream:  # numpy leaves what it opens and cannot read to the collector
        return _read(path, stream)


def _opened(path: Path) -> BinaryIO:
    if not path.is_file():
        remedy = "name a file that `numpy.savez` wrote"
        raise DiagnosticError(Diagnostic("D510", f"no file `{path}`", help=remedy))
    try:
        return path.open("rb")
    except OSError as error:
        reason = _reason(error)
        raise wrong(f"`{path}`", "D510", "cannot be opened", "make it readable", reason) from None


def _read(path: Path, stream: BinaryIO) -> _Given:
    place, remedy = f"`{path}`", "save it with `numpy.savez(FILE, x=x, y=y)`"
    file = _file(path, stream, remedy)
    if not isinstance(file, np.lib.npyio.NpzFile):
        raise wrong(place, "D510", "holds a single array, not `x` and `y`", remedy)
    names = roles_of(place, file.files)
    arrays = {role: _member(f"`{key}` in {place}", file, key) for role, key in names.items()}
    return _Given(place, arrays, names, "in", tuple(taken(place, names, file.files)))


def _file(path: Path, stream: BinaryIO, remedy: str) -> Any:
    """The array in a file of numpy's, or its archive of arrays."""
    try:
        return np.load(stream, allow_pickle=False)
    except Exception as error:  # numpy and zipfile raise many kinds for a broken file
        kind = path.suffix.lower() if path.suffix.lower() == ".npy" else ".npz"
        raise wrong(f"`{path}`", "D510", f"is not an {kind} file", remedy, _reason(error)) from None


def _member(place: str, file: Mapping[str, Array], key: str) -> Array:
    remedy = "save an array of numbers, `astype(float)`, or of texts, `astype(str)`"
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


def _array(given: _Given, role: str, first: str) -> Array:
    """The array of that role; ``first`` is the other one of its pair, or itself."""
    if role not in given.arrays:
        keys = (f"it has {quote(given.names.values())}",)
        remedy = "save it with `numpy.savez(FILE, x=x, y=y)`"
        if first != "x":
            remedy = f"save `{first}` and `y{first[1:]}` both, or neither"
        raise wrong(given.whole, "D511", f"has no array `{role}`", remedy, *keys)
    return given.arrays[role]


def _check_count(given: _Given, end: str, inputs: Array, labels: Array) -> None:
    """As many labels as examples, in arrays whose roles end in ``end``."""
    if not (labels.ndim and labels.size) or len(inputs) == len(labels):
        return
    x, y = (given.names[role + end] for role in ("x", "y"))
    what = f"has {len(inputs):,} examples in `{x}` and {len(labels):,} labels in `{y}`"
    remedy = "save one label an example"
    if inputs.shape[-1] == len(labels):
        remedy = f"put the examples first: save `np.moveaxis({x}, -1, 0)`"
    raise wrong(given.whole, "D512", what, remedy)


def _inputs(place: str, array: Array) -> Array:
    """The numbers of examples: bytes stay bytes, others become floating point."""
    if array.dtype.kind not in "biuf":
        remedy = _ENCODINGS.get(array.dtype.kind, "encode it as numbers")
        raise wrong(place, "D512", f"holds `{array.dtype}`, not numbers", remedy)
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


def _check_shapes(given: _Given, train: Part, test: Part, role: str) -> None:
    shapes = [list(part.inputs.shape[1:]) for part in (train, test)]
    if shapes[0] != shapes[1]:
        x, x_test = (given.names[key] for key in ("x", role))
        what = f"has examples {shapes[0]} in `{x}` and {shapes[1]} in `{x_test}`"
        raise wrong(given.whole, "D512", what, "save both in one shape")


def _hold_out(place: str, task: Task, whole: Part) -> tuple[Part, Part]:
    """All but a fifth of every stratum, and that fifth: in every run the same."""
    parts = reserve_test(task.strata(whole.targets), place)
    train, test = (whole.subset(torch.from_numpy(positions)) for positions in parts)
    return train, test
