"""Invariants of the graph, checked between passes: a broken one is our fault, never the user's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from bayesnas.compiler.graph.model import Graph
from bayesnas.compiler.graph.sharing import uneven, unlike


class InvariantError(AssertionError):
    """A pass broke the graph."""


def verify(graph: Graph, after: str) -> Graph:
    """The graph itself, if every invariant of `INVARIANTS` holds.

    Raises:
        InvariantError: naming the pass, the invariant and the first place that breaks it.
    """
    for about, broken in INVARIANTS.items():
        for place in broken(graph):
            raise InvariantError(f"after {after}: {about}: {place}")
    return graph


def _gates(graph: Graph) -> Iterator[str]:
    numbers = [edge.searched_gate.number for edge in graph.searched()]
    if numbers != list(range(len(numbers))):
        yield str(numbers[:10])


def _kinds(graph: Graph) -> Iterator[str]:
    for edge in graph.edges():
        if (edge.kind == "searched") != (edge.gate is not None):
            yield edge.id


def _keys(graph: Graph) -> Iterator[str]:
    rows: Any = graph.network.adjacency()
    for source, row in rows:
        for target, parallel in row.items():
            for key, entry in parallel.items():
                edge = entry["payload"]
                if (source, target, key) != (edge.source, edge.target, edge.id):
                    yield str(key)


def _relays(graph: Graph) -> Iterator[str]:
    for node in graph.nodes():
        if node.role == "relay":
            before, after = graph.incoming(node.id), graph.outgoing(node.id)
            identity = [edge.kind == "relay" and edge.operation.is_identity for edge in before]
            if identity != [True] or {edge.kind for edge in after} != {"searched"}:
                yield node.id


def _scopes(graph: Graph) -> Iterator[str]:
    for node in graph.nodes():
        if node.scope not in graph.instances:
            yield node.id


def _cycles(graph: Graph) -> Iterator[str]:
    if len(graph.topological()) < len(graph.network):
        yield graph.name


def _retains(graph: Graph) -> Iterator[str]:
    for retain in graph.retains:
        if retain.node not in graph.network:
            yield retain.node


def _calls(graph: Graph) -> Iterator[str]:
    yield from sorted(uneven(graph))
    yield from (other.id for _, other in unlike(graph))


INVARIANTS: Final[dict[str, Callable[[Graph], Iterator[str]]]] = {
    "gates are numbered from 0 in the order of edges": _gates,
    "an edge has a gate exactly if it is searched": _kinds,
    "edges stand under their own ends and id": _keys,
    "i' has one identity before it and candidates after it": _relays,
    "every node lies in an instance": _scopes,
    "no cycle": _cycles,
    "retained nodes exist": _retains,
    "calls of a shared module are alike": _calls,
}
