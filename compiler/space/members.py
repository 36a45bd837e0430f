"""Living members: one at random inside the budgets, the cheapest and the dearest."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Mapping
from random import Random

from attrs import frozen

from bayesnas.compiler.graph.cost import Cost, edge_cost, graph_cost
from bayesnas.compiler.graph.model import BudgetConstraint, CostName, Graph
from bayesnas.compiler.graph.prune import prune_graph
from bayesnas.compiler.passes.shapes import infer_shapes
from bayesnas.compiler.space.choices import Member, MemberSpace, SearchedConnection, member_space
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError

DRAWS = 200
_TRIES = 200  # connections that the smallest member is tried without


def prune_to(graph: Graph, member: Collection[str]) -> Graph:
    """The graph of a member, or of more groups: every other candidate removed, shapes inferred.

    Raises:
        DiagnosticError: D601 if nothing reaches an output, D3xx if what is left does not fit.
    """
    removed = [edge.id for edge in graph.searched() if edge.searched_gate.group not in member]
    rest = prune_graph(graph, removed)
    # Only where arrivals are concatenated does a removal change what follows.
    concats = any(node.merge == "concat" for node in graph.nodes())
    return infer_shapes(rest) if concats else rest


def dead_groups(graph: Graph, kept: Collection[str]) -> list[str]:
    """Kept groups of which no gate lies on a way from an input to an output any more.

    Raises:
        DiagnosticError: D601 if nothing reaches an output, D3xx if what is left does not fit.
    """
    living = {edge.searched_gate.group for edge in prune_to(graph, kept).searched()}
    return [group for group in graph.groups() if group in kept and group not in living]


def draw_member(graph: Graph, seed: int) -> tuple[Member, Graph]:
    """A living member inside the budgets, and its graph.

    Each is as likely as any other, but for one thing: a draw in which nothing reaches an output
    gets back connections at random until something does.

    Raises:
        DiagnosticError: D604 (status 1) if none of `DRAWS` draws fits the budgets.
    """
    space, random = member_space(graph), Random(seed)
    life = Life(graph, space)
    for _ in range(DRAWS):
        order = list(space.connections)
        random.shuffle(order)
        member = life.revive(space.draw(random), order, lambda c: random.choice(c.options))
        pruned = prune_to(graph, member)
        cost = graph_cost(pruned)
        if not any(exceeds(cost, budget) for budget in graph.budgets):
            return member, pruned
    smallest = reach(graph).smallest
    raise DiagnosticError(
        Diagnostic(
            "D604",
            f"none of {DRAWS} members drawn fits the budget",
            graph.budgets[0].span,
            notes=(
                f"the smallest member found has {smallest.parameters:,} parameters and "
                f"{smallest.flops:,} FLOPs",
            ),
            help="raise the budget, or try another `--seed`",
        ),
        status=1,
    )


def exceeds(cost: Cost, budget: BudgetConstraint) -> bool:
    """Whether a network costs more than the budget allows."""
    return cost_of(cost, budget.cost) > budget.limit


def cost_of(cost: Cost, name: CostName) -> int:
    """The cost of that name."""
    return cost.parameters if name == "parameters" else cost.flops


class Life:
    """Whether all inputs and outputs of the network are connected under a member."""

    def __init__(self, graph: Graph, space: MemberSpace) -> None:
        self.graph = graph
        self.space = space
        self.edges = [
            (edge.source, edge.target, None if edge.gate is None else edge.gate.group)
            for edge in graph.edges()
        ]
        self.factors = {
            node.id: len(graph.connections(node.id))
            for node in graph.nodes()
            if node.merge == "product"
        }

    def alive(self, member: Member) -> bool:
        """Whether what `prune_graph` leaves of the member is a network."""
        if self.factors:
            return self._prunes(member)
        following: dict[str, list[str]] = {}
        leading: dict[str, list[str]] = {}
        for source, target, group in self.edges:
            if group is None or group in member:
                following.setdefault(source, []).append(target)
                leading.setdefault(target, []).append(source)
        inputs, outputs = self.graph.root.inputs, self.graph.root.outputs
        return {*outputs} <= _reached(following, inputs) and {*inputs} <= _reached(leading, outputs)

    def _prunes(self, member: Member) -> bool:
        removed = [
            edge.id for edge in self.graph.searched() if edge.searched_gate.group not in member
        ]
        try:
            prune_graph(self.graph, removed)
        except DiagnosticError:
            return False
        return True

    def revive(
        self,
        member: Member,
        order: Iterable[SearchedConnection],
        option: Callable[[SearchedConnection], str],
    ) -> Member:
        """The member, with as few dropped connections put back, in this order, as it takes."""
        if self.alive(member):
            return member
        back = [
            option(connection)
            for connection in order
            if connection.target not in self.space.retained
            and not member.intersection(connection.options)
        ]
        needed = bisect_left(range(len(back)), True, key=lambda k: self.alive(member | {*back[:k]}))
        return member | {*back[:needed]}

    def thin(self, member: Member, order: Iterable[SearchedConnection]) -> Member:
        """The member without free connections it can live without, the first ones tried."""
        free = [
            connection
            for connection in order
            if connection.target not in self.space.retained
            and member.intersection(connection.options)
        ]
        for connection in free[:_TRIES]:
            less = member.difference(connection.options)
            if self.alive(less):
                member = less
        return member


def _reached(following: Mapping[str, Iterable[str]], starts: Iterable[str]) -> set[str]:
    found = set(starts)
    waiting = list(found)
    while waiting:
        for node in following.get(waiting.pop(), ()):
            if node not in found:
                found.add(node)
                waiting.append(node)
    return found


# ------------------------------------------------------------------------------------------- reach


@frozen
class Reach:
    """What members cost, by number of parameters and by FLOPs each on its own.

    ``exact`` says whether the smallest are proved to be the smallest: every node says how many
    connections it keeps, and no channels depend on what is kept.
    """

    smallest: Cost
    largest: Cost
    exact: bool


def reach(graph: Graph) -> Reach:
    """The cheapest and the dearest members, found greedily from the costs of single operations."""
    parameters, flops = (_extremes(graph, name) for name in ("parameters", "flops"))
    smallest = Cost(parameters[0].parameters, flops[0].flops)
    largest = Cost(parameters[1].parameters, flops[1].flops)
    return Reach(smallest, largest, _additive(graph))


def _extremes(graph: Graph, name: CostName) -> tuple[Cost, Cost]:
    space = member_space(graph)
    costs: dict[str, int] = {}
    for edge in graph.searched():
        group = edge.searched_gate.group
        costs[group] = costs.get(group, 0) + cost_of(edge_cost(edge), name)
    life = Life(graph, space)

    def cheapest(connection: SearchedConnection) -> str:
        return min(connection.options, key=lambda group: costs[group])

    def dearest(connection: SearchedConnection) -> str:
        return max(connection.options, key=lambda group: costs[group])

    least: set[str] = set()
    most: set[str] = set()
    for arriving, kept in space.nodes():
        low = sorted((cheapest(c) for c in arriving), key=lambda g: costs[g])
        high = sorted((dearest(c) for c in arriving), key=lambda g: -costs[g])
        least.update(low[: kept or 0])
        most.update(high[: len(high) if kept is None else kept])
    order = sorted(space.connections, key=lambda c: costs[cheapest(c)])
    smallest = life.thin(life.revive(frozenset(least), order, cheapest), reversed(order))
    return graph_cost(prune_to(graph, smallest)), graph_cost(prune_to(graph, frozenset(most)))


def _additive(graph: Graph) -> bool:
    """Whether the cost of a member is a sum over its operations, whatever else it keeps.

    So it is where each node says how many connections it keeps, feeds an output by connections
    that no member drops, and does not concatenate what is searched.
    """
    retained = {retain.node: retain.count for retain in graph.retains}
    kept: dict[str, list[str]] = {}
    targets = set()
    for node in graph.nodes():
        connections = graph.connections(node.id) if node.role != "relay" else []
        searched = [c for c in connections if c.searched]
        if searched:
            targets.add(node.id)
        surely = retained.get(node.id, 0) >= len(searched)
        kept[node.id] = [c.source for c in connections if surely or not c.searched]
    useful = _reached(kept, graph.root.outputs)
    return targets <= useful & set(retained) and not any(
        graph.node(target).merge == "concat" for target in targets
    )


def check_budgets(graph: Graph) -> None:
    """Refuse a budget that no member can meet.

    Raises:
        DiagnosticError: D228.
    """
    if not graph.budgets:
        return
    found = reach(graph)
    refused = [budget for budget in graph.budgets if exceeds(found.smallest, budget)]
    if found.exact and refused:
        raise DiagnosticError(*(_out_of_reach(budget, found) for budget in refused))


def _out_of_reach(budget: BudgetConstraint, found: Reach) -> Diagnostic:
    return Diagnostic(
        "D228",
        f"no member of the space has at most {budget.limit:,} {budget.cost}",
        budget.span,
        notes=(f"the smallest has {cost_of(found.smallest, budget.cost):,}",),
        help="raise the budget, or make the space smaller: its width, or its number of cells",
    )
