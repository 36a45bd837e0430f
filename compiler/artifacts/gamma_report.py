"""The gamma expressions of a graph, as JSON and for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from attrs import frozen

from bayesnas.compiler.artifacts.graph_file import one_a_line
from bayesnas.compiler.artifacts.graph_json import place
from bayesnas.compiler.collector import without_collector
from bayesnas.compiler.graph.model import Edge, Graph
from bayesnas.compiler.passes.gamma import (
    Dependency,
    Expression,
    GammaPrinter,
    Gammas,
    derive_gamma,
)

DEPENDENCIES: Final[tuple[Dependency, ...]] = ("local", "recursive")


@frozen
class GammaReport:
    """The gamma expressions of a graph as JSON text and as Markdown."""

    json: str
    markdown: str


@without_collector
def gamma_report(graph: Graph) -> GammaReport:
    """Both expressions of every tied group, written for its first gate.

    Gates of one group differ in the names of their switches alone.
    """
    printer = GammaPrinter(graph)
    derived = {dependency: derive_gamma(graph, dependency) for dependency in DEPENDENCIES}
    data = {
        "network": graph.name,
        "gates": [_gate(graph, members, derived, printer) for members in graph.groups().values()],
        "flows": {d: _flows(gammas, printer) for d, gammas in derived.items()},
        "relays": {
            printer.symbol_of_relay(c.id): c.id for c in graph.all_connections() if c.searched
        },
    }
    return GammaReport(one_a_line(data), _markdown(graph, data))


def _gate(
    graph: Graph,
    members: list[Edge],
    derived: Mapping[Dependency, Gammas],
    printer: GammaPrinter,
) -> dict[str, Any]:
    first = members[0]
    connection = next(c for c in graph.connections(first.target) if c.id == first.connection)
    return {
        "group": first.searched_gate.group,
        "source": connection.source,
        "target": first.target,
        "operation": first.operation.label,
        "place": place(first.span),
        "gates": [edge.searched_gate.number for edge in members],
        **{
            d: _printed(gammas.gates[first.searched_gate.number], printer)
            for d, gammas in derived.items()
        },
    }


def _printed(expression: Expression, printer: GammaPrinter) -> dict[str, str]:
    text, latex = printer.print(expression)
    return {"text": text, "latex": latex}


def _flows(gammas: Gammas, printer: GammaPrinter) -> dict[str, dict[str, str]]:
    return {
        printer.symbol_of_flow(node): {"node": node, **_printed(flow, printer)}
        for node, flow in gammas.flows.items()
    }


def _markdown(graph: Graph, data: dict[str, Any]) -> str:
    lines = [
        f"# Dependency of every gate of `{graph.name}`",
        "",
        "gamma is the prior variance of an architecture weight, as an expression in the switches:",
        "`s_n` of gate n, `r_n` of the i' node of a searched edge (0 is off, infinity on).",
        "AND is `1/(1/a + 1/b)`, OR is `a + b`. `F_n` is what arrives at a node, listed below.",
        "`local` is equation 8 of Zhou et al. (ICML 2019), which looks one level back;",
        "`recursive` looks back to the inputs. Gates of one row are tied and share one",
        "architecture; the expression is that of the first.",
        "",
        "| gates | edge | operation | gamma | place |",
        "|---|---|---|---|---|",
    ]
    for gate in data["gates"]:
        numbers = gate["gates"]
        shown = ", ".join(map(str, numbers[:3])) + (", ..." if len(numbers) > 3 else "")
        arrow = f"`{gate['source']} -> {gate['target']}`"
        texts = {gate[d]["text"] for d in DEPENDENCIES}
        formula = " / ".join(f"`{t}`" for t in sorted(texts))
        lines.append(f"| {shown} | {arrow} | `{gate['operation']}` | {formula} | {gate['place']} |")
    for dependency in DEPENDENCIES:
        lines += ["", f"## What arrives, `{dependency}`", ""]
        lines += ["| F | node | text | LaTeX |", "|---|---|---|---|"]
        for symbol, flow in data["flows"][dependency].items():
            if flow["text"] not in ("oo", "0"):
                latex = f"${flow['latex']}$"
                lines.append(f"| `{symbol}` | `{flow['node']}` | `{flow['text']}` | {latex} |")
    lines += ["", "## Nodes i'", "", "| r | searched edge |", "|---|---|"]
    lines += [f"| `{symbol}` | `{name}` |" for symbol, name in data["relays"].items()]
    return "\n".join(lines) + "\n"
