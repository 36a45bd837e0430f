"""From the name of a strategy to its class; the names stand in `compiler/settings.py`."""

from __future__ import annotations

from importlib import import_module

from bayesnas.compiler.settings import STRATEGIES
from bayesnas.runtime.strategies.interface import Strategy


def strategy_class(name: str) -> type[Strategy]:
    """The class of a strategy, imported when it is first asked for."""
    module, _, member = STRATEGIES[name].place.partition(":")
    cls: type[Strategy] = getattr(import_module(f"bayesnas.runtime.strategies.{module}"), member)
    assert issubclass(cls, Strategy), f"`{cls}` is no strategy"
    return cls
