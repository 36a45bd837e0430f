"""What is left of a graph when operations are removed."""

from __future__ import annotations

from collections.abc import Iterable

from bayesnas.compiler.graph.model import Graph
from bayesnas.compiler.graph.walks import drop_dead
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError


def prune_graph(graph: Graph, removed: Iterable[str]) -> Graph:
    """The graph without these edges and without what they leave dead, forwards and backwards.

    Raises:
        DiagnosticError: D601 (status 1) if an output no longer hears of any input, or an input
            is no longer heard.
    """
    gone = set(removed)
    factors = {n.id: len(graph.connections(n.id)) for n in graph.nodes() if n.merge == "product"}
    rest = graph.subgraph({node.id for node in graph.nodes()}, {e.id for e in graph.edges()} - gone)
    pruned = drop_dead(rest)
    while lost := [n for n in factors if _lost_factor(pruned, n, factors[n])]:
        for node in lost:  # a product without one of its factors is zero
            gone |= {edge.id for edge in pruned.incoming(node)}
        pruned = drop_dead(
            graph.subgraph({n.id for n in graph.nodes()}, {e.id for e in graph.edges()} - gone)
        )
    for port in (*graph.root.outputs, *graph.root.inputs):
        if port not in pruned.network:
            raise DiagnosticError(
                Diagnostic(
                    "D601",
                    f"pruning would leave no way between the inputs and `{port}`",
                    notes=(f"{len(gone)} operations would be removed",),
                    help="remove fewer operations",
                ),
                status=1,
            )
    return pruned


def _lost_factor(pruned: Graph, node: str, count: int) -> bool:
    return node in pruned.network and len(pruned.connections(node)) < count
