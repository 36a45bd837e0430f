"""What a graph costs: trainable numbers and multiply-accumulates, per operation and in all."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from attrs import frozen

from bayesnas.compiler.graph.model import AnyStage, Edge, Graph, ParallelStage
from bayesnas.compiler.graph.scans import is_scanned, turns
from bayesnas.compiler.graph.sharing import is_shared, owner_edges
from bayesnas.compiler.operations.primitives import PRIMITIVES


@frozen
class Cost:
    """``parameters``: trainable numbers; ``flops``: multiply-accumulates for one example.

    FLOPs count convolutions and linear layers alone, as the field does.
    """

    parameters: int
    flops: int


def edge_cost(edge: Edge) -> Cost:
    """Cost of one operation of a graph whose shapes are known."""
    return _total(edge.operation.stages)


def edge_costs(edges: Iterable[Edge]) -> list[Cost]:
    """The cost of each edge; operations that edges share are reckoned once."""
    known: dict[int, Cost] = {}
    costs = []
    for edge in edges:
        cost = known.get(id(edge.operation))
        if cost is None:
            cost = known[id(edge.operation)] = edge_cost(edge)
        costs.append(cost)
    return costs


def network_costs(graph: Graph) -> dict[str, Cost]:
    """What each edge adds to the network, by id: a shared module has its parameters once.

    What lies in a scan runs once a position.
    """
    edges = graph.edges()
    costs = dict(zip((edge.id for edge in edges), edge_costs(edges), strict=True))
    if is_scanned(graph):
        times = turns(graph)
        for edge in edges:
            cost = costs[edge.id]
            costs[edge.id] = Cost(cost.parameters, cost.flops * times[edge.scope])
    if is_shared(graph):
        for name, owner in owner_edges(graph).items():
            if name != owner:
                costs[name] = Cost(0, costs[name].flops)
    return costs


def sum_of(costs: Collection[Cost]) -> Cost:
    """All these together."""
    return Cost(sum(c.parameters for c in costs), sum(c.flops for c in costs))


def graph_cost(graph: Graph) -> Cost:
    """Cost of all operations together (architecture weights are not counted)."""
    return sum_of(network_costs(graph).values())


def _total(stages: Iterable[AnyStage]) -> Cost:
    parameters = flops = 0
    for stage in stages:
        if isinstance(stage, ParallelStage):
            parts = [_total(branch) for branch in stage.branches]
            parameters += sum(p.parameters for p in parts)
            flops += sum(p.flops for p in parts)
            continue
        primitive, arguments = PRIMITIVES[stage.primitive], dict(stage.arguments)
        assert stage.input_shape is not None
        assert stage.output_shape is not None
        parameters += primitive.weights(stage.input_shape, arguments)
        flops += primitive.flops(stage.input_shape, stage.output_shape, arguments)
    return Cost(parameters, flops)
