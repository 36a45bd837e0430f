"""Tables for the terminal: what a network consists of, what it costs, what may be set."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from math import log10
from typing import TYPE_CHECKING, Any, Final

from attrs import fields_dict

from bayesnas.compiler.settings import OPTIONS, STRATEGIES, users
from bayesnas.dsl.terminal import say

if TYPE_CHECKING:
    from bayesnas.compiler.graph.cost import Cost
    from bayesnas.compiler.graph.model import Graph
    from bayesnas.compiler.pipeline import Compiled
    from bayesnas.compiler.space.latencies import Whole

_LONGEST = 24  # digits of a count that is written out


def table(head: str, rows: Mapping[str, str]) -> list[str]:
    """A heading and rows of names and values below it, in lines."""
    width = max(map(len, rows))
    return [head, *(f"  {name:<{width}}  {value}" for name, value in rows.items())]


def columns(head: Sequence[str], rows: Sequence[Sequence[str]], flush_left: int = 1) -> list[str]:
    """Columns side by side, in lines; the first ``flush_left`` are flush left, others right."""
    widths = [max(len(row[k]) for row in (head, *rows)) for k in range(len(head))]
    lines = []
    for row in (head, *rows):
        cells = [
            cell.ljust(width) if k < flush_left else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def number(count: int) -> str:
    """A count in full and, where that is long, as a power of ten."""
    power = log10(count) if count else 0.0  # exact integers may be too long to print
    if power < 6:
        return f"{count:,}"
    about = f"about {10 ** (power % 1):.2f} x 10^{int(power)}"
    return f"{count:,} ({about})" if power < _LONGEST else about


def cost_texts(cost: Cost) -> tuple[str, ...]:
    """Parameters, FLOPs and, where it is known, the latency for a table."""
    from bayesnas.compiler.graph.cost import cost_text

    time = () if cost.latency is None else (cost_text("latency", cost.latency),)
    return (f"{cost.parameters:,}", f"{cost.flops:,}", *time)


def cost_heads(cost: Cost) -> tuple[str, ...]:
    """The heads of `cost_texts`."""
    return ("parameters", "FLOPs", *(() if cost.latency is None else ("latency",)))


WHOLES: Final = ("member", "sum", "measured", "error")


def whole_rows(wholes: Iterable[Whole]) -> list[tuple[str, ...]]:
    """Rows under `WHOLES`: networks measured whole, and the sums of their operations."""
    from bayesnas.compiler.graph.cost import cost_text

    return [
        (
            whole.member,
            cost_text("latency", whole.sum),
            cost_text("latency", whole.whole),
            f"{whole.error:+.1%}",
        )
        for whole in wholes
    ]


def heading(compiled: Compiled) -> str:
    """The network and its file."""
    return f"network `{compiled.network.name}` of {compiled.loaded.source.name}"


def summary(graph: Graph, head: str) -> list[str]:
    """What a network consists of, in a few lines."""
    from bayesnas.compiler.graph.cost import graph_cost

    roles = [node.role for node in graph.nodes()]
    cost = graph_cost(graph)
    rows = {
        "nodes": f"{len(roles) - roles.count('relay'):,}",
        "i' nodes": f"{roles.count('relay'):,}",
        "searched operations": f"{len(graph.searched()):,}",
        "tied groups": f"{len(graph.groups()):,}",
        "parameters": f"{cost.parameters:,}",
        "FLOPs per example": f"{cost.flops:,} (multiply-accumulates)",
    } | budget_rows(graph)
    return table(head, rows)


def budget_rows(graph: Graph) -> dict[str, str]:
    """What each budget of a graph allows, and what its members cost."""
    from bayesnas.compiler.graph.cost import cost_text
    from bayesnas.compiler.space.members import reach

    if not graph.budgets:
        return {}
    extremes = reach(graph)
    rows = {}
    for budget in graph.budgets:
        name = f"budget {budget.cost} <= {cost_text(budget.cost, budget.limit)}"
        if budget.cost == "latency" and graph.timing is None:
            rows[name] = "priced by `--latencies FILE`, which `bayesnas measure` writes"
            continue
        least, most = (cost.of(budget.cost) for cost in (extremes.smallest, extremes.largest))
        fits = "" if least <= budget.limit else "; none was found that fits"
        span = f"{cost_text(budget.cost, least)} to {cost_text(budget.cost, most)}"
        rows[name] = f"members have {span}{fits}"
    return rows


def settings_table(kind: str) -> list[str]:
    """Lines of what ``--option help`` prints; ``kind`` is of `OPTIONS`."""
    rows = [
        (name, str(setting.default), _domain(setting.metadata), setting.metadata["about"])
        for name, setting in fields_dict(OPTIONS[kind]).items()
    ]
    heads = (f"{kind} setting", "default", "values", "")
    if kind != "search":
        return columns(heads, rows, flush_left=4)
    used = [(*row[:3], _used_by(row[0]), row[3]) for row in rows]
    return columns((*heads[:3], "used by", ""), used, flush_left=5)


def _used_by(name: str) -> str:
    """The strategies that use a setting, or those that do not where they are fewer."""
    using = users(name)
    others = [strategy for strategy in STRATEGIES if strategy not in using]
    if len(others) < len(using):
        return f"all but {', '.join(others)}" if others else "all"
    return ", ".join(using)


def _domain(metadata: Mapping[str, Any]) -> str:
    if "words" in metadata:
        return ", ".join(metadata["words"])
    if "pattern" in metadata:
        return "epochs"
    return f"{metadata['least']:g} to {metadata['most']:g}"


def say_advice(advice: str | None) -> None:
    """A remark on stderr, where there is one."""
    if advice is not None:
        say(f"note: {advice}", file=sys.stderr)
