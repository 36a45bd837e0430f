"""Data of one's own: arrays `x` and `y` (and `x_test`, `y_test`), or `npz:FILE` of them.

In a file, `x_val` and `y_val` stand in for a missing test part. The arrays of a network of several
inputs or outputs are called by its ports: `image`, `depth`, `label`, `image_test`, ...
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from math import prod
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
import torch
from attrs import evolve, frozen

from bayesnas.compiler.objectives import Objective
from bayesnas.compiler.operations.primitives import Shape
from bayesnas.dsl.diagnostics import quote
from bayesnas.runtime.data.archives import archive, member, opened, reason_of
from bayesnas.runtime.data.conventions.keys import (
    by_ports,
    check_spelling,
    port_roles,
    roles_of,
    taken,
)
from bayesnas.runtime.data.conventions.labels import (
    Labels,
    check_alike,
    check_columns,
    class_note,
    label_notes,
    read_labels,
)
from bayesnas.runtime.data.conventions.numbers import numbers
from bayesnas.runtime.data.dataset import Data, Reading
from bayesnas.runtime.data.examples import Part
from bayesnas.runtime.data.registry import STANDARDISE, Ports, Request, Standardise, check_word
from bayesnas.runtime.data.splits import reserve_test, split_words
from bayesnas.runtime.tasks.bundle import bundled, tensors
from bayesnas.runtime.tasks.interface import Task
from bayesnas.runtime.tasks.outputs import Output
from bayesnas.runtime.tasks.parts import Array, wrong
from bayesnas.runtime.tasks.registry import task_of
from bayesnas.runtime.tasks.several import Several, parts_of

_ROWS: Final = ("regression", "multilabel")  # objectives of rows of numbers


@frozen
class _Given:
    """Arrays by their roles, and how they are called in diagnostics.

    The roles of a network of one input and one output are ``x`` and ``y``, those of others the
    names of its ports; behind them stands the part, ``_test`` or ``_val``.
    """

    whole: str
    arrays: Mapping[str, Array]
    names: Mapping[str, str]
    between: str = "of"
    notes: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ("x",)
    outputs: tuple[str, ...] = ("y",)
    rows: frozenset[str] = frozenset()  # outputs whose rows are numbers, whatever they look like

    @property
    def judged(self) -> str:
        """What roles of the test part end in; `_val` stands in, and empty is no such part.

        What was saved to validate with is as good as a test part, since no search reads it.
        """
        roles = (*self.inputs, *self.outputs)
        ends = (e for e in ("_test", "_val") if {role + e for role in roles} & self.arrays.keys())
        return next(ends, "")

    def place(self, role: str) -> str:
        """An array as its user knows it."""
        return f"`{self.names[role]}` {self.between} {self.whole}"

    def called(self, role: str) -> str:
        """The port of an output, where there are several."""
        return role if len(self.outputs) > 1 else ""

    def wanted(self, ports: Ports | None) -> dict[str, tuple[Shape | None, Objective | None]]:
        """Of each output's role the shape of the network's output, and what is said of it."""
        if ports is None:
            return dict.fromkeys(self.outputs, (None, None))
        named = self.outputs if len(self.outputs) > 1 else tuple(ports.outputs)[:1]
        return {
            role: (ports.outputs.get(port), ports.objectives.get(port))
            for role, port in zip(self.outputs, named, strict=True)
        }

    def in_order(self, ports: Ports | None) -> _Given:
        """With the outputs in the order of a network's, where they are the same."""
        if ports is None or {*ports.outputs} != {*self.outputs}:
            return self
        return evolve(self, outputs=tuple(ports.outputs))

    def with_rows(self, objectives: Mapping[str, str | None]) -> _Given:
        """The same where these objectives of outputs, by role, are known."""
        rows = {role for role, name in objectives.items() if name in _ROWS}
        return evolve(self, rows=frozenset(rows))


def load(request: Request) -> Data:
    """The data set in an .npz file; the names that others give its arrays are known as well.

    Raises:
        DiagnosticError: D510 (file), and what `data_of_arrays` raises.
    """
    given = _load(Path(request.argument), request.ports)
    if request.learned is not None:
        return _to_judge(request.name, given, request.learned)
    return _data(request.name, given, request.options.standardise, request.ports)


def data_of_parts(request: Request, arrays: Mapping[str, Array], notes: Sequence[str]) -> Data:
    """A data set of arrays that a source has read: ``x``, ``y``, ``x_test``, ``y_test`` and alike.

    Raises:
        DiagnosticError: what `data_of_arrays` raises.
    """
    given = _Given(f"`{request.name}`", arrays, {key: key for key in arrays}, notes=tuple(notes))
    if request.learned is not None:
        return _to_judge(request.name, given, request.learned)
    return _data(request.name, given, request.options.standardise, request.ports)


def data_of_arrays(
    x: Array | Mapping[str, Array],
    y: Array | Mapping[str, Array],
    x_test: Array | Mapping[str, Array] | None = None,
    y_test: Array | Mapping[str, Array] | None = None,
    name: str = "arrays",
    standardise: Standardise = "auto",
) -> Data:
    """A data set of arrays; without a test part, a fifth of the examples is held out for it.

    Args:
        x: examples [N, features], [N, channels, length] or [N, channels, height, width]; bytes are
            pixels, other numbers are taken as they are. Where a network declares channels that
            stand last or are left out here, they are moved or added. For a network of several
            inputs, such arrays by the names of the inputs.
        y: targets; whole numbers from 0 [N] are classes, as a column [N, 1] or one-hot
            [N, classes] too, and so are texts [N]; other rows of 0 and 1 are several labels, and
            floating-point numbers [N] or [N, targets] are predicted as numbers. For a network of
            several outputs, such arrays by the names of the outputs.
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
    whole = f"`{name}`"
    arrays = {
        role + end: _as_array(role + end, whole, array)
        for word, end, given in (
            ("x", "", x),
            ("y", "", y),
            ("x", "_test", x_test),
            ("y", "_test", y_test),
        )
        if given is not None
        for role, array in (given if isinstance(given, Mapping) else {word: given}).items()
    }
    roles = [tuple(one) if isinstance(one, Mapping) else (w,) for w, one in (("x", x), ("y", y))]
    given = _Given(whole, arrays, {key: key for key in arrays}, inputs=roles[0], outputs=roles[1])
    return _data(name, given, standardise, None)


def _as_array(key: str, whole: str, array: object) -> Array:
    try:
        return np.asarray(array)
    except Exception as error:  # whatever another library's object makes of it
        remedy = "give an array of numbers"
        raise wrong(
            f"`{key}` of {whole}", "D512", "is no array", remedy, reason_of(error)
        ) from None


def _data(name: str, given: _Given, standardise: Standardise, ports: Ports | None) -> Data:
    """A data set; for a network of these ports, where they are known.

    Raises:
        DiagnosticError: D520 (a port of the network has no array), D521 (an array is called almost
            as one of a test part), and what is wrong with them.
    """
    given = given.in_order(ports)
    wanted = given.wanted(ports)
    given = given.with_rows({r: o.name if o else None for r, (_, o) in wanted.items()})
    inputs, labels = _examples(given, "")
    for role, one in labels.items():
        check_columns(given.place(role), one)
    tasks = {
        role: task_of(one.array, given.place(role), *wanted[role], given.called(role))
        for role, one in labels.items()
    }
    train, task = _part(given, "", inputs, labels, tasks), _joined(given, tasks, labels, ports)
    named = {given.names[role]: one for role, one in labels.items()}
    if end := given.judged:
        test, of_test = _test_part(given, end, tasks, train, labels)
        named |= {given.names[role + end]: one for role, one in of_test.items()}
        first = given.inputs[0]
        note = f"{given.whole} has no `{first}_test`: `{given.names[first + end]}` is the test part"
        note = "" if end == "_test" else note
    else:
        every = train
        train, test = _hold_out(given.place(given.outputs[0]), task, every)
        note = (
            f"{given.whole} has no `{given.inputs[0]}_test`: {len(test):,} of its {len(every):,} "
            f"examples, {split_words(task)}, are the test part"
        )
    classes = (class_note(given.names[role], one) for role, one in labels.items())
    notes = [*given.notes, note, *label_notes(named), *classes]
    kinds = {given.arrays[role].dtype.kind for role, x in inputs.items() if x.dtype != np.uint8}
    again = partial(_data, name, given, standardise)
    reading = Reading(bool(kinds & {"i", "u"}), standardise, again)
    return Data.of(name, task, train, test, "none", "; ".join(filter(None, notes)), reading)


def _joined(
    given: _Given, tasks: Mapping[str, Task], labels: Mapping[str, Labels], ports: Ports | None
) -> Task:
    """The task of the one output, or of all of them."""
    if len(tasks) == 1:
        return next(iter(tasks.values()))
    outputs = []
    for role, task in tasks.items():
        shape = (ports.outputs.get(role) if ports else None) or ()
        objective = ports.objectives.get(role) if ports else None
        weight = 1.0 if objective is None else objective.weight
        targets = task.targets(labels[role].array[:1], given.place(role))
        outputs.append(Output.of(role, task, weight, prod(shape), targets))
    return Several(tuple(outputs))


def _part(
    given: _Given,
    end: str,
    inputs: Mapping[str, Array],
    labels: Mapping[str, Labels],
    tasks: Mapping[str, Task],
    by_name: bool = False,
) -> Part:
    """Examples and targets of a part; ``by_name`` where it is not that of the training."""
    targets = []
    for role, task in tasks.items():
        read = task.targets_by_name if by_name else task.targets
        targets.append(read(labels[role].array, given.place(role + end)))
    joined = targets[0] if len(targets) == 1 else Several.joined(targets)
    return Part(bundled({role: torch.from_numpy(x) for role, x in inputs.items()}), joined)


def _test_part(
    given: _Given, end: str, tasks: Mapping[str, Task], train: Part, labels: Mapping[str, Labels]
) -> tuple[Part, dict[str, Labels]]:
    """The part whose roles end in ``end``, like the training part with its ``labels``."""
    inputs, of_test = _examples(given, end, labels)
    for role, one in of_test.items():
        check_alike(given.place(role + end), one, given.names[role], labels[role])
    test = _part(given, end, inputs, of_test, tasks)
    _check_shapes(given, train, test, end)
    return test, of_test


def _examples(
    given: _Given, end: str, like: Mapping[str, Labels] | None = None
) -> tuple[dict[str, Array], dict[str, Labels]]:
    """The inputs and labels of the part whose roles end in ``end``, by role.

    Labels are read ``like`` those of the training part, where they are given.
    """
    arrays = {role: _array(given, role, end) for role in (*given.inputs, *given.outputs)}
    inputs = {role: numbers(given.place(role + end), arrays[role]) for role in given.inputs}
    labels = {
        role: Labels(arrays[role])
        if role in given.rows and arrays[role].ndim == 2
        else read_labels(
            given.place(role + end), arrays[role], None if like is None else like[role]
        )
        for role in given.outputs
    }
    counted = {**inputs, **{role: one.array for role, one in labels.items()}}
    _check_count(given, end, counted)
    return inputs, labels


def _to_judge(name: str, given: _Given, learned: Task) -> Data:
    """The test part, or the one that stands in for it, or else all examples."""
    end = given.judged
    tasks = dict(zip(given.outputs, parts_of(learned), strict=True))
    given = given.with_rows({role: task.objective for role, task in tasks.items()})
    like = {role: Labels(np.zeros(0)) for role in given.outputs}  # classes; others stay rows
    inputs, labels = _examples(given, end, like)
    part = _part(given, end, inputs, labels, tasks, by_name=True)
    x, judged = given.names[given.inputs[0]], given.names[given.inputs[0] + end]
    note = f"`{judged}` of {given.whole} is judged, `{x}` is not" if end else ""
    named = {given.names[role + end]: one for role, one in labels.items()}
    notes = [*given.notes, note, *label_notes(named)]
    return Data.to_judge(name, learned, part, "; ".join(filter(None, notes)), Reading(whole=False))


# -------------------------------------------------------------------------------------- reading


def _load(path: Path, ports: Ports | None) -> _Given:
    """The arrays a data set is made of, as they lie in the file."""
    with opened(path) as stream:  # numpy leaves what it opens and cannot read to the collector
        return _read(path, stream, ports)


def _read(path: Path, stream: BinaryIO, ports: Ports | None) -> _Given:
    place, file = f"`{path}`", archive(path, stream)
    if ports is not None and by_ports(ports, file.files):
        names = port_roles(place, ports, file.files)
        check_spelling(place, names, file.files)
        roles = tuple(ports.inputs), tuple(ports.outputs)
    else:
        names, roles = roles_of(place, file.files), (("x",), ("y",))
    arrays = {role: member(f"`{key}` in {place}", file, key) for role, key in names.items()}
    notes = tuple(taken(place, names, file.files))
    return _Given(place, arrays, names, "in", notes, *roles)


# ------------------------------------------------------------------------------------- checking


def _array(given: _Given, role: str, end: str) -> Array:
    """The array of that role in the part whose roles end in ``end``."""
    if role + end in given.arrays:
        return given.arrays[role + end]
    keys = (f"it has {quote(given.names.values())}",)
    roles = (*given.inputs, *given.outputs)
    remedy = f"save it with `numpy.savez(FILE, {', '.join(f'{r}={r}' for r in roles)})`"
    if end:
        whole = quote(r + end for r in roles)
        remedy = f"save {whole} {'both' if len(roles) == 2 else 'all'}, or neither"
    raise wrong(given.whole, "D511", f"has no array `{role}{end}`", remedy, *keys)


def _check_count(given: _Given, end: str, counted: Mapping[str, Array]) -> None:
    """As many examples in all arrays of the part whose roles end in ``end``."""
    first, *others = counted
    count = len(counted[first])
    for role in others:
        array = counted[role]
        if not (array.ndim and array.size) or len(array) == count:
            continue
        x, y = (given.names[one + end] for one in (first, role))
        kind, remedy = "labels", "save one label per example"
        if role in given.inputs:
            kind, remedy = "examples", "save all inputs of each example"
        what = f"has {count:,} examples in `{x}` and {len(array):,} {kind} in `{y}`"
        if counted[first].shape[-1] == len(array):
            remedy = f"put the examples first: save `np.moveaxis({x}, -1, 0)`"
        raise wrong(given.whole, "D512", what, remedy)


def _check_shapes(given: _Given, train: Part, test: Part, end: str) -> None:
    pairs = zip(given.inputs, *(tensors(part.inputs) for part in (train, test)), strict=True)
    for role, *parts in pairs:
        shapes = [list(inputs.shape[1:]) for inputs in parts]
        if shapes[0] != shapes[1]:
            x, x_test = (given.names[key] for key in (role, role + end))
            what = f"has examples {shapes[0]} in `{x}` and {shapes[1]} in `{x_test}`"
            raise wrong(given.whole, "D512", what, "save both in one shape")


def _hold_out(place: str, task: Task, whole: Part) -> tuple[Part, Part]:
    """All but a fifth of every stratum, and that fifth: in every run the same."""
    parts = reserve_test(task.strata(whole.targets), place)
    train, test = (whole.subset(torch.from_numpy(positions)) for positions in parts)
    return train, test
