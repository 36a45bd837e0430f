"""How long single operations take on a device, and what that makes of a graph.

A table is measured once, by `bayesnas measure`, and prices every member of the space: an operation
has one latency wherever it has the same numbers and the same input.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, TypeAlias

from attrs import evolve, frozen

from bayesnas.compiler.graph.model import (
    AnyStage,
    BudgetConstraint,
    Edge,
    Graph,
    Operation,
    ParallelStage,
    Stage,
    Timing,
)
from bayesnas.compiler.operations.primitives import PRIMITIVES, Shape
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, quote

# An operation or a merge as text, and the shapes of its inputs.
Work: TypeAlias = tuple[str, tuple[Shape, ...]]

_NAMED: Final = 3  # missing operations that a diagnostic names


@frozen
class Measured:
    """Nanoseconds of repeated runs: their median and quartiles."""

    median: int
    low: int
    high: int


@frozen
class Whole:
    """A member whose latency was measured: nanoseconds of the sum of its parts, and of itself."""

    member: str
    sum: int
    whole: int

    @property
    def error(self) -> float:
        """Of the sum, as a share of what was measured."""
        return self.sum / self.whole - 1


@frozen
class Latencies:
    """A table of latencies.

    Args:
        source: its file, for diagnostics.
        about: what was measured where, texts and numbers by name: device, threads and so on.
        batch: examples of each forward pass.
        call: of a network that does nothing.
        operations: of each operation and merge, less that of a call.
        wholes: members that were measured whole.
    """

    source: str
    about: Mapping[str, str | int]
    batch: int
    call: Measured
    operations: Mapping[Work, Measured]
    wholes: tuple[Whole, ...] = ()

    @property
    def error(self) -> float | None:
        """The largest error of a sum, positive or not; None where no member was measured."""
        return max((whole.error for whole in self.wholes), key=abs, default=None)

    def timing(self, graph: Graph) -> Timing:
        """What the parts of a graph of known shapes take.

        Raises:
            DiagnosticError: D612 (some are not in the table).
        """
        merges = dict(merges_of(graph))
        edges = {edge.id: work for edge in graph.edges() if (work := work_of(edge)) is not None}
        missing = dict.fromkeys(
            w for w in (*edges.values(), *merges.values()) if w not in self.operations
        )
        if missing:
            raise self._lacking(graph, [*missing])
        return Timing(
            {e.id: self.operations[edges[e.id]].median if e.id in edges else 0
             for e in graph.edges()},
            {node: self._arrival(work) for node, work in merges.items()},
            self.call.median,
        )  # fmt: skip

    def priced(self, graph: Graph) -> Graph:
        """The graph with these latencies: it and what is left of it cost them.

        Raises:
            DiagnosticError: D612 (some are not in the table).
        """
        return evolve(graph, timing=self.timing(graph))

    def _arrival(self, work: Work) -> int:
        """Of a merge, what each arrival after the first takes."""
        _, inputs = work
        return self.operations[work].median // (len(inputs) - 1)

    def _lacking(self, graph: Graph, missing: Sequence[Work]) -> DiagnosticError:
        some = [work_text(work) for work in missing[:_NAMED]]
        more = f" and {len(missing) - _NAMED:,} more" if len(missing) > _NAMED else ""
        return DiagnosticError(
            Diagnostic(
                "D612",
                f"`{self.source}` does not say how long all operations of `{graph.name}` take",
                notes=(f"missing: {quote(some)}{more}",),
                help="measure the network as it is here, with the same `--set`: `bayesnas measure`",
            )
        )


def check_priced(graph: Graph, budgets: Sequence[BudgetConstraint]) -> None:
    """Refuse a budget of time where no latencies are known.

    Raises:
        DiagnosticError: D611.
    """
    timed = next((budget for budget in budgets if budget.cost == "latency"), None)
    if timed is None or graph.timing is not None:
        return
    raise DiagnosticError(
        Diagnostic(
            "D611",
            "a budget of latency, and no latencies",
            timed.span,
            notes=("what operations take is measured on the device that counts",),
            help="run `bayesnas measure SPEC -o latency.json` there, then pass "
            "`--latencies latency.json`",
        )
    )


# -------------------------------------------------------------------------------------- what works


def works_of(graph: Graph) -> Iterator[tuple[Work, Edge | None]]:
    """All that a graph's latency is the sum of, each once; with an edge of it, or a merge."""
    seen: set[Work] = set()
    for edge in graph.edges():
        work = work_of(edge)
        if work is not None and work not in seen:
            seen.add(work)
            yield work, edge
    for _, work in merges_of(graph):
        if work not in seen:
            seen.add(work)
            yield work, None


def work_of(edge: Edge) -> Work | None:
    """What an edge does; None where that is nothing."""
    operation = edge.operation
    if operation.is_identity:
        return None
    return _text(operation.stages), (_first(operation.stages),)


def merges_of(graph: Graph) -> Iterator[tuple[str, Work]]:
    """Nodes where several edges arrive, and what is done there.

    Sums and products go pair by pair, all alike; a concatenation takes all at once.
    """
    for node in graph.nodes():
        arriving = graph.incoming(node.id)
        if len(arriving) < 2:
            continue
        shapes = tuple(output_shape(edge.operation) for edge in arriving)
        yield node.id, (node.merge, shapes if node.merge == "concat" else shapes[:2])


def work_text(work: Work) -> str:
    """For people: ``conv(3, 16) on 8 x 32 x 32``."""
    text, inputs = work
    return f"{text} on {shapes_text(inputs)}"


def shapes_text(inputs: Sequence[Shape]) -> str:
    """Shapes for people; those that are alike are counted."""
    counts: dict[Shape, int] = {}
    for shape in inputs:
        counts[shape] = counts.get(shape, 0) + 1
    return ", ".join(
        (f"{count} of " if count > 1 else "") + " x ".join(map(str, shape))
        for shape, count in counts.items()
    )


def output_shape(operation: Operation) -> Shape:
    """Of an operation whose shapes are known."""
    return _last(operation.stages)


def _text(stages: Sequence[AnyStage]) -> str:
    """The stages with all numbers that are not defaults, as the language writes them."""
    return " >> ".join(map(_stage_text, stages))


def _stage_text(stage: AnyStage) -> str:
    if isinstance(stage, ParallelStage):
        return f"({' + '.join(map(_text, stage.branches))})"
    primitive, numbers = PRIMITIVES[stage.primitive], dict(stage.arguments)
    said = [
        f"{name} = {value}"
        for name, value in numbers.items()
        if not primitive.is_default(name, numbers)
    ]
    return f"{stage.primitive}({', '.join(said)})" if said else stage.primitive


def _first(stages: Sequence[AnyStage]) -> Shape:
    stage = stages[0]
    shape = stage.input_shape if isinstance(stage, Stage) else _first(stage.branches[0])
    assert shape is not None, "shapes are not known"
    return shape


def _last(stages: Sequence[AnyStage]) -> Shape:
    stage = stages[-1]
    shape = stage.output_shape if isinstance(stage, Stage) else _last(stage.branches[0])
    assert shape is not None, "shapes are not known"
    return shape
