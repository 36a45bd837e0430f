"""Motifs passed as parameters, and instances tied wherever they stand."""

from __future__ import annotations

import pytest
from support import assert_refused, compile_text, graph_of, network, refused, resolve_text

from bayesnas.compiler.artifacts.derive import derive_spec
from bayesnas.compiler.emit.pytorch import emit_torch
from bayesnas.compiler.graph.cost import graph_cost
from bayesnas.compiler.space.draws import draw_member
from bayesnas.dsl.printing.printer import print_spec

MOTIFS = """\
motif one(a; kernel = 1) -> (b) {
    a ~> b : conv(kernel) | skip
}
motif three(a) -> (b) {
    b = one(a; kernel = 3)
}
motif twice(a; motif inner = one) -> (b) {
    h = inner(a)
    b = inner(h)
}
motif deep(a; motif outer, motif inner) -> (b) {
    b = outer(a; inner = inner)
}
"""


def labels(body: str) -> list[str]:
    return [edge.operation.label for edge in graph_of(MOTIFS + network(body)).searched()]


@pytest.mark.parametrize(
    ("body", "operations"),
    [
        ("    y = twice(x)", ["conv(1)", "skip"] * 2),
        ("    y = twice(x; inner = three)", ["conv(3)", "skip"] * 2),
        ("    y = deep(x; outer = twice, inner = three)", ["conv(3)", "skip"] * 2),
        ("    h = chain twice(x; inner = three) times 2\n    y = sum(h)", ["conv(3)", "skip"] * 4),
    ],
)
def test_what_is_passed_is_what_is_made(body: str, operations: list[str]) -> None:
    assert labels(body) == operations


@pytest.mark.parametrize(
    "body", ["    y = twice(x)", "    y = deep(x; outer = twice, inner = three)"]
)
def test_passing_a_motif_is_writing_it(body: str) -> None:
    passed = graph_of(MOTIFS + network(body))
    kernel = "three" if "three" in body else "one"
    written = f"    h = {kernel}(x)\n    y = {kernel}(h)"
    assert graph_cost(passed) == graph_cost(graph_of(MOTIFS + network(written)))


def test_a_member_names_no_motif_parameter() -> None:
    compiled = compile_text(MOTIFS + network("    y = deep(x; outer = twice, inner = three)"))
    _, pruned = draw_member(compiled.graph, 0)
    text = print_spec(derive_spec(compiled, pruned))
    assert "motif inner" not in text
    assert "inner =" not in text
    assert graph_cost(compile_text(text).graph) == graph_cost(pruned)


def test_classes_of_what_is_passed_are_emitted_once() -> None:
    graph = graph_of(MOTIFS + network("    h = twice(x)\n    y = twice(h; inner = three)"))
    source = emit_torch(graph, "spec.nas").source
    assert source.count("class Twice") == 1
    assert source.count("class Three") == 1


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        (
            MOTIFS + network("    §y = deep(x; outer = twice)"),
            "D204",
            "`deep` needs a value for `inner`",
        ),
        (MOTIFS + network("    y = twice(x; inner = §thre)"), "D211", "unknown motif `thre`"),
        (MOTIFS + network("    y = twice(x; inner = §3)"), "D204", "`inner` takes a motif"),
        (
            MOTIFS + network("    y = one(x; kernel = §three)"),
            "D205",
            "`three` is no parameter or loop variable here",
        ),
        ("motif m(a; §motif n = o) -> (b) {\n    b = n(a)\n}", "D211", "unknown motif `o`"),
        (
            MOTIFS + "motif m(a; §motif one) -> (b) {\n    b = one(a)\n}",
            "D208",
            "parameter `one` hides the motif of that name",
        ),
        ("motif m(a; k, §motif k) -> (b) {\n    b = k(a)\n}", "D208", "parameter `k` stands twice"),
    ],
)
def test_wrong_names(text: str, code: str, message: str) -> None:
    action = compile_text if "network" in text else resolve_text
    assert_refused(text, code, message, action)


TWO = "motif two(a, b) -> (c) {\n    c = sum(a, b)\n}\n"


@pytest.mark.parametrize(
    ("call", "code", "message"),
    [
        ("twice(x; inner = two)", "D212", "`two` has 2 inputs, 1 given"),
        ("twice(x; inner = deep)", "D204", "`deep` needs a value for `outer` and `inner`"),
    ],
)
def test_what_is_passed_must_fit_where_it_is_called(call: str, code: str, message: str) -> None:
    """The error stands at the call inside `twice`."""
    found = refused(MOTIFS + TWO + network(f"    y = {call}"))
    assert [(d.code, d.message) for d in found] == [(code, message)] * 2
    assert [(d.span.line, d.span.column) for d in found if d.span] == [(8, 5), (9, 5)]


# ------------------------------------------------------------------------------ tied instances


def groups(body: str) -> list[str]:
    return list(graph_of(MOTIFS + network(body)).groups())


def test_tied_instances_share_their_groups() -> None:
    untied = groups("    h = one(x)\n    y = one(h)")
    tied = groups("    h = tied one(x)\n    y = tied one(h)")
    numbered = groups("    h = tied(0) one(x)\n    y = tied(1) one(h)")
    assert [len(g) for g in (untied, tied, numbered)] == [4, 2, 4]
    assert tied == ["tied one.a->b:conv_kernel", "tied one.a->b:skip"]


NESTED = MOTIFS + "motif both(a) -> (b) {\n    h = TIE one(a)\n    b = TIE one(h)\n}\n"


@pytest.mark.parametrize(("tie", "count"), [("", 8), ("tied", 4), ("tied(3)", 2)])
def test_a_number_ties_through_the_whole_network(tie: str, count: int) -> None:
    text = NESTED.replace("TIE", tie) + network("    h = both(x)\n    y = both(h)")
    assert len(graph_of(text).groups()) == count


def test_chains_are_tied_by_number() -> None:
    body = (
        "    h = tied(0) chain one(x) times 2\n    k = tied(0) chain one(h) times 2\n    y = sum(k)"
    )
    assert len(groups(body)) == 2


def test_a_loop_ties_by_its_variable() -> None:
    body = "    node h[4]\n    x -> h[0]\n    for k in 1..4 {\n"
    body += "        h[k] = tied(k % 2) one(h[k - 1])\n    }\n    y = sum(h[3])"
    text = MOTIFS + network(body.replace("    x -> h[0]\n", "").replace("h[k - 1]", "x"))
    assert len(graph_of(text.replace("sum(h[3])", "sum(h[1..])")).groups()) == 4


def test_a_chain_that_reduces_gives_the_stride_itself() -> None:
    motif = "motif m(a; width, stride = 1) -> (b) {\n    b = a : conv(3, width, stride)\n}\n"
    body = "    h = chain m(x; width = 4, §stride = 2) times 2 reduce at 1\n    y = h[0] : skip"
    assert_refused(motif + network(body), "D204", "a reducing chain gives `stride` itself")
