"""The data `csv:PATH`: a table whose rows are examples, some columns of which are predicted.

``PATH`` is a file, or a folder with ``train.csv`` and ``test.csv``, which may end otherwise (see
`ENDINGS`); ``val.csv`` stands in for a missing test part. Inputs of a network that are images are
files that columns name, the one that is a vector is made of all other columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

import torch
from attrs import evolve, frozen
from torch import Tensor

from bayesnas.compiler.operations.primitives import Shape
from bayesnas.dsl.diagnostics import check_idle, quote
from bayesnas.runtime.data.conventions.files import parts_of
from bayesnas.runtime.data.dataset import Data
from bayesnas.runtime.data.examples import Part
from bayesnas.runtime.data.folders.listing import Findings
from bayesnas.runtime.data.registry import DataOptions, Request
from bayesnas.runtime.data.splits import reserve_test, split_words
from bayesnas.runtime.data.tables.columns import MOST, UNKNOWN, Preparation
from bayesnas.runtime.data.tables.files import ENDINGS, Table, read_table
from bayesnas.runtime.data.tables.pictures import Pictures, alike, named, picture_columns
from bayesnas.runtime.data.tables.targets import Targets
from bayesnas.runtime.tasks.bundle import bundled, by_port
from bayesnas.runtime.tasks.classification import Classification
from bayesnas.runtime.tasks.interface import Task
from bayesnas.runtime.tasks.parts import wrong

Columns: TypeAlias = Sequence[Mapping[str, Any]]  # of an input, as files have them


@frozen
class _Rows:
    """The rows of a table that have what is to be predicted, as `Task.targets` has it."""

    table: Table
    targets: Tensor

    @classmethod
    def of(cls, table: Table, targets: Targets, task: Task) -> _Rows:
        place = f"{quote(targets.names)} of {table.place}"
        kept = task.targets_by_name(targets.array, place)
        return cls(table.subset(targets.rows), kept)

    def split(self, task: Task) -> tuple[list[_Rows], str]:
        """All but a fifth, and that, and a note."""
        fit, held = reserve_test(task.strata(self.targets), self.table.place)
        parts = [
            _Rows(self.table.subset(r), self.targets[torch.from_numpy(r)]) for r in (fit, held)
        ]
        count = f"{len(held):,} of its {len(self.targets):,} rows"
        return parts, f"{count}, {split_words(task)}, are the test part"


def load(request: Request) -> Data:
    """Examples [features] of the rows, prepared as the training part has it.

    Raises:
        DiagnosticError: D436 (packages for Parquet are missing), D510 (file), D512 (no rows), D513
            (entries that are no numbers), D514 (what is predicted), D516 (columns).
    """
    if request.learned is not None:
        return _to_judge(request, request.learned)
    names, outputs = request.options.target, _single(request.outputs)
    paths = parts_of(Path(request.argument), ENDINGS)
    table = read_table(paths.train)
    said = request.objective
    found = Targets.of(table, names, outputs, said=said)
    task = found.task(table.place, said)
    pictures = picture_columns(table, _inputs(request), names, request.options)
    if not pictures:
        check_idle(request.options.fitted, "without images", "leave it out: no input is an image")
    rows, notes = _Rows.of(table, found, task), [_absent(table, found)]
    if paths.test is None:
        parts, note = rows.split(task)
    else:
        texts = [name for name, column in table.columns.items() if column.dtype.kind == "U"]
        classes = names if found.array.ndim == 1 else ()
        other = read_table(paths.test, {*texts, *classes})
        judged = Targets.of(other, names, outputs, task)
        parts, note = [rows, _Rows.of(other, judged, task)], paths.note
        notes.append(_absent(other, judged))
    return _prepared(request, task, parts, [*notes, note], pictures)


def read_rows(
    path: Path, columns: Columns, shape: Shape, options: DataOptions, done: Findings
) -> tuple[Tensor, str]:
    """The examples [N, ...] of one input in a file, prepared as a training had them; a remark.

    What is done to images is added to ``done``.

    Raises:
        DiagnosticError: D436, D504, D505, D510, D512, D513, D516, as for `load`.
    """
    table = read_table(path, texts_of(columns))
    return examples_of(table, path, columns, shape, options, done)


def examples_of(
    table: Table, path: Path, columns: Columns, shape: Shape, options: DataOptions, done: Findings
) -> tuple[Tensor, str]:
    """The same of a table that was read from that file."""
    if name := named(columns):
        return Pictures(name, shape, options).of(table, path.parent, done), ""
    inputs, remark = Preparation.of_record(columns).of(table)
    return torch.from_numpy(inputs), remark


def _prepared(
    request: Request,
    task: Task,
    parts: Sequence[_Rows],
    notes: Sequence[str],
    pictures: Mapping[str, Pictures],
) -> Data:
    """Examples of the training and the test part, as the former has it."""
    read = {port: _images(request, parts, column) for port, column in pictures.items()}
    for port in [port for port in _inputs(request) if port not in pictures][:1]:
        read[port] = _features(request, parts, pictures)
    train, test = (
        Part(bundled({port: one.parts[k] for port, one in read.items()}), rows.targets)
        for k, rows in enumerate(parts)
    )
    place, said = parts[0].table.place, (one.said for one in read.values())
    note = "; ".join(filter(None, (f"{place}: {', '.join(said)}", *notes, *_remarks(read))))
    data = Data.of(request.name, task, train, test, "none", note)
    columns = dict(zip(by_port(data.mean), (one.columns for one in read.values()), strict=True))
    mean, std = by_port(data.mean), by_port(data.std)
    for port, one in zip(mean, read.values(), strict=True):
        if one.scaled is not None:
            mean[port] = torch.where(one.scaled, mean[port], 0.0)
            std[port] = torch.where(one.scaled, std[port], 1.0)
    return evolve(data, mean=bundled(mean), std=bundled(std), columns=columns)


@frozen
class _Read:
    """An input of all parts.

    Args:
        parts: [N, ...] of each.
        columns: what it is made of, for files.
        said: that, in words.
        remarks: on what was read.
        scaled: which features are to be standardised; None: all.
    """

    parts: Sequence[Tensor]
    columns: Sequence[Mapping[str, Any]]
    said: str
    remarks: Sequence[str] = ()
    scaled: Tensor | None = None


def _features(request: Request, parts: Sequence[_Rows], pictures: Mapping[str, Pictures]) -> _Read:
    """What the columns become that are neither predicted nor images."""
    table, apart = parts[0].table, {*request.options.target, *(p.name for p in pictures.values())}
    others = [name for name in table.columns if name not in apart]
    width = next((_single(s) for p, s in _inputs(request).items() if p not in pictures), 0)
    prepared, said = Preparation.fitted(table, others, width)
    called = (
        f"entries to learn that are rarer than the {MOST} with a feature",
        f"{UNKNOWN}, to test",
    )
    examples = [prepared.of(rows.table, word) for rows, word in zip(parts, called, strict=True)]
    return _Read(
        [torch.from_numpy(inputs) for inputs, _ in examples],
        prepared.record(),
        said,
        [remark for _, remark in examples],
        torch.tensor(prepared.quantities),  # marks and categories stay 0 and 1
    )


def _images(request: Request, parts: Sequence[_Rows], column: Pictures) -> _Read:
    """The images that a column names."""
    path, done = Path(request.argument), Findings()
    folder = path if path.is_dir() else path.parent
    images = alike([column.of(rows.table, folder, done) for rows in parts])
    return _Read(images, [column.record()], f"images that `{column.name}` names", done.texts())


def _remarks(read: Mapping[str, _Read]) -> Iterator[str]:
    for one in read.values():
        yield from one.remarks


def _inputs(request: Request) -> Mapping[str, Shape]:
    """Shapes of the network's inputs, by port."""
    return request.ports.inputs if request.ports else {"": request.shape}


def _to_judge(request: Request, learned: Task) -> Data:
    """The test part of a folder, or all rows of a file, prepared as in the training."""
    paths = parts_of(Path(request.argument), ENDINGS)
    path = paths.test or paths.train
    columns = request.options.columns
    if not columns:
        remedy = "save the examples as arrays: `npz:FILE`"
        raise wrong(f"`{path}`", "D516", "is a table, and the run was trained on none", remedy)
    names = request.options.target
    labels = names if isinstance(learned, Classification) else ()
    table = read_table(path, {*chain.from_iterable(map(texts_of, columns.values())), *labels})
    found = Targets.of(table, names, 0, learned)
    rows, done = _Rows.of(table, found, learned), Findings()
    shapes, inputs, remarks = [*_inputs(request).values()], {}, []
    for (port, own), shape in zip(columns.items(), shapes, strict=True):
        inputs[port], remark = examples_of(rows.table, path, own, shape, request.options, done)
        remarks.append(remark)
    note = "; ".join(filter(None, (paths.note, _absent(table, found), *remarks, *done.texts())))
    return Data.to_judge(request.name, learned, Part(bundled(inputs), rows.targets), note)


def _single(shape: Sequence[int]) -> int:
    """The size of a vector; 0 for another shape."""
    return shape[0] if len(shape) == 1 else 0


def texts_of(columns: Columns) -> list[str]:
    """Columns that are read as texts, by their record."""
    return [one["name"] for one in columns if "median" not in one]


def _absent(table: Table, targets: Targets) -> str:
    """A note on rows that have nothing to be predicted."""
    count = int((~targets.rows).sum())
    return f"{count:,} rows of {table.place} without {quote(targets.names)} are left out" * bool(
        count
    )
