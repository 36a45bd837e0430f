"""The files of a run, read for a page: whatever is there, each checked before it is believed."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from attrs import field, frozen

from bayesnas.compiler.pipeline import Compiled, compile_spec
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError
from bayesnas.runtime.jobs.comparison.cells import cell_folder
from bayesnas.runtime.runs.folder import Run
from bayesnas.runtime.runs.ownership import FOUND, MEMBERS, RESULT, ROUNDS, RUNNERS_UP, settings_of
from bayesnas.runtime.runs.reading import (
    COUNT,
    FLAG,
    NUMBER,
    TEXT,
    Schema,
    check_entries,
    listed,
    maybe,
    open_record,
    table,
)
from bayesnas.runtime.runs.seals import RESTORE, check_seal

Row: TypeAlias = dict[str, Any]
Made: TypeAlias = Literal["search", "train", "compress", "compare"]

_ANY: Final[Schema] = {"type": ["number", "null", "string", "boolean", "object", "array"]}
_GATE: Final = {"w": maybe(NUMBER), "gamma": maybe(NUMBER), "error": maybe(NUMBER)}
_COST: Final = {"parameters": COUNT, "flops": COUNT}
MASKED: Final = ("weights", "nonzero")  # of a layer, where weights are masked
# Of the files that hold rows, by name.
_ROWS: Final[Mapping[str, Schema]] = {
    "history.jsonl": open_record(
        {
            "epoch": COUNT,
            "round": COUNT,
            "train_loss": maybe(NUMBER),
            "alive": COUNT,
            "images_trained": COUNT,
            "removed": table(TEXT),
            "seconds": NUMBER,
        },
        optional=("epoch", "round", "alive", "images_trained", "removed", "seconds"),
    ),
    "gates.jsonl": open_record(
        {
            "group": TEXT,
            "edge": TEXT,
            "operation": TEXT,
            "w_solved": maybe(NUMBER),
            "chance": maybe(NUMBER),
            "removed_in_round": maybe(COUNT),
            "removed_by": maybe(TEXT),
            **_GATE,
        },
        optional=("w_solved", "chance"),
    ),
    ROUNDS: open_record(
        {"round": COUNT, "group": TEXT, "alive": FLAG, "mean": maybe(NUMBER), **_GATE}
    ),
    MEMBERS: open_record(
        {
            "member": listed(TEXT),
            **dict.fromkeys(("judged", "loss", "error", "best", "close", "better"), NUMBER),
            "biggest": FLAG,
            **_COST,
        },
        optional=("biggest",),
    ),
    "layers.jsonl": open_record(
        {
            "layer": TEXT,
            "operation": TEXT,
            **dict.fromkeys(("inputs", "inputs_kept", "channels", "channels_kept"), COUNT),
            **dict.fromkeys(MASKED, COUNT),
        },
        optional=MASKED,
    ),
}
_CLASS: Final = open_record(
    {
        "examples": COUNT,
        **dict.fromkeys(("precision", "recall", "f1"), maybe(NUMBER)),
        "answers": table(COUNT),
    }
)
_RESULT: Final = open_record(
    {
        "strategy": TEXT,
        "supernet": open_record(_COST),
        "found": open_record(_COST),
        "operations": COUNT,
        "operations_left": COUNT,
        "images_trained": COUNT,
        "images_evaluated": COUNT,
        "seconds": NUMBER,
        "device": TEXT,
        "machine": table({"type": ["string", "integer"]}),
        "metric": TEXT,
        "test_examples": COUNT,
        "compression": open_record({"before": open_record(_COST), "removed": open_record(_COST)}),
        **_COST,
    },
    optional=(
        *("strategy", "supernet", "found", "operations", "operations_left", "images_trained"),
        *("images_evaluated", "device", "machine", "metric", "test_examples"),
        *("compression", "parameters", "flops"),
    ),
)


@frozen
class RunFiles:
    """A run's folder as a page needs it.

    Args:
        folder: where it is.
        made: by which command.
        settings: its ``settings.json``.
        compiled: its spec.
        result: its ``result.json``; nothing where it has not ended.
        rows: of each file of JSON lines, by name; none where there is no such file.
    """

    folder: Path
    made: Made
    settings: Mapping[str, Any] = field(repr=False)
    compiled: Compiled = field(repr=False)
    result: Mapping[str, Any] = field(repr=False)
    rows: Mapping[str, list[Row]] = field(repr=False)

    @classmethod
    def open(cls, folder: Path) -> RunFiles:
        """The run in a folder, finished or at work.

        Raises:
            DiagnosticError: D415 (no run there), D416 (a file is not as a run writes it), and what
                `Run.open` raises.
        """
        _, settings, compiled = Run.open(folder)
        made: Made = "search" if settings["command"] == "search" else "train"
        if made == "train" and "compression" in settings:
            made = "compress"
        rows = {name: _rows(folder / name, schema) for name, schema in _ROWS.items()}
        return cls(folder, made, settings, compiled, _result(folder), rows)

    @property
    def name(self) -> str:
        """What a page calls the run."""
        folder = self.folder.name or self.folder.resolve().name
        return folder if folder == self.made else f"{self.made}: {folder}"

    @property
    def network(self) -> Compiled:
        """What came of it: the found network of a finished search, else the run's own.

        Raises:
            DiagnosticError: what compiling ``pruned.nas`` raises.
        """
        path = self.folder / FOUND
        if self.made != "search" or not path.is_file():
            return self.compiled
        return compile_spec(path)

    @property
    def runners_up(self) -> list[str]:
        """Names of the specs that the data do not tell from the one found."""
        return [name for name in RUNNERS_UP if (self.folder / name).is_file()]

    def text(self, name: str) -> str:
        """A text in the folder; nothing where there is none."""
        try:
            return (self.folder / name).read_text("utf-8", "replace")
        except OSError:
            return ""


@frozen
class ComparisonFiles:
    """A comparison's folder: ``record`` is ``compare.json``.

    ``entries`` are the rows of ``compare.csv`` that ended, ``failures`` the others.
    """

    folder: Path
    record: Mapping[str, Any]
    entries: tuple[Mapping[str, Any], ...]
    failures: tuple[Mapping[str, Any], ...]
    metric: str

    @classmethod
    def open(cls, folder: Path) -> ComparisonFiles:
        """The comparison in a folder.

        Raises:
            DiagnosticError: D415 (it has not ended), D416 (a file is not as it was written).
        """
        path = folder / "compare.json"
        record = _json(path)
        schema = open_record(
            {"spec": TEXT, "data": TEXT, "search": table(_ANY), "train": table(_ANY)}
        )
        check_entries(record, schema, path, RESTORE)
        path = folder / "compare.csv"
        try:
            rows = list(csv.DictReader(path.read_text("utf-8").splitlines()))
        except (OSError, ValueError, csv.Error):
            remedy = "finish it with the same command, without `--force`"
            message = f"no finished comparison in `{folder}`"
            raise DiagnosticError(Diagnostic("D415", message, help=remedy)) from None
        failures = tuple(row for row in rows if row.get("error"))
        ended = [row for row in rows if not row.get("error")]
        entries = [
            {name: _number(text) for name, text in row.items() if name != "error"} for row in ended
        ]
        metrics = [name for name in (rows[0] if rows else ()) if name and name.startswith("test_")]
        quality = metrics[0] if metrics else "test_"
        names = ("parameters", "flops", "images_trained", "images_evaluated", "seconds", "seed")
        entry = open_record({"strategy": TEXT, quality: NUMBER, **dict.fromkeys(names, NUMBER)})
        check_entries(entries, {**listed(entry), "minItems": 1}, path, RESTORE)
        return cls(folder, record, tuple(entries), failures, quality.removeprefix("test_"))

    @property
    def swept(self) -> list[str]:
        """The settings that its cells have otherwise, besides the strategy; as the table has them.

        The folders of its cells are named in that order.
        """
        search = self.record["search"]
        columns = [name for name in self.entries[0] if name != "strategy"]
        return [name for name in columns if search.get(name, name) is None]

    @property
    def cells(self) -> list[Path]:
        """The folders of those that ended, in the order of the entries."""
        return [
            self.folder
            / cell_folder(
                entry["strategy"],
                {name: entry[name] for name in self.swept if entry.get(name, "") != ""},
                entry["seed"],
            )
            for entry in self.entries
        ]

    @property
    def name(self) -> str:
        """What a page calls it."""
        return f"compare: {self.folder.name or self.folder.resolve().name}"


def open_files(folder: Path) -> RunFiles | ComparisonFiles:
    """The run or the comparison in a folder.

    Raises:
        DiagnosticError: D415 (neither is there), and what `open` of theirs raises.
    """
    if settings_of(folder) is None and (folder / "compare.json").is_file():
        return ComparisonFiles.open(folder)
    return RunFiles.open(folder)


def _json(path: Path) -> Any:
    """What a file of JSON holds.

    Raises:
        DiagnosticError: D416.
    """
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise _unreadable(path, error) from None


def _result(folder: Path) -> dict[str, Any]:
    path = folder / RESULT
    if not path.is_file():
        return {}
    result: dict[str, Any] = _json(path)
    check_entries(result, _RESULT, path, RESTORE)
    by_class = [key for key in result if key.endswith("_by_class")]  # one per output, if several
    check_entries(result, open_record(dict.fromkeys(by_class, table(_CLASS))), path, RESTORE)
    check_seal(result, path)
    return result


def _rows(path: Path, schema: Schema) -> list[Row]:
    """What a file of JSON lines holds; nothing where there is none.

    Raises:
        DiagnosticError: D416.
    """
    if not path.is_file():
        return []
    try:
        rows: list[Row] = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    except (OSError, ValueError, RecursionError) as error:
        raise _unreadable(path, error) from None
    check_entries(rows, listed(schema), path, RESTORE)
    return rows


def _unreadable(path: Path, error: Exception) -> DiagnosticError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    message = f"cannot read `{path}`"
    return DiagnosticError(Diagnostic("D416", message, notes=(reason,), help=RESTORE))


def _number(text: Any) -> Any:
    """A number that a text spells; the text where it is none."""
    for kind in (int, float):
        try:
            return kind(text)
        except (TypeError, ValueError):
            continue
    return text
