"""How far long work has come: a progress bar on a terminal, plain lines elsewhere; its seconds."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

from attrs import define, field
from tqdm import tqdm

from bayesnas.dsl.terminal import say, visible


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


class Progress:
    """Counts steps of a known total; lines said meanwhile do not break the bar.

    It stands aside where results go to the ``same`` terminal.
    """

    def __init__(self, total: int, about: str, unit: str = "step", same: bool = False) -> None:
        self.bar: Any = None
        if sys.stderr.isatty() and not same:
            self.bar = tqdm(total=total, desc=about, unit=unit, leave=False, dynamic_ncols=True)

    def step(self, **shown: str) -> None:
        """One step done; ``shown`` stands behind the bar."""
        if self.bar is not None:
            if shown:
                self.bar.set_postfix(shown, refresh=False)
            self.bar.update()

    def skip(self, steps: int) -> None:
        """Steps done at once, as before a run is resumed."""
        if self.bar is not None:
            self.bar.update(steps)

    def say(self, line: str) -> None:
        """A line of its own."""
        if self.bar is not None:
            self.bar.write(visible(line), file=sys.stderr)
        else:
            say(line, file=sys.stderr)

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
