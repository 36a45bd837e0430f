"""What is said where a search or a training ends in numbers that are none, or has not learned."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from attrs import evolve

from bayesnas.dsl.diagnostics import DiagnosticError
from bayesnas.runtime.runs.folder import Run
from bayesnas.runtime.runs.ownership import has_checkpoint
from bayesnas.runtime.tasks.interface import Score, Task


@contextmanager
def explained(run: Run, learning_rate: float) -> Iterator[None]:
    """Divergence in here (D602) names a lower learning rate, and the checkpoint that is kept.

    Raises:
        DiagnosticError: what is raised in here.
    """
    try:
        yield
    except DiagnosticError as error:
        kept = f"the last good checkpoint is kept in `{run.out}`"
        notes = (kept,) if has_checkpoint(run.out) else ()
        remedy = lower_rate(learning_rate, "`--option learning_rate={}`")
        raise remedied(error, remedy, *notes) from None


def lower_rate(learning_rate: float, place: str) -> str:
    """A remedy against divergence; ``place`` says how a rate is set, with `{}` for it."""
    return f"lower `learning_rate`, for instance {place.format(f'{learning_rate / 10:g}')}"


def remedied(error: DiagnosticError, remedy: str, *notes: str) -> DiagnosticError:
    """The same with this remedy and these notes where it tells of divergence (D602)."""
    said = [
        evolve(d, notes=(*d.notes, *notes), help=remedy) if d.code == "D602" else d
        for d in error.diagnostics
    ]
    return DiagnosticError(*said, status=error.status)


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
