"""How far long work has come: a progress bar on a terminal, plain lines elsewhere; its seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Final

from attrs import define, field, frozen
from tqdm import tqdm

from bayesnas.dsl.terminal import say, visible

EVERY: Final = 60.0  # seconds between plain lines
KEPT: Final = 5.0  # seconds after which how far the work has come is kept
REFRESHED: Final = 1.0  # seconds after which what stands behind a bar is made anew


def say_note(text: str) -> None:
    """A remark that the user of a command should read, where there is one."""
    if text:
        say(f"note: {text}", file=sys.stderr)


@define
class Stopwatch:
    """Seconds of work, over all interruptions."""

    seconds: float = 0.0
    _since: float = field(factory=time.perf_counter, init=False)  # when `seconds` was right

    def start(self) -> None:
        """What has passed since `count` was no work."""
        self._since = time.perf_counter()

    def count(self) -> float:
        """The seconds, with what has passed since the last `start` or `count`."""
        now = time.perf_counter()
        self.seconds, self._since = self.seconds + now - self._since, now
        return self.seconds


@frozen
class Pace:
    """How far work has come.

    Args:
        about: what the work is, in a word.
        done: steps that are done, those before it was resumed as well.
        total: all of them.
        rate: examples a second; None before that is known.
        seconds_left: None before that is known.
        memory: bytes that the process or the GPU has taken at most; None where nothing says so.
        shown: what else is told, by name.
        unit: what a step is.
    """

    about: str
    done: int
    total: int
    rate: float | None
    seconds_left: float | None
    memory: int | None
    shown: Mapping[str, str]
    unit: str = "step"

    def texts(self) -> list[str]:
        """For people: ``12 % (60 of 500 steps)``, ``2 min left``, ``1,200 examples a second``."""
        share = f"{self.done / max(1, self.total):.0%}"
        told = [f"{share} ({self.done:,} of {self.total:,} {self.unit}s)"]
        if self.seconds_left is not None:
            told.append(f"{duration(self.seconds_left)} left")
        if self.rate:
            told.append(f"{self.rate:,.0f} examples a second")
        told += [f"{name} {value}" for name, value in self.shown.items()]
        if self.memory:
            told.append(f"{self.memory / 1e9:.1f} GB")
        return told


def duration(seconds: float) -> str:
    """Seconds, minutes or hours and minutes, whichever is read best."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


class Progress:
    """Counts steps of a known total; lines said meanwhile do not break the bar.

    Without a terminal it says a plain line every `EVERY` seconds.

    Args:
        total: steps.
        about: what the work is, in a word.
        unit: what a step is.
        same: whether results go to the same terminal: it stands aside then.
        examples: of a step; 0 where it has none.
        memory: bytes taken; None where nothing says so.
        keep: is told how far the work has come, every `KEPT` seconds and after each line said.
        clock: seconds.
    """

    def __init__(
        self,
        total: int,
        about: str,
        unit: str = "step",
        same: bool = False,
        *,
        examples: int = 0,
        memory: Callable[[], int | None] = lambda: None,
        keep: Callable[[Pace], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.total, self.about, self.unit, self.examples = total, about, unit, examples
        self.memory, self.keep, self.clock = memory, keep, clock
        self.done = self.skipped = 0
        self.shown: dict[str, str] = {}
        self.begun = self.said = self.kept = self.refreshed = clock()
        self.bar: Any = None
        if sys.stderr.isatty() and not same:
            self.bar = tqdm(total=total, desc=about, unit=unit, leave=False, dynamic_ncols=True)

    @property
    def pace(self) -> Pace:
        """How far it has come. What takes long between steps counts for the time that is left."""
        taken, seconds = self.done - self.skipped, self.clock() - self.begun
        rate = taken / seconds if taken and seconds > 0 else None
        return Pace(
            self.about,
            self.done,
            self.total,
            rate * self.examples if rate and self.examples else None,
            max(0, self.total - self.done) / rate if rate else None,
            self.memory(),
            self.shown,
            self.unit,
        )

    def step(self, steps: int = 1, **shown: str) -> None:
        """A step done, or several; ``shown`` is told of it."""
        self.done += steps
        self.shown = shown
        now = self.clock()
        if self.bar is not None:
            if shown and now - self.refreshed >= REFRESHED:
                self.refreshed = now
                self.bar.set_postfix_str(", ".join(self.pace.texts()[2:]), refresh=False)
            self.bar.update(steps)
        elif now - self.said >= EVERY and self.examples:
            self.say(f"{self.about}: {', '.join(self.pace.texts())}")
        if now - self.kept >= KEPT:
            self._keep(now)

    def _keep(self, now: float) -> None:
        self.kept = now
        self.keep(self.pace)

    def skip(self, steps: int) -> None:
        """Steps done at once, as before a run is resumed."""
        self.done += steps
        self.skipped += steps
        if self.bar is not None:
            self.bar.update(steps)

    def say(self, line: str) -> None:
        """A line of its own."""
        self.said = self.clock()
        if self.bar is not None:
            self.bar.write(visible(line), file=sys.stderr)
        else:
            say(line, file=sys.stderr)
        self._keep(self.said)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.bar is not None:
            self.bar.close()
