"""Shapes of all nodes and stages of a graph, and what does not fit.

What does not fit is a problem, without a remedy: `remedies` finds one, and tries it by inferring
once more with the `Changes` that it would bring.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import TypeAlias

import networkx as nx
from attrs import evolve, field, frozen

from bayesnas.compiler.graph.model import (
    AnyStage,
    Connection,
    Edge,
    Graph,
    Merge,
    Node,
    Operation,
    ParallelStage,
    Stage,
    topological,
)
from bayesnas.compiler.graph.scans import is_scanned, ways_back
from bayesnas.compiler.operations.primitives import PRIMITIVES, Shape, ShapeError, complete
from bayesnas.compiler.program.evaluate import LARGEST
from bayesnas.compiler.program.limits import about
from bayesnas.dsl.diagnostics import Span

Stages: TypeAlias = tuple[AnyStage, ...]


@frozen
class Changes:
    """What is otherwise than in the graph: stages of edges, and shapes and merges of nodes."""

    stages: Mapping[str, Stages] = field(factory=dict)
    shapes: Mapping[str, Shape] = field(factory=dict)
    merges: Mapping[str, Merge] = field(factory=dict)


@frozen
class RefusedStage:
    """A stage refuses what arrives, or the branches of a `+` have several shapes."""

    edge: Edge
    stage: AnyStage
    error: ShapeError
    branch: tuple[int, Shape, Shape] | None = None  # its index, its shape, and the first one's

    code = "D301"

    @property
    def span(self) -> Span | None:
        """The place that is marked."""
        return self.edge.span

    @property
    def node(self) -> str:
        """The node that does without a shape."""
        return self.edge.target


@frozen
class Disagreement:
    """Two arrivals at a node do not fit."""

    target: Node
    merge: Merge
    first: Edge
    second: Edge
    one: Shape
    two: Shape

    code = "D302"

    @property
    def span(self) -> Span | None:
        """The place that is marked."""
        return self.second.span

    @property
    def node(self) -> str:
        """The node that does without a shape."""
        return self.target.id


@frozen
class WrongOutput:
    """An output has another shape than it is declared with."""

    output: Node
    declared: Shape
    shape: Shape

    code = "D303"

    @property
    def span(self) -> Span | None:
        """The place that is marked."""
        return self.output.span

    @property
    def node(self) -> str:
        """The node that does without a shape."""
        return self.output.id


@frozen
class WrongScan:
    """What a scan is given, or makes, is not what it takes."""

    port: Node
    edge: Edge
    message: str
    remedy: str

    code = "D305"

    @property
    def span(self) -> Span | None:
        """The place that is marked."""
        return self.edge.span

    @property
    def node(self) -> str:
        """The node that does without a shape."""
        return self.port.id


Problem: TypeAlias = RefusedStage | Disagreement | WrongOutput | WrongScan


class Inference:
    """Shapes of a graph; what depends on a node with a problem has none."""

    def __init__(self, graph: Graph, changes: Changes | None = None) -> None:
        self.graph = graph
        self.changes = changes or Changes()
        self.shapes: dict[str, Shape] = {}
        self.edges: dict[str, Edge] = {}
        self.results: dict[str, Shape] = {}  # edge id -> shape of what it carries
        # By id of an operation and of stages, which many edges share, and what comes in.
        self.known: dict[tuple[int, int, Shape], tuple[Operation, Shape]] = {}
        self.problems: list[Problem] = []
        self.lengths: dict[str, int] = {}  # of the series that each scan reads, by its path
        self.back = ways_back(graph)

    def run(self) -> Inference:
        """Itself, when all nodes have been visited."""
        for identifier in topological_of(self.graph):
            self._visit(self.graph.node(identifier))
        return self

    def _visit(self, node: Node) -> None:
        """Shape of a node whose sources have been visited; unknown where one of them is."""
        declared = self.changes.shapes.get(node.id, node.shape)
        if node.scope == "" and node.role == "input":
            assert declared is not None
            self.shapes[node.id] = declared
            return
        incoming = self.graph.incoming(node.id)
        if any(edge.source not in self.shapes for edge in incoming):
            return
        shapes = [self._edge(edge) for edge in incoming]
        if None in shapes:
            return
        shape = self._merge(node)
        if shape is None:
            return
        if node.scope == "" and node.role == "output" and declared not in (None, shape):
            self.problems.append(WrongOutput(node, declared or (), shape))
            return
        if problem := self._returned(node, shape):
            self.problems.append(problem)
            return
        self.shapes[node.id] = shape

    def _edge(self, edge: Edge) -> Shape | None:
        stages = self.changes.stages.get(edge.id, edge.operation.stages)
        try:
            operation, shape = self._operation(edge.operation, stages, self.shapes[edge.source])
        except RefusedError as refused:
            problem = RefusedStage(edge, refused.stage, refused.error, refused.branch)
            self.problems.append(problem)
            return None
        if edge.scope != self.graph.node(edge.source).scope or self._enters(edge):
            crossed = self._crossed(edge, shape)
            if isinstance(crossed, WrongScan):
                self.problems.append(crossed)
                return None
            if crossed != shape:
                passed = Stage("skip", (), None, shape, crossed)
                operation, shape = evolve(operation, stages=(passed,)), crossed
        self.edges[edge.id] = edge.with_operation(operation)
        self.results[edge.id] = shape
        return shape

    def _enters(self, edge: Edge) -> bool:
        return self.graph.node(edge.target).scope != edge.scope

    def _crossed(self, edge: Edge, shape: Shape) -> Shape | WrongScan:
        """What an edge into or out of an instance brings: of a series one position, and back."""
        inward = self._enters(edge)
        port = self.graph.node(edge.target if inward else edge.source)
        scan = self.graph.instances[port.scope]
        if scan.states is None:
            return shape
        if not inward:
            return (*shape, self.lengths[scan.path])
        motif, state = scan.motif, port.id in {start for start, _ in scan.states}
        if len(shape) == 1:
            return shape
        if state or len(shape) == 3:
            what = "a state is a vector [features]" if state else "a scan reads series or vectors"
            remedy = (
                "begin with a vector: `series : zeros(width)`"
                if state
                else ("make a series of it, or leave the scan out")
            )
            message = f"{what}, and {list(shape)} comes to `{port.name}` of `{motif}`"
            return WrongScan(port, edge, message, remedy)
        length = self.lengths.setdefault(scan.path, shape[1])
        if length != shape[1]:
            message = f"a scan of `{motif}` reads series of {length} and of {shape[1]} positions"
            return WrongScan(port, edge, message, "give it series of one length")
        return shape[:1]

    def _returned(self, node: Node, shape: Shape) -> WrongScan | None:
        """What is wrong with the output of a scan: it is no vector, or not as its state began."""
        scan = self.graph.instances[node.scope]
        if scan.states is None or node.role != "output":
            return None
        edge = self.graph.incoming(scan.inputs[0])[0]  # one of the call
        if scan.path not in self.lengths:
            message = f"a scan of `{scan.motif}` reads no series"
            remedy = "give it a series [features, length] between its parentheses"
            return WrongScan(node, edge, message, remedy)
        if len(shape) != 1:
            message = f"`{node.name}` of `{scan.motif}` is {list(shape)} at each position of a scan"
            return WrongScan(node, edge, message, "end the motif with a vector [features]")
        start = self.back.get(node.id)
        if start is not None and self.shapes.get(start, shape) != shape:
            began = list(self.shapes[start])
            message = (
                f"the state `{self.graph.node(start).name}` of `{scan.motif}` begins as {began}"
                f" and comes back as {list(shape)} by `{node.name}`"
            )
            return WrongScan(node, edge, message, f"begin with {list(shape)}, or end with {began}")
        return None

    def _operation(
        self, operation: Operation, stages: Stages, shape: Shape
    ) -> tuple[Operation, Shape]:
        """The operation of these stages with their shapes, and what it makes of this one."""
        key = (id(operation), id(stages), shape)
        if key not in self.known:
            inferred, output = infer_stages(stages, shape)
            self.known[key] = evolve(operation, stages=inferred), output
        return self.known[key]

    def _merge(self, node: Node) -> Shape | None:
        merge = self.changes.merges.get(node.id, node.merge)
        connections = self.graph.connections(node.id)
        for connection in connections:  # operations on one edge are summed
            if not self._agree(node, "sum", [(connection, e) for e in connection.edges]):
                return None
        firsts = [(c, c.edges[0]) for c in connections]
        if not self._agree(node, merge, firsts):
            return None
        shapes = [self.results[edge.id] for _, edge in firsts]
        if merge == "concat":
            return (sum(s[0] for s in shapes), *shapes[0][1:])
        return max(shapes, key=len)

    def _agree(self, node: Node, merge: Merge, arrivals: list[tuple[Connection, Edge]]) -> bool:
        first = arrivals[0][1]
        if merge == "product":  # the first map decides, whatever vectors come before it
            maps = (edge for _, edge in arrivals if len(self.results[edge.id]) > 1)
            first = next(maps, first)
        one = self.results[first.id]
        for _, edge in arrivals:
            two = self.results[edge.id]
            if not agree(merge, one, two):
                self.problems.append(Disagreement(node, merge, first, edge, one, two))
                return False
        return True


def topological_of(graph: Graph) -> list[str]:
    """The nodes in an order in which all inputs of a scan stand before its outputs."""
    if not is_scanned(graph):
        return graph.topological()
    order = nx.DiGraph(graph.network)
    for scan in graph.instances.values():
        if scan.states is not None:
            order.add_edges_from(product(scan.inputs, scan.outputs))
    return topological(order)


def agree(merge: Merge, one: Shape, two: Shape) -> bool:
    """Whether two shapes can be merged.

    Only channels may differ in a concatenation: not the resolution, and not the rank. A map may be
    multiplied by a vector, which has a number per channel.
    """
    if merge == "concat":
        return len(one) == len(two) and one[1:] == two[1:]
    if merge == "product" and 1 in (len(one), len(two)):
        return one[0] == two[0]
    return one == two


class RefusedError(Exception):
    """A stage refuses what arrives."""

    def __init__(
        self,
        stage: AnyStage,
        error: ShapeError,
        branch: tuple[int, Shape, Shape] | None = None,
    ) -> None:
        super().__init__(error.message)
        self.stage = stage
        self.error = error
        self.branch = branch


def infer_stages(stages: Stages, shape: Shape) -> tuple[Stages, Shape]:
    """The stages with their shapes, and what comes out of the last one.

    Raises:
        RefusedError: a stage refuses what arrives.
    """
    result: list[AnyStage] = []
    for stage in stages:
        if isinstance(stage, ParallelStage):
            done, shape = _infer_branches(stage, shape)
            result.append(done)
            continue
        primitive = PRIMITIVES[stage.primitive]
        try:
            written = stage.arguments if stage.written is None else stage.written
            arguments = complete(primitive, shape, dict(written))
            output = primitive.shape(shape, arguments)
            _check_size(stage.primitive, output)
        except ShapeError as error:
            raise RefusedError(stage, error) from None
        result.append(
            Stage(stage.primitive, tuple(arguments.items()), stage.span, shape, output, written)
        )
        shape = output
    return tuple(result), shape


def _infer_branches(stage: ParallelStage, shape: Shape) -> tuple[ParallelStage, Shape]:
    done = [infer_stages(branch, shape) for branch in stage.branches]
    first = done[0][1]
    for n, (_, other) in enumerate(done):
        if other != first:
            message = f"cannot sum {list(first)} and {list(other)} with `+`"
            raise RefusedError(
                stage,
                ShapeError(message, "all branches of a `+` have one shape"),
                (n, other, first),
            )
    return ParallelStage(tuple(inner for inner, _ in done)), first


def _check_size(name: str, shape: Shape) -> None:
    """Numbers grow no further here than in expressions."""
    if max(shape) > LARGEST:
        message = f"`{name}` makes a dimension of {about(max(shape))}, beyond 10^12"
        raise ShapeError(message, "choose smaller parameters")
