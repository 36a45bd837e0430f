"""Which files of a folder are ours: only those are ever replaced, and by one run at a time."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from attrs import evolve
from filelock import FileLock, Timeout

from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, check_idle, quote
from bayesnas.dsl.files import check_empty, half_written

SETTINGS: Final = "settings.json"
CHECKPOINT: Final = "checkpoint.pt"
PREVIOUS: Final = "checkpoint.previous.pt"
WEIGHTS: Final = "weights.pt"
RESULT: Final = "result.json"
FOUND: Final = "pruned.nas"
LATENCIES: Final = "latencies.json"  # the table that a budget of time was priced by
MEMBERS: Final = "members.jsonl"
ROUNDS: Final = "rounds.jsonl"
REPORT: Final = "report.html"
STATUS: Final = "status.json"  # how far a run at work has come
EVENTS: Final = "tensorboard/events.out.tfevents.*"
RUNNERS_UP: Final = ("runner_up_1.nas", "runner_up_2.nas", "runner_up_3.nas")
COMPRESSED: Final = "compressed.nas"
STEPS: Final = "steps"  # of a compression: runs that come before its own
TRAINED: Final = "trained"  # of these, that of a spec
LOCK: Final = ".lock"
REPLACED: Final = ".replaced"  # the run that another one is to take the place of
_COMMANDS: Final = ("search", "train")
# What runs write besides copies of their specs and plugins, which their settings name.
_WRITTEN: Final = (
    RESULT,
    "history.jsonl",
    CHECKPOINT,
    PREVIOUS,
    *(MEMBERS, *RUNNERS_UP, ROUNDS, LATENCIES, REPORT, STATUS),
    *("gates.jsonl", "supernet.py", FOUND, "graph.json", "gamma.json", "gamma.md"),
    *("search.svg", "search.dot", "pruned.svg", "pruned.dot"),
    *(WEIGHTS, "network.py"),
    *(COMPRESSED, "layers.jsonl", "slices.jsonl", "widths.svg", "widths.dot"),
    SETTINGS,  # last: what has it is the folder of a run
)


def settings_of(out: Path) -> dict[str, Any] | None:
    """The settings of the run in a folder; None where there is none of ours."""
    try:
        settings = json.loads((out / SETTINGS).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(settings, dict) or settings.get("command") not in _COMMANDS:
        return None
    versions, copies = settings.get("versions"), settings.get("copies", [])
    ours = isinstance(versions, dict) and "bayesnas" in versions and isinstance(copies, list)
    return settings if ours else None


def spec_file(name: str | Path) -> Path:
    """The file, or the name of a packaged spec; of a folder what a search has found there.

    A packaged spec is not hidden by a folder of its name: ``./NAME`` is the folder.

    Raises:
        DiagnosticError: D415 (no search has ended in the folder).
    """
    from bayesnas.dsl.loader import packaged_specs

    path = Path(name)
    # Not `Path.is_file`, which fails for a name that no file can have.
    if os.path.isfile(path) or str(name) in packaged_specs():  # noqa: PTH113
        return path
    folder = path.parent if path.name == FOUND else path
    if not str(name) or not os.path.isdir(folder):  # noqa: PTH112
        return path
    if (folder / FOUND).is_file():
        return folder / FOUND
    settings = settings_of(folder)
    if settings is None and folder != path:
        return path  # a file that is missed in a folder that is no run
    raise DiagnosticError(_no_search(folder, settings or {}))


def _no_search(folder: Path, settings: Mapping[str, Any]) -> Diagnostic:
    message = f"no search in `{folder}`"
    remedy = "name a spec, or the folder that `bayesnas search` wrote"
    if settings.get("command") == "search":
        message = f"the search in `{folder}` has not ended"
        remedy = "finish it: the same command with `--resume`"
    elif settings:
        message += ", which is the folder of a training"
        remedy += f", or the spec that was trained: `{folder / str(settings['file'])}`"
    elif specs := sorted(map(str, folder.glob("*.nas"))):
        remedy = f"name a spec in it, such as {quote(specs[:3], 'or')}"
    return Diagnostic("D415", message, help=remedy)


def has_checkpoint(out: Path) -> bool:
    """Whether the run in a folder can be gone on with."""
    return any((out / name).is_file() for name in (CHECKPOINT, PREVIOUS))


def check_out(out: Path, resume: bool, force: bool, inputs: Iterable[Path] = ()) -> None:
    """Refuse to write over what is there and not ours, or is in use.

    Args:
        out: the folder of a run.
        resume: whether to go on with the run there.
        force: whether to replace it.
        inputs: files and folders that the new run reads.

    Raises:
        DiagnosticError: D413 (something is there), D414 (nothing to resume), D423 (both are asked
            for).
    """
    if resume and force:
        remedy = "leave one out: `--resume` goes on with the run there, `--force` replaces it"
        check_idle(["--force"], "beside `--resume`", remedy)
    ours = settings_of(out) is not None
    if resume:
        if not ours and not _steps_of(out):
            raise _nothing_to_resume(out)
        return
    if out.is_dir() and all(map(_passing, out.iterdir())):
        return
    ours = ours or settings_of(out / REPLACED) is not None  # the new run wrote nothing
    remedy = "choose another folder, or pass `--force` to replace it"
    if ours:
        remedy += ", or `--resume` to go on with it"
    check_empty(out, force, remedy)
    if not out.exists():
        return
    if not ours:
        remedy = "choose another folder, or empty this one yourself"
        raise _taken(f"`{out}` is not the folder of a run and will not be replaced", remedy)
    for path in inputs:
        if path.exists() and path.resolve().is_relative_to(out.resolve()):
            remedy = "choose another folder for the new run"
            raise _taken(f"`{path}` lies in `{out}`, which `--force` would replace", remedy)


def _nothing_to_resume(out: Path) -> DiagnosticError:
    found = Diagnostic(
        "D414",
        f"nothing to resume in `{out}`",
        help="leave `--resume` out to begin the run there",
    )
    if (out / SETTINGS).exists():
        found = evolve(
            found,
            notes=(f"its `{SETTINGS}` is not what runs write: it may be damaged",),
            help="restore that file from a copy, or run the command again in a new folder",
        )
    return DiagnosticError(found)


def _taken(message: str, remedy: str) -> DiagnosticError:
    return DiagnosticError(Diagnostic("D413", message, help=remedy))


def _passing(path: Path) -> bool:
    """Whether it is what a killed run leaves, nothing that anybody wants, or runs of their own."""
    name = half_written(path)
    killed = path.name == LOCK or (name is not None and path.is_file())
    return killed or (path.name == STEPS and _steps_of(path.parent))


def _steps_of(out: Path) -> bool:
    """Whether a compression has begun in a folder: its steps are refused or replaced one by one."""
    steps = out / STEPS
    return steps.is_dir() and any(settings_of(step) is not None for step in steps.iterdir())


def set_aside(out: Path) -> None:
    """Move the files of the run in a folder out of the way of another, until that has ended.

    Where a run is set aside already, one that came after it and did not end is removed.
    """
    settings = settings_of(out)
    aside = out / REPLACED
    whole = (aside / SETTINGS).is_file()  # they come last
    keeps = (out / RESULT).is_file() or not whole
    for path in _own(out, settings or {}):
        target = aside / path.relative_to(out)
        if keeps:
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)
        else:
            path.unlink()


def clear(out: Path) -> None:
    """Remove what a run that has ended needs no more, the one that it replaces first of all."""
    for name in (PREVIOUS, STATUS):
        (out / name).unlink(missing_ok=True)
    for path in sorted((out / REPLACED).rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    if (out / REPLACED).is_dir():
        (out / REPLACED).rmdir()
    clear_litter(out)


def clear_litter(out: Path) -> None:
    """Remove what killed runs were writing."""
    for path in out.rglob(".*.tmp"):
        if _passing(path):
            path.unlink(missing_ok=True)


def _own(out: Path, settings: Mapping[str, Any]) -> Iterator[Path]:
    """The files of a run that are there; its settings last."""
    copies = settings.get("copies", [])
    events = sorted(out.glob(EVENTS))
    for path in (*events, *(out / str(name) for name in (*copies, *_WRITTEN))):
        if path.is_file() and path.resolve().is_relative_to(out.resolve()):
            yield path


def lock(out: Path) -> FileLock:
    """The lock of a folder, held; it ends with the process that holds it.

    Raises:
        DiagnosticError: D413 (another run holds it).
    """
    held = FileLock(out / LOCK)
    try:
        held.acquire(timeout=0.2, poll_interval=0.02)  # `is_held` takes it for a moment
    except Timeout:
        remedy = "wait until it has ended, or choose another folder"
        raise _taken(f"another run is at work in `{out}`", remedy) from None
    return held


def is_held(out: Path) -> bool:
    """Whether a process is at work in a folder."""
    if not (out / LOCK).exists():
        return False
    held = FileLock(out / LOCK)
    try:
        held.acquire(timeout=0)
    except Timeout:
        return True
    held.release()
    return False


def unlock(out: Path, held: FileLock) -> None:
    """Let go of a folder."""
    (out / LOCK).unlink(missing_ok=True)
    held.release()


def tidy(out: Path) -> None:
    """Clear the folder of a run that was killed when it had ended and not let go of it.

    Raises:
        DiagnosticError: D413 (another run holds it).
    """
    if (out / LOCK).exists():
        held = lock(out)
        try:
            clear(out)
        finally:
            unlock(out, held)
