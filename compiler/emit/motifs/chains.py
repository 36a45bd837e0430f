"""Chains that can be written as a loop: each link is fed alike by the links before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

from attrs import frozen

from bayesnas.compiler.graph.model import Graph, Instance

# Where an input of the next link comes from: an output or an input of the link before, by number.
Origin: TypeAlias = tuple[Literal["output", "input"], int]


@frozen
class Chain:
    """Links that run in a loop; ``origins`` tells for every input what it is in the next turn."""

    links: tuple[Instance, ...]
    origins: tuple[Origin, ...]

    @property
    def moving(self) -> list[int]:
        """The inputs that differ from turn to turn."""
        return [i for i, origin in enumerate(self.origins) if origin != ("input", i)]


def passes_on(graph: Graph, node: str) -> bool:
    """Whether a node is but another name for the one node that it reads."""
    edges = graph.incoming(node)
    return len(edges) == 1 and edges[0].kind == "fixed" and edges[0].operation.is_identity


def origin(graph: Graph, node: str) -> str:
    """The node of which this one is another name in the same instance; else itself."""
    scope = graph.node(node).scope
    while graph.node(node).scope == scope and graph.node(node).role != "input":
        if not passes_on(graph, node):
            break
        node = graph.incoming(node)[0].source
    return node


def source_of(graph: Graph, link: Instance, position: int) -> str:
    """The node that one input of an instance reads."""
    return origin(graph, graph.incoming(link.inputs[position])[0].source)


def _readers(graph: Graph, output: str) -> set[str]:
    """What reads an output of a link, by whatever name."""
    result, waiting = set(), [edge.target for edge in graph.outgoing(output)]
    while waiting:
        node = waiting.pop()
        if graph.node(node).role == "inner" and passes_on(graph, node):
            waiting += [edge.target for edge in graph.outgoing(node)]
        else:
            result.add(node)
    return result


def carried(graph: Graph, chain: Chain) -> dict[int, str]:
    """By moving input, the node that it holds after the last turn."""
    last = chain.links[-1]
    return {
        i: last.outputs[k] if kind == "output" else source_of(graph, last, k)
        for i in chain.moving
        for kind, k in [chain.origins[i]]
    }


def chain_at(
    graph: Graph,
    links: Sequence[Instance],
    start: int,
    classes: Mapping[str, str],
    gates: Mapping[str, tuple[int, int]],
) -> Chain | None:
    """The longest chain that begins with one of the links; None where there is none of two.

    Args:
        graph: what the instances belong to.
        links: instances of one list that run in a row, in their order.
        start: which of the links is the first.
        classes: the class of each link, by path.
        gates: the first and past-the-last gate of each instance that has any, by path.
    """
    options: list[set[Origin]] = []
    count = 1
    for k in range(start, len(links) - 1):
        before, link = links[k], links[k + 1]
        readers = set[str]().union(*(_readers(graph, output) for output in before.outputs))
        inside = all(graph.node(reader).scope in classes for reader in readers)
        if not (inside and _are_alike(before, link, classes, gates)):
            break
        new = [_origins(graph, before, link, i) for i in range(len(link.inputs))]
        new = [a & b for a, b in zip(options, new, strict=True)] if options else new
        if not all(new):
            break
        options, count = new, count + 1
    if count == 1:
        return None
    origins = tuple(_simplest(several, i) for i, several in enumerate(options))
    chain = Chain(tuple(links[start : start + count]), origins)
    return chain if _is_closed(graph, chain) else None


def _are_alike(
    one: Instance,
    other: Instance,
    classes: Mapping[str, str],
    gates: Mapping[str, tuple[int, int]],
) -> bool:
    """Whether two neighbours are of one class and have as many gates, one's after the other's."""
    if classes[one.path] != classes[other.path]:
        return False
    if one.path not in gates:
        return other.path not in gates
    (first, middle), (start, last) = gates[one.path], gates.get(other.path, (-1, -1))
    return middle == start and middle - first == last - start


def _origins(graph: Graph, before: Instance, link: Instance, position: int) -> set[Origin]:
    """All ways to say where one input of a link comes from."""
    source = source_of(graph, link, position)
    outputs: set[Origin] = {
        ("output", k) for k, output in enumerate(before.outputs) if output == source
    }
    inputs = range(len(before.inputs))
    return outputs | {("input", k) for k in inputs if source_of(graph, before, k) == source}


def _simplest(origins: set[Origin], position: int) -> Origin:
    """An output before an input, and the same input before another one."""
    return min(origins, key=lambda one: (one[0] == "input", one[1] != position, one[1]))


def _is_closed(graph: Graph, chain: Chain) -> bool:
    """Whether what is read after the loop is there then, and something moves on in it."""
    if not any(kind == "output" for kind, _ in chain.origins):
        return False
    inside = {port for link in chain.links for port in link.inputs}
    there = {*carried(graph, chain).values(), *chain.links[-1].outputs}
    return all(
        output in there or inside.issuperset(_readers(graph, output))
        for link in chain.links
        for output in link.outputs
    )
