"""``bayesnas status``: how far runs have come, from another terminal."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from bayesnas.commands.arguments import Command
from bayesnas.dsl.terminal import say

if TYPE_CHECKING:
    from bayesnas.runtime.runs.status import Status


def _add_status(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "runs",
        type=Path,
        metavar="RUN",
        nargs="+",
        help="a folder of a run, or one with runs in it, such as that of `compare`",
    )


def _status(options: argparse.Namespace) -> int:
    from bayesnas.runtime.runs.status import runs_below, status_of

    for folder in options.runs:
        for run in runs_below(folder) or [folder]:
            say(*status_lines(run, status_of(run)))
    return 0


def status_lines(folder: Path, status: Status) -> list[str]:
    """What is told of a run: its state in a line, then what it reached last."""
    lines = [f"{folder}: {status.command}, {status.state}"]
    if status.state == "at work" and status.pace is not None:
        lines.append(f"  {', '.join(status.pace.texts())}")
        lines.append(f"  said {status.age:.0f} s ago")
    if status.row:
        lines.append(f"  {_row(status)}")
    if status.state == "stopped":
        lines.append("  the same command with `--resume` goes on")
    return lines


def _row(status: Status) -> str:
    """The last row of the history: the round or epoch, and its numbers."""
    row = status.row
    name = "round" if "round" in row else "epoch"
    told = [f"{name} {row.get(name)}"]
    told += [
        f"{key.replace('_', ' ')} {f'{value:,}' if isinstance(value, int) else f'{value:.4g}'}"
        for key, value in row.items()
        if key not in (name, "seconds") and isinstance(value, int | float)
    ]
    return ", ".join(told)


STATUS = Command("status", "Say how far runs have come, from any terminal.", _add_status, _status)
