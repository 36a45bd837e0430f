"""When a run is saved on the way: by a clock, and where a signal asks it to stop."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator

import pytest

from bayesnas.runtime.runs.interruption import INTERVAL, Watch


def steps(count: int, action: Callable[[int], object]) -> Iterator[float]:
    """Steps in which something is done; the loss of each is its number."""
    for number in range(count):
        action(number)
        yield float(number)


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_a_run_is_saved_by_the_clock() -> None:
    now, saved = [0.0], list[float]()

    def pass_time(_number: int) -> None:
        now[0] += INTERVAL / 2

    watch = Watch(lambda: now[0])
    watch.follow(steps(5, pass_time), saved.append)
    assert saved == [1, 3]
    watch.saved()
    watch.follow(steps(2, pass_time), saved.append)
    assert saved == [1, 3, 1]
    assert INTERVAL == 300


def test_a_signal_lets_a_step_end() -> None:
    saved = list[float]()
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        Watch().follow(steps(9, lambda n: n == 2 and interrupt()), saved.append)
    assert saved == [2]
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_signal_stops_at_once() -> None:
    saved = list[float]()
    with pytest.raises(KeyboardInterrupt):
        Watch().follow(steps(9, lambda n: n == 2 and (interrupt(), interrupt())), saved.append)
    assert saved == []


def test_the_last_step_is_saved_as_well() -> None:
    saved = list[float]()
    with pytest.raises(KeyboardInterrupt):
        Watch().follow(steps(3, lambda n: n == 2 and interrupt()), saved.append)
    assert saved == [2]


def test_handlers_of_others_are_left_alone() -> None:
    heard = list[int]()
    before = signal.signal(signal.SIGINT, lambda number, _: heard.append(number))
    try:
        Watch().follow(steps(3, lambda n: n == 1 and interrupt()), lambda _: None)
    finally:
        signal.signal(signal.SIGINT, before)
    assert heard == [signal.SIGINT]


def test_another_thread_hears_no_signals() -> None:
    done = list[bool]()

    def work() -> None:
        Watch().follow(steps(3, lambda _: None), lambda _: None)
        done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [True]
