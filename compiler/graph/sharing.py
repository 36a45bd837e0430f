"""Shared instances: each is a call of one module, whose owner is the first of them.

A graph keeps every call apart, with nodes, edges and gates of its own, so that shapes, flows and
costs of each are known. What the module is made of, its parameters, is the owner's alone.
"""

from __future__ import annotations

from collections.abc import Iterator

from bayesnas.compiler.graph.model import AnyStage, Edge, Graph, ParallelStage


def owners(graph: Graph) -> dict[str, str]:
    """Of each instance, by path, the one whose module it runs; mostly itself."""
    result: dict[str, str] = {}
    first: dict[tuple[str, str], str] = {}
    for path, instance in graph.instances.items():  # parents first
        if instance.parent is None:
            result[path] = path
            continue
        parent = result[instance.parent]
        owner = _moved(path, instance.parent, parent)
        if instance.shared:
            owner = first.setdefault((parent, instance.motif), owner)
        result[path] = owner
    return result


def owner_edges(graph: Graph) -> dict[str, str]:
    """Of each edge, by id, the one whose operation it runs, by id; mostly itself."""
    own = owners(graph)
    return {edge.id: _moved_edge(edge, own[edge.scope]) for edge in graph.edges()}


def is_shared(graph: Graph) -> bool:
    """Whether any module has several calls."""
    return any(instance.shared for instance in graph.instances.values())


def uneven(graph: Graph) -> set[str]:
    """Edges, by id, that some but not all calls of a module have."""
    own = owners(graph)
    if all(path == owner for path, owner in own.items()):
        return set()
    calls: dict[str, list[str]] = {}
    for path, owner in own.items():
        calls.setdefault(owner, []).append(path)
    edges: dict[str, dict[str, str]] = {path: {} for path in own}
    for edge in graph.edges():
        edges[edge.scope][_moved_edge(edge, own[edge.scope])] = edge.id
    result: set[str] = set()
    for paths in calls.values():
        common = set.intersection(*(set(edges[path]) for path in paths))
        for path in paths:
            result |= {edge for moved, edge in edges[path].items() if moved not in common}
    return result


def unlike(graph: Graph) -> Iterator[tuple[Edge, Edge]]:
    """Edges of calls, each after the owner's whose operation it would run, and does not."""
    edges = {edge.id: edge for edge in graph.edges()}
    for identifier, owner in owner_edges(graph).items():
        one, other = edges.get(owner), edges[identifier]
        if one is not None and _facts(one) != _facts(other):
            yield one, other


def _facts(edge: Edge) -> tuple[object, ...]:
    group = edge.gate and edge.gate.group
    return tuple(map(_made, edge.operation.stages)), edge.operation.definition, edge.kind, group


def _made(stage: AnyStage) -> tuple[object, ...]:
    """What a module is made from: its numbers, and the channels and rank of what it reads."""
    if isinstance(stage, ParallelStage):
        return tuple(tuple(map(_made, branch)) for branch in stage.branches)
    read = (stage.input_shape[0], len(stage.input_shape)) if stage.input_shape else ()
    return stage.primitive, stage.arguments, read


def _moved(path: str, place: str, other: str) -> str:
    """A path below one place as it is below another."""
    local = path.removeprefix(f"{place}.") if place else path
    return f"{other}.{local}" if other else local


def _moved_edge(edge: Edge, owner: str) -> str:
    """The id that an edge of an instance has in its owner."""
    if edge.scope == owner:
        return edge.id
    before, after = f"{edge.scope}.", f"{owner}."
    return after + edge.id.replace(f"->{before}", f"->{after}", 1).removeprefix(before)
