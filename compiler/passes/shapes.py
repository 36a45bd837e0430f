"""Pass 4: shapes. Gives every node and stage its channels and resolution, symbolically.

In: a connected graph whose network inputs have shapes. Out: the same graph, all shapes known.
Shapes inferred before are inferred anew, so that the pass serves pruned graphs too.
A merge whose arrivals do not fit is refused with both shapes and where each comes from; what
depends on a refused node is left alone, so that one slip gives one error.
"""

from __future__ import annotations

from attrs import evolve

from bayesnas.compiler.graph.model import Edge, Graph, Stage
from bayesnas.compiler.graph.sharing import unlike
from bayesnas.compiler.graph.tied_weights import Place, tied_weights
from bayesnas.compiler.graph.walks import primitives_of
from bayesnas.compiler.passes.inference import (
    Disagreement,
    Inference,
    Problem,
    RefusedStage,
    WrongOutput,
    WrongScan,
)
from bayesnas.compiler.passes.remedies import Remedies, arrow
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError

_VERBS = {"sum": "sum", "concat": "concatenate", "product": "multiply"}


def infer_shapes(graph: Graph) -> Graph:
    """See the module's docstring.

    Raises:
        DiagnosticError: D301 (an operation refuses its input), D302 (arrivals do not fit), D303
            (an output is not as declared), D304 (shared instances read other channels), D305 (what
            a scan is given or makes).
    """
    inference = Inference(graph).run()
    if inference.problems:
        distinct = {(p.code, p.span): p for p in reversed(inference.problems)}
        remedies = Remedies(graph, inference)
        raise DiagnosticError(
            *[_diagnostic(graph, p, remedies) for p in reversed(distinct.values())]
        )
    nodes = [evolve(n, shape=inference.shapes[n.id]) for n in graph.nodes()]
    edges = [inference.edges[e.id] for e in graph.edges()]
    shaped = graph.rebuild(nodes, edges)
    if apart := next(unlike(shaped), None):
        raise DiagnosticError(_apart(shaped, *apart))
    if untied := [_untied(shaped, edge) for edge, _, found in tied_weights(shaped) if _no(found)]:
        raise DiagnosticError(*untied)
    return shaped


def _no(partners: list[tuple[Edge, Place]]) -> bool:
    """Whether weights cannot be had: of none, of several, or of what a search may remove."""
    return len(partners) != 1 or partners[0][0].gate is not None


def _untied(graph: Graph, edge: Edge) -> Diagnostic:
    stages = [s for s in primitives_of(edge.operation.stages) if s.primitive == "unembedding"]
    size = dict(stages[0].arguments)["words"], (stages[0].input_shape or (0,))[0]
    there = [
        "`embedding({words}, {width})`".format(**dict(stage.arguments))
        for one in graph.edges()
        for stage in primitives_of(one.operation.stages)
        if stage.primitive == "embedding"
    ]
    return Diagnostic(
        "D306",
        f"`unembedding` of {size[0]} words reads {size[1]} features, and takes the weights of the"
        " one embedding of that size",
        edge.span,
        notes=(f"the network has {', '.join(there) or 'no embedding'}",),
        help=f"look words up on one fixed edge with `embedding({size[0]}, {size[1]})`, or score"
        f" them by weights of their own: `conv(1, {size[0]})`",
    )


def _apart(graph: Graph, one: Edge, other: Edge) -> Diagnostic:
    def read(edge: Edge) -> str:
        return f"{list(graph.node(edge.source).shape or ())} comes to `{edge.source}`"

    motif = graph.instances[other.scope].motif
    return Diagnostic(
        "D304",
        f"shared instances of `{motif}` cannot be one module: `{other.operation.label}` differs",
        other.span,
        notes=(f"{read(one)}, and {read(other)}",),
        help="give them the same channels, or write `tied`: then each has weights of its own",
    )


def _diagnostic(graph: Graph, problem: Problem, remedies: Remedies) -> Diagnostic:
    match problem:
        case RefusedStage():
            return _refused(graph, problem, remedies.of_stage(problem))
        case Disagreement():
            return _disagreement(graph, problem, remedies.of_arrivals(problem))
        case WrongOutput():
            return _wrong_output(graph, problem, remedies.of_output(problem))
        case WrongScan():
            return Diagnostic("D305", problem.message, problem.span, help=problem.remedy)


def _refused(graph: Graph, problem: RefusedStage, remedy: str) -> Diagnostic:
    edge, stage = problem.edge, problem.stage
    notes = [f"in `{edge.operation.label}` on the edge {arrow(graph, edge)}"]
    if isinstance(stage, Stage) and stage.span is not None:
        notes.append(f"the operation is at {stage.span}")
    message = problem.error.message
    return Diagnostic("D301", message, edge.span, notes=tuple(notes), help=remedy)


def _disagreement(graph: Graph, problem: Disagreement, remedy: str) -> Diagnostic:
    def came(edge: Edge, shape: list[int]) -> str:
        return f"{shape} comes by `{edge.operation.label}` on {arrow(graph, edge)}, at {edge.span}"

    one, two = list(problem.one), list(problem.two)
    notes = [came(problem.first, one), came(problem.second, two)]
    if problem.target.merge == "concat" and problem.merge == "sum":
        notes.append(
            "operations of one edge are summed; `concat` joins what comes by several edges"
        )
    return Diagnostic(
        "D302",
        f"cannot {_VERBS[problem.merge]} {one} and {two} at `{problem.target.name}`",
        problem.span,
        f"arrives as {two}",
        notes=tuple(notes),
        help=remedy,
    )


def _wrong_output(graph: Graph, problem: WrongOutput, remedy: str) -> Diagnostic:
    output = problem.output
    last = graph.incoming(output.id)[0]
    return Diagnostic(
        "D303",
        f"output `{output.name}` is declared as {list(problem.declared)}"
        f" and arrives as {list(problem.shape)}",
        output.span,
        notes=(f"the last operation is `{last.operation.label}`, at {last.span}",),
        help=remedy,
    )
