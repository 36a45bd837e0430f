"""Figures: what stands in the DOT source, and what happens without Graphviz."""

from __future__ import annotations

import re
import subprocess
from html import unescape

import pytest
from attrs import evolve
from hypothesis import given
from living import OTHERS, PACKAGED, packaged
from strategies import spaces
from support import graph_of, network

from bayesnas.compiler.artifacts.derive import derive_spec
from bayesnas.compiler.artifacts.figure import draw, has_dot
from bayesnas.compiler.artifacts.graph_file import Annotation
from bayesnas.compiler.graph.model import Graph
from bayesnas.compiler.graph.prune import prune_graph
from bayesnas.compiler.pipeline import compile_spec
from bayesnas.dsl.printer import print_spec

DOT = draw(graph_of(network("x ~> y : conv(3) | skip")))
GREY = "#777777"
INDENT = "\N{NO-BREAK SPACE}" * 4
needs_dot = pytest.mark.skipif(not has_dot(), reason="Graphviz is not installed")


def labels(dot: str) -> list[str]:
    """Labels as a reader sees them, line breaks as spaces; each line of a caption as one."""
    found = re.findall(r'label="((?:[^"\\]|\\.)*)"|label=([^\s"<\]]+)', dot)
    plain = [
        re.sub(r"(\\[nlr]|\n|\s)+", " ", quoted or bare).replace('\\"', '"').strip()
        for quoted, bare in found
    ]
    return plain + [row for caption in captions(dot) for row in caption]


def captions(dot: str) -> list[list[str]]:
    """What stands above each drawing, the lines of each part as one: title, paths, choices."""
    result = []
    for table in re.findall(r"label=<<table.*?>(.*?)</table>>", dot):
        rows = re.findall(r'<font point-size="\d+" color="([^"]*)">(.*?)</font>', table)
        parts: list[str] = []
        for color, row in rows:
            text = unescape(re.sub(r"</?b>", "", row))
            goes_on = text.startswith(INDENT) or (color == GREY and parts[1:])
            if goes_on:
                parts[-1] += " " + text.strip()
            else:
                parts.append(text)
        result.append(parts)
    return result


# ------------------------------------------------------------------------------------ contents


@pytest.mark.parametrize("name", PACKAGED)
def test_motifs_choices_inputs_and_outputs_are_named(name: str) -> None:
    graph = packaged(name).graph
    dot = draw(graph)
    shown = labels(dot)
    for motif in {i.motif for i in graph.instances.values() if i.path}:
        assert any(label.startswith(f"motif {motif}") for label in shown), motif
    assert f"network {graph.name}" in shown
    for choice in {e.choice for e in graph.searched() if e.choice}:
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


CELL = "motif m(a) -> (b) { a ~> b : conv(3) | skip }\n"
PAIR = "motif m(a, z) -> (b) { {a, z} ~> b : conv(3) | skip }\n"


def drawn_boxes(dot: str) -> list[str]:
    """The instances in the network, as `name motif × count`, without sizes and ports."""
    records = re.findall(
        r'label="\{(?:\{[^}]*\}\|)?([^|}]*)[^"]*" fillcolor="#\w+" shape=record', dot
    )
    return sorted(" ".join(record.split(r"\n")[:2]) for record in records)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("c = chain m(x) times 5\nc -> y", ["c[0–4] m × 5"]),
        ("c = tied chain m(x) times 2\nd = m(c)\nd -> y", ["c[0–1] m × 2", "d m"]),
        ("c = chain m(x) times 1\nc -> y", ["c[0] m"]),
        # What reads or feeds a link from outside shows.
        ("c = chain m(x) times 4\ny = sum(c[1], c[3])", ["c[0–1] m × 2", "c[2–3] m × 2"]),
        ("node c[2]\nc[0] = m(x)\nd = c[0] : relu\nc[1] = m(d)\nc[1] -> y", ["c[0] m", "c[1] m"]),
        ("node c[2]\nc[0] = m(x)\nc[1] = m(x)\ny = sum(c)", ["c[0] m", "c[1] m"]),
        ("node c[2]\nc[0] = m(x)\nc[1] = m(c[0])\nc[1] -> y", ["c[0–1] m × 2"]),
    ],
)  # fmt: skip
def test_links_of_a_chain_that_are_alike_share_a_box(body: str, expected: list[str]) -> None:
    assert drawn_boxes(draw(graph_of(CELL + network(body)))) == expected


def test_a_folded_link_may_read_the_two_before_it() -> None:
    dot = draw(graph_of(PAIR + network("c = chain m(x, x) times 4\nc -> y")))
    assert drawn_boxes(dot) == ["c[0–3] m × 4"]
    lines = [line.strip() for line in dot.splitlines() if line.strip().startswith("x -> ")]
    assert lines == [f'x -> "%instance c[0]" [headport={port}]' for port in ("a", "z")]


def test_links_that_differ_are_not_folded() -> None:
    boxes = drawn_boxes(draw(compile_spec("digits_cell", {"cells": 5}).graph))
    kinds = [f"body[{k}] cell, {kind}" for k, kind in ((0, "normal"), (1, "reduction"))]
    assert boxes == [
        *kinds,
        "body[2] cell, normal",
        "body[3] cell, reduction",
        "body[4] cell, normal",
    ]
    graph = graph_of(CELL + network("c = chain m(x) times 3\nc -> y"))
    removed = {graph.searched()[0].id: 1}
    assert drawn_boxes(draw(graph, Annotation({}, removed))) == ["c[0] m", "c[1–2] m × 2"]


@pytest.mark.parametrize(
    ("kernel", "expected"), [(3, ["c, d with the numbers of c"]), (5, ["c", "d"])]
)
def test_instances_that_differ_in_widths_alone_are_drawn_once(
    kernel: int, expected: list[str]
) -> None:
    motif = "motif m(a; width, kernel) -> (b) { b = a : conv(kernel, width) }\n"
    body = f"c = m(x; width = 8, kernel = 3)\nd = m(c; width = 4, kernel = {kernel})\nd -> y"
    shown = captions(draw(graph_of(motif + network(body))))
    assert [whose for title, *whose in shown if title == "motif m"] == [[one] for one in expected]


@pytest.mark.parametrize("name", PACKAGED | OTHERS)
def test_a_choice_is_spelled_out_once(name: str) -> None:
    """Above a motif that uses it, and nowhere else."""
    graph = packaged(name).graph
    spelled = [row.partition(": one weight each for ") for c in captions(draw(graph)) for row in c]
    names = sorted(name for name, colon, _ in spelled if colon)
    connections = [c for c in graph.all_connections() if len(c.edges) > 1]
    assert names == sorted({c.edges[0].choice for c in connections if c.edges[0].choice})


DENSE = (
    "node h[{0}]\nx -> h[0]\nfor k in 1..{0} {{ {{x, h[..k]}} ~> h[k] : skip }}\nh[{0} - 1] -> y"
)
LISTS = """\
node seen[{0}], h[{0}]
for k in 0..{0} {{
    {{x, h[..k]}} ~> seen[k] : skip
    h[k] = seen[k] : conv(3)
}}
y = sum(h)"""


def test_lists_in_which_too_much_is_searched_are_drawn_as_one_element() -> None:
    graph = graph_of(network(LISTS.format(9)))
    dot = draw(graph)
    shown = labels(dot)
    assert {"seen[k] (+) 4×8×8", "h[k] 4×8×8", "h[..k]", "h[0–8]"} <= set(shown)
    assert not any(label.startswith(("h[3]", "seen[3]")) for label in shown)
    assert "drawn once for k from 0 to 8; [..k] is all before k" in " ".join(shown)
    assert dot.count("label=skip") == 2  # from x, and from h[..k]
    assert "h[3] 4×8×8" in labels(draw(graph_of(network(LISTS.format(4)))))
    assert "h[3] 4×8×8" in " ".join(labels(draw(graph, found_of(graph))))


def test_lists_whose_elements_differ_are_drawn_in_full_without_words() -> None:
    shown = labels(draw(graph_of(network(DENSE.format(9)))))
    assert {f"h[{k}] (+) 4×8×8" for k in range(1, 9)} <= set(shown)
    assert "skip" not in shown
    assert "dashed lines without words: skip" in shown


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


def found_of(graph: Graph) -> Annotation:
    """Every second operation went, and all of one connection; tied ones together."""
    first = graph.searched()[0].connection
    removed = {
        edge.id: number % 3
        for number, group in enumerate(graph.groups().values())
        if number % 2 == 0 or any(e.connection == first for e in group)
        for edge in group
    }
    gammas = {e.id: 0.01 * (n + 1) for n, e in enumerate(graph.searched())}
    return Annotation(gammas, removed)


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


def test_a_search_shows_gammas_and_pale_edges() -> None:
    graph = packaged("dense_motif").graph  # untied: each instance is drawn
    found = found_of(graph)
    dot = draw(graph, found)
    shown = " ".join(labels(dot))
    kept = [e for e in graph.searched() if e.id not in found.removed]
    assert len(re.findall(r"γ \d", shown)) == len(kept)
    for edge in kept:
        assert f"γ {found.gammas[edge.id]:.2g}" in shown
    connections = [c for c in graph.all_connections() if c.searched]
    lost = [{e.id for e in c.edges} & found.removed.keys() for c in connections]
    assert any(0 < len(ids) < len(c.edges) for ids, c in zip(lost, connections, strict=True))
    assert any(len(ids) == len(c.edges) for ids, c in zip(lost, connections, strict=True))
    assert len(pale(dot)) == sum(map(bool, lost))
    assert "one weight each" not in shown
    assert "dashed, pale: removed, and in which round" in shown


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
            choice=edge.choice and "<b>&amp; {x|y}",
            operation=evolve(edge.operation, label=f"<i>{edge.operation.label}</i>"),
        )
        for edge in graph.edges()
    ]
    dot = draw(graph.rebuild(graph.nodes(), edges))
    assert complaints(dot) == (0, "")
    assert any(label.startswith("<b>&amp; {x|y}: one weight each for <i>") for label in labels(dot))
    assert "<i>fit(8)</i>" in labels(dot)
