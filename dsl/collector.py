"""Python's cyclic garbage collector, out of the way of work that makes millions of small objects.

They hold hardly any cycles, and the collector would walk them again and again: it took half of the
time of a parse, and 40 % of that of a large space (`python -m benchmarks.compile_time`).
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_collector() -> Iterator[None]:
    """The collector is off in a block, or in a function decorated; afterwards it is as it was."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
