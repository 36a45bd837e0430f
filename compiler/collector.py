"""Python's cyclic garbage collector, out of the way of passes that make millions of small objects.

They hold hardly any cycles, and the collector would walk them again and again: it took 40 % of the
time of a large space (`python -m benchmarks.compile_time`).
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def without_collector(function: Callable[P, T]) -> Callable[P, T]:
    """The function, run with the collector off; afterwards it is as it was."""

    @wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        was_on = gc.isenabled()
        gc.disable()
        try:
            return function(*args, **kwargs)
        finally:
            if was_on:
                gc.enable()

    return wrapped
