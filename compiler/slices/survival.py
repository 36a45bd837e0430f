"""Which channels of a supernet's tensors a member has: fewer where a concatenation lost parts.

In: a supernet's graph, and that of a member. Out: of every tensor, the places along its axes that
are left. Non-goals: channels that are removed besides, as `groups` has them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import TypeAlias

from bayesnas.compiler.graph.model import AnyStage, Connection, Graph, ParallelStage, Stage
from bayesnas.compiler.graph.walks import primitives_of
from bayesnas.compiler.operations.coupling import Axis, Coupling
from bayesnas.compiler.operations.primitives import PRIMITIVES
from bayesnas.compiler.slices.counts import places_of
from bayesnas.compiler.slices.groups import Place

Places: TypeAlias = Sequence[int]  # along an axis, in order


def surviving(supernet: Graph, member: Graph) -> Mapping[tuple[Place, str], tuple[Places, ...]]:
    """The places of the supernet's tensors that a member has; none of an axis without channels.

    Where fewer channels are made of fewer, the weights do not say which: they are those at the
    places of what is read, or the first.

    Args:
        supernet: the graph of the whole space, shapes inferred.
        member: what is left of it, shapes inferred.
    """
    if not any(node.merge == "concat" for node in supernet.nodes()):
        return {}  # nothing else makes fewer channels
    walk = _Walk(supernet, member)
    for identifier in member.topological():
        walk.node(identifier)
    return walk.tensors


class _Walk:
    """Of every node of a member, its channels by their places in the supernet's."""

    def __init__(self, supernet: Graph, member: Graph) -> None:
        self.supernet, self.member = supernet, member
        self.whole = {edge.id: edge.operation.stages for edge in supernet.edges()}
        self.nodes: dict[str, Places] = {}
        self.tensors: dict[tuple[Place, str], tuple[Places, ...]] = {}

    def node(self, identifier: str) -> None:
        """A node whose sources have been visited."""
        node = self.supernet.node(identifier)
        arrivals = {c.id: self._arrival(c) for c in self.member.connections(identifier)}
        if not arrivals:
            assert node.shape is not None, "asked before shape inference"
            self.nodes[identifier] = range(node.shape[0])
        elif node.merge == "concat":
            self.nodes[identifier] = [*self._joined(identifier, arrivals)]
        else:
            self.nodes[identifier] = next(iter(arrivals.values()))

    def _joined(self, identifier: str, arrivals: Mapping[str, Places]) -> Iterator[int]:
        start = 0
        for connection in self.supernet.connections(identifier):
            yield from (start + place for place in arrivals.get(connection.id, ()))
            start += _width(self.whole[connection.edges[0].id])

    def _arrival(self, connection: Connection) -> Places:
        made: Places = ()
        for edge in connection.edges:
            pairs = zip(self.whole[edge.id], edge.operation.stages, strict=True)
            made = self._stages(self.nodes[edge.source], [*pairs], edge.id, count())
        return made

    def _stages(
        self,
        places: Places,
        pairs: Sequence[tuple[AnyStage, AnyStage]],
        edge: str,
        numbers: Iterator[int],
    ) -> Places:
        for whole, left in pairs:
            if isinstance(whole, ParallelStage):
                assert isinstance(left, ParallelStage)
                branches = zip(whole.branches, left.branches, strict=True)
                made = [
                    self._stages(places, [*zip(one, other, strict=True)], edge, numbers)
                    for one, other in branches
                ]
                places = made[0]
            else:
                assert isinstance(left, Stage)
                places = self._stage(places, whole, left, (edge, next(numbers)))
        return places

    def _stage(self, places: Places, whole: Stage, left: Stage, place: Place) -> Places:
        rule = PRIMITIVES[whole.primitive].coupling
        assert whole.input_shape is not None, "asked before shape inference"
        assert left.input_shape is not None, "asked before shape inference"
        assert left.output_shape is not None, "asked before shape inference"
        if rule is None:
            return range(left.output_shape[0])
        coupling = rule(whole.input_shape, dict(whole.arguments))
        own = rule(left.input_shape, dict(left.arguments))
        if own.sizes.keys() != coupling.sizes.keys():  # groups of one channel, where they had more
            every = {name: range(size) for name, size in own.sizes.items()}
            for name, axes in own.tensors.items():
                stays = (_along(axis, own.sizes, every) or range(1) for axis in axes)
                self.tensors[place, name] = tuple(stays)
            return range(left.output_shape[0])
        stay = _left(coupling, own.sizes, places)
        for name, axes in coupling.tensors.items():
            self.tensors[place, name] = tuple(_along(axis, coupling.sizes, stay) for axis in axes)
        return _along(coupling.target, coupling.sizes, stay)


def _left(coupling: Coupling, sizes: Mapping[str, int], places: Places) -> dict[str, Places]:
    """Of each strand of a primitive, the channels that a member has."""
    read: dict[str, set[int]] = {}
    at, start = {*places}, 0
    for piece in coupling.source:
        own = range(start, start + coupling.sizes[piece.strand] * piece.stretch)
        read.setdefault(piece.strand, set()).update(
            (p - start) // piece.stretch for p in own if p in at
        )
        start = own.stop
    result: dict[str, Places] = {}
    for name, size in coupling.sizes.items():
        stay = sorted(read.get(name, range(size)))
        if len(stay) != sizes[name]:  # made anew, of fewer
            stay = [p for p in places if p < size]
        result[name] = stay if len(stay) == sizes[name] else range(sizes[name])
    return result


def _along(axis: Axis, sizes: Mapping[str, int], stay: Mapping[str, Places]) -> Places:
    """The places along an axis at which channels stay."""
    return places_of((sizes[p.strand], p.stretch, stay[p.strand]) for p in axis)


def _width(stages: Sequence[AnyStage]) -> int:
    """The channels that an operation makes."""
    [*_, last] = primitives_of(stages)
    assert last.output_shape is not None, "asked before shape inference"
    return last.output_shape[0]
