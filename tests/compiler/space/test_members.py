"""Discrete members: counted, drawn, judged and priced."""

from __future__ import annotations

from itertools import chain, combinations
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import spaces
from support import assert_refused, compile_text, graph_of, is_member, network, refused

from bayesnas.compiler.artifacts.derive import derive_spec
from bayesnas.compiler.graph.cost import graph_cost, unmet_budgets
from bayesnas.compiler.graph.model import BudgetConstraint, Graph
from bayesnas.compiler.space.choices import MemberSpace, SearchedConnection, member_space
from bayesnas.compiler.space.draws import draw_member
from bayesnas.compiler.space.members import prune_to, reach
from bayesnas.dsl.diagnostics import DiagnosticError
from bayesnas.dsl.printing.printer import print_spec

FEW = """\
    node h[2]
    x ~> h[0] : conv(1) | conv(3) | skip
    {x, h[0]} ~> h[1] : conv(1) | skip
    retain 1 into h[1]
    y = sum(h)"""


def subsets(space: MemberSpace) -> list[frozenset[str]]:
    groups = [option for connection in space.connections for option in connection.options]
    sizes = range(len(groups) + 1)
    return [frozenset(c) for c in chain.from_iterable(combinations(groups, n) for n in sizes)]


# ------------------------------------------------------------------------------ counting


@pytest.mark.parametrize(
    ("body", "members"),
    [
        ("    y = x : conv(1)", 1),
        ("    x ~> y : conv(1) | skip", 3),  # or none
        ("    x ~> y : conv(1) | skip\n    retain 1 into y", 2),
        ("    x ~> y : conv(1) | skip\n    retain 5 into y", 2),  # one arrives, one stays
        (FEW, 4 * (2 + 2)),
        (FEW + "\n    retain 2 into h", 3 * (2 + 2)),  # the smaller of two holds
        (
            "    node h[3]\n    x ~> h : skip | conv(1)\n    h ~> y : conv(1)\n    retain 2 into y",
            81,
        ),
    ],
)
def test_members_of_small_spaces(body: str, members: int) -> None:
    assert member_space(graph_of(network(body))).count() == members


def test_tied_instances_choose_once() -> None:
    cell = "motif cell(a) -> (b) {\n    a ~> b : conv(3) | skip\n}\n"
    body = "    h = {} cell(x) times 3\n    y = sum(h)"
    assert member_space(graph_of(cell + network(body.format("tied chain")))).count() == 3
    assert member_space(graph_of(cell + network(body.format("chain")))).count() == 27


sizes = st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=3), min_size=1, max_size=3)


@given(sizes, st.lists(st.none() | st.integers(1, 3), min_size=3, max_size=3), st.integers())
def test_the_count_is_that_of_what_it_contains(
    nodes: list[list[int]], kept: list[int | None], seed: int
) -> None:
    connections = tuple(
        SearchedConnection(f"{n}.{k}", f"n{n}", tuple(f"{n}.{k}:{o}" for o in range(size)))
        for n, arriving in enumerate(nodes)
        for k, size in enumerate(arriving)
    )
    if sum(len(c.options) for c in connections) > 11:
        return
    space = MemberSpace(connections, {f"n{n}": k for n, k in enumerate(kept) if k is not None})
    assert space.count() == sum(is_member(space, member) for member in subsets(space))
    assert is_member(space, space.draw(Random(seed)))


def test_every_member_is_drawn_about_as_often() -> None:
    space = member_space(graph_of(network(FEW)))
    random = Random(0)
    drawn = [space.draw(random) for _ in range(200 * space.count())]
    counts = [drawn.count(member) for member in set(drawn)]
    assert len(counts) == space.count()
    assert min(counts) > 150
    assert max(counts) < 250


def test_what_is_no_member() -> None:
    space = member_space(graph_of(network(FEW)))
    [first, second, third] = space.connections
    assert is_member(space, frozenset({second.options[0]}))
    assert not is_member(space, frozenset())  # `retain 1` keeps one
    assert not is_member(space, frozenset({second.options[0], third.options[0]}))
    assert not is_member(space, frozenset({second.options[0], *first.options}))
    assert not is_member(space, frozenset({second.options[0], "unknown"}))


# ------------------------------------------------------------------------------ living members


@settings(max_examples=40)
@given(spaces(), st.integers(0, 2**32 - 1))
def test_a_drawn_member_is_a_network_of_the_space(text: str, seed: int) -> None:
    compiled = compile_text(text)
    member, pruned = draw_member(compiled.graph, seed)
    assert is_member(member_space(compiled.graph), member)
    again = compile_text(print_spec(derive_spec(compiled, pruned)))
    assert not again.graph.searched()
    assert graph_cost(again.graph) == graph_cost(pruned)


TWO_INPUTS = """
network net(image: [4], other: [4]) -> (logits: [3]) {
    node a, b
    {image, other} ~> a : linear(4) | skip
    {image, other} ~> b : linear(4) | skip
    retain 1 into a, b
    both = sum(a, b)
    both -> logits : linear(3)
}
"""


def test_a_member_that_would_lose_an_input_is_drawn_anew() -> None:
    graph = graph_of(TWO_INPUTS)
    for seed in range(20):
        _, pruned = draw_member(graph, seed)
        assert set(graph.root.inputs) <= {node.id for node in pruned.nodes()}


def test_a_space_whose_members_all_lose_an_input_says_so() -> None:
    text = TWO_INPUTS.replace("{image, other} ~> b", "a ~> b")
    with pytest.raises(DiagnosticError) as error:
        draw_member(graph_of(text), 0)
    message = "error[D601]: no member of the space was found that joins all inputs and outputs"
    assert message in str(error.value)
    assert "let a fixed edge `->` read each input" in str(error.value)


def test_a_seed_draws_the_same_member() -> None:
    graph = graph_of(network(FEW))
    drawn = {seed: draw_member(graph, seed)[0] for seed in range(20)}
    assert len(set(drawn.values())) > 5
    assert all(draw_member(graph, seed)[0] == member for seed, member in drawn.items())


def test_what_would_be_dead_gets_connections_back() -> None:
    """A chain of ten edges, each kept with probability a half, is hardly ever whole."""
    body = "    node h[10]\n    x ~> h[0] : skip\n    for k in 1..10 { h[k - 1] ~> h[k] : skip }"
    graph = graph_of(network(f"{body}\n    y = sum(h[9])"))
    assert {len(draw_member(graph, seed)[0]) for seed in range(5)} == {10}


# ------------------------------------------------------------------------------ costs and budgets


def brute(graph: Graph) -> list[tuple[int, int]]:
    """Costs of all living members."""
    space = member_space(graph)
    found = []
    for member in (m for m in subsets(space) if is_member(space, m)):
        try:
            cost = graph_cost(prune_to(graph, member))
        except DiagnosticError:
            continue
        found.append((cost.parameters, cost.flops))
    return found


@pytest.mark.parametrize(
    "body",
    [
        FEW,
        FEW + "\n    retain 1 into h",
        "    h = x : conv(3)\n    h ~> y : conv(3) | conv(5) | skip\n    retain 1 into y",
        "    node h[2]\n    x ~> h : conv(1) | conv(3)\n    h ~> y : skip | conv(5)",
        "    c = concat()\n    d = x : conv(3)\n    {x, d} ~> c : skip\n    y = c : conv(1, 4)",
    ],
)
def test_reach_is_that_of_all_members(body: str) -> None:
    graph = graph_of(network(body))
    found, costs = reach(graph), brute(graph)
    assert found.smallest.parameters == min(p for p, _ in costs)
    assert found.smallest.flops == min(f for _, f in costs)
    assert found.largest.parameters == max(p for p, _ in costs)
    assert found.largest.flops == max(f for _, f in costs)


@settings(max_examples=30)
@given(spaces())
def test_exactly_the_smallest_is_never_undercut(text: str) -> None:
    graph = graph_of(text)
    found = reach(graph)
    costs = [graph_cost(draw_member(graph, seed)[1]) for seed in range(3)]
    if found.exact:
        assert found.smallest.parameters <= min(c.parameters for c in costs)
        assert found.smallest.flops <= min(c.flops for c in costs)


def test_a_sample_keeps_to_the_budget() -> None:
    body = "    node h[4]\n    x ~> h[0] : conv(5) | skip\n    for k in 1..4 {\n"
    body += (
        "        h[k - 1] ~> h[k] : conv(5) | skip\n    }\n    retain 1 into h\n    y = sum(h[3])"
    )
    graph = graph_of(network(f"    budget parameters <= 500\n{body}"))
    for seed in range(10):
        cost = graph_cost(draw_member(graph, seed)[1])
        assert cost.parameters <= 500
        assert not unmet_budgets(cost, graph.budgets)


BUDGET = "    §budget parameters <= 1K\n    x ~> y : conv(11) | conv(9)\n    retain 1 into y"


def test_a_budget_that_no_member_meets_is_refused() -> None:
    message = "no member of the space has at most 1,000 parameters"
    assert_refused(network(BUDGET), "D228", message)
    [diagnostic] = refused(network(BUDGET.replace("§", "")))
    assert diagnostic.notes == ("the smallest has 1,296",)


def test_a_budget_that_some_member_may_meet_is_not() -> None:
    graph = graph_of(network(BUDGET.replace("§", "").replace("retain 1 into y", "")))
    [budget] = graph.budgets
    assert (budget.cost, budget.limit) == ("parameters", 1000)
    message = r"error\[D604\]: no member of the space was found inside the budget"
    with pytest.raises(DiagnosticError, match=message):
        draw_member(graph, 0)


def test_a_sample_inside_a_budget_that_hardly_any_member_meets() -> None:
    """One of 2^20: no draw hits it."""
    body = "    node h[21]\n    x -> h[0]\n    for k in 0..20 {\n"
    body += "        h[k] ~> h[k + 1] : conv(3) | conv(1)\n        retain 1 into h[k + 1]\n    }\n"
    space = compile_text(network(f"{body}    y = sum(h[20])"))
    least = reach(space.graph).smallest.parameters
    _, pruned = draw_member(space.budgeted([BudgetConstraint("parameters", least)]).graph, 0)
    assert graph_cost(pruned).parameters == least


@pytest.mark.parametrize(
    ("written", "limit"),
    [("12K", 12_000), ("3.5M", 3_500_000), ("0.0004K", 0), ("2G", 2 * 10**9), ("1.23456K", 1234)],
)
def test_amounts(written: str, limit: int) -> None:
    text = network(f"    budget flops <= {written}\n    y = x : skip")
    if limit:
        assert graph_of(text).budgets[0].limit == limit
    else:
        assert refused(text)[0].message == "a budget of 0 flops"


def test_the_largest_member_found_is_no_smaller_than_one_that_lives_by_itself() -> None:
    """Of two connections of the same price, the later one keeps what comes before it alive."""
    graph = graph_of(
        network(
            "    node h[2]\n    x ~> h[0] : conv(3) | skip\n"
            "    {x, h[0]} ~> h[1] : conv(3) | skip\n    retain 1 into h\n    y = h[1] : relu"
        )
    )
    assert reach(graph).largest.parameters == 2 * 144


def test_a_scan_that_may_choose_its_state_alone_has_members_that_read_the_series() -> None:
    """The cheapest options make no member: then another stands for the cheapest."""
    graph = compile_text("""\
motif turn(x, h) -> (out) {
    node y
    {x, h} ~> y : linear(4) | bn
    retain 1 into y
    out = sum(y)
}

network net(image: [4, 8]) -> (logits: [3]) {
    budget parameters <= 9.5M
    start = image : zeros(4)
    out = scan turn(image) from start
    out -> logits : global_avg_pool >> linear(3)
}
""").graph
    extremes = reach(graph)
    assert not extremes.exact
    assert 0 < extremes.smallest.parameters <= extremes.largest.parameters
