"""Pass 4: shapes. Gives every node and stage its channels and resolution, symbolically.

In: a connected graph whose network inputs have shapes. Out: the same graph, all shapes known.
Shapes inferred before are inferred anew, so that the pass serves pruned graphs too.
A merge whose arrivals do not fit is refused with both shapes and where each comes from; what
depends on a refused node is left alone, so that one slip gives one error.
"""

from __future__ import annotations

from attrs import evolve

from bayesnas.compiler.graph.model import (
    AnyStage,
    Connection,
    Edge,
    Graph,
    Node,
    Operation,
    ParallelStage,
)
from bayesnas.compiler.operations.primitives import PRIMITIVES, Shape, ShapeError, complete
from bayesnas.compiler.program.evaluate import LARGEST
from bayesnas.compiler.program.limits import about
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError

_VERBS = {"sum": "sum", "concat": "concatenate", "product": "multiply"}


def infer_shapes(graph: Graph) -> Graph:
    """See the module's docstring.

    Raises:
        DiagnosticError: D301 (an operation refuses its input), D302 (arrivals do not fit), D303
            (an output is not as declared).
    """
    inference = _Inference(graph)
    for identifier in graph.topological():
        inference.visit(graph.node(identifier))
    if inference.errors:
        distinct = {(e.code, e.span): e for e in reversed(inference.errors)}
        raise DiagnosticError(*reversed(distinct.values()))
    nodes = [evolve(n, shape=inference.shapes[n.id]) for n in graph.nodes()]
    edges = [inference.edges[e.id] for e in graph.edges()]
    return graph.rebuild(nodes, edges)


class _Inference:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.shapes: dict[str, Shape] = {}
        self.edges: dict[str, Edge] = {}
        self.results: dict[str, Shape] = {}  # edge id -> shape of what it carries
        # By id of an operation, which many edges share, and the shape of what comes in.
        self.done: dict[tuple[int, Shape], tuple[Operation, Shape]] = {}
        self.errors: list[Diagnostic] = []

    def visit(self, node: Node) -> None:
        """Shape of a node whose sources have been visited; unknown where one of them is."""
        if node.scope == "" and node.role == "input":
            assert node.shape is not None
            self.shapes[node.id] = node.shape
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
        declared = node.shape if node.scope == "" and node.role == "output" else None
        if declared not in (None, shape):
            self._wrong_output(node, shape)
            return
        self.shapes[node.id] = shape

    def _edge(self, edge: Edge) -> Shape | None:
        try:
            operation, shape = self._operation(edge.operation, self.shapes[edge.source])
        except _RefusedError as refused:
            stage_span = refused.diagnostic.span
            note = f"in `{edge.operation.label}` on the edge {_arrow(self.graph, edge)}"
            notes = (note,) if stage_span is None else (note, f"the operation is at {stage_span}")
            self.errors.append(evolve(refused.diagnostic, span=edge.span, notes=notes))
            return None
        self.edges[edge.id] = edge.with_operation(operation)
        self.results[edge.id] = shape
        return shape

    def _operation(self, operation: Operation, shape: Shape) -> tuple[Operation, Shape]:
        """The operation with all its shapes, and what it makes of this one."""
        key = (id(operation), shape)
        if key not in self.done:
            stages, output = _stages(operation.stages, shape)
            self.done[key] = evolve(operation, stages=stages), output
        return self.done[key]

    def _merge(self, node: Node) -> Shape | None:
        connections = self.graph.connections(node.id)
        for connection in connections:  # operations on one edge are summed
            if not self._agree(node, "sum", [(connection, e) for e in connection.edges]):
                return None
        firsts = [(c, c.edges[0]) for c in connections]
        if not self._agree(node, node.merge, firsts):
            return None
        shapes = [self.results[edge.id] for _, edge in firsts]
        if node.merge == "concat":
            return (sum(s[0] for s in shapes), *shapes[0][1:])
        return shapes[0]

    def _agree(self, node: Node, merge: str, arrivals: list[tuple[Connection, Edge]]) -> bool:
        shapes = [self.results[edge.id] for _, edge in arrivals]
        # Only channels may differ in a concatenation: not the resolution, and not the rank.
        relevant = [(len(s), s[1:] if merge == "concat" else s) for s in shapes]
        for n, one in enumerate(relevant):
            if one != relevant[0]:
                self._disagreement(node, merge, arrivals[0][1], arrivals[n][1])
                return False
        return True

    def _disagreement(self, node: Node, merge: str, first: Edge, second: Edge) -> None:
        def came(edge: Edge) -> str:
            shape = list(self.results[edge.id])
            return f"{shape} comes by `{edge.operation.label}` on {_arrow(self.graph, edge)}"

        one, two = (list(self.results[e.id]) for e in (first, second))
        remedy = "give both the same stride"
        if len(one) != len(two):
            remedy = "bring both to the same rank: `global_avg_pool` or `flatten` make vectors"
        elif merge != "concat":
            remedy += " and width, or merge with `concat`"
        self.errors.append(
            Diagnostic(
                "D302",
                f"cannot {_VERBS[merge]} {one} and {two} at `{node.name}`",
                second.span,
                f"arrives as {two}",
                notes=(f"{came(first)}, at {first.span}", f"{came(second)}, at {second.span}"),
                help=remedy,
            )
        )

    def _wrong_output(self, node: Node, shape: Shape) -> None:
        last = self.graph.incoming(node.id)[0]
        self.errors.append(
            Diagnostic(
                "D303",
                f"output `{node.name}` is declared as {list(node.shape or ())}"
                f" and arrives as {list(shape)}",
                node.span,
                notes=(f"the last operation is `{last.operation.label}`, at {last.span}",),
                help="change the last operation, or the declared shape",
            )
        )


class _RefusedError(Exception):
    def __init__(self, diagnostic: Diagnostic) -> None:
        super().__init__(diagnostic.message)
        self.diagnostic = diagnostic


def _stages(stages: tuple[AnyStage, ...], shape: Shape) -> tuple[tuple[AnyStage, ...], Shape]:
    result: list[AnyStage] = []
    for stage in stages:
        if isinstance(stage, ParallelStage):
            done = [_stages(branch, shape) for branch in stage.branches]
            shapes = [s for _, s in done]
            if any(s != shapes[0] for s in shapes):
                other = next(s for s in shapes if s != shapes[0])
                message = f"cannot sum {list(shapes[0])} and {list(other)} with `+`"
                raise _RefusedError(
                    Diagnostic("D301", message, help="give every branch the same stride and width")
                )
            result.append(ParallelStage(tuple(inner for inner, _ in done)))
            shape = shapes[0]
            continue
        primitive = PRIMITIVES[stage.primitive]
        try:
            written = stage.arguments if stage.written is None else stage.written
            arguments = complete(primitive, shape, dict(written))
            output = primitive.shape(shape, arguments)
            _check_size(stage.primitive, output)
        except ShapeError as error:
            diagnostic = Diagnostic("D301", error.message, stage.span, help=error.remedy)
            raise _RefusedError(diagnostic) from None
        result.append(
            evolve(
                stage,
                arguments=tuple(arguments.items()),
                input_shape=shape,
                output_shape=output,
                written=written,
            )
        )
        shape = output
    return tuple(result), shape


def _check_size(name: str, shape: Shape) -> None:
    """Numbers grow no further here than in expressions."""
    if max(shape) > LARGEST:
        message = f"`{name}` makes a dimension of {about(max(shape))}, beyond 10^12"
        raise ShapeError(message, "choose smaller parameters")


def _arrow(graph: Graph, edge: Edge) -> str:
    return f"`{graph.node(edge.source).id} -> {graph.node(edge.target).id}`"
