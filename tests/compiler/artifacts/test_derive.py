"""Back to the language: what a search leaves is a spec like any other.

The law is `assert_derives`: the derived spec compiles to the graph that was left, operation for
operation and number for number.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from living import PACKAGED, packaged
from reference import run_graph
from strategies import spaces
from support import compile_text, graph_of, network, parse_text

from bayesnas.compiler.artifacts.derive import derive_spec
from bayesnas.compiler.expand.expansion import expand
from bayesnas.compiler.graph.auxiliary import without_auxiliary
from bayesnas.compiler.graph.cost import graph_cost
from bayesnas.compiler.graph.model import Edge, Graph, ParallelStage
from bayesnas.compiler.graph.prune import prune_graph
from bayesnas.compiler.passes.shapes import infer_shapes
from bayesnas.compiler.passes.structure import check_structure
from bayesnas.compiler.pipeline import Compiled
from bayesnas.dsl.diagnostics import DiagnosticError
from bayesnas.dsl.printing.printer import print_spec

SEEDS = range(6)


def derived_text(compiled: Compiled, removed: Iterable[str]) -> str:
    return print_spec(derive_spec(compiled, prune_graph(compiled.graph, removed)))


def left_of(compiled: Compiled, removed: Iterable[str]) -> Graph:
    """What is left, its shapes inferred anew: a concat that lost arrivals has fewer channels."""
    expanded = expand(compiled.program, compiled.network, compiled.values)
    shaped = infer_shapes(check_structure(expanded))
    lasting = without_auxiliary(evolve(shaped, objectives=compiled.training.objectives))
    return infer_shapes(prune_graph(lasting, removed))


def edges_of(graph: Graph) -> Counter[tuple[str, str, str]]:
    """Every operation between two nodes, seen through i' nodes; fixed and searched alike.

    Operations summed in one candidate become operations of one edge.
    """
    return Counter(
        (c.source, c.target, part)
        for c in graph.all_connections()
        for edge in c.edges
        for part in summed(edge)
    )


def operations_of(graph: Graph) -> Counter[str]:
    """Every operation, wherever: an instance whose first output died goes by its second."""
    return Counter(label for _, _, label in edges_of(graph).elements())


def summed(edge: Edge) -> list[str]:
    stages = edge.operation.stages
    alone = len(stages) == 1 and isinstance(stages[0], ParallelStage)
    return edge.operation.label.split(" + ") if alone else [edge.operation.label]


def assert_derives(compiled: Compiled, removed: Iterable[str]) -> str:
    removed = list(removed)
    text = derived_text(compiled, removed)
    assert print_spec(parse_text(text)) == text
    found, left = compile_text(text), left_of(compiled, removed)
    assert found.graph.searched() == []
    assert operations_of(found.graph) == operations_of(left)
    assert graph_cost(found.graph) == graph_cost(left)
    assert_computes_the_same(found.graph, left)
    return text


def assert_computes_the_same(found: Graph, left: Graph) -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = [left.node(i).shape or () for i in left.root.inputs]
    images = [torch.randn(2, *s, generator=generator, dtype=torch.float64) for s in shapes]
    ones = torch.ones(len(left.searched()), dtype=torch.float64)
    results = run_graph(found, images, ones), run_graph(left, images, ones)
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9, equal_nan=True)


def drawn(compiled: Compiled, seed: int, by_group: bool) -> list[str]:
    """Random edges, fewer where an output would be cut off."""
    chance = random.Random(seed)
    groups = list(compiled.graph.groups().values())
    if not by_group:
        groups = [[edge] for group in groups for edge in group]
    chosen = chance.sample(groups, round(chance.choice([0.2, 0.5, 0.8]) * len(groups)))
    while chosen:
        removed = [edge.id for group in chosen for edge in group]
        try:
            prune_graph(compiled.graph, removed)
        except DiagnosticError:
            chosen = chosen[: len(chosen) // 2]
        else:
            return removed
    return []


# ------------------------------------------------------------------------------------ the law


@pytest.mark.parametrize("by_group", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", PACKAGED)
def test_packaged_specs(name: str, seed: int, by_group: bool) -> None:
    compiled = packaged(name)
    removed = drawn(compiled, seed, by_group)
    assert removed
    text = assert_derives(compiled, removed)
    assert edges_of(compile_text(text).graph) == edges_of(left_of(compiled, removed))


@given(spaces(), st.integers(0, 1000), st.booleans())
def test_any_space(text: str, seed: int, by_group: bool) -> None:
    compiled = compile_text(text)
    assert_derives(compiled, drawn(compiled, seed, by_group))


@given(spaces(), st.integers(0, 1000))
def test_deriving_again_changes_nothing(text: str, seed: int) -> None:
    compiled = compile_text(text)
    first = derived_text(compiled, drawn(compiled, seed, True))
    again = compile_text(first)
    second = derived_text(again, [])
    assert operations_of(compile_text(second).graph) == operations_of(again.graph)


@pytest.mark.parametrize("name", PACKAGED)
def test_nothing_removed_keeps_every_candidate(name: str) -> None:
    compiled = packaged(name)
    text = assert_derives(compiled, [])
    assert edges_of(compile_text(text).graph) == edges_of(compiled.graph)
    assert "~>" not in text
    assert "choice" not in text


# -------------------------------------------------------------------------------------- pruning


def removal_refused(graph: Graph, removed: Iterable[str]) -> DiagnosticError:
    with pytest.raises(DiagnosticError) as caught:
        prune_graph(graph, removed)
    return caught.value


@pytest.mark.parametrize("name", PACKAGED)
def test_removing_everything_is_an_error(name: str) -> None:
    """That is the case where no fixed edge leads on."""
    graph = packaged(name).graph if name != "dense_motif" else graph_of(network("x ~> y : relu"))
    error = removal_refused(graph, [e.id for e in graph.searched()])
    [found] = error.diagnostics
    assert (found.code, error.status) == ("D601", 1)
    assert found.message.startswith("pruning would leave no way between the inputs and `")
    assert found.notes == (f"{len(graph.searched())} operations would be removed",)
    assert found.help


def test_one_of_two_outputs_cut_off_is_an_error() -> None:
    graph = graph_of("""
        network net(x: [4, 8, 8]) -> (y: [4, 8, 8], v: [4, 8, 8]) {
            x ~> y : conv(3) | skip
            x ~> v : conv(3) | skip
        }""")
    error = removal_refused(graph, ["x->v:conv_3", "x->v:skip"])
    assert "`v`" in error.diagnostics[0].message


def test_an_input_that_is_no_longer_heard_is_an_error() -> None:
    graph = graph_of("""
        network net(x: [4, 8, 8], z: [4, 8, 8]) -> (y: [4, 8, 8]) {
            x -> y
            z ~> y : conv(3) | skip
        }""")
    error = removal_refused(graph, ["z->y:conv_3", "z->y:skip"])
    assert "`z`" in error.diagnostics[0].message


DIAMOND = network("""
    node a, b, c
    x ~> a : conv(3) | skip
    a -> b : conv(3)
    b ~> y : conv(1) | skip
    x ~> c : conv(5) | skip
    c ~> y : relu | skip""")


def live(graph: Graph) -> set[str]:
    return {node.id for node in graph.nodes() if node.role != "relay"}


def test_what_hears_no_input_goes() -> None:
    graph = graph_of(DIAMOND)
    left = prune_graph(graph, ["x->a:conv_3", "x->a:skip"])
    assert live(left) == {"x", "c", "y"}
    assert {e.operation.label for e in left.searched()} == {"conv(5)", "skip", "relu"}


def test_what_reaches_no_output_goes() -> None:
    graph = graph_of(DIAMOND)
    left = prune_graph(graph, ["b->y:conv_1", "b->y:skip"])
    assert live(left) == {"x", "c", "y"}


def test_gates_are_numbered_anew() -> None:
    left = prune_graph(graph_of(DIAMOND), ["x->a:conv_3"])
    assert [e.searched_gate.number for e in left.searched()] == list(range(7))


def test_a_product_that_lost_a_factor_is_dead() -> None:
    """A removed edge passes zeros, and a product with a zero is zero (see gamma)."""
    text = network("""
        node a
        p = product(x)
        a -> p
        x ~> a : conv(3) | sigmoid
        {x, p} ~> y : conv(1) | skip""")
    left = prune_graph(graph_of(text), ["x->a:conv_3", "x->a:sigmoid"])
    assert live(left) == {"x", "y"}


# -------------------------------------------------------------------------------------- examples


def removed_by(compiled: Compiled, *groups: str) -> list[str]:
    known = compiled.graph.groups()
    return [edge.id for group in groups for edge in known[group]]


def kept_only(compiled: Compiled, *groups: str) -> list[str]:
    return removed_by(compiled, *(g for g in compiled.graph.groups() if g not in groups))


def test_the_text_of_a_small_network() -> None:
    compiled = compile_text("choice two = conv(3) | skip\n" + network("x ~> y : two"))
    assert assert_derives(compiled, ["x->y:skip"]) == (
        "network net(x: [4, 8, 8]) -> (y: [4, 8, 8]) {\n    x -> y : conv(3)\n}\n"
    )


def test_several_operations_survive_on_one_edge() -> None:
    compiled = compile_text(network("x ~> y : conv(3) >> bn | conv(1) | max_pool(3) | skip"))
    text = assert_derives(compiled, ["x->y:max_pool_3"])
    assert "x -> y : conv(3) >> bn + conv(1) + skip" in text


def test_candidates_that_are_conditional_survive() -> None:
    compiled = compile_text(
        "motif m(a; stride = 1) -> (b) {\n"
        "    a ~> b : (if stride == 1 then skip else max_pool(3, stride))\n"
        "           | conv(3, stride = stride)\n"
        "}\n" + network("p = m(x)\nq = m(p; stride = 2)\nq -> y : upsample(2)")
    )
    assert_derives(compiled, [])
    assert_derives(compiled, [compiled.graph.searched()[1].id, compiled.graph.searched()[2].id])


def test_a_tied_chain_folds_back() -> None:
    """One motif for both kinds of cell, so that the result can be trained deeper."""
    compiled = packaged("digits_cell")
    groups = list(compiled.graph.groups())
    normal = [g for g in groups if g.startswith("body/normal")]
    reduction = [g for g in groups if g.startswith("body/reduction")]
    if not normal:  # two cells are both reductions
        compiled = compile_text(Path("specs/digits_cell.nas").read_text(), cells=3, width=4)
        groups = list(compiled.graph.groups())
        normal = [g for g in groups if g.startswith("body/normal")]
        reduction = [g for g in groups if g.startswith("body/reduction")]
    text = assert_derives(compiled, removed_by(compiled, *normal[::2], *reduction[1::2]))
    assert text.count("motif ") == 1
    assert "if stride == 1 {" in text
    assert "} else {" in text
    assert "tied chain cell(stem, stem; width = width) times cells" in text
    deeper = compile_text(text, cells=6)
    assert deeper.graph.searched() == []
    assert len([i for i in deeper.graph.instances.values() if i.motif == "cell"]) == 6
    wider = compile_text(text, width=8)
    assert graph_cost(wider.graph).parameters > graph_cost(compile_text(text).graph).parameters


def test_a_chain_that_does_not_reduce_folds_without_a_condition() -> None:
    text = "motif m(a) -> (b) { a ~> b : conv(3) | conv(1) | skip }\n"
    compiled = compile_text(text + network("c = tied chain m(x) times 3\nc -> y"))
    derived = assert_derives(compiled, removed_by(compiled, "c.a->b:conv_1"))
    assert "c = tied chain m(x) times 3" in derived
    assert "    if " not in derived


UNTIED = """
motif m(a, b; width, stride = 1, lag = 1) -> (out) {
    p = a : conv(1, width, lag * stride)
    q = b : conv(1, width, stride)
    {p, q} ~> out : conv(3) | max_pool(3) | skip
}
network net(x: [4, 8, 8]; width = 2, cells = 3) -> (y: [3]) {
    body = chain m(x, x; width = width) times cells reduce at 1
    body -> y : flatten >> linear(3)
}
"""


def test_an_untied_chain_is_written_out() -> None:
    compiled = compile_text(UNTIED)
    removed = [e.id for n, e in enumerate(compiled.graph.searched()) if n % 5 == 1]
    text = assert_derives(compiled, removed)
    assert "chain" not in text
    assert "node body[3]" in text
    assert "body[1] = m_2(x, body[0]; width = 4, stride = 2, lag = 1)" in text
    assert "body[2] -> y" in text
    # Its length and width stand in the text now: another value would change nothing.
    assert "network net(x: [4, 8, 8]) -> (y: [3]) {" in text
    with pytest.raises(DiagnosticError) as caught:
        compile_text(text, cells=5)
    assert [(d.code, d.message) for d in caught.value.diagnostics] == [
        ("D410", "network `net` has no parameter `cells`")
    ]


def test_numbers_that_nothing_reads_are_asked_for_nowhere() -> None:
    """Nor passed on: a motif that wrote its chain out has no length."""
    compiled = compile_text("""motif cell(x; wide = 4, twice = 2 * wide, unread = 1) -> (out) {
    x ~> out : conv(3, twice) | conv(1, twice)
}
motif tower(x; layers, width) -> (out) {
    body = chain cell(x; wide = width, unread = layers) times layers
    out = sum(body)
}
network net(x: [4, 8, 8]; layers = 3, width = 2) -> (y: [4, 8, 8]) {
    y = tower(x; layers = layers, width = width)
}
""")
    removed = [e.id for n, e in enumerate(compiled.graph.searched()) if n in (0, 3, 4)]
    text = assert_derives(compiled, removed)
    assert "motif cell(x; wide = 4, twice = 2 * wide) -> (out) {" in text
    assert "motif tower(x) -> (out) {" in text
    assert "body[2] = cell(body[1]; wide = 2, twice = 4)" in text
    assert "network net(x: [4, 8, 8]) -> (y: [4, 8, 8]) {" in text


def test_instances_left_alike_share_a_motif() -> None:
    text = "motif m(a) -> (b) { a ~> b : conv(3) | conv(1) | skip }\n"
    compiled = compile_text(text + network("p = m(x)\nq = m(p)\nr = m(q)\nr -> y"))
    derived = assert_derives(compiled, ["p.a->p.b:skip", "q.a->q.b:conv_1", "r.a->r.b:skip"])
    assert derived.count("motif ") == 2
    assert "p = m(x)" in derived
    assert "q = m_2(p)" in derived
    assert "r = m(q)" in derived


def test_dead_outputs_leave_header_and_call() -> None:
    compiled = compile_text(
        "motif two(a, b) -> (c, d) { a ~> c : conv(3) | skip; b ~> d : conv(3) | skip }\n"
        + network("p, q = two(x, x)\n{p, q} ~> y : conv(1) | skip")
    )
    text = assert_derives(compiled, ["q->y:conv_1", "q->y:skip"])
    assert "motif two(a) -> (c) {" in text
    assert "p = two(x)" in text


def test_a_dead_instance_leaves_with_its_motif_and_operations() -> None:
    compiled = compile_text(
        "op rare(k) = conv(k) >> bn\n"
        "motif m(a) -> (b) { a ~> b : rare(3) | skip }\n"
        + network("p = m(x)\np ~> y : conv(3) | skip\nx -> y : relu")
    )
    text = assert_derives(compiled, ["p->y:conv_3", "p->y:skip"])
    assert text == "network net(x: [4, 8, 8]) -> (y: [4, 8, 8]) {\n    x -> y : relu\n}\n"


def test_only_what_is_used_is_imported() -> None:
    compiled = packaged("darts_cell")
    assert 'import "ops/darts.nas"' in assert_derives(compiled, drawn(compiled, 0, True))
    unused = compile_text('import "ops/darts.nas"\n' + network("x ~> y : conv(3) | skip"))
    assert "import" not in assert_derives(unused, [])


def test_a_chain_may_be_read_before_it_stands() -> None:
    """Statements have no order: written out, the chain's bare name still means its last link."""
    text = UNTIED.replace("    body -> y : flatten >> linear(3)\n", "")
    text = text.replace(
        "    body = chain", "    body -> y : flatten >> linear(3)\n    body = chain"
    )
    compiled = compile_text(text)
    removed = [e.id for n, e in enumerate(compiled.graph.searched()) if n % 5 == 1]
    assert_derives(compiled, removed)


def test_a_node_whose_definition_died_is_declared() -> None:
    compiled = compile_text(
        "motif m(a) -> (b) { a ~> b : conv(3) | skip }\n"
        + network("""
        p = m(x)
        q = p : relu
        x ~> q : conv(3) | skip
        q -> y""")
    )
    text = assert_derives(compiled, ["p.a->p.b:conv_3", "p.a->p.b:skip"])
    assert "node q" in text


def test_an_instance_fed_node_whose_instance_died_is_declared() -> None:
    compiled = compile_text(
        "motif m(a) -> (b) { a ~> b : conv(3) | skip }\n"
        + network("""
        p = m(x)
        x ~> p : conv(5) | skip
        p -> y""")
    )
    assert_derives(compiled, ["p.a->p.b:conv_3", "p.a->p.b:skip"])


def test_a_chain_one_link_of_which_died() -> None:
    compiled = compile_text(
        "motif m(a) -> (b) { a ~> b : conv(3) | skip }\n"
        + network("""
        c = chain m(x) times 3
        x ~> c[1] : conv(5) | skip
        {c[0], c[2]} -> y""")
    )
    assert_derives(compiled, ["c[0]->c[1].a:skip", "c[1].a->c[1].b:conv_3", "c[1].a->c[1].b:skip"])


# -------------------------------------------------------------------------------------- numbers


def test_values_of_the_network_become_its_defaults() -> None:
    compiled = compile_text(Path("specs/digits_cell.nas").read_text(), cells=4, width=6)
    text = derived_text(compiled, [])
    assert "network digits(image: [1, 8, 8]; cells = 4, width = 6)" in text
    again = compile_text(text)
    assert dict(again.graph.root.parameters) == {"cells": 4, "width": 6}


@pytest.mark.parametrize("head", ["w", "w = 3"])
def test_a_negative_value_of_the_network_becomes_its_default(head: str) -> None:
    """-1 means as many channels as come in."""
    compiled = compile_text(
        f"network net(x: [4, 8, 8]; {head}) -> (y: [4, 8, 8]) {{ x ~> y : conv(3, w) | skip }}",
        w=-1,
    )
    assert_derives(compiled, [])


def test_the_settings_of_training_stay_and_those_of_the_search_go() -> None:
    text = derived_text(packaged("digits_cell"), [])
    train = Path("specs/digits_cell.nas").read_text().partition("train {")[2]
    assert [line.strip() for line in train.splitlines()] == [
        line.strip() for line in text.partition("train {")[2].splitlines()
    ]
    assert "search {" not in text
    assert "retain" not in text


def test_a_motif_keeps_names_apart() -> None:
    """Two variants of `m` beside a motif that is called `m_2` already."""
    compiled = compile_text(
        "motif m(a) -> (b) { a ~> b : conv(3) | conv(1) }\n"
        "motif m_2(a) -> (b) { a ~> b : conv(5) | conv(1) }\n"
        + network("p = m(x)\nq = m(p)\nr = m_2(q)\nr -> y")
    )
    removed = ["p.a->p.b:conv_1", "q.a->q.b:conv_3", "r.a->r.b:conv_1"]
    assert_derives(compiled, removed)


def test_a_chain_whose_seed_is_a_chain_that_nothing_reads_is_written_out() -> None:
    compiled = compile_text("""motif cell(before, last; width) -> (out) {
    node h
    before ~> h : conv(3, width) | conv(1, width)
    last ~> h : conv(3, width) | conv(1, width)
    out = sum(h)
}
network net(image: [3, 8, 8]) -> (logits: [2]) {
    stem = image : conv(3, 8)
    a = chain cell(stem, stem; width = 8) times 2
    b = chain cell(a, stem; width = 8) times 2
    b -> logits : global_avg_pool >> linear(2)
}
""")
    unread = [e.id for e in compiled.graph.searched() if e.id.startswith("b[") and "before" in e.id]
    assert len(unread) == 4
    text = assert_derives(compiled, unread)
    assert "chain" not in text
