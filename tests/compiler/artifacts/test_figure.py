"""Figures: what stands in the DOT source, and what happens without Graphviz."""

from __future__ import annotations

import re
import subprocess

import pytest
from attrs import evolve
from hypothesis import given
from living import OTHERS, PACKAGED, packaged
from pictures import INDENT, captions, found_of, labels
from strategies import spaces
from support import graph_of, network

from bayesnas.compiler.artifacts.derive import derive_spec
from bayesnas.compiler.artifacts.drawing.words import shortened
from bayesnas.compiler.artifacts.figure import draw, has_dot
from bayesnas.compiler.artifacts.graph_file import Annotation
from bayesnas.compiler.graph.model import Graph
from bayesnas.compiler.graph.prune import prune_graph
from bayesnas.compiler.pipeline import compile_spec
from bayesnas.dsl.printing.printer import print_spec

DOT = draw(graph_of(network("x ~> y : conv(3) | skip")))
needs_dot = pytest.mark.skipif(not has_dot(), reason="Graphviz is not installed")


# ------------------------------------------------------------------------------------ contents


@pytest.mark.parametrize("name", PACKAGED)
def test_motifs_choices_inputs_and_outputs_are_named(name: str) -> None:
    graph = packaged(name).graph
    dot = draw(graph)
    shown = labels(dot)
    for motif in {i.motif for i in graph.instances.values() if i.path}:
        assert any(label.startswith(f"motif {motif}") for label in shown), motif
    assert f"network {graph.name}" in shown
    for choice in {e.searched_gate.choice for e in graph.searched()} - {None}:
        assert choice in shown
        assert any(label.startswith(f"{choice}: one weight each for") for label in shown)
    for node in graph.nodes():
        if node.role in ("input", "output") and node.scope == "":
            mark = "▸" if node.role == "input" else "◂"
            size = "×".join(map(str, node.shape or ()))
            merge = " (+)" if len(graph.connections(node.id)) > 1 else ""
            assert f"{mark} {node.name}{merge} {size}" in shown


def test_the_legend_spells_a_choice_out() -> None:
    graph = packaged("digits_cell").graph
    [legend] = [label for label in labels(draw(graph)) if "one weight each" in label]
    for edge in graph.searched():
        assert edge.operation.label.partition("(")[0] in legend


def test_candidates_without_a_name_stand_on_their_edge() -> None:
    assert "conv(3) | skip" in labels(DOT)
    assert "style=dashed" in DOT


def test_merges_are_told() -> None:
    lines = ["a = concat(x, x)", "b = product(x, x)", "c = a : conv(1, 4)", "y = sum(b, c)"]
    graph = graph_of(network("\n".join(lines)))
    shown = " ".join(labels(draw(graph)))
    assert "a (concat)" in shown
    assert "b (×)" in shown
    assert "y (+)" in shown


@pytest.mark.parametrize("kind", ["tied chain", "chain"])
def test_cells_that_look_alike_are_drawn_once(kind: str) -> None:
    motif = "motif m(a) -> (b) { a ~> b : conv(3) | skip }\n"
    dot = draw(graph_of(motif + network(f"c = {kind} m(x) times 3\nc -> y")))
    assert [c[:2] for c in captions(dot) if c[0] == "motif m"] == [["motif m", "c[0–2]"]]


@pytest.mark.parametrize("name", PACKAGED | OTHERS)
def test_a_choice_is_spelled_out_once(name: str) -> None:
    """Above a motif that uses it, and nowhere else."""
    graph = packaged(name).graph
    spelled = [row.partition(": one weight each for ") for c in captions(draw(graph)) for row in c]
    names = sorted(name for name, colon, _ in spelled if colon)
    connections = [c for c in graph.all_connections() if len(c.edges) > 1]
    assert names == sorted({c.edges[0].choice for c in connections if c.edges[0].choice})


@pytest.mark.parametrize("name", PACKAGED)
def test_relays_are_drawn_if_asked_for(name: str) -> None:
    """Each dashed line starts at an i' node of its own."""
    graph = packaged(name).graph
    assert "shape=ellipse" not in draw(graph)
    dot = draw(graph, relays=True)
    relays = re.findall(r"^\s*(.*) \[label=.* shape=ellipse\]$", dot, re.MULTILINE)
    starts = re.findall(r"^\s*(.*) -> .*arrowhead=none.*style=dashed", dot, re.MULTILINE)
    assert relays
    assert sorted(relays) == sorted(starts)


@pytest.mark.parametrize(("kind", "count"), [("tied chain", 1), ("chain", 2)])
def test_cells_that_a_search_tells_apart_are_drawn_each(kind: str, count: int) -> None:
    motif = "motif m(a) -> (b) { a ~> b : conv(3) | skip }\n"
    graph = graph_of(motif + network(f"c = {kind} m(x) times 3\nc -> y"))
    removed = {graph.searched()[0].id: 1}
    gammas = {edge.id: 1.0 for edge in graph.searched()}
    shown = labels(draw(graph, Annotation(gammas, removed)))
    assert sum(label.startswith("motif m") for label in shown) == count


def test_many_edges_are_laid_as_lines() -> None:
    body = "node h[26]\nx -> h[0]\nfor k in 1..26 { h[..k] -> h[k] }\nh[25] -> y"
    assert "splines=line" in draw(graph_of(network(body)))
    assert "splines" not in draw(graph_of(network(body.replace("26", "16").replace("25", "15"))))


def test_lines_of_what_was_removed_count_as_well() -> None:
    operations = "conv(1) | conv(3) | skip"
    body = f"node h[18]\nx -> h[0]\nfor k in 1..18 {{ h[..k] ~> h[k] : {operations} }}\nh[17] -> y"
    graph = graph_of(network(body))
    assert "splines" not in draw(graph)
    assert "splines=line" in draw(graph, found_of(graph))


def pale(dot: str) -> list[str]:
    """What stands in the pale dashed lines, as it is in the source."""
    dashed = r'-> ("[^"]*") \[arrowhead=none color="#bbbbbb" headport=n style=dashed'
    lines = set(re.findall(dashed, dot))
    words = re.findall(r'^\s*("[^"]*") \[label="([^"]*)" fontcolor="#777777"', dot, re.MULTILINE)
    return [label for name, label in words if name in lines]


def told(label: str) -> frozenset[tuple[int, str]]:
    """Round and operation of everything that a pale label lists; indented lines go on."""
    whole = label.replace(f"\\l{INDENT}", " ")
    rounds = [re.fullmatch(r"(?:(\d+): )?(.*?)", line) for line in whole.split("\\l")[:-1]]
    assert all(rounds), label
    return frozenset(
        (int(found[1] or 0), operation)
        for found in rounds
        if found
        for operation in re.split(r", (?![^(]*\))", found[2])
    )


def assert_tells_removals(graph: Graph, found: Annotation) -> None:
    """A pale line a connection that lost anything, with every lost operation and its round."""
    lost = [
        frozenset(
            (found.removed[e.id], e.operation.label) for e in c.edges if e.id in found.removed
        )
        for c in graph.all_connections()
    ]
    shown = [told(label) for label in pale(draw(graph, found))]
    assert set(shown) == {one for one in lost if one}


@pytest.mark.parametrize(
    ("gamma", "text"), [(0.3, "0.30"), (0.512, "0.51"), (12.4, "12"), (5e-5, "5.0e-05"), (1, "1.0")]
)
def test_numbers_in_a_figure_have_two_digits(gamma: float, text: str) -> None:
    assert shortened(gamma) == text


def test_a_search_shows_gammas_and_pale_edges() -> None:
    graph = packaged("dense_motif").graph  # untied: each instance is drawn
    found = found_of(graph)
    dot = draw(graph, found)
    shown = " ".join(labels(dot))
    kept = [e for e in graph.searched() if e.id not in found.removed]
    assert len(re.findall(r"γ \d", shown)) == len(kept)
    for edge in kept:
        assert f"γ {shortened(found.gammas[edge.id])}" in shown
    connections = [c for c in graph.all_connections() if c.searched]
    lost = [{e.id for e in c.edges} & found.removed.keys() for c in connections]
    assert any(0 < len(ids) < len(c.edges) for ids, c in zip(lost, connections, strict=True))
    assert any(len(ids) == len(c.edges) for ids, c in zip(lost, connections, strict=True))
    assert len(pale(dot)) == sum(map(bool, lost))
    assert "one weight each" not in shown
    assert "dashed, pale: removed, and in which round" in shown


def test_the_legend_of_a_search_speaks_of_gammas_where_there_are_some() -> None:
    graph = graph_of(network("x ~> y : conv(1) | conv(3)"))
    first, second = (edge.id for edge in graph.searched())
    without = draw(graph, Annotation({}, {first: 1}))
    assert "thick: what the search kept" in without
    assert "γ" not in without
    assert "kept, with its γ" in draw(graph, Annotation({second: 0.5}, {first: 1}))


@pytest.mark.parametrize("name", PACKAGED)
def test_removals_are_told_with_their_rounds(name: str) -> None:
    graph = packaged(name).graph
    assert_tells_removals(graph, found_of(graph))


def test_rounds_are_in_order_and_unknown_ones_have_no_number() -> None:
    graph = graph_of(network("x ~> y : conv(1) | conv(3) | conv(5) | max_pool(3) | skip"))
    names = ("conv_1", "conv_3", "conv_5", "max_pool_3")
    removed = {f"x->y:{name}": n for name, n in zip(names, (10, 2, 0, 2), strict=True)}
    [label] = pale(draw(graph, Annotation({}, removed)))
    assert label == r"conv(5)\l2: conv(3), max_pool(3)\l10: conv(1)\l"


def test_long_lists_of_removals_are_wrapped_at_operations_and_stages() -> None:
    long = "relu >> depthwise_conv(3) >> conv(1) >> bn(affine=0)"
    graph = graph_of(network(f"x ~> y : conv(3, width=4) | conv(5, width=4) | {long} | skip"))
    [label] = pale(draw(graph, Annotation({}, {e.id: 2 for e in graph.searched()})))
    assert label.split(r"\l") == [
        "2: conv(3, width=4),",
        f"{INDENT}conv(5, width=4), relu",
        f"{INDENT}>> depthwise_conv(3)",
        f"{INDENT}>> conv(1)",
        f"{INDENT}>> bn(affine=0), skip",
        "",
    ]


def test_the_figure_of_a_result_has_no_candidates() -> None:
    compiled = packaged("digits_cell")
    spec = derive_spec(compiled, prune_graph(compiled.graph, []))
    dot = draw(graph_of(print_spec(spec)))
    assert "style=dashed" not in dot
    assert "sep(3)" in " ".join(labels(dot))


@given(spaces())
def test_any_space_can_be_drawn(text: str) -> None:
    graph = graph_of(text)
    shown = labels(draw(graph))
    for motif in {i.motif for i in graph.instances.values() if i.path}:
        assert any(label.startswith(f"motif {motif}") for label in shown)
    if graph.searched():
        assert_tells_removals(graph, found_of(graph))


# --------------------------------------------------------------------------------- Graphviz


def complaints(dot: str) -> tuple[int, str]:
    command = ["dot", "-Tplain"]
    done = subprocess.run(command, input=dot, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


@needs_dot
@pytest.mark.parametrize("name", PACKAGED)
def test_graphviz_reads_it(name: str) -> None:
    graph = packaged(name).graph
    for dot in (draw(graph), draw(graph, found_of(graph))):
        assert complaints(dot) == (0, "")


@needs_dot
def test_ports_of_any_name_are_found() -> None:
    """Graphviz warns of a port that it does not know; `n` and `node` mean something to it."""
    graph = graph_of(
        "motif edge(n, _1, graph) -> (s, digraph) "
        "{ n ~> s : conv(3) | skip; {_1, graph} ~> digraph : conv(3) | skip }\n"
        + network("strict, subgraph = edge(x, x, x)\n{strict, subgraph} -> y")
    )
    assert complaints(draw(graph)) == (0, "")


@needs_dot
def test_names_are_no_markup() -> None:
    """A graph.json may call a choice or an operation what is HTML, or ends a field, to Graphviz."""
    graph = packaged("digits_cell").graph
    edges = [
        evolve(
            edge,
            gate=edge.gate and evolve(edge.gate, choice=edge.choice and "<b>&amp; {x|y}"),
            operation=evolve(edge.operation, label=f"<i>{edge.operation.label}</i>"),
        )
        for edge in graph.edges()
    ]
    dot = draw(graph.rebuild(graph.nodes(), edges))
    assert complaints(dot) == (0, "")
    assert any(label.startswith("<b>&amp; {x|y}: one weight each for <i>") for label in labels(dot))
    assert "<i>fit(8)</i>" in labels(dot)


def test_a_scan_has_a_loop_and_a_way_back() -> None:
    dot = draw(compile_spec("darts_rnn").graph)
    assert any("↻ cell" in label and "32×35" in label for label in labels(dot))
    [back] = [line for line in dot.splitlines() if "constraint=false" in line]
    assert "after" in back
    assert "before" in back
