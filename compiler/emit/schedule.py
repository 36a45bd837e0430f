"""What a supernet computes once and for whom: the pass between the graph and its source.

Plain emission runs every candidate of every connection by itself. Here the parts that hold no
parameters and stand first (an activation, a pooling) run once for all that read the same tensor,
and a gate is multiplied in where that costs no pass over the feature map. Parameters, their names
and the function are those of the plain emission. What was tried besides stands in
docs/architecture.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise, takewhile
from typing import Final, Literal, TypeAlias

from attrs import frozen

from bayesnas.compiler.collector import without_collector
from bayesnas.compiler.graph.model import AnyStage, Connection, Edge, Graph, Stage
from bayesnas.compiler.operations.primitives import PRIMITIVES

Fold: TypeAlias = Literal["norm", "sum"]

# Same tensor in, same tensor out: no parameters, no chance, nothing remembered.
PURE: Final = frozenset(
    {"relu", "relu6", "leaky_relu", "silu", "hard_swish", "gelu", "tanh", "sigmoid"}
    | {"max_pool", "avg_pool", "upsample"}
)
# What keeps nothing of its output for the backward pass, so that it may be written over.
_FORGETFUL: Final = frozenset({"bn", "conv", "depthwise_conv", "factorized_reduce", "linear"})


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
    """All that differs from running every edge by itself.

    ``works`` are by edge id, ``shared`` by node id: of each node what is computed once for several
    readers, shorter first. ``connections`` tells which searched connections read each node.
    """

    works: Mapping[str, Work]
    shared: Mapping[str, tuple[Shared, ...]]
    connections: Mapping[str, tuple[Connection, ...]]

    def meets(self, node: str) -> bool:
        """Whether several connections share something at a node."""
        return node in self.shared and len(self.connections[node]) > 1


@without_collector
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
        node: tuple(Shared(node, stages, tuple(r)) for stages, r in found.items() if len(r) > 1)
        for node, found in readers.items()
    }
    return Schedule(
        works,
        {node: found for node, found in shared.items() if found},
        {node: tuple(found) for node, found in connections.items()},
    )


def pure_stages(stages: Sequence[AnyStage]) -> tuple[Stage, ...]:
    """The stages at the start of an operation that may be shared."""
    pure = takewhile(lambda s: isinstance(s, Stage) and s.primitive in PURE, stages)
    return tuple(stage for stage in pure if isinstance(stage, Stage))


def in_place(stage: AnyStage, before: AnyStage | None) -> bool:
    """Whether a stage may write over what the stage before it has made."""
    if not isinstance(stage, Stage) or not isinstance(before, Stage):
        return False
    return stage.primitive == "relu" and before.primitive in _FORGETFUL


def slices(graph: Graph, node: str) -> bool:
    """Whether the gradient at a node arrives as a slice: a concatenation reads it."""
    return any(graph.node(edge.target).merge == "concat" for edge in graph.outgoing(node))


def _fold(stages: Sequence[AnyStage]) -> Fold:
    last = stages[-1] if stages else None
    return "norm" if isinstance(last, Stage) and last.primitive == "bn" else "sum"


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
        connections = [c for c in graph.connections(node) if c.searched]
        for connection in connections:
            source = _local(connection.source, scope)
            lines.append(f"{source} ~> {_local(node, scope)}")
            lines += [f"    {_work_text(plan.works[edge.id])}" for edge in connection.edges]
    return {path: lines for path, lines in result.items() if lines}


def _work_text(work: Work) -> str:
    stages, count = work.edge.operation.stages, len(work.first)
    parts = [f"[{_labels(work.first)}]"] if work.first else []
    parts += [
        f"{_label(stage)} in place" if in_place(stage, before) else _label(stage)
        for before, stage in pairwise((None, *stages))
        if stage is not None
    ][count:]
    where = "gate in the scale" if work.fold == "norm" else "gate in the sum"
    return f"{work.edge.operation.label}: {' >> '.join(parts)}; {where}"


def _labels(stages: Sequence[AnyStage]) -> str:
    return " >> ".join(map(_label, stages))


def _label(stage: AnyStage) -> str:
    """As a spec has it; numbers that are the primitive's defaults are left out."""
    if not isinstance(stage, Stage):
        return f"({' + '.join(_labels(branch) for branch in stage.branches)})"
    defaults = PRIMITIVES[stage.primitive].parameters
    numbers = [
        str(value) if defaults[name] is None else f"{name} = {value}"
        for name, value in stage.arguments
        if value != defaults[name]
    ]
    return f"{stage.primitive}({', '.join(numbers)})" if numbers else stage.primitive


def _local(node: str, scope: str) -> str:
    return node.removeprefix(f"{scope}.") if scope else node


def _totals(plan: Schedule) -> list[str]:
    """Of every primitive that is shared, how often it runs, plainly and as scheduled."""
    plain = Counter(stage.primitive for work in plan.works.values() for stage in work.first)
    saved: Counter[str] = Counter()
    for one in (one for found in plan.shared.values() for one in found):
        saved[one.stages[-1].primitive] += len(one.readers) - 1
    folds = Counter(work.fold for work in plan.works.values())
    rows = [f"{name}: {plain[name] - n:,} runs for {plain[name]:,}" for name, n in saved.items()]
    rows.append(f"gates: {folds['norm']:,} in a scale, {folds['sum']:,} in a sum")
    kinds = Counter(
        stage.primitive
        for work in plan.works.values()
        for stage in work.edge.operation.stages
        if isinstance(stage, Stage)
    )
    if count := kinds["depthwise_conv"]:
        rows.append(f"depthwise_conv: {count:,} with a backward pass of our own on a CPU")
    return [f"  {row}" for row in rows]
