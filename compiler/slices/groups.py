"""Which slices of a network stay or go together, derived from its graph alone.

Every stage brings the strands that its primitive declares (`Coupling`); what meets in a sum or a
product is tied, a concatenation lays channels side by side. What comes in and goes out of the
network stays, and so does what a primitive without a declaration reads or makes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from attrs import evolve, field, frozen

from bayesnas.compiler.graph.model import AnyStage, Graph, ParallelStage, Stage
from bayesnas.compiler.graph.scans import ways_back
from bayesnas.compiler.graph.sharing import owner_edges
from bayesnas.compiler.graph.tied_weights import tied_weights
from bayesnas.compiler.operations.coupling import Axis, Coupling
from bayesnas.compiler.operations.primitives import PRIMITIVES
from bayesnas.compiler.slices.pace import Pace
from bayesnas.compiler.slices.ties import Channels, Run, Strand, fix, resolved, tie

# An edge, and the number of the stage in it: among all of its primitives, in order.
Place: TypeAlias = tuple[str, int]


@frozen
class Tensor:
    """A parameter or buffer of a stage, and what lies along its axes from the first.

    Along the axis ``maker`` lie the channels that it makes, along others those that it reads.
    """

    place: Place
    name: str
    axes: tuple[Channels, ...]
    maker: int = 0


@frozen
class StageChannels:
    """What lies along the channels of a primitive: ``numbers`` by its arguments that count them."""

    source: Channels
    target: Channels
    numbers: Mapping[str, Channels] = field(factory=dict)


@frozen
class Slices:
    """The coupled slices of a network.

    Channel ``k`` of a strand is a group: all that lies at ``k`` along every axis that the strand
    lies along stays or goes together.

    Args:
        strands: all of them, in the order of the nodes that they reach first.
        nodes: the channels of each node, by id.
        tensors: what belongs to them, in the order of the edges.
        stages: the channels of each primitive.
        pace: what the network takes at fewer channels, if that was measured.
    """

    strands: tuple[Strand, ...]
    nodes: Mapping[str, Channels]
    tensors: tuple[Tensor, ...]
    stages: Mapping[Place, StageChannels] = field(repr=False)
    pace: Pace | None = field(repr=False, default=None)

    @property
    def removable(self) -> tuple[Strand, ...]:
        """The strands whose channels may go."""
        return tuple(strand for strand in self.strands if not strand.fixed)


def coupled_slices(graph: Graph) -> Slices:
    """The coupled slices of a graph whose shapes are known; time is linear in its edges."""
    walk = _Walk(graph)
    for identifier in graph.topological():
        walk.node(identifier)
    for end, start in ways_back(graph).items():
        tie(walk.nodes[start], walk.nodes[end])
    for _, _, partners in tied_weights(graph):
        for _, place in partners:
            fix(walk.stages[place].target, "words are scored by them as well")
    nodes = {name: resolved(channels) for name, channels in walk.nodes.items()}
    tensors = [evolve(one, axes=tuple(map(resolved, one.axes))) for one in walk.tensors]
    runs = [run for channels in nodes.values() for run in channels]
    runs += [run for tensor in tensors for axis in tensor.axes for run in axis]
    stages = {
        place: StageChannels(
            resolved(stage.source),
            resolved(stage.target),
            {name: resolved(axis) for name, axis in stage.numbers.items()},
        )
        for place, stage in walk.stages.items()
    }
    runs += [run for stage in stages.values() for run in (*stage.source, *stage.target)]
    strands = tuple(dict.fromkeys(run.strand for run in runs))
    return Slices(strands, nodes, tuple(tensors), stages)


def sources_of(slices: Slices) -> Mapping[Strand, tuple[Strand, ...]]:
    """Of each strand, those that are read by what makes its channels; none of an input's."""
    result: dict[Strand, dict[Strand, None]] = {strand: {} for strand in slices.strands}
    for stage in slices.stages.values():
        read = dict.fromkeys(run.strand for run in stage.source)
        for made in (run.strand for run in stage.target):
            if made not in read:  # what takes each channel by itself makes none
                result[made] |= read
    return {strand: (*read,) for strand, read in result.items()}


class _Walk:
    """Strands of nodes and stages, in the order of the data."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: dict[str, Channels] = {}
        self.tensors: list[Tensor] = []
        self.stages: dict[Place, StageChannels] = {}
        self.owners = owner_edges(graph)
        self.made: dict[Place, dict[str, Strand]] = {}  # by the place in the owner of a module

    def node(self, identifier: str) -> None:
        """A node whose sources have been visited."""
        node = self.graph.node(identifier)
        if node.role == "input" and node.scope == "":
            assert node.shape is not None, "asked before shape inference"
            self.nodes[identifier] = (Run(Strand(node.shape[0])),)
            fix(self.nodes[identifier], f"they come in as `{node.name}`")
            return
        arrivals = []
        for connection in self.graph.connections(identifier):
            arrivals.append(
                _tied([self._edge(e.id, e.source, e.operation.stages) for e in connection.edges])
            )
        if node.merge == "concat":
            channels = tuple(run for arrival in arrivals for run in arrival)
        else:
            channels = _tied(arrivals)
        self.nodes[identifier] = channels
        if node.role == "output" and node.scope == "":
            fix(channels, f"they go out as `{node.name}`")

    def _edge(self, edge: str, source: str, stages: tuple[AnyStage, ...]) -> Channels:
        return self._stages(self.nodes[source], stages, _Numbering(edge))

    def _stages(
        self, channels: Channels, stages: tuple[AnyStage, ...], numbering: _Numbering
    ) -> Channels:
        for stage in stages:
            if isinstance(stage, ParallelStage):
                branches = [self._stages(channels, b, numbering) for b in stage.branches]
                channels = _tied(branches)
            else:
                channels = self._stage(channels, stage, numbering.next())
        return channels

    def _stage(self, channels: Channels, stage: Stage, place: Place) -> Channels:
        assert stage.input_shape is not None, "asked before shape inference"
        assert stage.output_shape is not None, "asked before shape inference"
        rule = PRIMITIVES[stage.primitive].coupling
        if rule is None:
            reason = f"`{stage.primitive}` does not say how its channels hang together"
            made = (Run(Strand(stage.output_shape[0])),)
            fix((*channels, *made), reason)
            self.stages[place] = StageChannels(channels, made)
            return made
        coupling = rule(stage.input_shape, dict(stage.arguments))
        return self._coupled(channels, coupling, place)

    def _coupled(self, channels: Channels, coupling: Coupling, place: Place) -> Channels:
        edge, number = place
        owner = self.owners[edge], number
        called = owner in self.made  # another call of the module has been here
        if not called:
            self.made[owner] = {name: Strand(size) for name, size in coupling.sizes.items()}
        strands = self.made[owner]

        def runs(axis: Axis) -> Channels:
            return tuple(Run(strands[piece.strand], piece.stretch) for piece in axis)

        tie(channels, runs(coupling.source))
        for name, reason in coupling.fixed.items():
            fix((Run(strands[name]),), reason)
        for name, axes in () if called else coupling.tensors.items():
            maker = 1 if name in coupling.turned else 0
            self.tensors.append(Tensor(place, name, tuple(map(runs, axes)), maker))
        target = runs(coupling.target)
        numbers = {name: runs(axis) for name, axis in coupling.numbers.items()}
        self.stages[place] = StageChannels(channels, target, numbers)
        return target


class _Numbering:
    """Numbers the primitives of an edge."""

    def __init__(self, edge: str) -> None:
        self.edge, self.count = edge, 0

    def next(self) -> Place:
        """The next place."""
        self.count += 1
        return self.edge, self.count - 1


def _tied(arrivals: list[Channels]) -> Channels:
    first, *others = arrivals
    for other in others:
        tie(first, other)
    return first
