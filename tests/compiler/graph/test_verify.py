"""The invariants between passes: each can fail, and says where."""

from collections.abc import Callable

import pytest
from attrs import evolve
from support import graph_of, network

from bayesnas.compiler.graph.model import Edge, Graph, Node, RetainConstraint
from bayesnas.compiler.graph.verify import INVARIANTS, InvariantError, verify


@pytest.fixture(scope="module")
def sound() -> Graph:
    return graph_of(network("node h\nx ~> h : conv(3) | skip\nh -> y\nretain 1 into h"))


def with_edges(graph: Graph, change: Callable[[Edge], Edge]) -> Graph:
    edges = map(change, graph.edges())
    return graph.rebuild(graph.nodes(), edges)


def with_nodes(graph: Graph, change: Callable[[Node], Node]) -> Graph:
    nodes = map(change, graph.nodes())
    return graph.rebuild(nodes, graph.edges())


def renumbered(graph: Graph, change: Callable[[int], int]) -> Graph:
    def changed(edge: Edge) -> Edge:
        if edge.gate is None:
            return edge
        return evolve(edge, gate=evolve(edge.gate, number=change(edge.gate.number)))

    return with_edges(graph, changed)


def skip_a_gate(graph: Graph) -> Graph:
    return renumbered(graph, lambda number: number + 1)


def swap_gates(graph: Graph) -> Graph:
    return renumbered(graph, lambda number: 1 - number)


def ungated_candidate(graph: Graph) -> Graph:
    return with_edges(graph, lambda e: evolve(e, gate=None) if e.gate and e.gate.number else e)


def misplaced_edge(graph: Graph) -> Graph:
    broken = with_edges(graph, lambda e: e)
    [last] = broken.incoming("y")
    broken.network.edges["h", "y", last.id]["payload"] = evolve(last, source="x")
    return broken


def relay_of_two(graph: Graph) -> Graph:
    """A fixed edge that leaves i'."""
    return with_edges(graph, lambda e: evolve(e, source="x->h'") if e.target == "y" else e)


def relay_without_identity(graph: Graph) -> Graph:
    return with_edges(graph, lambda e: evolve(e, kind="fixed") if e.kind == "relay" else e)


def relay_that_computes(graph: Graph) -> Graph:
    [convolution] = [e.operation for e in graph.searched() if e.searched_gate.number == 0]
    return with_edges(graph, lambda e: evolve(e, operation=convolution) if e.kind == "relay" else e)


def relay_without_candidates(graph: Graph) -> Graph:
    return graph.subgraph(set(graph.network), {e.id for e in graph.edges() if e.kind != "searched"})


def node_without_instance(graph: Graph) -> Graph:
    return with_nodes(graph, lambda n: evolve(n, scope="gone") if n.id == "h" else n)


def cycle(graph: Graph) -> Graph:
    [back] = graph.incoming("y")
    edges = [*graph.edges(), evolve(back, id="back", source="y", target="h", order=99)]
    return graph.rebuild(graph.nodes(), edges)


def retain_nothing(graph: Graph) -> Graph:
    return evolve(graph, retains=(RetainConstraint("gone", 1),))


def calls_that_differ(_graph: Graph) -> Graph:
    """A shared module of which one call lacks an operation."""
    calls = "motif m(a) -> (b) { a -> b : conv(3) + relu }\n" + network(
        "c = shared m(x)\ny = shared m(c)"
    )
    graph = graph_of(calls)
    kept = {edge.id for edge in graph.edges()} - {"y.a->y.b:relu"}
    return graph.subgraph(set(graph.network), kept)


BREAKS = {
    skip_a_gate: ("gates are numbered from 0 in the order of edges", "[1, 2]"),
    swap_gates: ("gates are numbered from 0 in the order of edges", "[1, 0]"),
    ungated_candidate: (
        "an edge has a gate exactly if it is searched",
        "x->h:skip",
    ),
    misplaced_edge: ("edges stand under their own ends and id", "h->y:skip"),
    relay_of_two: ("i' has one identity before it and candidates after it", "x->h'"),
    relay_without_identity: ("i' has one identity before it and candidates after it", "x->h'"),
    relay_that_computes: ("i' has one identity before it and candidates after it", "x->h'"),
    relay_without_candidates: ("i' has one identity before it and candidates after it", "x->h'"),
    node_without_instance: ("every node lies in an instance", "h"),
    cycle: ("no cycle", "net"),
    retain_nothing: ("retained nodes exist", "gone"),
    calls_that_differ: ("calls of a shared module are alike", "c.a->c.b:relu"),
}


@pytest.mark.parametrize("break_it", BREAKS, ids=lambda function: function.__name__)
def test_a_broken_graph_is_found(break_it: Callable[[Graph], Graph], sound: Graph) -> None:
    invariant, place = BREAKS[break_it]
    with pytest.raises(InvariantError) as caught:
        verify(break_it(sound), "the test")
    assert str(caught.value) == f"after the test: {invariant}: {place}"


def test_every_invariant_can_fail() -> None:
    assert {invariant for invariant, _ in BREAKS.values()} == set(INVARIANTS)


def test_a_sound_graph_passes(sound: Graph) -> None:
    assert verify(sound, "the test") is sound
