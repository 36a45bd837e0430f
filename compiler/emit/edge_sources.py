"""What edges are in source: operations and choices that have names are calls of functions."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

from attrs import evolve

from bayesnas.compiler.emit.functions import Functions
from bayesnas.compiler.emit.names import RESERVED, identifier
from bayesnas.compiler.emit.schedule import Schedule, Work, stage_label
from bayesnas.compiler.emit.source import (
    ModuleSource,
    join,
    sequence_source,
    sequential,
    spread,
    stages_source,
)
from bayesnas.compiler.emit.stages import AnyWritten, plain_stages
from bayesnas.compiler.graph.model import AnyStage, Connection, Edge, Graph, Stage
from bayesnas.compiler.operations.primitives import Shape


class EdgeSources:
    """Sources of a graph's edges and connections, plainly or by a schedule.

    ``taken`` are names that its functions must not have.
    """

    def __init__(self, graph: Graph, plan: Schedule | None, taken: Iterable[str]) -> None:
        self.plan = plan
        self.functions = Functions(taken)
        works = plan.works.values() if plan else ()
        self.scheduled_edges = any(work.first or work.fold == "norm" for work in works)
        self.bodies: dict[tuple[AnyStage, ...], ModuleSource] = {}  # many edges are alike
        self._announce(graph)

    def _announce(self, graph: Graph) -> None:
        """Operations first, then mixed edges, whose candidates call operations."""
        for edge in graph.edges():
            operation = edge.operation
            if operation.definition and not operation.is_identity:
                place = operation.span, features(edge)
                self.functions.announce(operation.definition, self._body(edge), *place)
        self.functions.settle()
        for connection in graph.all_connections():
            first = connection.edges[0]
            if connection.searched and first.choice:
                place = first.span, features(first)
                self.functions.announce(first.choice, self._mixed(connection), *place)
        self.functions.settle()

    def definitions(self) -> list[str]:
        """The functions, those of choices last."""
        return [
            *self.functions.source(lambda key: not _is_mixed(key)),
            *self.functions.source(_is_mixed),
        ]

    def operation(self, edge: Edge) -> ModuleSource:
        """The operation of one edge."""
        operation = edge.operation
        if operation.definition and not operation.is_identity:
            return self.functions.call(operation.definition, self._body(edge))
        return sequence_source(self._stages(edge))

    def mixed(self, connection: Connection) -> ModuleSource:
        """The mixed edge of a searched connection."""
        source = self._mixed(connection)
        choice = connection.edges[0].choice
        return self.functions.call(choice, source) if choice else source

    def _stages(self, edge: Edge) -> tuple[AnyWritten, ...]:
        return self.plan.stages[edge.id] if self.plan else plain_stages(edge.operation.stages)

    def _body(self, edge: Edge) -> ModuleSource:
        stages = edge.operation.stages
        if stages not in self.bodies:
            self.bodies[stages] = sequential(stages_source(self._stages(edge)))
        return self.bodies[stages]

    def _mixed(self, connection: Connection) -> ModuleSource:
        parts = [self._candidate(edge) for edge in connection.edges]
        names = [candidate_name(edge) for edge in connection.edges]
        kind = "ScheduledEdge" if self.scheduled_edges else "MixedEdge"

        def write(texts: Sequence[str]) -> str:
            pairs = zip(names, spread(parts, texts), strict=True)
            return f"{kind}({', '.join(f'{name}={part}' for name, part in pairs)})"

        joined = join("mixed", parts, write, frozenset({kind}))
        return evolve(joined, key=("mixed", tuple(names), joined.key))

    def _candidate(self, edge: Edge) -> ModuleSource:
        source = self.operation(edge)
        # Mixed edges whose candidates call different functions are different functions themselves.
        functions = tuple(value for value in source.values if isinstance(value, str))
        source = evolve(source, key=(source.key, functions))
        if self.plan is None or not self.scheduled_edges:
            return source
        return _scheduled(source, self.plan.works[edge.id])


def _scheduled(source: ModuleSource, work: Work) -> ModuleSource:
    """A candidate with its part of the schedule."""
    shared = tuple(stage_label(stage) for stage in work.first)
    options = ""
    if shared:
        labels = ", ".join(f'"{label}"' for label in shared)
        options += f", shared=[{labels}]"
    helpers = {"Candidate"}
    if work.fold == "norm":
        options += ", fold=scaled_norm"
        helpers.add("scaled_norm")
    return evolve(
        source,
        key=("candidate", source.key, shared, work.fold),
        write=lambda texts: f"Candidate({source.write(texts)}{options})",
        helpers=source.helpers | helpers,
    )


def features(edge: Edge) -> tuple[str, ...]:
    """In words, what an operation does to the resolution, and the rank of what it reads."""
    first = _end(edge.operation.stages, 0)
    assert first.input_shape is not None
    one, other = first.input_shape[1:], output_shape(edge)[1:]
    dimensions = f"{len(one)}d" if one else "vector"
    if not (one and other):
        return "stride_1", dimensions
    if other[0] > one[0]:
        return f"upsample_{other[0] // one[0]}", dimensions
    return f"stride_{-(-one[0] // other[0])}", dimensions


def output_shape(edge: Edge) -> Shape:
    """The shape of what an edge brings."""
    shape = _end(edge.operation.stages, -1).output_shape
    assert shape is not None, "asked before shape inference"
    return shape


def _end(stages: Sequence[AnyStage], position: int) -> Stage:
    """The first or the last primitive; of parallel branches, one of theirs."""
    stage = stages[position]
    while not isinstance(stage, Stage):
        stage = stage.branches[0][position]
    return stage


def candidate_name(edge: Edge) -> str:
    """The name of a candidate in its mixed edge."""
    name = identifier(edge.operation.name)
    return f"{name}_" if name in RESERVED else name


def _is_mixed(key: Hashable) -> bool:
    return isinstance(key, tuple) and key[0] == "mixed"
