"""When the process of a run gets a signal: set in that process, before it begins."""

from __future__ import annotations

import json
import os
import random
import signal
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

Trap = Callable[[], None]

_NAMES: Final = frozenset({"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.chmod"})
_WRITING: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT
CHECKPOINT: Final = "checkpoint.pt"


def _watch(called: Callable[[str, str], None]) -> None:
    """Be called before whatever changes files in the folder of a run, and before each `fsync`.

    Told are what is done, and to which file; to none where it is `fsync`.
    """
    sync = os.fsync

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _NAMES or (event == "open" and arguments[2] & _WRITING):
            path = arguments[1] if event == "os.rename" else arguments[0]
            if isinstance(path, str | os.PathLike) and "run" in Path(path).parts:
                called(event, os.fspath(path))

    def synchronize(handle: int) -> None:
        called("fsync", str(handle))
        sync(handle)

    sys.addaudithook(audit)
    os.fsync = synchronize


def measured(file: Path) -> Trap:
    """No signal: how many changes there are and how much is computed goes into the file."""

    def trap() -> None:
        count, start = 0, time.process_time()
        with file.open("w"):
            pass

        def called(_event: str, _path: str) -> None:
            nonlocal count
            count += 1
            told = {"changes": count, "seconds": time.process_time() - start}
            with file.open("w") as out:
                json.dump(told, out)

        _watch(called)

    return trap


def at_change(number: int, which: signal.Signals, seed: int) -> Trap:
    """Before that change, counted from 0; where it is `fsync`, a part of the file is lost."""

    def trap() -> None:
        left = number

        def called(event: str, path: str) -> None:
            nonlocal left
            left -= 1
            if left == -1:
                if event == "fsync" and which == signal.SIGKILL:
                    _lose(int(path), seed)
                os.kill(os.getpid(), which)

        _watch(called)

    return trap


def _lose(handle: int, seed: int) -> None:
    status = os.fstat(handle)
    if stat.S_ISREG(status.st_mode):
        os.ftruncate(handle, random.Random(seed).randint(0, status.st_size))


def after_computing(seconds: float, which: signal.Signals) -> Trap:
    """When the process has computed for that long."""

    def trap() -> None:
        if which == signal.SIGKILL:  # the timer's own signal ends a process as well
            signal.signal(signal.SIGPROF, signal.SIG_DFL)
        else:
            signal.signal(signal.SIGPROF, lambda *_: os.kill(os.getpid(), which))
        signal.setitimer(signal.ITIMER_PROF, seconds)

    return trap


def after_checkpoints(count: int) -> Trap:
    """SIGKILL, before the first change after so many checkpoints are in their places."""

    def trap() -> None:
        saved = 0

        def called(event: str, path: str) -> None:
            nonlocal saved
            if saved == count and event != "fsync":
                os.kill(os.getpid(), signal.SIGKILL)
            saved += event == "os.rename" and Path(path).name == CHECKPOINT

        _watch(called)

    return trap
