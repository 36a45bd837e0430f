"""What is said where a search or a training ends in numbers that are none, or has not learned."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from attrs import evolve

from bayesnas.dsl.diagnostics import DiagnosticError
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
