"""Scans: instances that run at each position of the series that they read, their states carried.

A graph has one copy of the motif, whose nodes hold what one position holds: the edge from a series
to an input passes on a position of it, the edge from an output makes a series of all positions.
What leads back, from the output of a state to its input, is no edge.
"""

from __future__ import annotations

from collections.abc import Iterator

from bayesnas.compiler.graph.model import Graph, Instance


def is_scanned(graph: Graph) -> bool:
    """Whether any instance is a scan."""
    return any(instance.states is not None for instance in graph.instances.values())


def ways_back(graph: Graph) -> dict[str, str]:
    """Of each output that is a state of a scan, the input that holds it at the next position."""
    pairs = (pair for instance in graph.instances.values() for pair in instance.states or ())
    return {end: start for start, end in pairs}


def carried_scans(graph: Graph) -> Iterator[str]:
    """Scans, by path, that a call of the network runs once: their states may go on in the next.

    One that stands in a shared motif may run for several series, one in a scan at every position.
    """
    once = set()
    for path, instance in graph.instances.items():  # parents first
        if instance.parent is None or instance.parent in once:
            if instance.states:
                yield path
            elif not instance.shared:
                once.add(path)


def series_of(graph: Graph, scan: Instance) -> list[str]:
    """The inputs of a scan that read a series; all but its states before shapes are known."""
    states = {start for start, _ in scan.states or ()}
    return [port for port in scan.inputs if port not in states and _reads_series(graph, port)]


def _reads_series(graph: Graph, port: str) -> bool:
    edges = graph.incoming(port)
    if graph.node(port).shape is None or not edges:  # before shapes are inferred
        return True
    return len(graph.node(edges[0].source).shape or ()) == 2


def turns(graph: Graph) -> dict[str, int]:
    """How often each instance runs for one example, by path; shapes are known."""
    result: dict[str, int] = {}
    for path, instance in graph.instances.items():  # parents first
        result[path] = 1 if instance.parent is None else result[instance.parent]
        if instance.states is not None:
            result[path] *= length_of(graph, instance)
    return result


def length_of(graph: Graph, scan: Instance) -> int:
    """How many positions the series have that a scan reads; shapes are known."""
    [edge] = graph.incoming(series_of(graph, scan)[0])
    return (graph.node(edge.source).shape or ())[1]


def halted(graph: Graph) -> Iterator[str]:
    """Edges, by id, that are dead since a scan lacks what it takes.

    A state whose output hears of no input is no state: what reads it goes. A scan without a state,
    or without a series, goes.
    """
    for scan in graph.instances.values():
        if scan.states is None:
            continue
        if not scan.states or not series_of(graph, scan):
            yield from (edge.id for end in scan.outputs for edge in graph.incoming(end))
        for start, end in scan.states:
            if start in graph.network and end not in graph.network:
                yield from (edge.id for edge in graph.outgoing(start))
