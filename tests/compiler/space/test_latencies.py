"""Tables of latencies price members as parameters and FLOPs do."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from random import Random

import jsonschema
import pytest
from attrs import evolve
from living import PACKAGED, packaged
from support import TIED, compile_text, graph_of, network

from bayesnas.compiler.artifacts.derive import derive_spec
from bayesnas.compiler.graph.cost import Cost, graph_cost
from bayesnas.compiler.graph.model import BudgetConstraint, Graph
from bayesnas.compiler.space.choices import Member, member_space
from bayesnas.compiler.space.draws import draw_member
from bayesnas.compiler.space.latencies import (
    Latencies,
    Measured,
    Whole,
    merges_of,
    work_of,
    works_of,
)
from bayesnas.compiler.space.latency_file import latencies_json, latencies_schema, read_latencies
from bayesnas.compiler.space.members import group_costs, prune_to, reach
from bayesnas.compiler.space.prices import Prices, best_member
from bayesnas.dsl.diagnostics import DiagnosticError
from bayesnas.dsl.printing.printer import print_spec

FREE = """\
    node h[2]
    x -> h : skip
    x ~> h[0] : conv(5) | conv(3) | skip
    {x, h[0]} ~> h[1] : conv(3) | relu >> conv(1)
    y = product(h)"""
CONCAT = """\
    c = concat()
    {s, d} ~> c : conv(1) | skip
    d = s : conv(1)
    s = x : conv(1)
    y = c : conv(3, 4)"""
ADDITIVE = {"free": network(FREE), "tied": TIED}
SPACES = {**ADDITIVE, "concat": network(CONCAT)}
every = pytest.mark.parametrize("text", SPACES.values(), ids=SPACES)


def table_of(*graphs: Graph, seed: int = 0) -> Latencies:
    """A table of invented times for all operations of some graphs."""
    random = Random(seed)
    works = dict.fromkeys(work for graph in graphs for work, _ in works_of(graph))
    times = {work: random.randrange(100, 5000) for work in works}
    operations = {work: Measured(t, t - t // 10, t + t // 10) for work, t in times.items()}
    about = {"device": "cpu", "threads": 1}
    return Latencies("latency.json", about, 1, Measured(50, 40, 60), operations)


def living(graph: Graph, most: int = 60) -> list[Member]:
    """Some of the members."""
    life = Prices.of(graph, ()).life
    members = [m for m in member_space(graph).members() if life.alive(m)]
    return members[:: max(1, len(members) // most)]


def added(graph: Graph, table: Latencies) -> int:
    """The latency of a network in so many words: all it does, and the call of it."""
    works = [work for edge in graph.edges() if (work := work_of(edge)) is not None]
    total = table.call.median + sum(table.operations[work].median for work in works)
    for node, work in merges_of(graph):
        each = table.operations[work].median
        pairs = len(graph.incoming(node)) - 1
        total += each if work[0] == "concat" else pairs * each
    return total


@every
def test_a_network_takes_the_sum_of_what_it_does(text: str) -> None:
    graph = graph_of(text)
    table = table_of(graph)
    rounding = len(graph.edges())  # nanoseconds: concatenations are shared out
    assert graph_cost(table.priced(graph)).latency == pytest.approx(
        added(graph, table), abs=rounding
    )


@pytest.mark.parametrize("text", ADDITIVE.values(), ids=ADDITIVE)
def test_a_member_takes_as_long_as_its_own_spec(text: str) -> None:
    space = compile_text(text)
    table = table_of(space.graph)
    graph = table.priced(space.graph)
    for member in living(graph, 10):
        pruned = prune_to(graph, member)
        alone = compile_text(print_spec(derive_spec(space, pruned))).graph
        assert graph_cost(pruned).latency == added(alone, table)


@every
def test_budgets_of_latency_are_kept(text: str) -> None:
    graph = graph_of(text)
    graph = table_of(graph).priced(graph)
    costs = {m: graph_cost(prune_to(graph, m)).of("latency") for m in living(graph)}
    for limit in islice(sorted({*costs.values()}), 0, None, 7):
        budgets = (BudgetConstraint("latency", limit),)
        prices = Prices.of(graph, budgets)
        assert [prices.fit(m) for m in costs] == [cost <= limit for cost in costs.values()]
        member = best_member(member_space(graph), group_costs(graph, "latency"), prices)
        assert member is not None
        assert graph_cost(prune_to(graph, member)).of("latency") <= limit


@every
def test_drawn_members_keep_to_a_budget_of_latency(text: str) -> None:
    graph = graph_of(text)
    graph = table_of(graph).priced(graph)
    times = sorted(graph_cost(prune_to(graph, m)).of("latency") for m in living(graph))
    middle = times[len(times) // 2]
    graph = evolve(graph, budgets=(BudgetConstraint("latency", middle),))
    assert all(graph_cost(draw_member(graph, n)[1]).of("latency") <= middle for n in range(5))


@pytest.mark.parametrize("text", ADDITIVE.values(), ids=ADDITIVE)
def test_the_fastest_and_the_slowest_member(text: str) -> None:
    graph = graph_of(text)
    graph = table_of(graph).priced(graph)
    life = Prices.of(graph, ()).life
    times = [
        graph_cost(prune_to(graph, member)).of("latency")
        for member in member_space(graph).members()
        if life.alive(member)
    ]
    extremes = reach(graph)
    assert extremes.largest.latency == max(times)
    assert extremes.smallest.of("latency") >= min(times)
    if extremes.exact:
        assert extremes.smallest.latency == min(times)


def test_a_shared_module_takes_its_time_at_every_call() -> None:
    graph = graph_of(
        "motif half(x) -> (y) {\n    y = x : conv(3)\n}\n"
        + network("    a = shared half(x)\n    b = shared half(a)\n    y = b : relu")
    )
    table = table_of(graph)
    conv, relu = (measured.median for measured in table.operations.values())
    assert graph_cost(table.priced(graph)).latency == 2 * conv + relu + table.call.median


def test_without_a_table_there_is_no_latency() -> None:
    graph = graph_of(network("    y = x : conv(3)"))
    assert graph_cost(graph) == Cost(4 * 4 * 9, 4 * 4 * 9 * 64)
    assert graph_cost(graph).record() == {"parameters": 144, "flops": 9216}


def test_what_differs_in_numbers_or_shapes_is_measured_apart() -> None:
    graph = graph_of(
        network(
            "    a = x : conv(3) >> conv(3)\n    b = a : conv(3, 4) >> conv(3)\n"
            "    c = b : conv(3, 4, 2) >> upsample(2)\n    y = c : (relu + skip) >> bn"
        )
    )
    texts = [f"{text} on {inputs}" for (text, inputs), _ in works_of(graph)]
    assert texts == [
        "conv(kernel = 3, width = 4) >> conv(kernel = 3, width = 4) on ((4, 8, 8),)",
        "conv(kernel = 3, width = 4, stride = 2) >> upsample(factor = 2) on ((4, 8, 8),)",
        "(relu + skip) >> bn on ((4, 8, 8),)",
    ]


# ------------------------------------------------------------------------------ files


@pytest.mark.parametrize("name", PACKAGED)
def test_a_table_comes_back_from_its_file(name: str, tmp_path: Path) -> None:
    wholes = (Whole("random, seed 0", 990, 1000), Whole("the biggest", 2100, 2000))
    table = evolve(table_of(packaged(name).graph), wholes=wholes)
    text, path = latencies_json(table), tmp_path / "latency.json"
    path.write_text(text, encoding="utf-8")
    assert read_latencies(path) == evolve(table, source=str(path))
    data = json.loads(text)
    jsonschema.validate(data, latencies_schema())
    assert data["error"] == pytest.approx(0.05)
    assert [row["error"] for row in data["wholes"]] == [-0.01, 0.05]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no JSON: expecting value: line 1 column 1 (char 0)"),
        ("[" * 100_000, "no JSON: "),
        ("[]", "at $: [] is not of type 'object'"),
        ('{"format": "bayesnas-graph"}', "at $.format: 'bayesnas-latencies' was expected"),
        ('{"batch": -1}', "at $.batch: -1 is less than the minimum of 1"),
    ],
)
def test_what_is_no_table(text: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "latency.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DiagnosticError) as caught:
        read_latencies(path)
    [diagnostic] = caught.value.diagnostics
    assert diagnostic.code == "D440"
    assert diagnostic.message == f"`{path}` is no table of latencies"
    assert diagnostic.notes[0].startswith(reason)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DiagnosticError) as caught:
        read_latencies(tmp_path / "latency.json")
    assert caught.value.diagnostics[0].code == "D402"


# ------------------------------------------------------------------------------ refused


def test_a_table_of_another_network_names_what_is_missing() -> None:
    table = table_of(graph_of(network("    y = x : conv(3)")))
    space = compile_text(network("    a = x : conv(5)\n    b = a : relu\n    y = sum(a, b)"))
    with pytest.raises(DiagnosticError) as caught:
        space.priced(table)
    [diagnostic] = caught.value.diagnostics
    assert diagnostic.code == "D612"
    assert diagnostic.notes == (
        "missing: `conv(kernel = 5, width = 4) on 4 x 8 x 8`, `relu on 4 x 8 x 8` and "
        "`sum on 2 of 4 x 8 x 8`",
    )


def test_a_budget_that_no_member_is_fast_enough_for() -> None:
    space = compile_text(
        network(
            "    budget latency <= 0.1 us\n    node h\n    x ~> h : conv(3) | conv(5)\n"
            "    retain 1 into h\n    y = h : relu"
        )
    )
    with pytest.raises(DiagnosticError) as caught:
        space.priced(table_of(space.graph))
    [diagnostic] = caught.value.diagnostics
    assert diagnostic.code == "D228"
    assert diagnostic.message == "no member of the space has at most 0.1 us of latency"
    assert diagnostic.span is not None
    assert diagnostic.span.line == 2


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        ("budget latency <= 5", "D236", "a budget of latency is a time"),
        ("budget latency <= 5K", "D236", "a budget of latency is a time"),
        ("budget flops <= 5 ms", "D236", "a budget of flops is no time"),
        ("budget speed <= 5 ms", "D227", "`speed` has no budget"),
        ("budget latency <= 0 ms", "D222", "a budget of no latency"),
    ],
)
def test_budgets_of_the_wrong_kind(line: str, code: str, message: str) -> None:
    with pytest.raises(DiagnosticError) as caught:
        compile_text(network(f"    {line}\n    y = x : relu"))
    [diagnostic] = caught.value.diagnostics
    assert (diagnostic.code, diagnostic.message) == (code, message)
    assert diagnostic.span is not None
    assert diagnostic.span.line == 2
