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


def unlearned(
    task: Task, chance: Score | None, history: Iterable[Mapping[str, Any]], weighted: bool
) -> str:
    """A remark on a search in which no network was ever better than a constant answer.

    None where classes are ``weighted``: then one that has learned may be right less often.
    """
    if chance is None or weighted:
        return ""
    if max(task.score_of("holdout", row).quality for row in history) > chance.quality:
        return ""
    return (
        f"held-out {task.metric} never rose above {task.quality_text(chance.quality)}, that of one "
        "answer for all examples: nothing was learned, and what was found is arbitrary; train "
        "longer (`warmup_epochs`, `epochs`), or with another `learning_rate`"
    )


def no_better(task: Task, score: Score, chance: Score | None, count: int, weighted: bool) -> str:
    """A remark on a test score of so many examples that one answer for all of them explains.

    Classes that are ``weighted`` excuse one that is worse.
    """
    error = None if chance is None else task.standard_error(chance.quality, count)
    if chance is None or error is None or score.quality > chance.quality + error:
        return ""
    if weighted and score.quality < chance.quality - error:
        return ""
    remedy = "train longer (`epochs`), or with another `learning_rate`"
    if not weighted:
        remedy += ", or weigh rare classes more (`--option class_weights=balanced`)"
    return (
        f"test {task.told(score)} is not clearly above {task.quality_text(chance.quality)}, that "
        f"of one answer for all {count:,} examples (chance alone moves it by "
        f"{task.quality_text(error)}): {remedy}"
    )
