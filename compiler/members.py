"""The discrete members of a search space: how many there are, one at random, the cheapest.

A member keeps, on each searched connection, exactly one of its candidates or none; into a node
under ``retain k``, exactly k connections (all, where fewer arrive). Tied connections choose
together. This is the genotype of the field (Liu et al. 2019); a search may also leave several
operations on one edge, and such networks are not counted. Isomorphic members count apart, and so
do members in which nothing reaches an output, as in the papers' own counts.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import combinations, groupby, product
from random import Random
from typing import TypeAlias

from attrs import frozen

from bayesnas.compiler.cost import Cost, edge_cost, graph_cost
from bayesnas.compiler.graph import BudgetConstraint, CostName, Graph
from bayesnas.compiler.prune import prune_graph
from bayesnas.compiler.shapes import infer_shapes
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError

DRAWS = 200
_TRIES = 200  # connections that the smallest member is tried without
Member: TypeAlias = frozenset[str]  # the tied groups it keeps


@frozen
class SearchedConnection:
    """A searched connection, tied ones folded together: the groups it chooses from."""

    name: str
    target: str
    options: tuple[str, ...]


@frozen
class MemberSpace:
    """What may be chosen: connections by the node they enter, and how many each node keeps.

    ``retained`` maps a node to its k; a node that is not in it keeps any number of connections.
    """

    connections: tuple[SearchedConnection, ...]
    retained: Mapping[str, int]

    def nodes(self) -> list[tuple[tuple[SearchedConnection, ...], int | None]]:
        """The connections into each node, and how many of them a member keeps there."""
        by_target = groupby(sorted(self.connections, key=_target), key=_target)
        return [(tuple(arriving), self.retained.get(node)) for node, arriving in by_target]

    def count(self) -> int:
        """How many members there are, dimensionless and exact."""
        total = 1
        for arriving, kept in self.nodes():
            sizes = [len(connection.options) for connection in arriving]
            if kept is None:
                for size in sizes:
                    total *= 1 + size
            else:
                total *= _symmetric(sizes, min(kept, len(sizes)))[-1][-1]
        return total

    def contains(self, member: Member) -> bool:
        """Whether these groups are a member."""
        known = {option for connection in self.connections for option in connection.options}
        return member <= known and all(
            _fits(arriving, kept, member) for arriving, kept in self.nodes()
        )

    def members(self) -> Iterator[Member]:
        """Every member, in order: the last connection of the last node varies fastest."""
        for parts in product(*(_choices(*node) for node in self.nodes())):
            yield frozenset().union(*parts)

    def draw(self, random: Random) -> Member:
        """A member, each as likely as any other."""
        chosen: list[str] = []
        for arriving, kept in self.nodes():
            if kept is None:
                options = [random.choice((None, *c.options)) for c in arriving]
                chosen += [option for option in options if option is not None]
            else:
                chosen += [random.choice(c.options) for c in _subset(arriving, kept, random)]
        return frozenset(chosen)


def _target(connection: SearchedConnection) -> str:
    return connection.target


def _fits(arriving: Sequence[SearchedConnection], kept: int | None, member: Member) -> bool:
    counts = [len(member.intersection(connection.options)) for connection in arriving]
    enough = kept is None or sum(counts) == min(kept, len(counts))
    return max(counts) <= 1 and enough


def _choices(arriving: Sequence[SearchedConnection], kept: int | None) -> list[Member]:
    """What may be kept of the connections into one node."""
    counts = range(len(arriving) + 1) if kept is None else [min(kept, len(arriving))]
    return [
        frozenset(options)
        for count in counts
        for chosen in combinations(arriving, count)
        for options in product(*(connection.options for connection in chosen))
    ]


def _symmetric(sizes: Sequence[int], kept: int) -> list[list[int]]:
    """Row n, column k: the elementary symmetric polynomial of degree k of the first n sizes."""
    rows = [[1] + [0] * kept]
    for size in sizes:
        last = rows[-1]
        rows.append([1] + [last[k] + size * last[k - 1] for k in range(1, kept + 1)])
    return rows


def _subset(
    arriving: Sequence[SearchedConnection], kept: int, random: Random
) -> list[SearchedConnection]:
    """Connections of a node, a set as likely as it has members."""
    sizes = [len(connection.options) for connection in arriving]
    left = min(kept, len(sizes))
    rows = _symmetric(sizes, left)
    chosen = []
    for n in range(len(sizes), 0, -1):
        without = rows[n - 1][left]
        if left and random.randrange(rows[n][left]) >= without:
            chosen.append(arriving[n - 1])
            left -= 1
    return chosen


def member_space(graph: Graph) -> MemberSpace:
    """The members of a compiled graph."""
    options: dict[tuple[str, str], dict[str, None]] = {}
    for connection in graph.all_connections():
        if connection.searched:
            groups = [str(edge.group) for edge in connection.edges]
            name = groups[0].rpartition(":")[0]
            found = options.setdefault((name, _folded(graph, connection.target)), {})
            found.update(dict.fromkeys(groups))
    retained: dict[str, int] = {}
    for retain in graph.retains:
        node = _folded(graph, retain.node)
        retained[node] = min(retain.count, retained.get(node, retain.count))
    connections = tuple(
        SearchedConnection(name, target, tuple(groups))
        for (name, target), groups in options.items()
    )
    return MemberSpace(connections, retained)


def _folded(graph: Graph, identifier: str) -> str:
    """A node's name with tied instances folded together."""
    node = graph.node(identifier)
    return f"{graph.instances[node.scope].group_path}.{node.name}"


# ------------------------------------------------------------------------------- living members


def prune_to(graph: Graph, member: Member) -> Graph:
    """The graph of a member: every other candidate removed, shapes inferred anew.

    Raises:
        DiagnosticError: D601 if nothing reaches an output, D3xx if what is left does not fit.
    """
    removed = [edge.id for edge in graph.searched() if edge.group not in member]
    return infer_shapes(prune_graph(graph, removed))


def draw_member(graph: Graph, seed: int) -> tuple[Member, Graph]:
    """A living member inside the budgets, and its graph.

    Each is as likely as any other, but for one thing: a draw in which nothing reaches an output
    gets back connections at random until something does.

    Raises:
        DiagnosticError: D604 (status 1) if none of `DRAWS` draws fits the budgets.
    """
    space, random = member_space(graph), Random(seed)
    life = _Life(graph, space)
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


class _Life:
    """Whether all inputs and outputs of the network are connected under a member."""

    def __init__(self, graph: Graph, space: MemberSpace) -> None:
        self.graph = graph
        self.space = space
        self.edges = [
            (edge.source, edge.target, None if edge.gate is None else edge.group)
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
        removed = [edge.id for edge in self.graph.searched() if edge.group not in member]
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
        group = str(edge.group)
        costs[group] = costs.get(group, 0) + cost_of(edge_cost(edge), name)
    life = _Life(graph, space)

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
