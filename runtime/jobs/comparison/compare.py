"""Strategies side by side: each searches with every seed, and what it found is trained anew."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from attrs import asdict

from bayesnas.compiler.settings import TrainSettings, searches_widths
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError
from bayesnas.dsl.files import check_empty, check_free, write_text
from bayesnas.runtime.jobs.comparison.cells import Cell, Work, begun_anew
from bayesnas.runtime.jobs.comparison.cluster import Cluster
from bayesnas.runtime.jobs.comparison.table import Entry, Failure, Outcome
from bayesnas.runtime.jobs.search.space import Space
from bayesnas.runtime.runs.ownership import REPORT, settings_of
from bayesnas.runtime.runs.places import located
from bayesnas.runtime.runs.progress import duration, say_note
from bayesnas.runtime.tasks.registry import task_class

_RECORD: Final = "compare.json"


def compare(
    space: Space, cells: Sequence[Cell], schedule: TrainSettings, cluster: Cluster | None = None
) -> list[Outcome]:
    """Search and retrain for each of ``cells``, in folders below their ``out``.

    What a folder holds finished is read; what it holds half done is gone on with. Here one cell
    comes after another, and the first that fails ends all; on a cluster the others go on.

    Raises:
        DiagnosticError: D414 if what is there was begun otherwise; D436 and D447, where there is no
            such cluster; whatever the runs raise, if there is none.
    """
    space.check(all(searches_widths(cell.settings) for cell in cells))
    _check(space, cells, schedule)
    work = Work(space, schedule)
    try:
        if cluster is None:
            _begin(space, cells, schedule)
            return [*_one_by_one(work, [*map(begun_anew, cells)])]
        with cluster.joined():
            _begin(space, cells, schedule)
            return _on_cluster(cluster, work, [*map(begun_anew, cells)])
    except KeyboardInterrupt:
        remedy = "without `--force`, the same command goes on with what is done"
        raise KeyboardInterrupt(remedy) from None


def _one_by_one(work: Work, cells: Sequence[Cell]) -> Iterator[Entry]:
    for number, cell in enumerate(cells, start=1):
        say_note(f"{number} of {len(cells)}: {cell.name}")
        work.complete(cell)
        yield Entry.of(cell)


def _on_cluster(cluster: Cluster, work: Work, cells: Sequence[Cell]) -> list[Outcome]:
    """A line a cell, as they end; the result has them in their order."""
    outcomes: dict[int, Outcome] = {}
    path = cells[0].options.out / _RECORD
    with closing(cluster.complete(work, cells, path)) as ended:
        for index, diagnostics in ended:
            cell = cells[index]
            outcome: Outcome = Failure(cell, diagnostics) if diagnostics else _entry(cell)
            outcomes[index] = outcome
            say_note(f"{len(outcomes)} of {len(cells)}: {cell.name}: {_told(outcome)}")
    return [outcomes[index] for index in sorted(outcomes)]


def _entry(cell: Cell) -> Outcome:
    try:
        return Entry.of(cell)
    except DiagnosticError as error:
        return Failure(cell, error.diagnostics)


def _told(outcome: Outcome) -> str:
    """How a cell has ended, in a line."""
    if isinstance(outcome, Failure):
        return f"failed, {outcome.reason}"
    quality = task_class(outcome.metric).quality_text(outcome.quality)
    return f"test {outcome.metric} {quality}, searched in {duration(outcome.seconds)}"


def _record(space: Space, cells: Sequence[Cell], schedule: TrainSettings) -> dict[str, Any]:
    """What the runs are of: space, data and settings; those that cells have otherwise are null."""
    options = cells[0].options
    differ = dict.fromkeys(["strategy", *(name for cell in cells for name in cell.swept)])
    return {
        "spec": space.wanted.loaded.source.text,
        "network": space.wanted.network.name,
        "values": dict(space.wanted.values),
        **space.record(),
        "data": located(options.data_name),
        **options.data_options.record(),
        "search": asdict(cells[0].settings) | differ,
        "train": asdict(schedule),
    }


def _check(space: Space, cells: Sequence[Cell], schedule: TrainSettings) -> None:
    """Refuse a folder that holds something else.

    Raises:
        DiagnosticError: D413 (files of others are there), D414 (runs of something else).
    """
    options = cells[0].options
    check_empty(options.out, force=True)  # it may be no file
    if settings_of(options.out) is not None:
        message, remedy = f"`{options.out}` is the folder of a run", "choose another folder"
        raise DiagnosticError(Diagnostic("D413", message, help=remedy))
    begun, record = _begun(options.out / _RECORD), _record(space, cells, schedule)
    if begun is None or begun.keys() != record.keys():
        for name in (_RECORD, "compare.csv", "compare.svg", REPORT):
            check_free(options.out / name, options.force, "choose another folder with `-o`")
        for cell in cells:
            check_empty(cell.folder, options.force)
    elif begun != record and not options.force:
        raise DiagnosticError(
            Diagnostic(
                "D414",
                f"the comparison in `{options.out}` was begun otherwise",
                notes=(*_differences(begun, record),),
                help="choose another folder, or pass `--force` to begin anew",
            )
        )


def _differences(begun: Mapping[str, Any], record: Mapping[str, Any]) -> Iterator[str]:
    """What two comparisons have otherwise, in a sentence each."""
    for name, new in record.items():
        old = begun[name]
        if old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            for key in [key for key in {**old, **new} if old.get(key) != new.get(key)]:
                yield f"{name}: `{key}` was {_value(old, key)}, now {_value(new, key)}"
        elif name == "spec":
            yield "the spec is another one"
        else:
            yield f"`{name}` was {old}, now {new}"


def _value(values: Mapping[str, Any], name: str) -> str:
    """A value of a record in words."""
    if name not in values:
        return "not given"
    return "swept" if values[name] is None else str(values[name])


def _begin(space: Space, cells: Sequence[Cell], schedule: TrainSettings) -> None:
    """Note what the runs are of."""
    text = json.dumps(_record(space, cells, schedule), indent=1) + "\n"
    write_text(cells[0].options.out / _RECORD, text)


def _begun(path: Path) -> dict[str, Any] | None:
    """What a comparison has noted; None where there is none, or something else."""
    try:
        data = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None
