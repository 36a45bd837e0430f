"""Instances in the graph: what tied ones share, and what is left of the calls that made them."""

from __future__ import annotations

from attrs import evolve

from bayesnas.compiler.expand.calls import Row
from bayesnas.compiler.expand.parts import Place
from bayesnas.compiler.expand.scopes import symbols
from bayesnas.compiler.program.evaluate import evaluate, substitute
from bayesnas.compiler.program.names import MotifCall
from bayesnas.dsl import tree


def group_of(place: Place, row: Row, k: int, local: str) -> str:
    """What the k-th instance of a row shares, if it is tied, in the place of its own path.

    ``tied(k)`` reaches through the whole network; ``tied`` through the motif instance around it.
    """
    call = row.call
    if call.tie is None:
        return place.group(local)
    if call.tie.index is not None:
        group = f"tied {row.motif.name}({evaluate(call.tie.index, row.unrolled.values)})"
    elif isinstance(call, tree.Chain):
        group = place.group(call.targets[0].name)
    else:
        group = place.group(f"tied {row.motif.name}")
    if row.reductions:
        group += "/reduction" if k in row.reductions else "/normal"
    return group


def literal_call(row: Row) -> MotifCall:
    """The call without loop variables; motifs are bound and left out of its arguments."""
    names = symbols(row.unrolled)
    inputs = tuple(literal for selection in row.inputs for literal, _ in selection.nodes())
    arguments = tuple(
        evolve(a, value=substitute(a.value, names))
        for a in row.call.arguments
        if a.name in row.numbers
    )
    call = evolve(row.call, motif=row.motif.name, inputs=inputs, arguments=arguments)
    if isinstance(call, tree.Chain):
        return evolve(
            call,
            length=substitute(call.length, names),
            reductions=tuple(substitute(r, names) for r in call.reductions),
        )
    targets = tuple(literal for selection in row.targets for literal, _ in selection.nodes())
    # What is left of the instance is its own: it is tied no more.
    return evolve(call, tie=None, targets=targets)
