"""Pass 3: no cycles, no loose ends, and nothing left that no output needs."""

import pytest
from hypothesis import given
from strategies import spaces
from support import assert_refused, expand_text, graph_of, network, refused

from bayesnas.compiler.graph.model import Graph
from bayesnas.compiler.graph.walks import drop_dead
from bayesnas.compiler.passes.structure import check_structure


def structure(text: str) -> Graph:
    return check_structure(expand_text(text))


M = "motif m(a) -> (b) { a -> b }\n"
DEAD_END = "motif dead(a) -> (b) { a -> b\n §z = a : skip }\n"

TIED = """motif m(a; n = 2, k = 1) -> (b) {
    node h[n]
    a -> h : conv(1)
    EDGES
    b = sum(h)
}
"""
BOTH = network("p = tied m(x)\nq = tied m(p; OTHER)\nq -> y")


def tied(edges: str, other: str) -> str:
    return TIED.replace("EDGES", edges) + BOTH.replace("OTHER", other)


INVALID = {
    # D239: tied instances that would choose differently
    tied("§a ~> h[0] : if k == 1 then conv(3) | skip else conv(3) | max_pool(3)", "k = 2"): (
        "D239",
        "tied instances of `m` have different candidates",
    ),
    tied("node g\n h ~> g : conv(3) | skip\n §retain 1 into g\n g -> h[0]", "n = 3")
    .replace("a -> h : conv(1)", "for j in 1..n { a -> h[j] : conv(1) }")
    .replace("h ~> g", "h[1..] ~> g"): (
        "D239",
        "tied instances of `m` have different searched edges into `g`",
    ),
    tied(
        "node e\n a ~> e : skip\n h[1] ~> e : skip\n"
        " if k == 1 { §retain 1 into e } else { h[0] ~> e : skip }\n out = sum(e)",
        "k = 2",
    )
    .replace("-> (b)", "-> (b, out)")
    .replace("p = ", "p, u = ")
    .replace("q = ", "q, v = ")
    .replace("q -> y", "{q, u, v} -> y"): (
        "D239",
        "tied instances of `m` have different searched edges into `e`",
    ),
    tied("node e\n a ~> e : skip\n h[1] ~> e : skip\n §retain k into e\n e -> h[0]", "k = 2"): (
        "D239",
        "tied instances of `m` have different numbers of edges that stay into `e`",
    ),
    # D213: cycles
    network("node h\nx -> h\n§h -> h\nh -> y"): ("D213", "a cycle: `h` depends on itself"),
    network("x -> y\n§y = y : skip"): ("D213", "a cycle: `y` depends on itself"),
    network("node g, h\nx -> g\n§g -> h\nh -> g\nh -> y"): (
        "D213",
        "a cycle: `g` depends on itself",
    ),
    # D214: no way to an output
    network("x -> y\n§z = x : skip"): ("D214", "`z` of `net` has no way to an output"),
    network("node §h[2]\nx -> h\nh[1] -> y"): ("D214", "`h[0]` of `net` has no way to an output"),
    DEAD_END + network("y = dead(x)"): ("D214", "`z` of `dead` has no way to an output"),
    # D215: nothing arrives
    network("node §z\nz -> y"): ("D215", "nothing arrives at `z` of `net`"),
    network("node §h[2]\nx -> h[0]\nh -> y"): ("D215", "nothing arrives at `h[1]` of `net`"),
    network("").replace("(y", "(§y"): ("D215", "nothing arrives at `y` of `net`"),
    M.replace("a -> b ", "").replace("(b)", "(§b)") + network("y = m(x)"): (
        "D215",
        "nothing arrives at `b` of `m`",
    ),
    # D218: an input of the network that leads nowhere
    "network net(x: [4], §z: [4]) -> (y: [4]) { x -> y }": (
        "D218",
        "input `z` of the network leads to no output",
    ),
    "motif first(a, b) -> (c) { a -> c }\n"
    "network net(x: [4], §z: [4]) -> (y: [4]) { y = first(x, z) }": (
        "D218",
        "input `z` of the network leads to no output",
    ),
}


@pytest.mark.parametrize("snippet", INVALID)
def test_invalid(snippet: str) -> None:
    code, message = INVALID[snippet]
    assert_refused(snippet, code, message)


def test_a_cycle_shows_its_way() -> None:
    text = network("node f, g, h\nx -> f\n§f -> g\ng -> h\nh -> f\nh -> y")
    found = assert_refused(text, "D213", "a cycle: `f` depends on itself")
    assert found.notes == ("f -> g -> h -> f",)
    assert found.help == "remove one of these edges; data flows one way"


def test_a_cycle_through_instances_is_a_cycle() -> None:
    text = M + network("node g\nx -> g\np = m(g)\np -> g\nq = m(p)\nq -> y")
    [found] = refused(text)
    assert found.code == "D213"


def test_instances_that_feed_each_other_are_a_cycle() -> None:
    """Even where no data would run in a circle: an instance is computed in one go."""
    side = "motif side(a, b) -> (c, d) { a -> c\n b -> d }\n"
    text = side + network("node g\np, q = side(x, g)\np -> g\nq -> y")
    [found] = refused(text)
    assert found.code == "D213"


def test_an_output_of_several_cannot_be_left_out_alone() -> None:
    two = "motif two(a) -> (b, c) { a -> b\n a -> c }\n"
    [found] = refused(two + network("p, q = two(x)\np -> y"))
    assert found.code == "D214"
    assert found.help == "connect it: `q -> ...`, or take that output out of `two`"


def test_all_loose_ends_come_at_once() -> None:
    text = network("node a, b\nx -> y\na -> y\nx -> b\nc = x : skip")
    assert [d.code for d in refused(text)] == ["D215", "D214", "D214"]


def test_every_input_that_leads_nowhere_is_named() -> None:
    text = "network net(a: [4], b: [4], c: [4]) -> (y: [4]) { a -> y }"
    messages = [found.message for found in refused(text)]
    assert messages == [f"input `{n}` of the network leads to no output" for n in "bc"]


def test_a_loose_end_in_a_motif_is_said_once() -> None:
    text = DEAD_END.replace("§", "") + network("p = dead(x)\ny = dead(p)")
    assert [d.code for d in refused(text)] == ["D214"]


# ------------------------------------------------------------------------------ what is left out


def test_an_element_that_no_edge_touches_is_left_out() -> None:
    graph = structure(network("node h[3]\nx -> h[1]\nh[1] -> y"))
    assert [node.id for node in graph.nodes()] == ["x", "y", "h[1]"]


def test_a_motif_may_ignore_an_input() -> None:
    first = "motif first(a, b) -> (c) { a -> c }\n"
    graph = structure(first + network("y = first(x, x)"))
    assert graph.instances["y"].inputs == ("y.a",)
    assert "y.b" not in graph.network


def test_a_motif_may_have_an_output_that_nothing_reads() -> None:
    fork = "motif fork(a) -> (b, c) { a -> b : relu\n a -> c : tanh }\n"
    graph = structure(fork + network("p, q = fork(x)\nq -> y\np -> y"))
    assert graph.instances["p"].outputs == ("p.b", "p.c")


# Each cell reads the one before the last: every second one feeds nothing that is needed.
LEAP = "motif leap(before, last) -> (out) { before ~> out : conv(3) | skip }\n"


def test_dead_cells_of_a_chain_are_dropped() -> None:
    graph = structure(LEAP + network("c = chain leap(x, x) times 4\nc -> y"))
    assert list(graph.instances) == ["", "c[1]", "c[3]"]
    assert {node.scope for node in graph.nodes()} == {"", "c[1]", "c[3]"}
    assert [edge.searched_gate.number for edge in graph.searched()] == [0, 1, 2, 3]


def test_retained_nodes_of_dead_cells_are_dropped() -> None:
    text = LEAP.replace("| skip }", "| skip\n retain 1 into out }")
    graph = structure(text + network("c = chain leap(x, x) times 4\nc -> y"))
    assert [retain.node for retain in graph.retains] == ["c[1].out", "c[3].out"]


def test_what_no_input_reaches_is_dropped_after_pruning() -> None:
    text = network("node g, h\nx -> g : relu\ng -> h : relu\n{x, h} -> y\nretain 1 into h")
    graph = structure(text)
    kept = {e.id for e in graph.edges()} - {"x->g:relu"}
    pruned = drop_dead(graph.subgraph(set(graph.network), kept))
    assert ids(pruned) == (["x", "y"], ["x->y:skip"])
    assert pruned.retains == ()


def test_what_reaches_no_output_is_dropped_after_pruning() -> None:
    graph = structure(network("node g, h\nx -> g : relu\ng -> h : relu\n{x, h} -> y"))
    kept = {e.id for e in graph.edges()} - {"h->y:skip"}
    pruned = drop_dead(graph.subgraph(set(graph.network), kept))
    assert ids(pruned) == (["x", "y"], ["x->y:skip"])


# ------------------------------------------------------------------------------ laws


def ids(graph: Graph) -> tuple[list[str], list[str]]:
    return [n.id for n in graph.nodes()], [e.id for e in graph.edges()]


@given(spaces())
def test_dropping_what_is_dead_is_idempotent(text: str) -> None:
    graph = graph_of(text)
    assert ids(drop_dead(graph)) == ids(graph)


@given(spaces())
def test_every_node_reaches_an_output_from_an_input(text: str) -> None:
    graph = graph_of(text)
    for node in graph.nodes():
        assert graph.incoming(node.id) or node.id in graph.root.inputs
        assert graph.outgoing(node.id) or node.id in graph.root.outputs


def test_of_two_numbers_that_stay_the_least_counts_for_ties() -> None:
    edges = "a ~> h[0] : skip | conv(3)\n a ~> h[1] : skip\n retain 2 into h\n retain 1 into h[0]"
    structure(tied(edges, "k = 1"))


def test_an_edge_that_one_tied_instance_lacks_is_not_chosen_there() -> None:
    """Nothing keeps it elsewhere: each instance has a way without it."""
    structure(tied("if k == 1 { a ~> h[0] : conv(3) | skip }", "k = 2"))
