"""The best member inside budgets against all members."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from itertools import islice
from random import Random

import pytest
from attrs import frozen
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import spaces
from support import TIED, graph_of, is_member, network

from bayesnas.compiler.graph.cost import Cost, edge_cost, graph_cost, unmet_budgets
from bayesnas.compiler.graph.model import BudgetConstraint, CostName, Graph
from bayesnas.compiler.space.choices import Member, MemberSpace, dropped, member_space
from bayesnas.compiler.space.draws import draw_member
from bayesnas.compiler.space.members import prune_to, reach
from bayesnas.compiler.space.prices import BINS, Prices, best_member, chosen

# Every operation is useful whatever else is kept, so that costs add up and all members live.
RETAINED = """\
    s = x : conv(3)
    node h[3]
    s ~> h[0] : conv(5) | conv(3) | skip
    {s, h[0]} ~> h[1] : conv(5) | skip
    {s, h[..2]} ~> h[2] : conv(3) | max_pool(3)
    retain 1 into h[..2]
    retain 2 into h[2]
    y = sum(h)"""
FREE = """\
    node h[3]
    x -> h : skip
    x ~> h[0] : conv(5) | conv(3) | skip
    {x, h[0]} ~> h[1] : conv(3) | skip
    h[1] ~> h[2] : conv(7) | conv(1)
    y = sum(h)"""
TWO_RESOLUTIONS = """\
network net(x: [4, 8, 8]) -> (y: [4, 2, 2]) {
    node h[2], l[2]
    x ~> h : conv(5) | conv(3) | skip
    s = sum(h)
    d = s : max_pool(3, 4)
    d ~> l[0] : conv(5) | conv(3) | conv(1) | skip
    {d, l[0]} ~> l[1] : conv(5) | skip
    retain 1 into h
    retain 1 into l
    y = sum(l)
}
"""
ADDITIVE = {
    "retained": network(RETAINED),
    "free": network(FREE),
    "tied": TIED,
    "two resolutions": TWO_RESOLUTIONS,
}
# What is dropped leaves other operations dead, and channels change with the choice.
CHAIN = """\
    node h[3]
    x ~> h[0] : conv(1) | skip
    h[0] ~> h[1] : conv(1) | skip
    h[1] ~> h[2] : conv(1) | skip
    y = h[2] : skip"""
CONCAT = """\
    c = concat()
    {s, d} ~> c : conv(1) | skip
    d = s : conv(1)
    s = x : conv(1)
    y = c : conv(3, 4)"""

Values = Mapping[str, float]


@frozen
class Enumerated:
    """A space and the costs of all its living members."""

    graph: Graph
    space: MemberSpace
    costs: dict[Member, Cost]

    def limits(self, name: CostName) -> list[int]:
        return sorted({cost.of(name) for cost in self.costs.values()})

    def fixed(self, name: CostName) -> int:
        return sum(edge_cost(e).of(name) for e in self.graph.edges() if e.gate is None)

    def fitting(self, *budgets: BudgetConstraint, narrow: bool = False) -> list[Member]:
        """Members inside the budgets; ``narrow``: whatever the rounding of prices to bins adds.

        Each candidate's price is rounded up, by less than a bin.
        """
        found = []
        for member, cost in self.costs.items():
            bins = len(member) / BINS * narrow
            if all(
                cost.of(b.cost) <= b.limit - bins * (b.limit - self.fixed(b.cost)) for b in budgets
            ):
                found.append(member)
        return found

    def prices(self, *budgets: BudgetConstraint) -> Prices:
        return Prices.of(self.graph, budgets)


@cache
def enumerated(text: str) -> Enumerated:
    graph = graph_of(text)
    space, life = member_space(graph), Prices.of(graph, ()).life
    members = filter(life.alive, space.members())
    return Enumerated(graph, space, {m: graph_cost(prune_to(graph, m)) for m in members})


def options_of(space: MemberSpace) -> list[str]:
    """Candidates, and to drop each connection, which counts only where it is an option."""
    return [*sorted(space.candidates()), *map(dropped, space.connections)]


def worth(space: MemberSpace, values: Values, member: Member) -> float:
    """The sum of values of what the member takes."""
    total = 0.0
    for connection in space.connections:
        kept = member.intersection(connection.options)
        if kept or space.droppable(connection):
            total += values.get(min(kept) if kept else dropped(connection), 0.0)
    return total


def whole_values(space: MemberSpace) -> st.SearchStrategy[dict[str, float]]:
    """Integers, so that sums are exact; some options are not named."""
    numbers = st.integers(-5, 5).map(float)
    return st.dictionaries(st.sampled_from(options_of(space)), numbers)


def narrowed(data: st.DataObject, space: MemberSpace) -> MemberSpace:
    for _ in range(data.draw(st.integers(0, 3))):
        if options := space.options():
            space = space.without(data.draw(st.sampled_from(options)))
    return space


additive = pytest.mark.parametrize("text", ADDITIVE.values(), ids=ADDITIVE)


# ------------------------------------------------------------------------------ prices


@additive
def test_prices_are_shares_of_what_is_left(text: str) -> None:
    found = enumerated(text)
    budgets = (BudgetConstraint("flops", 10**7), BudgetConstraint("parameters", 10**5))
    prices = found.prices(*budgets)
    for number, budget in enumerate(budgets):
        left = budget.limit - found.fixed(budget.cost)
        for member, cost in found.costs.items():
            share = sum(prices.shares[group][number] for group in member)
            spent = cost.of(budget.cost) - found.fixed(budget.cost)
            assert share * left == pytest.approx(spent, rel=1e-9)


@additive
def test_members_that_fit_cost_at_most_the_limit(text: str) -> None:
    found = enumerated(text)
    for limit in found.limits("parameters")[1::5]:
        prices = found.prices(BudgetConstraint("parameters", limit))
        for member, cost in islice(found.costs.items(), 0, None, 10):
            assert prices.fit(member) is (cost.parameters <= limit)


@pytest.mark.parametrize(
    "body",
    [
        "    s = x : conv(3)\n    s ~> y : conv(1) | skip\n    retain 1 into y",
        # Fixed operations that are smaller, or dead, in members.
        "    c = concat()\n    {x, s} ~> c : skip\n    s = x : skip\n    y = c : conv(3, 4)",
        "    h = x : conv(5)\n    h ~> y : skip\n    x ~> y : conv(3) | skip",
    ],
)
def test_a_budget_that_a_member_meets_is_not_refused(body: str) -> None:
    found = enumerated(network(body))
    budget = BudgetConstraint("parameters", 144)
    assert found.fitting(budget)
    assert found.prices(budget).budgets == (budget,)


# ------------------------------------------------------------------------------ without budgets


@settings(max_examples=25)
@given(st.data())
@additive
def test_without_budgets_it_is_the_best_of_all(text: str, data: st.DataObject) -> None:
    found = enumerated(text)
    space = narrowed(data, found.space)
    values = data.draw(whole_values(space))
    member = best_member(space, values, found.prices())
    assert member is not None
    assert is_member(space, member)
    best = max(worth(space, values, m) for m in space.members())
    assert worth(space, values, member) == best
    assert sum(values.get(option, 0.0) for option in chosen(space, member)) == best


def test_dropping_counts_its_value() -> None:
    found = enumerated(network(FREE))
    free = [c for c in found.space.connections if found.space.droppable(c)]
    values = dict.fromkeys(found.space.candidates(), 1.0)
    keeps = best_member(
        found.space, values | dict.fromkeys(map(dropped, free), 0.5), found.prices()
    )
    drops = best_member(
        found.space, values | dict.fromkeys(map(dropped, free), 1.5), found.prices()
    )
    assert keeps is not None
    assert (len(keeps), drops) == (len(free), frozenset())


EDGES = [f"    x ~> h[{k}] : conv(3) | conv(1) | max_pool(3)" for k in range(4)]
DROPPABLE = "\n".join(["    node h[4]", "    x -> h : skip", *EDGES, "    y = sum(h)"])


@settings(max_examples=25)
@given(st.data())
def test_all_may_be_dropped(data: st.DataObject) -> None:
    """The member of no candidates at all is one like the others."""
    found = enumerated(network(DROPPABLE))
    losses = st.integers(-9, 0 if data.draw(st.booleans()) else 2)
    values = {option: float(data.draw(losses)) for option in sorted(found.space.candidates())}
    member = best_member(found.space, values, found.prices())
    assert member is not None
    best = max(worth(found.space, values, m) for m in found.space.members())
    assert worth(found.space, values, member) == best


def test_a_budget_that_fits_the_member_of_no_candidates_alone() -> None:
    found = enumerated(network(DROPPABLE))
    budget = BudgetConstraint("parameters", found.fixed("parameters"))
    values = dict.fromkeys(found.space.candidates(), 1.0)
    pools = {option for option in found.space.candidates() if "pool" in option}
    member = best_member(found.space, values, found.prices(budget))
    assert member is not None
    assert member <= pools  # which cost nothing
    flops = BudgetConstraint("flops", found.fixed("flops"))
    member = best_member(found.space, dict.fromkeys(values, -1.0), found.prices(budget, flops))
    assert member == frozenset()


@additive
def test_unlimited_nothing_has_a_price(text: str) -> None:
    found = enumerated(text)
    values = {o: float(n % 7) for n, o in enumerate(options_of(found.space))}
    budget = BudgetConstraint("parameters", found.limits("parameters")[1])
    prices = found.prices(budget).unlimited()
    assert prices.fit(found.space.candidates())
    assert best_member(found.space, values, prices) == best_member(
        found.space, values, found.prices()
    )


# ------------------------------------------------------------------------------ budgets


@settings(max_examples=25)
@given(st.data())
@additive
def test_one_budget(text: str, data: st.DataObject) -> None:
    """The best up to rounding: no member is better that fits with a bin to spare a candidate."""
    found = enumerated(text)
    name = data.draw(st.sampled_from(["parameters", "flops"]))
    limits = [limit for limit in found.limits(name) if limit > found.fixed(name)]
    budget = BudgetConstraint(name, data.draw(st.sampled_from(limits)))
    prices = found.prices(budget)
    space = narrowed(data, found.space)
    values = data.draw(whole_values(space))
    member = best_member(space, values, prices)
    inside = [m for m in found.fitting(budget, narrow=True) if is_member(space, m)]
    if member is None:
        assert not inside
        return
    assert is_member(space, member)
    assert prices.fit(member)
    assert not unmet_budgets(found.costs[member], [budget])
    assert worth(space, values, member) >= max(
        (worth(space, values, m) for m in inside), default=-float("inf")
    )


@pytest.mark.parametrize("seed", range(12))
def test_two_budgets(seed: int) -> None:
    """Inside both, and short of the best by at most 5 % of the range of all sums of values."""
    found, random = enumerated(TWO_RESOLUTIONS), Random(seed)
    parameters, flops = (random.choice(found.limits(n)[1:]) for n in ("parameters", "flops"))
    budgets = BudgetConstraint("parameters", parameters), BudgetConstraint("flops", flops)
    values = {option: random.gauss(0, 1) for option in sorted(found.space.candidates())}
    member = best_member(found.space, values, found.prices(*budgets))
    inside = found.fitting(*budgets, narrow=True)
    if member is None:
        assert not inside
        return
    assert member in found.fitting(*budgets)
    sums = [worth(found.space, values, m) for m in found.costs]
    best = max((worth(found.space, values, m) for m in inside), default=min(sums))
    assert worth(found.space, values, member) >= best - 0.05 * (max(sums) - min(sums))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("tight", ["parameters", "flops"])
def test_a_second_budget_that_all_meet_costs_nothing(tight: CostName, seed: int) -> None:
    found, random = enumerated(TWO_RESOLUTIONS), Random(seed)
    most = {name: found.limits(name)[-1] for name in ("parameters", "flops")}
    limit = random.choice(found.limits(tight)[1:])
    values = {option: random.gauss(0, 1) for option in sorted(found.space.candidates())}
    budgets = [BudgetConstraint(n, m) for n, m in (most | {tight: limit}).items()]
    one = best_member(found.space, values, found.prices(BudgetConstraint(tight, limit)))
    both = best_member(found.space, values, found.prices(*budgets))
    assert one is not None
    assert both in found.fitting(*budgets)
    assert worth(found.space, values, both) >= worth(found.space, values, one) - 1e-9


@pytest.mark.parametrize("names", [["parameters"], ["flops"], ["parameters", "flops"]])
def test_none_where_nothing_fits(names: list[CostName]) -> None:
    body = "    x ~> y : conv(5) | conv(3)\n    retain 1 into y"
    found = enumerated(network(body))
    least = {name: min(found.limits(name)) for name in names}
    fits = [BudgetConstraint(name, limit) for name, limit in least.items()]
    lacks = [*fits[1:], BudgetConstraint(names[0], least[names[0]] - 1)]
    values = dict.fromkeys(found.space.candidates(), 1.0)
    assert best_member(found.space, values, found.prices(*lacks)) is None
    assert best_member(found.space, values, found.prices(*fits)) in found.fitting(*fits)


@settings(max_examples=10)
@given(spaces(), st.integers(0, 2**32 - 1))
def test_the_result_fits_and_lives(text: str, seed: int) -> None:
    """Where a budget is half way between a random member and the whole supernet."""
    graph = graph_of(text)
    if not graph.searched():
        return
    member, pruned = draw_member(graph, seed)
    least, most = graph_cost(pruned).parameters, graph_cost(graph).parameters
    budget = BudgetConstraint("parameters", max(1, (least + most) // 2))
    fixed = sum(edge_cost(e).parameters for e in graph.edges() if e.gate is None)
    if fixed >= budget.limit:
        return
    prices = Prices.of(graph, (budget,))
    space = member_space(graph)
    found = best_member(space, dict.fromkeys(sorted(member), 1.0), prices)
    if found is not None:
        assert is_member(space, found)
        assert prices.life.alive(found)
        assert prices.fit(found)


# ------------------------------------------------------------------------------ life


@pytest.mark.parametrize("budgets", [(), (BudgetConstraint("parameters", 60),)])
def test_a_dead_choice_is_revived(budgets: tuple[BudgetConstraint, ...]) -> None:
    """Values below zero drop the whole chain; the candidates that lose least come back."""
    found = enumerated(network(CHAIN))
    values = {
        option: -2.0 if option.endswith("skip") else -1.0 for option in found.space.candidates()
    }
    member = best_member(found.space, values, found.prices(*budgets))
    assert member == {option for option, value in values.items() if value == -1.0}


def test_no_more_is_revived_than_a_way_takes() -> None:
    found = enumerated(network("    x ~> y : conv(1)\n    x ~> y : conv(3)\n    x ~> y : skip"))
    for option in found.space.candidates():
        values = dict.fromkeys(found.space.candidates(), -2.0) | {option: -1.0}
        assert best_member(found.space, values, found.prices()) == {option}


def test_what_is_revived_fits_the_budget() -> None:
    """The dearer candidates lose less, but there is no room for all of them."""
    found = enumerated(network(CHAIN))
    budget = BudgetConstraint("parameters", 40)
    values = {
        option: -2.0 if option.endswith("skip") else -1.0 for option in found.space.candidates()
    }
    assert found.fitting(budget)
    assert best_member(found.space, values, found.prices(budget)) in found.fitting(budget)


@pytest.mark.parametrize("budgets", [(), (BudgetConstraint("parameters", 60),)])
def test_none_where_nothing_lives(budgets: tuple[BudgetConstraint, ...]) -> None:
    found = enumerated(network(CHAIN))
    [first, *_] = found.space.connections
    left = found.space.restricted(found.space.candidates().difference(first.options))
    assert not any(map(found.prices().life.alive, left.members()))
    assert best_member(left, {}, found.prices(*budgets)) is None


def test_a_retained_choice_may_be_dead() -> None:
    """A member of which one input is not heard does not fit, whatever it costs."""
    text = network("    {x, z} ~> y : conv(1) | skip\n    x ~> y : skip\n    retain 2 into y")
    found = enumerated(text.replace("x: [4, 8, 8]", "x: [4, 8, 8], z: [4, 8, 8]"))
    heard = [c for c in found.space.connections if c.name.startswith("x->")]
    values = {option: 1.0 for connection in heard for option in connection.options}
    prices = found.prices(BudgetConstraint("parameters", 100))
    assert best_member(found.space, values, prices) in found.costs


# ------------------------------------------------------------------------------ costs do not add up


@pytest.mark.parametrize("value", [-1.0, 1.0])
def test_where_channels_change_the_member_fits(value: float) -> None:
    """Prices are too high then, so that a member is found if the whole leaves room for its own."""
    found = enumerated(network(CONCAT))
    values = dict.fromkeys(found.space.candidates(), value)
    limits = [limit for limit in found.limits("parameters") if limit > found.fixed("parameters")]
    assert len(limits) >= 2
    for limit in limits:
        budget = BudgetConstraint("parameters", limit)
        assert best_member(found.space, values, found.prices(budget)) in found.fitting(budget)


@pytest.mark.parametrize("name", ["parameters", "flops"])
def test_the_smallest_member_is_found_whatever_is_valued(name: CostName) -> None:
    """Of many connections the rounded prices add up to more than they cost."""
    graph = graph_of("""network net(image: [3, 8, 8]; n = 45) -> (logits: [4]) {
    node h[n]
    stem = image : conv(3, 8)
    stem -> h[0] : skip
    for k in 0 .. n - 1 {
        h[k] ~> h[k + 1] : conv(3) >> relu | conv(3) >> layer_scale | conv(5) >> relu
        retain 1 into h[k + 1]
    }
    h[n - 1] -> logits : global_avg_pool >> linear(4)
}
""")
    space, budget = member_space(graph), BudgetConstraint(name, reach(graph).smallest.of(name))
    prices, random = Prices.of(graph, (budget,)), Random(0)
    values = {option: random.random() for option in space.options()}
    member = best_member(space, values, prices)
    assert member is not None
    assert prices.fit(member)
