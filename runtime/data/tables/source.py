"""The data `csv:PATH`: a table whose rows are examples, some columns of which are predicted.

``PATH`` is a file, or a folder with ``train.csv`` and ``test.csv``, which may end otherwise (see
`ENDINGS`); ``val.csv`` stands in for a missing test part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from attrs import evolve, frozen
from torch import Tensor

from bayesnas.dsl.diagnostics import quote
from bayesnas.runtime.data.conventions.files import parts_of
from bayesnas.runtime.data.dataset import Data
from bayesnas.runtime.data.examples import Part
from bayesnas.runtime.data.registry import Request
from bayesnas.runtime.data.splits import reserve_test, split_words
from bayesnas.runtime.data.tables.columns import MOST, UNKNOWN, Categories, Preparation
from bayesnas.runtime.data.tables.files import ENDINGS, Table, read_table
from bayesnas.runtime.data.tables.targets import Targets
from bayesnas.runtime.tasks.bundle import mapped
from bayesnas.runtime.tasks.classification import Classification
from bayesnas.runtime.tasks.interface import Task, wrong


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
    rows, notes = _Rows.of(table, found, task), [_absent(table, found)]
    if paths.test is None:
        parts, note = rows.split(task)
    else:
        texts = [name for name, column in table.columns.items() if column.dtype.kind == "U"]
        other = read_table(paths.test, {*texts, *(names if found.array.ndim == 1 else ())})
        judged = Targets.of(other, names, outputs, task)
        parts, note = [rows, _Rows.of(other, judged, task)], paths.note
        notes.append(_absent(other, judged))
    return _prepared(request, task, parts, [*notes, note])


def read_rows(path: Path, columns: Sequence[Mapping[str, Any]]) -> tuple[Tensor, str]:
    """The examples [N, features] in a file, prepared as a training had them; a remark.

    Raises:
        DiagnosticError: D436, D510, D512, D513, D516, as for `load`.
    """
    prepared = Preparation.of_record(columns)
    inputs, remark = prepared.of(read_table(path, _texts(prepared)))
    return torch.from_numpy(inputs), remark


def _prepared(request: Request, task: Task, parts: Sequence[_Rows], notes: Sequence[str]) -> Data:
    table = parts[0].table
    others = [name for name in table.columns if name not in request.options.target]
    prepared, said = Preparation.fitted(table, others, _single(request.shape))
    called = (
        f"entries to learn that are rarer than the {MOST} with a feature",
        f"{UNKNOWN}, to test",
    )
    examples = [prepared.of(rows.table, word) for rows, word in zip(parts, called, strict=True)]
    train, test = (
        Part(torch.from_numpy(inputs), rows.targets)
        for (inputs, _), rows in zip(examples, parts, strict=True)
    )
    remarks = [f"{table.place}: {said}", *notes, *(remark for _, remark in examples)]
    note = "; ".join(filter(None, remarks))
    data = Data.of(request.name, task, train, test, "none", note)
    scaled = torch.tensor(prepared.quantities)  # marks and categories stay 0 and 1
    return evolve(
        data,
        mean=mapped(lambda mean: torch.where(scaled, mean, 0.0), data.mean),
        std=mapped(lambda std: torch.where(scaled, std, 1.0), data.std),
        columns=prepared.record(),
    )


def _to_judge(request: Request, learned: Task) -> Data:
    """The test part of a folder, or all rows of a file, prepared as in the training."""
    paths = parts_of(Path(request.argument), ENDINGS)
    path = paths.test or paths.train
    if not request.options.columns:
        remedy = "save the examples as arrays: `npz:FILE`"
        raise wrong(f"`{path}`", "D516", "is a table, and the run was trained on none", remedy)
    prepared = Preparation.of_record(request.options.columns)
    names = request.options.target
    labels = names if isinstance(learned, Classification) else ()
    table = read_table(path, {*_texts(prepared), *labels})
    found = Targets.of(table, names, 0, learned)
    rows = _Rows.of(table, found, learned)
    inputs, remark = prepared.of(rows.table)
    note = "; ".join(filter(None, (paths.note, _absent(table, found), remark)))
    return Data.to_judge(request.name, learned, Part(torch.from_numpy(inputs), rows.targets), note)


def _single(shape: Sequence[int]) -> int:
    """The size of a vector; 0 for another shape."""
    return shape[0] if len(shape) == 1 else 0


def _texts(prepared: Preparation) -> list[str]:
    """Columns that are read as texts."""
    return [column.name for column in prepared.columns if isinstance(column, Categories)]


def _absent(table: Table, targets: Targets) -> str:
    """A note on rows that have nothing to be predicted."""
    count = int((~targets.rows).sum())
    return f"{count:,} rows of {table.place} without {quote(targets.names)} are left out" * bool(
        count
    )
