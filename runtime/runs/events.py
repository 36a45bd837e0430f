"""What a run tells while it works: to logs of others, to a status that another terminal reads."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

from attrs import field, frozen

from bayesnas.runtime.network.together.ranks import world

Kind: TypeAlias = Literal["begin", "row", "end"]


@frozen
class Event:
    """One thing that a run tells.

    Args:
        kind: ``begin`` (once, and again where a run is resumed), ``row`` (a row of history.jsonl:
            an epoch, or a round of a search), ``end`` (the run has ended well).
        command: ``search`` or ``train``.
        folder: of the run.
        step: training steps taken so far.
        numbers: those of the row, or of the result at the end; of the settings at the beginning.
        gates: of a search's row, the posterior mean of each living group by its name.
        draw: of a search's row, the supernet as it is now, in the DOT language of Graphviz.
    """

    kind: Kind
    command: str
    folder: Path
    step: int
    numbers: Mapping[str, float] = field(factory=dict)
    gates: Mapping[str, float] = field(factory=dict)
    draw: Callable[[], str] | None = None


Listener: TypeAlias = Callable[[Event], None]


def numbers_of(entries: Mapping[str, Any]) -> dict[str, float]:
    """The finite numbers of a table, by name."""
    return {
        name: value
        for name, value in entries.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }


def tell(listeners: Iterable[Listener], event: Event) -> None:
    """Tell all of them; what one raises ends the run, whose checkpoint is saved before.

    Of several processes the first tells.
    """
    for listener in listeners if world().writes else ():
        listener(event)
