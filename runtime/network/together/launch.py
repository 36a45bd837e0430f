"""How this process was started: alone, or by `torchrun` as one of several that work together."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

from attrs import frozen


@frozen
class Launch:
    """Which of ``size`` processes this is: ``rank`` of all, ``local_rank`` on its machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def first(self) -> bool:
        """Whether it is the one that writes and is heard."""
        return self.rank == 0


def launch() -> Launch:
    """By the variables that `torchrun` sets; alone where they are missing or no numbers."""
    rank, size, local = (os.environ.get(n, "") for n in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    if not (rank.isdecimal() and size.isdecimal() and int(rank) < int(size)) or int(size) == 1:
        return Launch()
    return Launch(int(rank), int(size), int(local) if local.isdecimal() else 0)


@contextmanager
def silenced() -> Iterator[None]:
    """Only the first process is heard: what others print in here goes nowhere."""
    if launch().first:
        yield
        return
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        sys.stdout.flush()
        with redirect_stdout(nowhere), redirect_stderr(nowhere):
            yield
