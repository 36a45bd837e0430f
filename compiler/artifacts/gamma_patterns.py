"""Motif instances whose gates depend alike on their switches, together.

A pattern is what instances have in common: their nodes by local names, what arrives at each, and
which instances lie inside. They differ in operations' names, and in the number of the first gate.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal, TypeAlias

from attrs import frozen

from bayesnas.compiler.graph.model import Connection, Graph, Instance
from bayesnas.compiler.passes.gamma import ALWAYS, Dependency, derive_gamma

Quantity: TypeAlias = Literal["F", "R", "S"]


@frozen
class Arrival:
    """What one connection brings to a node; ``number`` is 2 for the second from that source."""

    source: str
    number: int
    searched: bool
    operations: int


@frozen
class Junction:
    """A node and all that arrives there; ``product`` tells that it needs all of it."""

    node: str
    product: bool
    arrivals: tuple[Arrival, ...]


@frozen
class SearchedEdge:
    """A searched connection between two nodes; ``gates`` counts from the instance's first gate."""

    source: str
    target: str
    number: int
    gates: range


@frozen
class Part:
    """An instance inside; ``place`` is that of its pattern in `sections`, counted from the end."""

    name: str
    place: int
    gates: range


@frozen
class Pattern:
    """What instances have in common; equal patterns have equal formulas.

    Nodes go by their names inside the instance, ports of instances inside as ``body[0].out``.
    ``always`` are the nodes that are reached whatever the switches: of the network alone, since
    of another instance this depends on where it stands.
    """

    motif: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    junctions: tuple[Junction, ...]
    edges: tuple[SearchedEdge, ...]
    parts: tuple[Part, ...]
    always: frozenset[str]


@frozen
class Member:
    """An instance, its gates with those of its parts, and its own searched connections.

    Both are numbered one after the other.
    """

    instance: Instance
    gates: range
    connections: tuple[Connection, ...]


@frozen
class Section:
    """A pattern and its instances."""

    pattern: Pattern
    members: tuple[Member, ...]


def sections(graph: Graph) -> list[Section]:
    """The patterns of a graph, each before those of its parts: the network is the first."""
    return _Patterns(graph).sections()


class _Patterns:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.children: dict[str, list[str]] = {path: [] for path in graph.instances}
        for instance in graph.instances.values():
            if instance.parent is not None:
                self.children[instance.parent].append(instance.path)
        self.connections: dict[str, list[Connection]] = {path: [] for path in graph.instances}
        for connection in graph.all_connections():
            self.connections[connection.edges[0].scope].append(connection)
        flows = derive_gamma(graph, "recursive").flows
        self.always = frozenset(node for node, flow in flows.items() if flow == ALWAYS)
        self.places: dict[str, int] = {}  # of patterns, counted from the end, by path
        self.gates: dict[str, range] = {}  # by path

    def sections(self) -> list[Section]:
        """Built from the end: the last parts of the last instances first."""
        members: dict[Pattern, list[Member]] = {}
        places: dict[Pattern, int] = {}
        for path in self._parts_first(""):
            searched = [c for c in self.connections[path] if c.searched]
            searched.sort(key=lambda connection: connection.edges[0].order)
            inside = [self.gates[child] for child in self.children[path]]
            self.gates[path] = _hull([*map(_gates, searched), *inside])
            pattern = self._pattern(path, searched)
            self.places[path] = places.setdefault(pattern, -1 - len(places))
            member = Member(self.graph.instances[path], self.gates[path], tuple(searched))
            members.setdefault(pattern, []).append(member)
        return [Section(p, tuple(reversed(of))) for p, of in reversed(members.items())]

    def _parts_first(self, path: str) -> Iterator[str]:
        for child in reversed(self.children[path]):
            yield from self._parts_first(child)
        yield path

    def _pattern(self, path: str, searched: list[Connection]) -> Pattern:
        instance = self.graph.instances[path]
        prefix = len(path) + 1 if path else 0
        first = self.gates[path].start
        into: dict[str, list[Connection]] = {}
        for connection in self.connections[path]:
            into.setdefault(connection.target, []).append(connection)
        return Pattern(
            motif=instance.motif,
            inputs=tuple(node[prefix:] for node in instance.inputs),
            outputs=tuple(node[prefix:] for node in instance.outputs),
            junctions=tuple(
                self._junction(node, arriving, prefix) for node, arriving in into.items()
            ),
            edges=tuple(_edge(connection, prefix, first) for connection in searched),
            parts=tuple(
                Part(child[prefix:], self.places[child], _moved(self.gates[child], first))
                for child in self.children[path]
            ),
            always=frozenset() if path else self.always,
        )

    def _junction(self, node: str, arriving: list[Connection], prefix: int) -> Junction:
        product = self.graph.node(node).merge == "product"
        arrivals = (
            Arrival(c.source[prefix:], _number(c), c.searched, len(c.edges)) for c in arriving
        )
        return Junction(node[prefix:], product, tuple(arrivals))


def _edge(connection: Connection, prefix: int, first: int) -> SearchedEdge:
    source, target = connection.source[prefix:], connection.target[prefix:]
    return SearchedEdge(source, target, _number(connection), _moved(_gates(connection), first))


def _number(connection: Connection) -> int:
    return int(connection.id.partition("#")[2] or 1)


def _gates(connection: Connection) -> range:
    """The candidates of a connection are numbered one after the other."""
    first = connection.edges[0].searched_gate.number
    return range(first, first + len(connection.edges))


def _hull(ranges: Iterable[range]) -> range:
    filled = [r for r in ranges if r]
    return range(min(r.start for r in filled), max(r.stop for r in filled)) if filled else range(0)


def _moved(gates: range, first: int) -> range:
    return range(gates.start - first, gates.stop - first) if gates else gates


# ----------------------------------------------------------------------------------------- flows


@frozen
class Term:
    """What a connection contributes to the flow of ``target``.

    F is the flow of its source, as often as operations pass it on (``count``); S and R are sums
    over its candidates: of their switches, and of their gammas.
    """

    quantity: Quantity
    source: str
    target: str
    number: int = 1
    count: int = 1


@frozen
class FlowEquation:
    """The flow of a node: the terms' sum, or their harmonic sum; without terms it is infinite."""

    node: str
    product: bool
    terms: tuple[Term, ...]


def flow_equations(pattern: Pattern, dependency: Dependency) -> list[FlowEquation]:
    """Flows of a pattern's own nodes that some gate depends on, in the order of the spec.

    `local` asks for those of nodes that a searched edge starts from; `recursive` also for all
    that these depend on, and for what leads out of the pattern or into its parts.
    """
    asked = {edge.source for edge in pattern.edges}
    if dependency == "recursive":
        asked = _asked(pattern, asked)
    infinite = pattern.always if dependency == "recursive" else frozenset(pattern.inputs)
    entered = [n for n in pattern.inputs if n in asked & infinite]
    equations = [FlowEquation(node, False, ()) for node in entered]
    for junction in sorted(pattern.junctions, key=lambda j: j.node in pattern.outputs):
        if junction.node in asked:
            equations.append(_equation(junction, dependency, infinite))
    return equations


def _asked(pattern: Pattern, starts: set[str]) -> set[str]:
    entering = [j for j in pattern.junctions if "." in j.node]
    asked = starts | {a.source for j in entering for a in j.arrivals}
    if not pattern.always:  # nothing reads what leads out of the network
        asked |= set(pattern.outputs)
    junctions = {junction.node: junction for junction in pattern.junctions}
    waiting = list(asked)
    while waiting:
        junction = junctions.get(waiting.pop())
        for arrival in junction.arrivals if junction else ():
            if not arrival.searched and arrival.source not in asked:
                asked.add(arrival.source)
                waiting.append(arrival.source)
    return asked


def _equation(junction: Junction, dependency: Dependency, infinite: frozenset[str]) -> FlowEquation:
    terms = []
    certain = 0
    for arrival in junction.arrivals:
        ends = (arrival.source, junction.node, arrival.number)
        if arrival.searched:
            terms.append(Term("S" if dependency == "local" else "R", *ends))
        elif dependency == "local" or arrival.source in infinite:
            certain += 1
        else:
            terms.append(Term("F", *ends, arrival.operations))
    if junction.product or not certain:
        return FlowEquation(junction.node, junction.product, tuple(terms))
    return FlowEquation(junction.node, False, ())
