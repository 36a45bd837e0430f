"""Pass 6: gamma, compared with the mathematics written out in plain Python.

The reference below knows the graph alone: it walks edges and never sees an expression.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from functools import cache

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import spaces
from support import graph_of, network
from switches import DEPENDENCIES, FIGURE_1, GammaValues, Switches, both, evaluated

from bayesnas.compiler.graph.model import Edge, Graph
from bayesnas.compiler.passes.gamma import (
    ALWAYS,
    NEVER,
    And,
    Dependency,
    Flow,
    Gammas,
    Or,
    RelaySwitch,
    Switch,
    SwitchExpression,
    conjunction,
    derive_gamma,
    disjunction,
)
from bayesnas.compiler.pipeline import compile_spec

# ------------------------------------------------------------------------------ the reference


def all_on(*values: float) -> float:
    """The harmonic sum; 1/0 = inf and 1/inf = 0."""
    inverse = sum(math.inf if value == 0 else 1 / value for value in values)
    return math.inf if inverse == 0 else 1 / inverse


def origin(graph: Graph, edge: Edge) -> str:
    """The node an edge reads, seen through its i' node."""
    if graph.node(edge.source).role != "relay":
        return edge.source
    [identity] = graph.network.in_edges(edge.source)
    return identity[0]


def reference(graph: Graph, switches: Switches, dependency: Dependency) -> GammaValues:
    """Equation 8 (`local`), or the same all the way down (`recursive`)."""
    into: dict[str, dict[str, list[Edge]]] = defaultdict(lambda: defaultdict(list))
    for edge in graph.edges():
        if edge.kind != "relay":
            into[edge.target][edge.connection].append(edge)

    def own(edge: Edge) -> float:
        return math.inf if edge.gate is None else switches.gates[edge.searched_gate.number]

    def relay(edge: Edge) -> float:
        return math.inf if edge.gate is None else switches.relays[edge.connection]

    @cache
    def flow(node: str) -> float:
        if node in graph.root.inputs:
            return math.inf
        arrivals = []
        for edges in into[node].values():
            if dependency == "local":
                arrivals.append(sum(own(e) for e in edges))
            else:
                parts = (all_on(flow(origin(graph, e)), relay(e), own(e)) for e in edges)
                arrivals.append(sum(parts))
        return all_on(*arrivals) if graph.node(node).merge == "product" else sum(arrivals)

    gates = [all_on(relay(e), flow(origin(graph, e)), own(e)) for e in graph.searched()]
    relays = {e.connection: all_on(relay(e), flow(origin(graph, e))) for e in graph.searched()}
    return GammaValues(gates, relays)


def assert_agree(graph: Graph, switches: Switches, dependency: Dependency) -> None:
    expected = reference(graph, switches, dependency)
    found = evaluated(derive_gamma(graph, dependency), switches)
    assert found.gates == pytest.approx(expected.gates, rel=1e-9)
    assert found.relays == pytest.approx(expected.relays, rel=1e-9)


# ------------------------------------------------------------------------------ agreement


@both
@given(text=spaces(), seed=st.integers(0, 2**32))
def test_gamma_is_what_the_mathematics_says(dependency: Dependency, text: str, seed: int) -> None:
    graph = graph_of(text)
    assert_agree(graph, Switches.draw(graph, seed), dependency)


@both
def test_gamma_of_darts(dependency: Dependency) -> None:
    graph = compile_spec("darts_cell", {"cells": 3}).graph
    assert_agree(graph, Switches.draw(graph, 0), dependency)


@given(text=spaces(), seed=st.integers(0, 2**32))
def test_gamma_never_exceeds_its_own_switches(text: str, seed: int) -> None:
    graph = graph_of(text)
    switches = Switches.draw(graph, seed)
    for dependency in DEPENDENCIES:
        found = evaluated(derive_gamma(graph, dependency), switches)
        for edge in graph.searched():
            bound = min(switches.gates[edge.searched_gate.number], switches.relays[edge.connection])
            assert 0 < found.gates[edge.searched_gate.number] <= bound * (1 + 1e-12)


def test_a_graph_without_gates_has_no_gammas() -> None:
    graph = graph_of(network("x -> y : conv(3)"))
    found = evaluated(derive_gamma(graph, "local"), Switches((), {}))
    assert found == GammaValues([], {})


# ------------------------------------------------------------------------------ the Boolean circuit

OFF, ON, BETWEEN = 1e-30, 1e3, 1e-15
# A map that is weighed by a vector has no sum.
sums_only = (
    spaces()
    .filter(lambda text: "_mean" not in text)
    .map(lambda text: text.replace("product", "sum"))
)


def reached(graph: Graph, switches: Switches) -> set[str]:
    """Nodes that a way of switched-on edges leads to from an input of the network."""
    on = nx.DiGraph()
    on.add_nodes_from(graph.network)
    for edge in graph.edges():
        if edge.kind == "relay":
            switch = switches.relays[graph.outgoing(edge.target)[0].connection]
        else:
            switch = ON if edge.gate is None else switches.gates[edge.searched_gate.number]
        if switch > BETWEEN:
            on.add_edge(edge.source, edge.target)
    return set(graph.root.inputs).union(*(nx.descendants(on, i) for i in graph.root.inputs))


@given(text=sums_only, seed=st.integers(0, 2**32))
def test_gamma_is_on_exactly_if_the_edge_carries_information(text: str, seed: int) -> None:
    """Proposition 1 on the whole graph: a way from an input, and its own switches."""
    graph = graph_of(text)
    generator = random.Random(seed)
    switches = Switches.make(graph, lambda: generator.choice([OFF, ON, ON]))
    found = evaluated(derive_gamma(graph, "recursive"), switches)
    carrying = reached(graph, switches)
    for edge in graph.searched():
        expected = edge.source in carrying and switches.gates[edge.searched_gate.number] == ON
        assert (found.gates[edge.searched_gate.number] > BETWEEN) == expected


def boolean(graph: Graph, switches: Switches, dependency: Dependency) -> list[bool]:
    """Proposition 1 in words: own switch, i' switch, and at least one switch into the source."""

    def own(edge: Edge) -> bool:
        return edge.gate is None or switches.gates[edge.searched_gate.number] == ON

    def relay(edge: Edge) -> bool:
        return edge.gate is None or switches.relays[edge.connection] == ON

    @cache
    def arrives(node: str) -> bool:
        if node in graph.root.inputs:
            return True
        join = all if graph.node(node).merge == "product" else any
        return join(any(map(carries, c.edges)) for c in graph.connections(node))

    def carries(edge: Edge) -> bool:
        if dependency == "local":
            return own(edge)
        return own(edge) and relay(edge) and arrives(origin(graph, edge))

    return [own(e) and relay(e) and arrives(origin(graph, e)) for e in graph.searched()]


@both
@given(text=spaces(), seed=st.integers(0, 2**32))
def test_gamma_is_the_boolean_circuit(dependency: Dependency, text: str, seed: int) -> None:
    graph = graph_of(text)
    generator = random.Random(seed)
    switches = Switches.make(graph, lambda: generator.choice([OFF, ON, ON]))
    found = evaluated(derive_gamma(graph, dependency), switches)
    on = [gamma > BETWEEN for gamma in found.gates]
    assert on == boolean(graph, switches, dependency)


# ------------------------------------------------------------------------------ by hand

S12, S23, S24 = (0.5, 0.7), (1.1, 1.3), (1.7, 1.9)
R12, R23, R24 = 2.3, 2.9, 3.1
FIGURE_1_SWITCHES = Switches(
    (*S12, *S23, *S24), {"one->two": R12, "two->three": R23, "two->four": R24}
)


def test_equation_8_on_figure_1() -> None:
    found = evaluated(derive_gamma(graph_of(FIGURE_1), "local"), FIGURE_1_SWITCHES)
    arrives = 0.5 + 0.7
    expected = [
        1 / (1 / 2.3 + 1 / 0.5),
        1 / (1 / 2.3 + 1 / 0.7),
        1 / (1 / 2.9 + 1 / arrives + 1 / 1.1),
        1 / (1 / 2.9 + 1 / arrives + 1 / 1.3),
        1 / (1 / 3.1 + 1 / arrives + 1 / 1.7),
        1 / (1 / 3.1 + 1 / arrives + 1 / 1.9),
    ]
    assert found.gates == pytest.approx(expected, rel=1e-12)
    assert found.relays == pytest.approx(
        {
            "one->two": 2.3,
            "two->three": 1 / (1 / 2.9 + 1 / arrives),
            "two->four": 1 / (1 / 3.1 + 1 / arrives),
        },
        rel=1e-12,
    )


def test_the_recursive_form_on_figure_1() -> None:
    found = evaluated(derive_gamma(graph_of(FIGURE_1), "recursive"), FIGURE_1_SWITCHES)
    arrives = 1 / (1 / 2.3 + 1 / 0.5) + 1 / (1 / 2.3 + 1 / 0.7)
    assert found.gates[0] == pytest.approx(1 / (1 / 2.3 + 1 / 0.5), rel=1e-12)
    assert found.gates[2] == pytest.approx(1 / (1 / 2.9 + 1 / arrives + 1 / 1.1), rel=1e-12)
    assert found.gates[5] == pytest.approx(1 / (1 / 3.1 + 1 / arrives + 1 / 1.9), rel=1e-12)


def test_the_expressions_of_figure_1() -> None:
    gammas = derive_gamma(graph_of(FIGURE_1), "local")
    assert gammas.flows["two"] == Or((Switch(0), Switch(1)))
    assert gammas.gates[0] == And((RelaySwitch("one->two"), Switch(0)))
    assert gammas.gates[2] == And((RelaySwitch("two->three"), Flow("two"), Switch(2)))
    assert gammas.relays["one->two"] == RelaySwitch("one->two")


def test_an_edge_from_an_input_depends_on_itself_alone() -> None:
    graph = graph_of(network("x ~> y : conv(1) | skip"))
    for dependency in DEPENDENCIES:
        found = evaluated(derive_gamma(graph, dependency), Switches((2.0, 3.0), {"x->y": 6.0}))
        assert found.gates == pytest.approx([1 / (1 / 2 + 1 / 6), 1 / (1 / 3 + 1 / 6)])


def test_a_fixed_edge_is_always_on() -> None:
    graph = graph_of(network("h = x : conv(1)\nh ~> y : conv(1)"))
    for dependency in DEPENDENCIES:
        gammas = derive_gamma(graph, dependency)
        assert gammas.flows["h"] == ALWAYS
        assert gammas.gates == (And((RelaySwitch("h->y"), Switch(0))),)


def test_one_level_back_is_not_all_the_way() -> None:
    """Behind a fixed edge, `local` sees a switch that is always on; `recursive` looks through."""
    graph = graph_of(network("node g\nx ~> g : conv(1)\nh = g : relu\nh ~> y : conv(1)"))
    switches = Switches((OFF, ON), {"x->g": ON, "h->y": ON})
    assert evaluated(derive_gamma(graph, "local"), switches).gates[1] > 1
    assert evaluated(derive_gamma(graph, "recursive"), switches).gates[1] < BETWEEN


def test_a_product_needs_all_that_arrive() -> None:
    body = "node g, h\nx ~> g : conv(1)\nx ~> h : conv(1)\np = product()\n"
    body += "g ~> p : conv(1) | conv(3)\nh ~> p : skip\np ~> y : skip"
    graph = graph_of(network(body))
    s = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
    relays = {"x->g": 7.0, "x->h": 8.0, "g->p": 9.0, "h->p": 10.0, "p->y": 11.0}
    local = evaluated(derive_gamma(graph, "local"), Switches(s, relays))
    arrives = 1 / (1 / (3 + 4) + 1 / 5)
    assert local.gates[5] == pytest.approx(1 / (1 / 11 + 1 / arrives + 1 / 6))
    recursive = evaluated(derive_gamma(graph, "recursive"), Switches(s, relays))
    g, h = 1 / (1 / 7 + 1 / 1), 1 / (1 / 8 + 1 / 2)
    by_g = 1 / (1 / g + 1 / 9 + 1 / 3) + 1 / (1 / g + 1 / 9 + 1 / 4)
    by_h = 1 / (1 / h + 1 / 10 + 1 / 5)
    arrives = 1 / (1 / by_g + 1 / by_h)
    assert recursive.gates[5] == pytest.approx(1 / (1 / 11 + 1 / arrives + 1 / 6))


def test_flows_stand_in_an_order_in_which_they_can_be_computed() -> None:
    gammas = derive_gamma(compile_spec("darts_cell").graph, "recursive")
    known: set[str] = set()
    for node, flow in gammas.flows.items():
        assert flows_in(flow) <= known
        known.add(node)


def flows_in(expression: SwitchExpression) -> set[str]:
    match expression:
        case Flow(node=node):
            return {node}
        case And(terms=terms) | Or(terms=terms):
            return set().union(*map(flows_in, terms))
        case _:
            return set()


# ------------------------------------------------------------------------------ simplification

expressions = st.recursive(
    st.sampled_from([ALWAYS, NEVER, *map(Switch, range(4)), RelaySwitch("a"), RelaySwitch("b")]),
    lambda inner: st.builds(
        lambda cls, terms: cls(tuple(terms)),
        st.sampled_from([And, Or]),
        st.lists(inner, min_size=1, max_size=4),
    ),
    max_leaves=12,
)


def simplified(expression: SwitchExpression) -> SwitchExpression:
    match expression:
        case And(terms=terms):
            return conjunction(*map(simplified, terms))
        case Or(terms=terms):
            return disjunction(*map(simplified, terms))
        case _:
            return expression


def value(expression: SwitchExpression) -> float:
    switches = Switches((0.3, 1.7, 0.02, 9.0), {"a": 0.6, "b": 4.0})
    return evaluated(Gammas("local", (expression,), {}, {}), switches).gates[0]


@given(expressions)
def test_simplification_keeps_the_value(expression: SwitchExpression) -> None:
    assert value(simplified(expression)) == pytest.approx(value(expression), rel=1e-9)


@given(expressions)
def test_constants_stand_alone_once_simplified(expression: SwitchExpression) -> None:
    result = simplified(expression)
    assert result in (ALWAYS, NEVER) or not constants_in(result)


def constants_in(expression: SwitchExpression) -> bool:
    if isinstance(expression, And | Or):
        return any(map(constants_in, expression.terms))
    return expression in (ALWAYS, NEVER)


@given(expressions)
def test_simplification_is_idempotent_and_flat(expression: SwitchExpression) -> None:
    result = simplified(expression)
    assert simplified(result) == result
    if isinstance(result, And | Or):
        assert len(result.terms) > 1
        assert not any(isinstance(term, type(result)) for term in result.terms)


def test_nothing_at_all() -> None:
    assert (conjunction(), disjunction()) == (ALWAYS, NEVER)
