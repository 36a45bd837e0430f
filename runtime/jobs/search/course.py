"""How far a search has come: the steps of its warm-up and rounds, and what a checkpoint holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import frozen

from bayesnas.compiler.settings import SearchSettings
from bayesnas.runtime.jobs.search.gates import round_schema
from bayesnas.runtime.runs.reading import (
    ANY_NUMBER,
    COUNT,
    DURATION,
    NUMBER,
    TEXT,
    Schema,
    agreeing,
    between,
    both,
    listed,
    maybe,
    one_of,
    pair,
    record,
    table,
)
from bayesnas.runtime.runs.status import run_progress
from bayesnas.runtime.strategies.interface import Strategy


@frozen
class Course:
    """A search's steps: ``warmup`` before its first round, ``each`` in every round."""

    warmup: int
    each: int
    rounds: int

    @classmethod
    def of(cls, strategy: Strategy, settings: SearchSettings) -> Course:
        """As the settings say; without any steps where nothing is trained."""
        if not strategy.trains:
            return cls(0, 0, 1)
        steps = strategy.net.epoch_steps
        warmup, each = round(settings.warmup_epochs * steps), round(settings.epochs * steps)
        return cls(warmup, each, settings.rounds)

    @property
    def steps(self) -> int:
        """All of them."""
        return self.warmup + self.rounds * self.each

    def phase(self, number: int, rows: int) -> tuple[int, int]:
        """Steps before what a search is in, and steps of it.

        Args:
            number: of rounds that have ended.
            rows: of the history; without any it is the warm-up.
        """
        if rows == 0:
            return 0, self.warmup
        before = self.warmup + number * self.each
        return before, self.each if number < self.rounds else 0

    def fault(self, state: Mapping[str, Any]) -> str | None:
        """What does not fit together in a checkpoint; None if nothing."""
        number, rows, steps = state["round"], len(state["history"]), state["net"]["steps"]
        if rows != number + 1 and (rows, number) != (0, 0):
            return "history is not as long as round says"
        before, count = self.phase(number, rows)
        if not before <= steps <= before + count:
            return f"net.steps is {steps}, and round says {before} to {before + count}"
        return None

    def checkpoint_schema(self, strategy: Strategy, settings: SearchSettings) -> Schema:
        """What a search saves."""
        net = strategy.net
        widths = strategy.problem.widths
        rounds, groups = between(0, settings.rounds), one_of(net.gates.groups)
        row = {
            "round": rounds,
            "train_loss": maybe(NUMBER),
            **dict.fromkeys(net.data.task.columns("holdout"), ANY_NUMBER),
            "alive": COUNT,
            "removed": table(TEXT, groups),
            "images_trained": COUNT,
            "images_evaluated": COUNT,
            "seconds": DURATION,
            "seconds_training": DURATION,
        }
        entries = record(
            {
                "round": rounds,
                "losses": NUMBER,
                "seconds": DURATION,
                "seconds_training": DURATION,
                "removed": table(pair(rounds, TEXT), groups),
                "refused": listed(groups),
                "history": listed(record(row, optional=("seconds_training",))),
                "rounds": round_schema(rounds, groups),
                "strategy": strategy.state_schema(),
                "net": net.state_schema(),
                **({} if widths is None else {"widths": widths.state_schema()}),
            },
            optional=("rounds", "seconds_training"),  # of runs that began before they were kept
        )
        return both(entries, agreeing(self.fault))


@contextmanager
def judging(out: Path, strategy: Strategy, rounds: int, last: bool) -> Iterator[None]:
    """Tells how far the last update has come, by the images that it is foretold to look at.

    Args:
        out: the folder of the run.
        strategy: whose update it is.
        rounds: of the search.
        last: whether it is the last; of others nothing is told.
    """
    net, looks = strategy.net, strategy.looks(rounds, strategy.net.trained)
    total = looks.forward + looks.gradient + looks.curvature - net.evaluated
    if not last or total <= 0 or strategy.problem.widths is not None:  # what those take is unknown
        yield
        return
    with run_progress(out, total, "judging", 1, net.device, "example") as progress:
        before, net.on_look = net.on_look, progress.step
        try:
            yield
        finally:
            net.on_look = before
