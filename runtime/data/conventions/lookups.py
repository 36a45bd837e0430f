"""Whole numbers that name something: whether a network has a row for each that it looks up."""

from __future__ import annotations

import math
from collections.abc import Iterable

from torch import Tensor

from bayesnas.compiler.graph.model import Graph
from bayesnas.compiler.graph.walks import lookups
from bayesnas.runtime.tasks.parts import wrong


def rows_of(graph: Graph, node: str) -> int | None:
    """How many rows the smallest embedding has that looks an input up; None where none does."""
    stages = [s for s in lookups(graph, node) if s.primitive == "embedding"]
    return min((dict(stage.arguments)["words"] for stage in stages), default=None)


def check_lookups(graph: Graph, node: str, inputs: Iterable[Tensor], place: str) -> None:
    """Refuse numbers that an `embedding` of the network has no row for.

    Args:
        graph: of the network.
        node: one of its inputs.
        inputs: of that input, as the network sees them, in batches [N, ...].
        place: names them in diagnostics.

    Raises:
        DiagnosticError: D518.
    """
    rows = rows_of(graph, node)
    if rows is None:
        return
    least, most = math.inf, -math.inf
    for batch in inputs:
        if bool((batch != batch.floor()).any()):
            remedy = "number what they name from 0, and pass `--standardise no`"
            raise wrong(place, "D518", "has numbers that name no row of `embedding`", remedy)
        least, most = min(least, float(batch.min())), max(most, float(batch.max()))
    if least < 0 or most >= rows:
        span = f"{least:,.0f} to {most:,.0f}"
        what = f"has numbers from {span}, and `embedding` has {rows:,} rows"
        remedy = f"give it {most + 1:,.0f} rows, or number what they name from 0"
        raise wrong(place, "D518", what, remedy)
