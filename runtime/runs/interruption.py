"""When a run is saved in the middle: every few minutes, and where a signal asks it to stop.

Only between two steps is a run whole. What takes long and has no steps, such as the judgement of
members, is interrupted at once and goes on from the last checkpoint.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from bayesnas.runtime.network.together.ranks import world

INTERVAL: Final = 300.0  # seconds between checkpoints
_STOPS: Final = (signal.SIGINT, signal.SIGTERM)


class Watch:
    """Goes through the steps of a run and has it saved on the way.

    Signals are heard where they would end the work by `KeyboardInterrupt`, that is in the main
    thread and under Python's own handler: the first lets a step end, a second stops at once.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._saved = clock()
        self._asked = False

    def saved(self) -> None:
        """The run was saved just now."""
        self._saved = self._clock()

    def follow(self, losses: Iterator[float], save: Callable[[float], None]) -> None:
        """Take all steps; ``save`` is told the loss of the last one.

        Args:
            losses: a step each.
            save: is called every `INTERVAL`, and after the step in which a signal has come.

        Of several processes all stop where one of them has heard a signal.

        Raises:
            KeyboardInterrupt: a signal has come, and what was reached is saved.
        """
        loss, asked = None, False
        with self._listening():
            for loss in losses:
                if asked := world().any(self._asked):
                    break
                if self._clock() - self._saved >= INTERVAL:
                    save(loss)
                    self.saved()
        if asked or world().any(self._asked):
            if loss is not None:
                save(loss)
            world().wait()  # until the first has written it
            raise KeyboardInterrupt

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """Signals are noted in here, and go to who heard them before afterwards."""
        self._asked = False
        ours: list[signal.Signals] = []
        if threading.current_thread() is threading.main_thread():
            ours = [s for s in _STOPS if signal.getsignal(s) is signal.default_int_handler]
        handlers = {which: signal.signal(which, self._note) for which in ours}
        try:
            yield
        finally:
            for which, handler in handlers.items():
                signal.signal(which, handler)

    def _note(self, _signal: int, _frame: FrameType | None) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
