"""How far a run has come, as a file that another terminal reads."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import torch
from attrs import asdict, frozen

from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError
from bayesnas.dsl.files import write_text
from bayesnas.runtime.data.free_memory import used_memory
from bayesnas.runtime.network.together.ranks import world
from bayesnas.runtime.runs.ownership import RESULT, STATUS, has_checkpoint, is_held, settings_of
from bayesnas.runtime.runs.progress import Pace, Progress
from bayesnas.runtime.runs.reading import COUNT, DURATION, TEXT, check_entries, maybe, record, table
from bayesnas.runtime.runs.seals import RESTORE

State: TypeAlias = Literal["at work", "finished", "stopped", "not begun"]

_SCHEMA: Final = record(
    {
        "about": TEXT,
        "done": COUNT,
        "total": COUNT,
        "rate": maybe(DURATION),
        "seconds_left": maybe(DURATION),
        "memory": maybe(COUNT),
        "shown": table(TEXT),
        "unit": TEXT,
        "time": DURATION,
    },
    optional=("unit",),
)


@frozen
class Status:
    """How far a run has come.

    Args:
        state: whether a process is at it.
        command: what it is a run of.
        pace: what its process said last; None where it has said nothing, or has ended.
        age: seconds since then.
        row: the last row of its history.jsonl; empty where there is none.
        result: its result.json; empty where it has not ended.
    """

    state: State
    command: str
    pace: Pace | None
    age: float
    row: Mapping[str, Any]
    result: Mapping[str, Any]


def run_progress(
    out: Path, total: int, about: str, examples: int, device: torch.device, unit: str = "step"
) -> Progress:
    """The progress of a run, left in its folder for others to see; see `Progress`."""

    def keep(pace: Pace) -> None:
        if not world().writes:
            return
        entries = {**asdict(pace), "time": time.time()}
        with suppress(OSError):  # of use while it works alone
            write_text(out / STATUS, json.dumps(entries) + "\n")

    memory = partial(used_memory, device)
    return Progress(total, about, unit, examples=examples, memory=memory, keep=keep)


def status_of(out: Path) -> Status:
    """How far the run in a folder has come.

    Raises:
        DiagnosticError: D415 (no run there), D416 (a file is not as a run writes it).
    """
    settings = settings_of(out)
    if settings is None:
        remedy = "name the folder that `bayesnas search` or `bayesnas train` writes"
        raise DiagnosticError(Diagnostic("D415", f"no run in `{out}`", help=remedy))
    pace, said = None, 0.0
    if (out / STATUS).is_file():
        entries = _read(out / STATUS)
        check_entries(entries, _SCHEMA, out / STATUS, RESTORE)
        said = entries.pop("time")
        pace = Pace(**entries)
    rows = _rows(out / "history.jsonl")
    result = _read(out / RESULT) if (out / RESULT).is_file() else {}
    state: State = "stopped" if has_checkpoint(out) else "not begun"
    if is_held(out):
        state = "at work"
    elif result:
        state = "finished"
    command = "compress" if settings.get("compression") else settings["command"]
    return Status(state, command, pace, time.time() - said, rows[-1] if rows else {}, result)


def runs_below(folder: Path) -> list[Path]:
    """The folder itself if it is that of a run, else those of runs two levels below at most."""
    if settings_of(folder) is not None:
        return [folder]
    below = sorted([*folder.glob("*/settings.json"), *folder.glob("*/*/settings.json")])
    shown = [path.parent for path in below if not path.parent.name.startswith(".")]
    return [run for run in shown if settings_of(run) is not None]


def _rows(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    return [row for row in map(_parsed, path.read_text("utf-8", "replace").splitlines()) if row]


def _read(path: Path) -> dict[str, Any]:
    return _parsed(path.read_text("utf-8", "replace"))


def _parsed(text: str) -> dict[str, Any]:
    """A table of JSON; an empty one for what is none."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
