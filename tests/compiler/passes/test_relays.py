"""Pass 5: one i' for each searched connection, and nothing else changes."""

from attrs import evolve
from hypothesis import given
from strategies import spaces
from support import expand_text, graph_of, network

from bayesnas.compiler.graph.model import Edge, Graph, Node
from bayesnas.compiler.graph.verify import verify
from bayesnas.compiler.passes.relays import insert_relays
from bayesnas.compiler.passes.shapes import infer_shapes
from bayesnas.compiler.passes.structure import check_structure


def without_relays(text: str) -> Graph:
    return infer_shapes(check_structure(expand_text(text)))


def content(graph: Graph) -> tuple[list[Node], list[Edge], object, object]:
    return list(graph.nodes()), graph.edges(), graph.instances, graph.retains


def bypassed(graph: Graph) -> list[Edge]:
    """The edges as they would be without i' nodes."""
    relays = {n.id: graph.incoming(n.id)[0].source for n in graph.nodes() if n.role == "relay"}
    edges = [e for e in graph.edges() if e.kind != "relay"]
    return [evolve(e, source=relays.get(e.source, e.source)) for e in edges]


def test_a_searched_edge_runs_through_its_relay() -> None:
    graph = graph_of(network("x ~> y : conv(3) | skip\nx -> y : relu"))
    [relay] = [node for node in graph.nodes() if node.role == "relay"]
    assert (relay.id, relay.name, relay.shape) == ("x->y'", "x'", (4, 8, 8))
    [identity] = graph.incoming(relay.id)
    assert (identity.source, identity.kind, identity.gate) == ("x", "relay", None)
    assert identity.operation.is_identity
    assert [e.operation.label for e in graph.outgoing(relay.id)] == ["conv(3)", "skip"]
    assert [e.operation.label for e in graph.outgoing("x")] == ["skip", "relu"]
    assert [e.id for e in graph.edges()] == [
        "x->y'",
        "x->y:conv_3",
        "x->y:skip",
        "x->y#2:relu",
    ]


def test_connections_are_seen_through_the_relay() -> None:
    graph = graph_of(network("x ~> y : conv(3) | skip"))
    [connection] = graph.connections("y")
    assert (connection.source, connection.relay) == ("x", "x->y'")
    assert connection.searched


def test_two_searched_statements_between_two_nodes_have_a_relay_each() -> None:
    graph = graph_of(network("x ~> y : conv(3)\nx ~> y : conv(3)"))
    assert [n.id for n in graph.nodes() if n.role == "relay"] == ["x->y'", "x->y#2'"]


@given(spaces())
def test_exactly_one_relay_for_each_searched_connection(text: str) -> None:
    before = without_relays(text)
    after = insert_relays(before)
    searched = [c for c in before.all_connections() if c.searched]
    relays = [n for n in after.nodes() if n.role == "relay"]
    assert len(relays) == len(searched)
    found = {c.id: c.relay for c in after.all_connections() if c.searched}
    assert sorted(found.values()) == sorted(relay.id for relay in relays)
    assert list(found) == [c.id for c in searched]


@given(spaces())
def test_nothing_else_changes(text: str) -> None:
    before = without_relays(text)
    after = insert_relays(before)
    assert bypassed(after) == before.edges()
    assert [n for n in after.nodes() if n.role != "relay"] == list(before.nodes())
    assert (after.instances, after.retains) == (before.instances, before.retains)


@given(spaces())
def test_insertion_is_idempotent(text: str) -> None:
    once = insert_relays(without_relays(text))
    assert content(insert_relays(once)) == content(once)


@given(spaces())
def test_the_invariants_hold(text: str) -> None:
    graph = insert_relays(without_relays(text))
    assert verify(graph, "insert_relays") is graph
