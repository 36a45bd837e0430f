"""What a graph costs, per operation and in all: trainable numbers, multiply-accumulates, time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from typing import Final

from attrs import evolve, frozen

from bayesnas.compiler.graph.model import (
    AnyStage,
    BudgetConstraint,
    CostName,
    Edge,
    Graph,
    ParallelStage,
)
from bayesnas.compiler.graph.scans import is_scanned, turns
from bayesnas.compiler.graph.sharing import is_shared, owner_edges
from bayesnas.compiler.operations.primitives import PRIMITIVES
from bayesnas.dsl.amounts import duration_text

_DIGITS: Final = 4  # of a time that is shown


@frozen
class Cost:
    """``parameters``: trainable numbers; ``flops``: multiply-accumulates for one example.

    FLOPs count products with weights and those of attention, as the field does. ``latency``:
    nanoseconds of a forward pass by measured operations; None where the graph has no `Timing`.
    """

    parameters: int
    flops: int
    latency: int | None = None

    def of(self, name: CostName) -> int:
        """The cost of that name; a latency must be known."""
        amount: int | None = getattr(self, name)
        assert amount is not None, "no latencies"
        return amount

    def record(self) -> dict[str, int]:
        """As files have it: the latency, in nanoseconds, where it is known."""
        amounts = {"parameters": self.parameters, "flops": self.flops}
        return amounts if self.latency is None else {**amounts, "latency": self.latency}


def cost_text(name: CostName, amount: int) -> str:
    """An amount of that cost for people; times are rounded to four digits."""
    if name != "latency":
        return f"{amount:,}"
    return duration_text(round(amount, min(0, _DIGITS - len(str(amount)))))


def costs_text(cost: Cost) -> str:
    """``10 parameters and 20 FLOPs``, and the time of a network where it is known."""
    time = "" if cost.latency is None else f" and takes {cost_text('latency', cost.latency)}"
    return f"{cost.parameters:,} parameters and {cost.flops:,} FLOPs{time}"


def budgets_text(budgets: Iterable[BudgetConstraint]) -> str:
    """``parameters <= 600K and flops <= 45M``."""
    return " and ".join(f"{b.cost} <= {cost_text(b.cost, b.limit)}" for b in budgets)


def unmet_budgets(cost: Cost, budgets: Iterable[BudgetConstraint]) -> list[BudgetConstraint]:
    """Those that a network of this cost does not meet."""
    return [budget for budget in budgets if cost.of(budget.cost) > budget.limit]


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
    times = turns(graph)
    for edge in edges if is_scanned(graph) else ():
        costs[edge.id] = evolve(costs[edge.id], flops=costs[edge.id].flops * times[edge.scope])
    if is_shared(graph):
        for name, owner in owner_edges(graph).items():
            if name != owner:
                costs[name] = Cost(0, costs[name].flops)
    timing = graph.timing
    if timing is not None:  # what follows is a call of an operation, shared or not
        arriving = Counter(edge.target for edge in edges)
        for one in edges:
            merge = timing.arrivals.get(one.target, 0) if arriving[one.target] > 1 else 0
            costs[one.id] = evolve(
                costs[one.id], latency=(timing.edges[one.id] + merge) * times[one.scope]
            )
    return costs


def sum_of(costs: Collection[Cost]) -> Cost:
    """All these together."""
    times = [c.latency for c in costs if c.latency is not None]
    latency = sum(times) if times else None
    return Cost(sum(c.parameters for c in costs), sum(c.flops for c in costs), latency)


def graph_cost(graph: Graph) -> Cost:
    """Cost of all operations together (architecture weights are not counted).

    In a latency merges are paid for each arrival after the first, and the call of the network once.
    """
    total = sum_of(network_costs(graph).values())
    timing = graph.timing
    if timing is None:
        return total
    times, scopes = turns(graph), {edge.target: edge.scope for edge in graph.edges()}
    arriving = Counter(edge.target for edge in graph.edges())
    first = sum(
        timing.arrivals.get(node, 0) * times[scopes[node]]
        for node, count in arriving.items()
        if count > 1
    )
    return evolve(total, latency=(total.latency or 0) + timing.call - first)


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
