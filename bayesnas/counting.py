"""``bayesnas count`` and ``bayesnas sample``: the discrete members of a space."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from math import log10

from bayesnas.cli import parse_values
from bayesnas.compiler.artifacts.derive import derive_spec
from bayesnas.compiler.graph.cost import graph_cost
from bayesnas.compiler.graph.model import Graph
from bayesnas.compiler.pipeline import Compiled, compile_spec
from bayesnas.compiler.space.choices import member_space
from bayesnas.compiler.space.members import cost_of, draw_member, reach
from bayesnas.dsl.files import write_text
from bayesnas.dsl.printer import print_spec

_LONGEST = 24  # digits of a count that is written out


def count_command(spec: str, values: Mapping[str, int], network: str | None) -> int:
    """``bayesnas count``: how many members, and what they cost."""
    compiled = compile_spec(spec, values, network)
    graph = compiled.graph
    space = member_space(graph)
    tied = len(space.connections) < sum(c.searched for c in graph.all_connections())
    rows = {
        "searched connections": f"{len(space.connections):,}"
        + (", tied ones counted once" if tied else ""),
        "members": number(space.count()),
    }
    found = reach(graph)
    rows["parameters"] = f"{found.smallest.parameters:,} to {found.largest.parameters:,}"
    rows["FLOPs per example"] = f"{found.smallest.flops:,} to {found.largest.flops:,}"
    if not found.exact:
        rows["FLOPs per example"] += " (smallest found; there may be a smaller one)"
    print(table(heading(compiled), rows | budget_rows(graph)))
    return 0


def sample_command(options: argparse.Namespace) -> int:
    """``bayesnas sample``: a random member, as a spec."""
    from bayesnas.commands import check_free, check_seed

    check_seed(options.seed)
    if options.out is not None:
        check_free(options.out, options.force)
    compiled = compile_spec(options.spec, parse_values(options.set), options.network)
    _, pruned = draw_member(compiled.graph, options.seed)
    cost = graph_cost(pruned)
    origin = compiled.loaded.source.name.rsplit("/", 1)[-1]
    text = (
        f"# A random member of `{compiled.network.name}` of {origin}, seed {options.seed}:\n"
        f"# {cost.parameters:,} parameters, {cost.flops:,} FLOPs per example.\n"
    ) + print_spec(derive_spec(compiled, pruned))
    if options.out is None:
        print(text, end="")
    else:
        write_text(options.out, text)
        print(f"written to {options.out}")
    return 0


def number(count: int) -> str:
    """A count in full and, where that is long, as a power of ten."""
    power = log10(count) if count else 0.0  # exact integers may be too long to print
    if power < 6:
        return f"{count:,}"
    about = f"about {10 ** (power % 1):.2f} x 10^{int(power)}"
    return f"{count:,} ({about})" if power < _LONGEST else about


def budget_rows(graph: Graph) -> dict[str, str]:
    """What each budget of a graph allows, and what its members cost."""
    if not graph.budgets:
        return {}
    found = reach(graph)
    rows = {}
    for budget in graph.budgets:
        least, most = (cost_of(cost, budget.cost) for cost in (found.smallest, found.largest))
        fits = "" if least <= budget.limit else "; none was found that fits"
        rows[f"budget {budget.cost} <= {budget.limit:,}"] = (
            f"members have {least:,} to {most:,}{fits}"
        )
    return rows


def heading(compiled: Compiled) -> str:
    """The network and its file."""
    return f"network `{compiled.network.name}` of {compiled.loaded.source.name}"


def table(head: str, rows: Mapping[str, str]) -> str:
    """A heading and rows of names and values below it."""
    width = max(map(len, rows))
    return "\n".join([head, *(f"  {name:<{width}}  {value}" for name, value in rows.items())])
