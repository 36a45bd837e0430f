"""What a supernet computes once and for whom: the pass between the graph and its source.

Plain emission runs every candidate of every connection by itself. Here the parts that hold no
parameters and stand first (an activation, a pooling) run once for all that read the same tensor,
a gate is multiplied in where that costs no pass over the feature map, and every stage takes the
fastest form that its place allows. Parameters, their names and the function are those of the plain
emission. What was tried besides stands in docs/architecture.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile
from typing import Literal, TypeAlias

from attrs import frozen

from bayesnas.compiler.emit.stages import (
    AnyWritten,
    WrittenParallel,
    leaves,
    scheduled_stages,
)
from bayesnas.compiler.graph.model import AnyStage, Connection, Edge, Graph, Stage
from bayesnas.compiler.operations.primitives import PRIMITIVES
from bayesnas.dsl.collector import without_collector

Fold: TypeAlias = Literal["norm", "sum"]


@frozen
class Shared:
    """``stages`` of the tensor at node ``source``, computed once for ``readers`` (edge ids)."""

    source: str
    stages: tuple[Stage, ...]
    readers: tuple[str, ...]


@frozen
class Work:
    """What one searched edge computes by itself.

    It starts after its ``first`` stages, which may be shared. Its gate goes into the scale of the
    batch normalisation that stands last (``norm``), or is multiplied as the outcome is added
    (``sum``).
    """

    edge: Edge
    first: tuple[Stage, ...]
    fold: Fold


@frozen
class Schedule:
    """The plan of a network: all that differs from running every edge by itself.

    ``stages`` and ``works`` are by edge id: how the stages of every edge are written, and what each
    searched edge computes. ``shared`` is by node id: of each node what is computed once for several
    readers, shorter first. ``connections`` tells which searched connections read each node.
    ``dense`` are the nodes whose gradient arrives as a slice, because a concatenation reads them,
    and is made dense before the searched edges into them use it.
    """

    stages: Mapping[str, tuple[AnyWritten, ...]]
    works: Mapping[str, Work]
    shared: Mapping[str, tuple[Shared, ...]]
    connections: Mapping[str, tuple[Connection, ...]]
    dense: frozenset[str]

    def meets(self, node: str) -> bool:
        """Whether several connections share something at a node."""
        return node in self.shared and len(self.connections[node]) > 1


@without_collector()
def schedule(graph: Graph) -> Schedule:
    """The schedule of a graph whose shapes are known."""
    works: dict[str, Work] = {}
    readers: dict[str, dict[tuple[Stage, ...], list[str]]] = {}
    connections: dict[str, list[Connection]] = {}
    for connection in graph.all_connections():
        if not connection.searched:
            continue
        connections.setdefault(connection.source, []).append(connection)
        for edge in connection.edges:
            stages = edge.operation.stages
            first = pure_stages(stages)
            works[edge.id] = Work(edge, first, _fold(stages))
            for k in range(len(first)):
                by_prefix = readers.setdefault(connection.source, {})
                by_prefix.setdefault(first[: k + 1], []).append(edge.id)
    shared = {
        node: tuple(Shared(node, stages, tuple(r)) for stages, r in items.items() if len(r) > 1)
        for node, items in readers.items()
    }
    return Schedule(
        _stages(graph),
        works,
        {node: items for node, items in shared.items() if items},
        {node: tuple(items) for node, items in connections.items()},
        _dense(graph, connections),
    )


def _stages(graph: Graph) -> dict[str, tuple[AnyWritten, ...]]:
    written: dict[tuple[AnyStage, ...], tuple[AnyWritten, ...]] = {}  # many edges are alike
    for edge in graph.edges():
        stages = edge.operation.stages
        if stages not in written:
            written[stages] = scheduled_stages(stages)
    return {edge.id: written[edge.operation.stages] for edge in graph.edges()}


def _dense(graph: Graph, connections: Mapping[str, Iterable[Connection]]) -> frozenset[str]:
    targets = {one.target for several in connections.values() for one in several}
    return frozenset(
        node
        for node in targets
        if any(graph.node(edge.target).merge == "concat" for edge in graph.outgoing(node))
    )


def pure_stages(stages: Sequence[AnyStage]) -> tuple[Stage, ...]:
    """The stages at the start of an operation that may be shared."""
    pure = takewhile(lambda s: isinstance(s, Stage) and PRIMITIVES[s.primitive].pure, stages)
    return tuple(stage for stage in pure if isinstance(stage, Stage))


def _fold(stages: Sequence[AnyStage]) -> Fold:
    last = stages[-1] if stages else None
    if not isinstance(last, Stage):
        return "sum"
    primitive = PRIMITIVES[last.primitive]
    return "norm" if primitive.normalises and not primitive.pure else "sum"


# ------------------------------------------------------------------------------------------- dump


def schedule_text(graph: Graph, plan: Schedule) -> str:
    """A readable dump: in each motif instance, in order, what is shared and what is left.

    What stands in brackets runs once for all operations that begin so. Instances whose schedules
    read alike stand together.
    """
    alike: dict[tuple[str, ...], list[str]] = {}
    for path, lines in _by_instance(graph, plan).items():
        alike.setdefault(tuple(lines), []).append(path)
    blocks = [f"schedule of `{graph.name}`", *_totals(plan)]
    for shown, paths in alike.items():
        motif = graph.instances[paths[0]].motif
        blocks += ["", f"{motif}: {', '.join(path or 'the network' for path in paths)}"]
        blocks += [f"  {line}" for line in shown]
    return "\n".join(blocks) + "\n"


def _by_instance(graph: Graph, plan: Schedule) -> dict[str, list[str]]:
    result: dict[str, list[str]] = {}
    for node in graph.topological():
        scope = graph.node(node).scope
        lines = result.setdefault(scope, [])
        lines += [
            f"{_local(node, scope)} >> {_labels(one.stages)}, once for {len(one.readers)}"
            for one in plan.shared.get(node, ())
        ]
        if graph.node(node).role == "relay":
            continue
        for connection in graph.connections(node):
            works = [_edge_text(plan, edge) for edge in connection.edges]
            if any(works):
                arrow = "~>" if connection.searched else "->"
                lines.append(f"{_local(connection.source, scope)} {arrow} {_local(node, scope)}")
                lines += [f"    {work}" for work in works if work]
        if node in plan.dense:
            lines.append(f"{_local(node, scope)}: its gradient is made dense")
    return {path: lines for path, lines in result.items() if lines}


def _edge_text(plan: Schedule, edge: Edge) -> str:
    """What an edge computes; empty where it is fixed and as written in the spec."""
    written = plan.stages[edge.id]
    if edge.id in plan.works:
        work = plan.works[edge.id]
        parts = [f"[{_labels(work.first)}]"] if work.first else []
        parts += [_written_label(one) for one in written[len(work.first) :]]
        where = "gate in the scale" if work.fold == "norm" else "gate in the sum"
        return f"{edge.operation.label}: {' >> '.join(parts)}; {where}"
    if all(leaf.form == "plain" for leaf in leaves(written)):
        return ""
    return f"{edge.operation.label}: {' >> '.join(map(_written_label, written))}"


def _written_label(written: AnyWritten) -> str:
    if isinstance(written, WrittenParallel):
        branches = (" >> ".join(map(_written_label, branch)) for branch in written.branches)
        return f"({' + '.join(branches)})"
    label = stage_label(written.stage)
    return label if written.form == "plain" else f"{label} {written.form}"


def _labels(stages: Sequence[Stage]) -> str:
    return " >> ".join(map(stage_label, stages))


def stage_label(stage: Stage) -> str:
    """As a spec has it; numbers that are the primitive's defaults are left out."""
    primitive, values = PRIMITIVES[stage.primitive], dict(stage.arguments)
    numbers = [
        str(value) if primitive.parameters[name] is None else f"{name} = {value}"
        for name, value in values.items()
        if not primitive.is_default(name, values)
    ]
    return f"{stage.primitive}({', '.join(numbers)})" if numbers else stage.primitive


def _local(node: str, scope: str) -> str:
    return node.removeprefix(f"{scope}.") if scope else node


def _totals(plan: Schedule) -> list[str]:
    """How often shared primitives run, plainly and as scheduled; gates; forms of stages."""
    plain = Counter(stage.primitive for work in plan.works.values() for stage in work.first)
    saved: Counter[str] = Counter()
    for one in (one for several in plan.shared.values() for one in several):
        saved[one.stages[-1].primitive] += len(one.readers) - 1
    folds = Counter(work.fold for work in plan.works.values())
    rows = [f"{name}: {plain[name] - n:,} runs for {plain[name]:,}" for name, n in saved.items()]
    rows.append(f"gates: {folds['norm']:,} in a scale, {folds['sum']:,} in a sum")
    forms = Counter(
        (leaf.stage.primitive, leaf.form)
        for stages in plan.stages.values()
        for leaf in leaves(stages)
        if leaf.form != "plain"
    )
    rows += [f"{name}: {count:,} {form}" for (name, form), count in forms.items()]
    if plan.dense:
        rows.append(f"gradients: {len(plan.dense):,} made dense")
    return [f"  {row}" for row in rows]
