"""Which groups go: entropy, `retain`, and what that leaves dead; never a way to an output."""

from __future__ import annotations

from collections.abc import Collection

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import spaces
from support import compile_text, graph_of, network

from bayesnas.compiler.artifacts.derive import derive_spec
from bayesnas.compiler.graph.cost import edge_cost
from bayesnas.compiler.graph.model import BudgetConstraint, Graph
from bayesnas.compiler.space.members import prune_to
from bayesnas.compiler.space.prices import Prices
from bayesnas.dsl.diagnostics import DiagnosticError
from bayesnas.dsl.printing.printer import print_spec
from bayesnas.runtime.strategies.bayesnas.posterior import GatePosterior, Layout
from bayesnas.runtime.strategies.bayesnas.pruning import Pruner
from bayesnas.runtime.strategies.bayesnas.updates import ENTROPY_THRESHOLD
from bayesnas.runtime.strategies.interface import Removal
from bayesnas.runtime.supernet.gates import Gates

CPU = torch.device("cpu")
LOW, HIGH = ENTROPY_THRESHOLD / 10, ENTROPY_THRESHOLD * 10


def posterior_of(graph: Graph, gammas: dict[str, float], default: float = HIGH) -> GatePosterior:
    """gamma by edge id."""
    posterior = GatePosterior.start(Layout.of(graph, Gates.of(graph, CPU)))
    unknown = set(gammas) - {e.id for e in graph.searched()}
    assert not unknown
    values = [gammas.get(e.id, default) for e in graph.searched()]
    posterior.gamma = torch.tensor(values, dtype=torch.float64)
    return posterior


def decide(
    graph: Graph,
    gammas: dict[str, float],
    *,
    removed: frozenset[str] = frozenset(),
    fraction: float = 1.0,
    progress: float = 0.0,
    changes: list[float] | None = None,
    default: float = HIGH,
) -> Removal:
    posterior = posterior_of(graph, gammas, default)
    loss = torch.tensor(changes or [0.0] * len(graph.searched()), dtype=torch.float64)
    return Pruner(graph, Gates.of(graph, CPU)).decide(posterior, loss, removed, fraction, progress)


def without(graph: Graph, removed: Collection[str]) -> Graph:
    return prune_to(graph, graph.groups().keys() - set(removed))


FOUR = graph_of(network("x ~> y : conv(3) | conv(1) | relu | skip"))


def test_only_what_has_no_positive_entropy_goes() -> None:
    just = {"x->y:conv_3": ENTROPY_THRESHOLD * 0.999, "x->y:conv_1": ENTROPY_THRESHOLD * 1.001}
    assert decide(FOUR, just).reasons == {"x->y:conv_3": "entropy"}
    assert decide(FOUR, {}).reasons == {}


def test_the_smallest_gammas_go_first_and_no_more_than_a_share() -> None:
    gammas = {"x->y:conv_3": 0.02, "x->y:conv_1": 0.01, "x->y:relu": 0.03}
    shares = {0.0: [], 0.24: [], 0.25: ["x->y:conv_1"], 0.6: ["x->y:conv_1", "x->y:conv_3"]}
    for fraction, expected in shares.items():
        assert list(decide(FOUR, gammas, fraction=fraction).reasons) == expected


def test_the_share_is_of_the_living() -> None:
    gammas = {"x->y:conv_3": LOW, "x->y:conv_1": LOW}
    gone = frozenset({"x->y:relu", "x->y:skip"})
    found = decide(FOUR, gammas, removed=gone, fraction=0.5, changes=[2, 1, 0, 0])
    assert found.reasons == {"x->y:conv_1": "entropy"}


def test_equal_gammas_are_ordered_by_the_change_in_loss() -> None:
    gammas = {"x->y:conv_3": LOW, "x->y:conv_1": LOW, "x->y:relu": LOW}
    for changes, first in (([1, 2, 3, 0], "conv_3"), ([3, 1, 2, 0], "conv_1")):
        found = decide(FOUR, gammas, fraction=0.25, changes=changes)
        assert found.reasons == {f"x->y:{first}": "entropy"}


def test_the_last_way_to_an_output_stays() -> None:
    found = decide(FOUR, {}, default=LOW)
    assert len(found.reasons) == 3
    assert len(found.refused) == 1
    assert set(found.reasons) | set(found.refused) == set(FOUR.groups())
    assert without(FOUR, found.reasons).searched()


def test_each_output_keeps_a_way() -> None:
    graph = graph_of("""
        network net(x: [4, 8, 8]) -> (y: [4, 8, 8], v: [4, 8, 8]) {
            x ~> y : conv(3) | skip
            x ~> v : conv(3) | skip
        }""")
    left = without(graph, decide(graph, {}, default=LOW).reasons)
    assert {e.target for e in left.searched()} == {"y", "v"}


CHAIN = graph_of(
    network("""
    node a, b, c
    x ~> a : conv(3) | skip
    a ~> b : conv(1) | skip
    b ~> c : conv(5) | skip
    c ~> y : relu | skip
    x ~> y : conv(3) | skip""")
)


def edges(arrow: str, *names: str) -> list[str]:
    return [f"{arrow}:{name}" for name in names]


def test_what_hears_no_input_is_dead() -> None:
    """Forwards: nothing arrives at `b`, so what leaves `b` and `c` goes too; so does `a`."""
    gammas = dict.fromkeys(edges("a->b", "conv_1", "skip"), LOW)
    assert decide(CHAIN, gammas).reasons == {
        **dict.fromkeys(gammas, "entropy"),
        **dict.fromkeys(edges("b->c", "conv_5", "skip"), "dead"),
        **dict.fromkeys(edges("c->y", "relu", "skip"), "dead"),
        **dict.fromkeys(edges("x->a", "conv_3", "skip"), "dead"),
    }


def test_what_reaches_no_output_is_dead() -> None:
    """Backwards: nothing leaves `c`."""
    gammas = dict.fromkeys(edges("c->y", "relu", "skip"), LOW)
    found = decide(CHAIN, gammas)
    dead = {group for group, reason in found.reasons.items() if reason == "dead"}
    assert dead == {
        *edges("x->a", "conv_3", "skip"),
        *edges("a->b", "conv_1", "skip"),
        *edges("b->c", "conv_5", "skip"),
    }


TIED = "motif m(a) -> (b) { a ~> b : conv(3) | conv(1) | skip }\n"


def test_a_group_goes_whole() -> None:
    graph = graph_of(TIED + network("c = tied chain m(x) times 3\nc -> y"))
    low = {e.id: LOW for e in graph.searched() if e.operation.label == "conv(3)"}
    found = decide(graph, low)
    assert found.reasons == {next(iter(graph.groups())): "entropy"}
    left = without(graph, found.reasons)
    assert [e.operation.label for e in left.searched()] == ["conv(1)", "skip"] * 3


def test_a_group_of_which_one_gate_lives_is_not_dead() -> None:
    graph = graph_of(
        TIED
        + network("""
        c = tied chain m(x) times 2
        c[0] ~> y : relu | skip
        c[1] ~> y : relu | skip""")
    )
    low = {e.id: LOW for e in graph.searched() if e.connection == "c[1]->y"}
    reasons = decide(graph, low).reasons
    assert reasons == dict.fromkeys(low, "entropy")


# -------------------------------------------------------------------------------------- retain

RETAIN = graph_of(
    network("""
    node a, b, h
    x -> a : relu
    x -> b : conv(3)
    {x, a, b} ~> h : conv(3) | skip
    retain 1 into h
    h -> y""")
)


def arrivals(graph: Graph, node: str) -> list[str]:
    if node not in graph.network:
        return []
    return [c.source for c in graph.connections(node) if c.searched]


def test_retain_keeps_the_edges_of_the_largest_sums() -> None:
    """Not of the largest single gamma."""
    gammas = {"x->h:conv_3": 0.9, "x->h:skip": 0.1, "a->h:conv_3": 0.6, "a->h:skip": 0.6}
    found = decide(RETAIN, {**gammas, "b->h:conv_3": 0.2, "b->h:skip": 0.2}, progress=1.0)
    assert arrivals(without(RETAIN, found.reasons), "h") == ["a"]
    assert set(found.reasons.values()) == {"retain"}


@pytest.mark.parametrize(("progress", "left"), [(0.0, 3), (0.4, 3), (0.5, 2), (0.9, 2), (1.0, 1)])
def test_retain_tightens_with_progress(progress: float, left: int) -> None:
    found = decide(RETAIN, {}, progress=progress)
    assert len(arrivals(without(RETAIN, found.reasons), "h")) == left


def test_retain_of_more_than_arrive_removes_nothing() -> None:
    graph = graph_of(network("node h\n{x, x} ~> h : conv(3) | skip\nretain 5 into h\nh -> y"))
    for progress in (0.0, 0.5, 1.0):
        assert decide(graph, {}, progress=progress).reasons == {}


def test_retain_counts_what_entropy_left() -> None:
    low = dict.fromkeys(edges("a->h", "conv_3", "skip") + edges("b->h", "conv_3", "skip"), LOW)
    found = decide(RETAIN, low, progress=1.0)
    assert arrivals(without(RETAIN, found.reasons), "h") == ["x"]
    assert set(found.reasons) == set(low)


def test_retain_prefers_an_edge_that_is_alive() -> None:
    """`a` has the strongest edge into `h`, but nothing reaches `a` any more."""
    graph = graph_of(
        network("""
        node a, h
        x ~> a : conv(3) | skip
        {x, a} ~> h : conv(3) | skip
        retain 1 into h
        h -> y""")
    )
    gammas = dict.fromkeys(edges("x->a", "conv_3", "skip"), LOW) | {"a->h:conv_3": 100 * HIGH}
    found = decide(graph, gammas, progress=1.0)
    assert arrivals(without(graph, found.reasons), "h") == ["x"]


# -------------------------------------------------------------------------------------- laws


def gammas_of(graph: Graph, seed: int) -> dict[str, float]:
    """Equal in a group, as an inference gives them."""
    generator = torch.Generator().manual_seed(seed)
    by_group = {
        g: float(10 ** (3 * torch.rand(1, generator=generator) - 3)) for g in graph.groups()
    }
    return {e.id: by_group[e.searched_gate.group] for e in graph.searched()}


@given(spaces(), st.integers(0, 1000), st.floats(0, 1))
def test_what_is_left_is_a_network_that_keeps_its_promises(
    text: str, seed: int, fraction: float
) -> None:
    """Two rounds, the second to the end: outputs are fed, `retain` holds, nothing dead is left."""
    compiled = compile_text(text)
    graph = compiled.graph
    gammas = gammas_of(graph, seed)
    first = decide(graph, gammas, fraction=fraction, progress=0.5)
    removed = frozenset(first.reasons)
    last = decide(graph, gammas, removed=removed, fraction=fraction, progress=1.0)
    assert not set(last.reasons) & removed
    gone = removed | set(last.reasons)
    left = without(graph, gone)
    for retain in graph.retains:
        assert len(arrivals(left, retain.node)) <= retain.count
    alive = {e.searched_gate.group for e in left.searched()}
    assert alive == set(graph.groups()) - gone


@given(spaces(), st.integers(0, 1000))
def test_what_is_left_compiles(text: str, seed: int) -> None:
    compiled = compile_text(text)
    found = decide(compiled.graph, gammas_of(compiled.graph, seed), progress=1.0)
    left = without(compiled.graph, found.reasons)
    compile_text(print_spec(derive_spec(compiled, left)))


def test_a_removal_that_would_not_compile_is_not_made() -> None:
    """A concat that loses an arrival has fewer channels, and here they are promised."""
    text = network("y = concat(x)\nx ~> y : conv(3, 5) | conv(1, 5)").replace("(y: [4", "(y: [9")
    compiled = compile_text(text)
    found = decide(compiled.graph, {}, default=LOW)
    left = without(compiled.graph, found.reasons)
    compile_text(print_spec(derive_spec(compiled, left)))


def within(graph: Graph, gammas: dict[str, float], limit: int) -> Removal:
    prices = Prices.of(graph, (BudgetConstraint("flops", limit),))
    gamma = posterior_of(graph, gammas).gamma
    return Pruner(graph, Gates.of(graph, CPU)).within(gamma, frozenset(), prices)


def test_budgets_are_kept_where_several_operations_may_stay() -> None:
    """The least gamma for its price goes first; where no more may go, it is an error."""
    costs = {e.id: edge_cost(e).flops for e in FOUR.searched()}
    both, small = costs["x->y:conv_3"] + costs["x->y:conv_1"], costs["x->y:conv_1"]
    assert within(FOUR, {}, both).reasons == {}
    assert within(FOUR, {}, small).reasons == {"x->y:conv_3": "budget"}
    low = {"x->y:conv_1": HIGH / 1000}
    assert within(FOUR, low, costs["x->y:conv_3"]).reasons == {"x->y:conv_1": "budget"}
    assert within(FOUR, low, small).reasons.keys() == {"x->y:conv_1", "x->y:conv_3"}
    with pytest.raises(DiagnosticError) as caught:
        within(graph_of(network("x ~> y : conv(3) | conv(1)")), {}, small - 1)
    assert [d.code for d in caught.value.diagnostics] == ["D604"]
