"""The gamma expressions of a graph, as JSON and for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from attrs import frozen

from bayesnas.compiler.artifacts.gamma_markdown import gamma_markdown
from bayesnas.compiler.artifacts.gamma_text import GammaPrinter
from bayesnas.compiler.artifacts.graph_file import one_a_line
from bayesnas.compiler.artifacts.graph_json import place
from bayesnas.compiler.graph.model import Edge, Graph
from bayesnas.compiler.passes.gamma import (
    Dependency,
    Gammas,
    SwitchExpression,
    derive_gamma,
)
from bayesnas.dsl.collector import without_collector

DEPENDENCIES: Final[tuple[Dependency, ...]] = ("local", "recursive")


@frozen
class GammaReport:
    """The gamma expressions of a graph as JSON text and as Markdown."""

    json: str
    markdown: str


@without_collector()
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
    return GammaReport(one_a_line(data), gamma_markdown(graph))


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


def _printed(expression: SwitchExpression, printer: GammaPrinter) -> dict[str, str]:
    text, latex = printer.print(expression)
    return {"text": text, "latex": latex}


def _flows(gammas: Gammas, printer: GammaPrinter) -> dict[str, dict[str, str]]:
    return {
        printer.symbol_of_flow(node): {"node": node, **_printed(flow, printer)}
        for node, flow in gammas.flows.items()
    }
