"""Instances in the graph: what tied and shared ones have in common, and what is left of calls."""

from __future__ import annotations

from attrs import evolve

from bayesnas.compiler.expand.calls import Row
from bayesnas.compiler.expand.parts import Place
from bayesnas.compiler.expand.scopes import symbols
from bayesnas.compiler.program.evaluate import evaluate, substitute
from bayesnas.dsl import tree
from bayesnas.dsl.diagnostics import mistake


def group_of(place: Place, row: Row, k: int, local: str) -> str:
    """What the k-th instance of a row shares, if it is tied, in the place of its own path.

    ``tied(k)`` reaches through the whole network; ``tied`` and ``shared`` through the motif
    instance around it.
    """
    call = row.call
    if call.tie is None:
        return place.group(local)
    if isinstance(call.tie, tree.Share):
        return place.group(f"shared {row.motif.name}")
    if call.tie.index is not None:
        group = f"tied {row.motif.name}({evaluate(call.tie.index, row.unrolled.values)})"
    elif isinstance(call, tree.Chain):
        group = place.group(call.targets[0].name)
    else:
        group = place.group(f"tied {row.motif.name}")
    if row.reductions:
        group += "/reduction" if k in row.reductions else "/normal"
    return group


def literal_call(row: Row) -> tree.MotifCall:
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
    if isinstance(call, tree.Scan):
        starts = tuple(literal for selection in row.starts for literal, _ in selection.nodes())
        call = evolve(call, starts=starts)
    targets = tuple(literal for selection in row.targets for literal, _ in selection.nodes())
    # What is left of the instance is its own, unless it is one module with others.
    tie = call.tie if isinstance(call.tie, tree.Share) else None
    return evolve(call, tie=tie, targets=targets)


def check_alike(row: Row, first: Row) -> None:
    """Refuse to share what is made from other numbers, or given other motifs.

    Raises:
        DiagnosticError: D229.
    """
    numbers = [values for values, _ in (*first.links, *row.links)]
    one = next((values for values in numbers if values != numbers[0]), None)
    if one is not None:
        name = next(name for name, value in one.items() if value != numbers[0][name])
        differ = f"`{name}` is {numbers[0][name]} and {one[name]}"
    elif row.motifs != first.motifs:
        name = next(name for name, motif in row.motifs.items() if motif != first.motifs[name])
        differ = f"`{name}` is `{first.motifs[name].name}` and `{row.motifs[name].name}`"
    else:
        return
    raise mistake(
        "D229",
        f"shared instances of `{row.motif.name}` differ: {differ}",
        row.call.span,
        "give them the same, or write `tied`: then each has weights of its own",
    )
