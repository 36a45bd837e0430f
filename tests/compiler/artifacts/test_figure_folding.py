"""Figures: what is drawn once for many, and what must not be."""

from __future__ import annotations

import re

import pytest
from pictures import captions, found_of, labels
from support import graph_of, network

from bayesnas.compiler.artifacts.figure import draw
from bayesnas.compiler.artifacts.graph_file import Annotation
from bayesnas.compiler.pipeline import compile_spec

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


def test_instances_that_differ_in_expansion_are_drawn_each() -> None:
    motif = "motif m(a; by) -> (b) { b = a : conv(1, expand = by) >> conv(1, 4) }\n"
    dot = draw(graph_of(motif + network("c = m(x; by = 2)\nd = m(c; by = 3)\nd -> y")))
    assert [whose for title, *whose in captions(dot) if title == "motif m"] == [["c"], ["d"]]


def test_motifs_whose_chains_fold_differently_are_drawn_each() -> None:
    """Not one for both: it would say that all links of the other are alike as well."""
    text = CELL + "motif stage(a) -> (b) { c = chain m(a) times 2\nc -> b }\n"
    graph = graph_of(text + network("s = stage(x)\nt = stage(s)\nt -> y"))
    assert drawn_boxes(draw(graph)) == ["c[0–1] m × 2", "s stage", "t stage"]
    first = next(edge.id for edge in graph.searched() if edge.scope == "t.c[1]")
    shown = drawn_boxes(draw(graph, Annotation({}, {first: 1})))
    assert shown == ["c[0] m", "c[0–1] m × 2", "c[1] m", "s stage", "t stage"]


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
