"""Walks over a graph: what is reached, what is alive, what depends on what in an instance."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import networkx as nx
from attrs import evolve

from bayesnas.compiler.graph.model import AnyStage, Graph, Node, ParallelStage, Stage
from bayesnas.compiler.graph.scans import halted, ways_back
from bayesnas.compiler.graph.sharing import uneven
from bayesnas.compiler.operations.primitives import PRIMITIVES

_PASSING = ("skip", "flatten")  # the numbers stay what they were


def drop_dead(graph: Graph) -> Graph:
    """The graph of nodes on a way from an input to an output; empty instances are left out.

    What is dead in one call of a shared module goes from all that are left, and a scan that lacks
    what it takes goes as well.
    """
    kept = _living(graph)
    while lost := uneven(kept) | set(halted(kept)):
        edges = {edge.id for edge in kept.edges()} - lost
        kept = _living(kept.subgraph({node.id for node in kept.nodes()}, edges))
    return kept


def _living(graph: Graph) -> Graph:
    network = graph.network
    inputs, outputs = (
        [port for port in ports if port in network]
        for ports in (graph.root.inputs, graph.root.outputs)
    )
    back = ways_back(graph)
    forth = {start: end for end, start in back.items()}

    def following(node: str) -> Iterable[str]:
        return (*network.successors(node), back[node]) if node in back else network.successors(node)

    def leading(node: str) -> Iterable[str]:
        before = network.predecessors(node)
        return (*before, forth[node]) if forth.get(node) in network else before

    alive = reach(following, inputs) & reach(leading, outputs)
    scopes = {node.scope for node in graph.nodes() if node.id in alive}
    if len(alive) == len(network) and len(scopes) == len(graph.instances):
        return graph
    kept = graph.subgraph(alive, {e.id for e in graph.edges()})
    instances = {
        path: evolve(
            instance,
            inputs=tuple(i for i in instance.inputs if i in alive),
            outputs=tuple(o for o in instance.outputs if o in alive),
            states=None
            if instance.states is None
            else tuple(pair for pair in instance.states if pair[0] in alive),
        )
        for path, instance in graph.instances.items()
        if path in scopes
    }
    retains = tuple(r for r in graph.retains if r.node in alive)
    return evolve(kept, instances=instances, retains=retains)


def reach(following: Callable[[str], Iterable[str]], starts: Iterable[str]) -> set[str]:
    """Nodes that can be reached from any of ``starts``, those included, by what follows a node."""
    seen = set(starts)
    stack = list(seen)
    while stack:
        for successor in following(stack.pop()):
            if successor not in seen:
                seen.add(successor)
                stack.append(successor)
    return seen


def looked_up(graph: Graph, *inputs: str) -> list[str]:
    """The primitives that look up the numbers of these inputs, or of all of them, each once."""
    return list(dict.fromkeys(stage.primitive for stage in lookups(graph, *inputs)))


def lookups(graph: Graph, *inputs: str) -> list[Stage]:
    """The stages that look up the numbers of these inputs, or of all of them.

    Shapes are known; ``skip`` and ``flatten`` may stand before them.
    """
    waiting = list(inputs or graph.root.inputs)
    seen = set(waiting)
    found: list[Stage] = []
    while waiting:
        for edge in graph.outgoing(waiting.pop()):
            stages, passes = _first(edge.operation.stages)
            found += [stage for stage in stages if _looks_up(stage)]
            if passes and edge.target not in seen:
                seen.add(edge.target)
                waiting.append(edge.target)
    return found


def _looks_up(stage: Stage) -> bool:
    assert stage.input_shape is not None, "asked before shape inference"
    return PRIMITIVES[stage.primitive].indices(stage.input_shape, dict(stage.arguments))


def drops_weights(graph: Graph) -> bool:
    """Whether a matrix of the network drops some of its numbers in training."""
    return any(
        stage.primitive == "matrix" and dict(stage.arguments)["drop"] > 0
        for edge in graph.edges()
        for stage in primitives_of(edge.operation.stages)
    )


def _first(stages: Iterable[AnyStage]) -> tuple[list[Stage], bool]:
    """What first reads the input of a sequence, and whether that comes out of it unchanged."""
    for stage in stages:
        if isinstance(stage, Stage):
            if stage.primitive in _PASSING:
                continue
            return [stage], False
        inner = [_first(branch) for branch in stage.branches]
        return [s for found, _ in inner for s in found], any(passes for _, passes in inner)
    return [], True


def scope_graphs(graph: Graph) -> dict[str, nx.DiGraph[str]]:
    """For each instance, what depends on what inside it, its child instances as single items.

    Items are node ids, and ``<path>`` for child instances (see `item`). The payload of an arc is
    the first edge that makes it.
    """
    result: dict[str, nx.DiGraph[str]] = {path: nx.DiGraph() for path in graph.instances}
    for node in graph.nodes():
        if node.scope in result:
            result[node.scope].add_node(node.id)
    for edge in graph.edges():
        source, target = (item(graph.node(n), edge.scope) for n in (edge.source, edge.target))
        if not result[edge.scope].has_edge(source, target):
            result[edge.scope].add_edge(source, target, payload=edge)
    return result


def item(node: Node, scope: str) -> str:
    """The node itself inside its own scope, its instance seen from the scope around that."""
    return node.id if node.scope == scope else f"<{node.scope}>"


def primitives_of(stages: Iterable[AnyStage]) -> Iterator[Stage]:
    """The primitives of an operation in order, those of parallel branches among them."""
    for stage in stages:
        if isinstance(stage, ParallelStage):
            for branch in stage.branches:
                yield from primitives_of(branch)
        else:
            yield stage
