"""What candidates cost of a budget, and the best member inside it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from random import Random

import numpy as np
from attrs import evolve, frozen

from bayesnas.compiler.graph.cost import Cost, graph_cost, network_costs, unmet_budgets
from bayesnas.compiler.graph.model import BudgetConstraint, Graph
from bayesnas.compiler.space.choices import (
    Member,
    MemberSpace,
    SearchedConnection,
    dropped,
    member_space,
)
from bayesnas.compiler.space.latencies import check_priced
from bayesnas.compiler.space.members import Life, prune_to

BINS = 2000  # steps in which `best_member` counts a budget
TRIES = 8  # tighter budgets it tries where costs do not add up
DRAWS = 200  # random members it tries where nothing else fits


@frozen
class Prices:
    """What candidates cost, as shares of what each budget leaves after all that is fixed.

    Costs are taken to add up. They do not where a candidate changes the channels of what follows;
    then they are those in the whole space, and too high rather than too low.
    """

    graph: Graph
    budgets: tuple[BudgetConstraint, ...]
    shares: Mapping[str, tuple[float, ...]]
    life: Life

    @classmethod
    def of(cls, graph: Graph, budgets: tuple[BudgetConstraint, ...]) -> Prices:
        """The prices of a graph's candidates under these budgets.

        Raises:
            DiagnosticError: D611 (a budget of time, and no latencies are known).
        """
        check_priced(graph, budgets)
        prices = network_costs(graph)
        costs: dict[str, list[Cost]] = {
            group: [prices[edge.id] for edge in edges] for group, edges in graph.groups().items()
        }
        whole = graph_cost(graph)
        allowances = []
        for budget in budgets:
            searched = sum(c.of(budget.cost) for found in costs.values() for c in found)
            allowances.append(max(1, budget.limit - (whole.of(budget.cost) - searched)))
        shares = {
            group: tuple(
                sum(c.of(budget.cost) for c in found) / rest
                for budget, rest in zip(budgets, allowances, strict=True)
            )
            for group, found in costs.items()
        }
        return cls(graph, budgets, shares, Life(graph, member_space(graph)))

    def unlimited(self) -> Prices:
        """The same candidates where nothing has a price."""
        return evolve(self, budgets=(), shares=dict.fromkeys(self.shares, ()))

    def fit(self, member: Member) -> bool:
        """Whether a member is a network and costs no more than every budget allows."""
        if not self.life.alive(member):
            return False
        if not self.budgets:
            return True
        cost = graph_cost(prune_to(self.graph, member))
        return not unmet_budgets(cost, self.budgets)


def best_member(space: MemberSpace, values: Mapping[str, float], prices: Prices) -> Member | None:
    """The living member of the largest sum of values inside the budgets; None if none was found.

    Several budgets are joined to one by weights. For each joint budget the sum of values is
    largest up to the rounding of prices to `BINS` steps (multiple-choice knapsack by dynamic
    programming, Kellerer, Pferschy, Pisinger 2004, chapter 11). Where what that gives does not
    live or does not fit, since costs do not quite add up, the best of the cheapest member and
    `DRAWS` random ones does.

    Args:
        space: what may be chosen.
        values: of each option; 0 where an option is not named.
        prices: what the candidates cost.
    """
    weights = _weights(len(prices.budgets))
    found = [m for w in weights if (m := _joint(space, values, prices, w)) is not None]
    if not found:  # the cheapest may fit, where sums of rounded prices do not
        found = [m for w in weights if (m := _joint(space, {}, prices, w)) is not None]
        random = Random(0)
        drawn = dict.fromkeys(space.draw(random) for _ in range(DRAWS))
        found += [member for member in drawn if prices.fit(member)]
    return max(found, key=lambda m: sum(values.get(o, 0.0) for o in chosen(space, m)), default=None)


def _joint(
    space: MemberSpace, values: Mapping[str, float], prices: Prices, weights: Sequence[float]
) -> Member | None:
    """The best member by budgets joined to one: prices rounded down first, then up, then more."""
    joint = {g: float(np.dot(s, weights)) for g, s in prices.shares.items()}
    ways = [(1.0, False), *((0.9**tries, True) for tries in range(TRIES))]
    for limit, up in ways if prices.budgets else ways[:1]:
        member = _knapsack(space, values, joint, limit, up)
        if member is None:
            continue
        member = revived(space, member, values, prices)
        if prices.fit(member):
            return member
    return None


def revived(
    space: MemberSpace, member: Member, values: Mapping[str, float], prices: Prices
) -> Member:
    """The member with as many dropped connections back as a way through the network takes."""

    def best(connection: SearchedConnection) -> str:
        return max(connection.options, key=lambda option: values.get(option, 0.0))

    order = sorted(space.connections, key=lambda c: -values.get(best(c), 0.0))
    return prices.life.revive(member, order, best)


def chosen(space: MemberSpace, member: Member) -> Iterator[str]:
    """The options a member takes: its candidates, and `dropped` for connections it drops."""
    for connection in space.connections:
        kept = [o for o in connection.options if o in member]
        yield from kept
        if not kept and space.droppable(connection):
            yield dropped(connection)


def _weights(count: int) -> list[tuple[float, ...]]:
    if count == 0:
        return [()]
    if count == 1:
        return [(1.0,)]
    return [(k / 10, 1 - k / 10) for k in range(11)]


def _knapsack(
    space: MemberSpace,
    values: Mapping[str, float],
    prices: Mapping[str, float],
    limit: float,
    up: bool,
) -> Member | None:
    """The best member whose prices, rounded ``up`` or down, add up to at most ``limit``."""
    whole = math.ceil if up else math.floor
    bins = BINS if any(prices.values()) else 0
    table = np.zeros((1, bins + 1))  # best value so far for each sum of prices, in bins
    steps: list[_Step] = []
    for arriving, kept in space.nodes():
        if kept is not None:
            kept = min(kept, len(arriving))
            table = np.concatenate([table, np.full((kept, bins + 1), -np.inf)])
        for connection in arriving:
            items = [
                (
                    option,
                    values.get(option, 0.0),
                    int(whole(min(prices[option] * bins / limit, bins + 1))),
                )
                for option in connection.options
            ]
            skip = None
            if kept is not None:
                skip = 0.0
            elif space.droppable(connection):
                skip = values.get(dropped(connection), 0.0)
            last = connection is arriving[-1]
            step, table = _Step.take(table, items, skip, kept is not None, last)
            steps.append(step)
        table = table[-1:]
    if not np.isfinite(table).any():
        return None
    return _trace(steps, int(np.argmax(table[0])))


@frozen
class _Step:
    """One connection in the knapsack: the item taken in each state (-1: none), for the way back."""

    items: tuple[tuple[str, float, int], ...]
    taken: np.ndarray  # [counts, bins]
    counts: bool  # whether taking an item uses up one of the connections its node keeps
    last: bool  # of the connections into its node

    @classmethod
    def take(
        cls,
        table: np.ndarray,
        items: Sequence[tuple[str, float, int]],
        skip: float | None,
        counts: bool,
        last: bool,
    ) -> tuple[_Step, np.ndarray]:
        """The table after one connection: each item, or none for the value ``skip``."""
        best = np.full_like(table, -np.inf) if skip is None else table + skip
        taken = np.full(table.shape, -1, dtype=np.int16)
        before = table[:-1] if counts else table
        for number, (_, value, price) in enumerate(items):
            if price >= table.shape[1]:
                continue
            candidate = np.full_like(table, -np.inf)
            target = candidate[1:] if counts else candidate
            target[:, price:] = before[:, : before.shape[1] - price] + value
            better = candidate > best
            best = np.where(better, candidate, best)
            taken[better] = number
        return cls(tuple(items), taken, counts, last), best


def _trace(steps: Sequence[_Step], position: int) -> Member:
    """The member that ends at this bin."""
    member = set()
    row = 0
    for step in reversed(steps):
        if step.last:
            row = len(step.taken) - 1
        item = int(step.taken[row, position])
        if item >= 0:
            option, _, price = step.items[item]
            member.add(option)
            position -= price
            row -= step.counts
    return frozenset(member)
