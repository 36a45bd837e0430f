"""What is said where a search or a training ends in numbers that are none, or has not learned."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from attrs import evolve

from bayesnas.compiler.operations.plugins import loaded_plugins
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, quote
from bayesnas.runtime.network.modules import EMITTED
from bayesnas.runtime.runs.folder import Run
from bayesnas.runtime.runs.ownership import CHECKPOINT
from bayesnas.runtime.tasks.interface import Score, Task


@contextmanager
def checkpoint_named(run: Run) -> Iterator[None]:
    """Divergence in here (D602) says besides that the last checkpoint is kept, if there is one.

    Raises:
        DiagnosticError: what is raised in here.
    """
    try:
        yield
    except DiagnosticError as error:
        if not (run.out / CHECKPOINT).is_file():
            raise
        note = f"`--resume` goes on from the last good checkpoint, which is kept in `{run.out}`"
        said = [
            evolve(d, notes=(*d.notes, note)) if d.code == "D602" else d for d in error.diagnostics
        ]
        raise DiagnosticError(*said, status=error.status) from None


@contextmanager
def plugins_named() -> Iterator[None]:
    """What a plugin's own code raises in here is said with its place in the plugin.

    So is what a network raises that plugins are part of, behind them. What the system lacks, memory
    above all, is no fault of the plugin that asks for it.

    Raises:
        DiagnosticError: D605 (status 1); whatever else is raised in here is raised as it is.
    """
    try:
        yield
    except (DiagnosticError, MemoryError, BrokenPipeError):
        raise
    except (Exception, SystemExit) as error:
        text = str(error)
        where = _in_plugin(error.__traceback__) or _behind_plugins(error.__traceback__, text)
        if where is None or "out of memory" in text or "can't allocate" in text:
            raise
        who, place = where
        reason = ": ".join([type(error).__name__, *text.splitlines()[:1]])
        raise DiagnosticError(
            Diagnostic(
                "D605",
                f"{who} fails: {reason.rstrip('.')}",
                notes=(place,),
                help="mend the plugin, or what it is fed: the network's inputs come as float32, "
                "standardised unless `--standardise no` is passed",
            ),
            status=1,
        ) from error


def _in_plugin(trace: TracebackType | None) -> tuple[str, str] | None:
    """The plugin whose code ran last, in words, and where; None if none did."""
    plugins, found = set(loaded_plugins()), None
    for frame, line in traceback.walk_tb(trace):
        if (name := frame.f_globals.get("__name__")) in plugins:
            code = frame.f_code
            found = f"the plugin `{name}`", f"at {code.co_filename}:{line}, in `{code.co_name}`"
    return found


def _behind_plugins(trace: TracebackType | None, text: str) -> tuple[str, str] | None:
    """The network that failed where plugins are loaded, and what is known of the place."""
    who = f"a network with the plugin {quote(loaded_plugins())}"
    if loaded_plugins() and "device-side assert" in text:  # raised when next the GPU is asked
        return who, "a GPU tells no place; `--device cpu` shows it"
    names = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(trace)]
    if loaded_plugins() and any(name.startswith(EMITTED) for name in names):
        return who, "not in the plugin's own code: what it returned may be no tensor, or another"
    return None


def unlearned(task: Task, chance: Score | None, history: Iterable[Mapping[str, Any]]) -> str:
    """A remark on a search in which no network was ever better than a constant answer."""
    if chance is None:
        return ""
    if max(task.score_of("holdout", row).quality for row in history) > chance.quality:
        return ""
    return (
        f"held-out {task.metric} never rose above {task.quality_text(chance.quality)}, that of one "
        "answer for all examples: nothing was learned, and what was found is arbitrary; train "
        "longer (`warmup_epochs`, `epochs`), or with another `learning_rate`"
    )
