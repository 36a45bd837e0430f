"""Living members of a space: their graphs, the cheapest and the dearest."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Mapping
from random import Random
from typing import Final, TypeAlias, get_args

from attrs import frozen

from bayesnas.compiler.graph.cost import (
    Cost,
    cost_text,
    costs_text,
    graph_cost,
    network_costs,
    sum_of,
    unmet_budgets,
)
from bayesnas.compiler.graph.model import BudgetConstraint, CostName, Graph
from bayesnas.compiler.graph.prune import prune_graph
from bayesnas.compiler.graph.scans import is_scanned
from bayesnas.compiler.graph.sharing import is_shared
from bayesnas.compiler.passes.shapes import infer_shapes
from bayesnas.compiler.space.choices import Member, MemberSpace, SearchedConnection, member_space
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError

# Of each node, what follows: a node, and the groups of which one must be kept (None: fixed).
_Arcs: TypeAlias = dict[str, list[tuple[str, tuple[str, ...] | None]]]

JOINING: Final = "let a fixed edge `->` read each input, or `retain` more connections"
_TRIES = 200  # connections that the smallest member is tried without
_WORK = 4_000_000  # connections that are read in all these tries together
_REMEMBERED = 8192  # members whose living operations are kept
_DRAWN = 100  # random members, where the cheapest or dearest options make none


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


def least_note(graph: Graph) -> str:
    """The least that is known to be had of each cost, for who asks for less."""
    return f"the smallest member found has {costs_text(reach(graph).smallest)}"


def group_costs(graph: Graph, name: CostName) -> dict[str, int]:
    """What the edges of each tied group cost together."""
    costs = network_costs(graph)
    return {
        group: sum(costs[edge.id].of(name) for edge in edges)
        for group, edges in graph.groups().items()
    }


class Life:
    """Whether all inputs and outputs of the network are connected under a member."""

    def __init__(self, graph: Graph, space: MemberSpace) -> None:
        self.space = space
        self.whole = graph if is_shared(graph) or is_scanned(graph) else None
        self.inputs, self.outputs = graph.root.inputs, graph.root.outputs
        self.following: _Arcs = {}
        self.leading: _Arcs = {}
        self.factors: dict[str, int] = {}  # of each product: without one of them it is zero
        self.ends: dict[str, list[tuple[str, str]]] = {}  # of each group, what it leads from and to
        self._kept: dict[Member, Member | None] = {}  # `_survivors` of the last members asked for
        for connection in graph.all_connections():
            source, target = connection.source, connection.target
            groups = None
            if connection.searched:
                groups = tuple(edge.searched_gate.group for edge in connection.edges)
                for group in groups:
                    self.ends.setdefault(group, []).append((source, target))
            self.following.setdefault(source, []).append((target, groups))
            self.leading.setdefault(target, []).append((source, groups))
            if graph.node(target).merge == "product":
                self.factors[target] = self.factors.get(target, 0) + 1

    def alive(self, member: Member) -> bool:
        """Whether what `prune_graph` leaves of the member is a network."""
        if self.whole is not None:  # what dies in one call dies in all, or with a state
            return self._survivors(member) is not None
        reached, leading = self._ways(member)
        return reached.issuperset(self.outputs) and leading.issuperset(self.inputs)

    def living(self, member: Member) -> Member:
        """The operations of a living member that lie on a way from an input to an output.

        Members that differ in others alone are one network.
        """
        survivors = self._survivors(member)
        assert survivors is not None, "the member is no network"
        return survivors

    def _survivors(self, member: Member) -> Member | None:
        """The same; None where it is found out that the member is no network."""
        if member not in self._kept:
            if len(self._kept) >= _REMEMBERED:
                self._kept.clear()
            self._kept[member] = self._surviving(member)
        return self._kept[member]

    def _surviving(self, member: Member) -> Member | None:
        if self.whole is not None:
            try:
                return member.difference(dead_groups(self.whole, member))
            except DiagnosticError:
                return None
        reached, leading = self._ways(member)
        return frozenset(
            group
            for group in member
            if any(target in leading and source in reached for source, target in self.ends[group])
        )

    def different(self, members: Iterable[Member]) -> list[Member]:
        """Living members that are different networks, of each the first."""
        networks: dict[Member, Member] = {}
        for member in members:
            networks.setdefault(self.living(member), member)
        return list(networks.values())

    def _ways(self, member: Member) -> tuple[set[str], set[str]]:
        """Nodes that all inputs together reach, and those of them that lead to an output."""
        reached = _reached(self.following, self.inputs, member, self.factors)
        leading = {node: self.leading.get(node, []) for node in reached}
        return reached, reached & _reached(leading, self.outputs, member)

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
        arcs = sum(map(len, self.following.values()))
        for connection in free[: min(_TRIES, _WORK // arcs)]:
            less = member.difference(connection.options)
            if self.alive(less):
                member = less
        return member


def _reached(
    arcs: _Arcs,
    starts: Iterable[str],
    member: Member = frozenset(),
    needed: Mapping[str, int] | None = None,
) -> set[str]:
    """Nodes reached over the arcs of a member; ``needed`` says of a node how many must lead to it.

    All others need one.
    """
    missing = dict(needed or {})
    found = set(starts)
    waiting = list(found)
    while waiting:
        for node, groups in arcs.get(waiting.pop(), ()):
            if node in found or (groups is not None and member.isdisjoint(groups)):
                continue
            missing[node] = missing.get(node, 1) - 1
            if not missing[node]:
                found.add(node)
                waiting.append(node)
    return found


# ------------------------------------------------------------------------------------------- reach


@frozen
class Reach:
    """What members cost, by number of parameters, by FLOPs and by time each on its own.

    ``exact`` says whether the smallest are proved to be the smallest: every node says how many
    connections it keeps, and no channels depend on what is kept.
    """

    smallest: Cost
    largest: Cost
    exact: bool


def reach(graph: Graph) -> Reach:
    """The cheapest and the dearest members, found greedily from the costs of single operations."""
    life = Life(graph, member_space(graph))
    groups: dict[str, Cost] = {}
    prices = network_costs(graph)
    for edge in graph.searched():
        group = edge.searched_gate.group
        groups[group] = sum_of((groups.get(group, Cost(0, 0)), prices[edge.id]))
    names = [name for name in get_args(CostName) if name != "latency" or graph.timing is not None]
    extremes, exact = {}, _additive(graph)
    for name in names:
        costs_of = {g: cost.of(name) for g, cost in groups.items()}
        pair = _extremes(life, costs_of)
        extremes[name] = _living(life, pair[0], costs_of), _living(life, pair[1], costs_of, -1)
        exact = exact and extremes[name] == pair
    members = dict.fromkeys(member for pair in extremes.values() for member in pair)  # often alike
    # Mostly a member costs what its groups do, and what is fixed.
    if exact and not life.factors and life.whole is None and graph.timing is None:
        fixed = [prices[edge.id] for edge in graph.edges() if edge.gate is None]
        costs = {m: sum_of((*fixed, *(groups[g] for g in m))) for m in members}
    else:
        costs = {member: graph_cost(prune_to(graph, member)) for member in members}
    smallest, largest = (
        Cost(**{name: costs[pair[end]].of(name) for name, pair in extremes.items()})
        for end in (0, 1)
    )
    return Reach(smallest, largest, exact)


def _extremes(life: Life, costs: Mapping[str, int]) -> tuple[Member, Member]:
    """The cheapest and the dearest member found, by what each group costs."""
    space = life.space

    def cheapest(connection: SearchedConnection) -> str:
        return min(connection.options, key=lambda group: costs[group])

    def dearest(connection: SearchedConnection) -> str:
        return max(connection.options, key=lambda group: costs[group])

    least: set[str] = set()
    most: set[str] = set()
    for arriving, kept in space.nodes():
        low = sorted((cheapest(c) for c in arriving), key=lambda g: costs[g])
        # Of those that cost the same the later ones: by them more of the others live.
        high = sorted((dearest(c) for c in reversed(arriving)), key=lambda g: -costs[g])
        least.update(low[: kept or 0])
        most.update(high[: len(high) if kept is None else kept])
    order = sorted(space.connections, key=lambda c: costs[cheapest(c)])
    smallest = life.thin(life.revive(frozenset(least), order, cheapest), reversed(order))
    return smallest, frozenset(most)


def _living(life: Life, member: Member, costs: Mapping[str, int], sign: int = 1) -> Member:
    """The member if it lives; else the cheapest of random ones that do, the dearest by ``sign`` -1.

    A node that keeps so many connections may keep none by which an input, or a series, arrives.
    """
    if life.alive(member):
        return member
    random = Random(0)
    drawn = filter(life.alive, [life.space.draw(random) for _ in range(_DRAWN)])
    whole = frozenset(life.space.candidates())
    return min(drawn, key=lambda m: sign * sum(costs[g] for g in m), default=whole)


def _additive(graph: Graph) -> bool:
    """Whether the cost of a member is a sum over its operations, whatever else it keeps.

    So it is where each node says how many connections it keeps, feeds an output by connections
    that no member drops, and does not concatenate what is searched.
    """
    retained = {retain.node: retain.count for retain in graph.retains}
    kept: _Arcs = {}
    targets = set()
    for node in graph.nodes():
        connections = graph.connections(node.id) if node.role != "relay" else []
        searched = [c for c in connections if c.searched]
        if searched:
            targets.add(node.id)
        surely = retained.get(node.id, 0) >= len(searched)
        kept[node.id] = [(c.source, None) for c in connections if surely or not c.searched]
    useful = _reached(kept, graph.root.outputs)
    return targets <= useful & set(retained) and not any(
        graph.node(target).merge == "concat" for target in targets
    )


def check_budgets(graph: Graph) -> None:
    """Refuse a budget that no member can meet; those of time where a table says what that is.

    Raises:
        DiagnosticError: D228.
    """
    known = [b for b in graph.budgets if b.cost != "latency" or graph.timing is not None]
    if not known:
        return
    extremes = reach(graph)
    refused = unmet_budgets(extremes.smallest, known)
    if extremes.exact and refused:
        raise DiagnosticError(*(_out_of_reach(budget, extremes) for budget in refused))


def _out_of_reach(budget: BudgetConstraint, extremes: Reach) -> Diagnostic:
    limit = cost_text(budget.cost, budget.limit)
    least = cost_text(budget.cost, extremes.smallest.of(budget.cost))
    timed = budget.cost == "latency"
    return Diagnostic(
        "D228",
        f"no member of the space has at most {limit} {'of ' if timed else ''}{budget.cost}",
        budget.span,
        notes=(f"the {'fastest' if timed else 'smallest'} has {least}",),
        help="raise the budget, or make the space smaller: its width, or its number of cells",
    )
