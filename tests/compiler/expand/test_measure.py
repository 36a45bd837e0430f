"""How much a spec expands to, counted before it is built; limits instead of hangs."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from strategies import spaces
from support import assert_refused, assert_style, deadline, network, refused, resolve_text

from bayesnas.compiler.expand.expansion import expand
from bayesnas.compiler.expand.measure import measure
from bayesnas.compiler.graph.model import Graph
from bayesnas.compiler.passes.relays import insert_relays
from bayesnas.compiler.program.definitions import Program
from bayesnas.compiler.program.limits import Size, about
from bayesnas.compiler.program.resolve import resolve
from bayesnas.dsl.diagnostics import Diagnostic
from bayesnas.dsl.loader import load, packaged_specs

STEP = "motif step(a) -> (b) { a -> b : relu }\n"
CELL = "motif cell(a; width = 4, stride = 1, lag = 1) -> (b) { a -> b : conv(1, width, stride) }\n"


def measure_text(text: str, **values: int) -> Size:
    program = resolve_text(text)
    return measure(program, program.network(), values)


def built(graph: Graph) -> tuple[int, int, int, int]:
    nodes, edges = graph.network.number_of_nodes(), graph.network.number_of_edges()
    return nodes, edges, len(graph.instances), len(graph.retains)


def assert_exact(program: Program, **values: int) -> None:
    for chosen in program.networks.values():
        size = measure(program, chosen, values)
        graph = expand(program, chosen, values)
        assert (size.nodes, size.edges, size.instances, size.retained) == built(graph)


# ------------------------------------------------------------------------------ the count is exact


@settings(max_examples=settings().max_examples // 2)
@given(spaces())
def test_the_count_is_what_expansion_builds(text: str) -> None:
    assert_exact(resolve_text(text))


@pytest.mark.parametrize("name", packaged_specs())
def test_the_count_of_a_packaged_spec(name: str) -> None:
    assert_exact(resolve(load(name)))


EXACT = {
    "lists and slices": network(
        "node h[3], g[2]\n{x, h[1..], h[..1], h[2]} -> {g, h[0]} : relu + skip\n"
        "g ~> y : skip | relu"
    ),
    "nothing in a list": network("node h[0]\nh -> y : relu\nx -> y\nretain 1 into h"),
    "an empty slice": network("node h[2]\nh[2..1] -> y\nx -> {h, y}"),
    "loops in loops": network(
        "node h[4]\nfor i in 1..4 { for j in 0..i { h[j] ~> h[i] : skip | relu } }\n"
        "for k in 4..2 { x -> y }\n{x, h} -> y"
    ),
    "conditions": network(
        "for k in 0..5 { if k % 2 == 0 { x -> y } else { {x, x} -> y : relu + skip } }\n"
        "if 1 > 2 { node a[7] } else { node b[8]\nx -> b }"
    ),
    "merges": network("node h[2]\nx -> h\ny = concat(h, x)\nz = sum()"),
    "outputs are no new nodes": STEP + network("y = step(x)"),
    "elements are no new nodes": STEP
    + network("node h[2]\nh[0] = step(x)\nh[1] = h[0] : relu\nh[1] -> y"),
    "choices of choices": "choice a = skip | relu\nchoice b(k) = a | (if k > 1 then conv(k) | tanh "
    "else a | a | a)\n" + network("x ~> y : b(3) | b(1) | gelu"),
    "a choice of one": network("x ~> y : if 1 > 0 then conv(3) else skip"),
    "several outputs": "motif two(a, b) -> (c, d) { a -> c\nb -> d\na ~> d : skip | relu }\n"
    + network("u, v = two(x, x)\np, q = chain two(u, v) times 3\n{p, q, p[0], q[..2]} -> y"),
    "a list as inputs": "motif two(a, b) -> (c, d) { a -> c\nb -> d }\n"
    + network(
        "node h[2]\nx -> h\nu, v = two(h)\np, q = chain two(h[..]) times 2\n{u, v, p, q} -> y"
    ),
    "a chain that reads its list": STEP + network("c = chain step(x) times 4\n{c, c[..2]} -> y"),
    "width, stride and lag": "motif m(a, b; width, stride = 1, lag = 1) -> (c) {\n"
    "node h[width], s[stride], l[lag]\n{a, b} -> {h, s, s, l, l, l}\n}\n"
    + network("c = chain m(x, x; width = 3) times 6 reduce at 0, 2, 3\nc -> y"),
    "passed motifs": STEP
    + "motif wide(a; n = 3) -> (b) { node h[n]\na -> h\nh -> b }\n"
    + "motif both(a; motif f, motif g = step) -> (b) { c = f(a)\nd = chain g(c) times 2\nd -> b }\n"
    + "motif over(a; motif f) -> (b) { c = both(a; f = f)\nb = both(c; f = wide, g = f) }\n"
    + network("u = over(x; f = wide)\ny = both(u; f = step, g = wide)"),
    "parameters": "motif m(a; n = 2, k = n * n) -> (b) { node h[k]\na -> h\nh -> b }\n"
    + network("u = m(x)\nv = m(u; n = 3)\ny = m(v; k = 1)"),
    "budgets": network("budget parameters <= 3M\nx -> y"),
}


@pytest.mark.parametrize("what", EXACT)
def test_the_count_is_exact(what: str) -> None:
    assert_exact(resolve_text(EXACT[what]))


def test_given_values_count() -> None:
    text = "network net(x: [4]; n = 2, m = 3 * n) -> (y: [4]) { node h[m]\nx -> h\nh -> y }"
    for values in ({}, {"n": 5}, {"m": 0}, {"n": 1, "m": 4}):
        assert_exact(resolve_text(text), **values)


def test_turns_are_counted_in_all_instances() -> None:
    text = "motif m(a) -> (b) { for k in 0..3 { for j in 0..k { a -> b } } a -> b }\n"
    size = measure_text(text + network("u = m(x)\nc = chain m(u) times 4\nc -> y"))
    assert size.turns == 5 * (3 + 0 + 1 + 2)


# ------------------------------------------------------------------------------ too large


def test_the_largest_spec_is_measured() -> None:
    assert measure_text(network("node h[499997]")).size == 500_000


def test_one_node_more() -> None:
    found = assert_refused(
        network("§node h[499998]\nx -> y"),
        "D224",
        "the spec expands to at least 500,002 nodes and edges",
    )
    assert found.label == "499,998 of them"
    assert found.notes == ("it stands in `net`", "the limit is 500,000")


def test_connections_are_multiplied_out() -> None:
    found = assert_refused(
        network("node h[2000], g[2000]\nx -> h[0]\n§h[..1000] ~> g : conv(3) | skip"),
        "D224",
        "the spec expands to at least 8,004,004 nodes and edges",
    )
    assert found.label == "8,000,000 of them"


def test_the_statement_that_makes_most_in_all_instances() -> None:
    found = assert_refused(
        "motif cell(a) -> (b) {\nnode h[20]\na -> h\n§h ~> h : conv(3) | relu | skip\nh -> b\n}\n"
        + network("c = chain cell(x) times 1000\nc -> y"),
        "D224",
        "the spec expands to at least 2,066,004 nodes and edges",
    )
    assert found.label == "2,000,000 of them"
    assert found.notes[0] == "it stands in `cell`, 1,000 instances of it"


def test_relays_are_counted_with_what_they_are_made_for() -> None:
    text = network("node h[3]\nx -> h[0]\nh[0] ~> h[1..] : conv(3) | skip\nh[1..] -> y")
    size = measure_text(text)
    before = expand(resolve_text(text), resolve_text(text).network(), {})
    after = insert_relays(before)
    made = sum(
        after_ - before_ for after_, before_ in zip(built(after), built(before), strict=True)
    )
    assert size.relays == made == 4
    assert size.size == sum(built(after))


def test_a_chain_of_small_motifs() -> None:
    found = assert_refused(
        STEP + network("§c = chain step(x) times 1000000000000\nc -> y"),
        "D224",
        "the spec expands to at least 7,000,000,000,004 nodes and edges",
    )
    assert found.label == "6,000,000,000,000 of them"


def towers(levels: int) -> str:
    chains = "motif m{1}(a) -> (b) {{ c = chain m{0}(a) times 1000\nc -> b }}\n"
    return STEP.replace("step", "m0") + "".join(chains.format(k, k + 1) for k in range(levels))


def test_chains_of_chains_are_counted_at_once() -> None:
    text = towers(10).replace("c = chain m0", "§c = chain m0") + network("y = m10(x)")
    found = assert_refused(text, "D224", "the spec expands to at least 10^30 nodes and edges")
    assert found.label == "10^30 of them"
    assert found.notes[0] == "it stands in `m1`, 10^27 instances of it"


def test_choices_of_choices_are_counted_at_once() -> None:
    doubled = "".join(f"choice c{k + 1} = c{k} | c{k}\n" for k in range(100))
    assert_refused(
        f"choice c0 = relu | skip\n{doubled}" + network("§x ~> y : c100"),
        "D224",
        "the spec expands to at least 10^30 nodes and edges",
    )


def test_retained_nodes_count() -> None:
    assert_refused(
        network("node h[1000]\nfor k in 0..1000 { §retain 1 into h }\nx -> y"),
        "D224",
        "the spec expands to at least 1,001,004 nodes and edges",
    )


def test_reducing_chains_are_counted_by_their_kinds_of_links() -> None:
    found = assert_refused(
        CELL + network("§c = chain cell(x) times 900000 reduce at 0, 1, 2\nc -> y"),
        "D224",
        "the spec expands to at least 6,300,004 nodes and edges",
    )
    assert found.label == "5,400,000 of them"


# ------------------------------------------------------------------------------ too many turns


def test_a_loop_past_its_bound() -> None:
    found = assert_refused(
        network("§for k in 0..100001 { }\nx -> y"), "D224", "loops make at least 100,001 turns"
    )
    assert found.label == "100,001 of them"
    assert found.notes == ("it stands in `net`", "the limit is 100,000")
    assert measure_text(network("for k in 0..100000 { }\nx -> y")).turns == 100_000


def test_loops_in_loops_past_their_bound() -> None:
    found = assert_refused(
        network("for i in 0..1000 { §for j in 0..1000000 { x -> y } }"),
        "D224",
        "loops make at least 1,001,000 turns",
    )
    assert found.label == "1,000,000 of them"


def test_loops_of_many_instances() -> None:
    found = assert_refused(
        "motif m(a) -> (b) {\n§for k in 0..50 { }\na -> b\n}\n"
        + network("c = chain m(x) times 3000\nc -> y"),
        "D224",
        "loops make at least 150,000 turns",
    )
    assert found.notes[0] == "it stands in `m`, 3,000 instances of it"


# ------------------------------------------------------------------------------ too deep


def nested(levels: int) -> str:
    inner = "motif m{1}(a) -> (b) {{ b = m{0}(a) }}\n"
    return STEP.replace("step", "m1") + "".join(inner.format(k, k + 1) for k in range(1, levels))


def test_motifs_nest_a_hundred_levels() -> None:
    assert measure_text(nested(100) + network("y = m100(x)")).instances == 101


@pytest.mark.parametrize("levels", [101, 150])
def test_motifs_nest_no_deeper(levels: int) -> None:
    made = levels - 100  # the outermost motif is the first level
    text = nested(levels).replace(f"b = m{made}(a)", f"§b = m{made}(a)")
    message = "motifs nest deeper than 100 levels"
    found = assert_refused(text + network(f"y = m{levels}(x)"), "D224", message)
    assert found.label == f"an instance of `m{made}` on level 101"
    assert found.notes == (f"it stands in `m{made + 1}`",)


def test_a_motif_measured_before_may_still_be_too_deep() -> None:
    text = nested(60) + "motif n0(a) -> (b) { b = m60(a) }\n"
    text += "".join(f"motif n{k + 1}(a) -> (b) {{ b = n{k}(a) }}\n" for k in range(50))
    [found] = refused(text + network("z = m60(x)\ny = n50(z)"))
    assert (found.code, found.message) == ("D224", "motifs nest deeper than 100 levels")


def test_a_motif_passed_to_itself() -> None:
    found = assert_refused(
        "motif a(x; motif f) -> (o) { §o = f(x; f = f) }\n" + network("y = a(x; f = a)"),
        "D224",
        "motifs nest deeper than 100 levels",
    )
    assert found.help == "nest fewer motifs; `f` stands for `a` here, and must not lead to itself"


def test_motifs_that_pass_each_other() -> None:
    text = (
        "motif a(x; motif f, motif g) -> (o) {\n"
        "p = chain f(x; f = g, g = f) times 1000\nq = g(x; f = f, g = g)\no = sum(p, q)\n}\n"
        "motif b(x; motif f, motif g) -> (o) { o = f(x; f = g, g = f) }\n"
    )
    [found] = refused(text + network("y = a(x; f = a, g = b)"))
    assert (found.code, found.message) == ("D224", "motifs nest deeper than 100 levels")


# ------------------------------------------------------------------------------ no answer lasts

many = "".join
THREE_HUNDRED = ", ".join(map(str, range(300)))
HOSTILE = {
    "reads much and makes nothing": network(
        "node h[450000], g[0]\nfor k in 0..1000 { h -> g }\nx -> y"
    ),
    "many statements a turn": network(
        "node g[0]\nfor k in 0..90000 {" + " x -> g" * 200 + " }\nx -> y"
    ),
    "an instance for every turn": STEP.replace("(a)", "(a; p)")
    + network("node h[90000]\nfor k in 0..90000 { h[k] = step(x; p = k) }\nh -> y"),
    "twice as many instances each level": "motif m0(a; p) -> (b) { a -> b }\n"
    + many(
        f"motif m{k + 1}(a; p) -> (b) {{ c = m{k}(a; p = 2 * p)\nb = m{k}(c; p = 2 * p + 1) }}\n"
        for k in range(30)
    )
    + network("y = m30(x; p = 1)"),
    "twice as many choices each level": "choice c0(k) = relu | conv(k)\n"
    + many(f"choice c{k + 1}(k) = c{k}(2 * k) | c{k}(2 * k + 1)\n" for k in range(36))
    + network("x ~> y : c36(1)"),
    "reductions of a long chain": CELL
    + network(f"c = chain cell(x) times 70000 reduce at {', '.join(map(str, range(450)))}\nc -> y"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_what_would_last_is_refused(what: str) -> None:
    with deadline(10.0):
        [found] = refused(HOSTILE[what], measure_text)
    assert found.code == "D224"
    assert found.message.startswith("the spec takes ")
    assert found.span is not None
    assert_style(found)


def test_who_reads_much_and_makes_nothing() -> None:
    found = assert_refused(
        network("node h[450000], g[0]\nfor k in 0..1000 { §h -> g }\nx -> y"),
        "D224",
        "the spec takes at least 450,006,022 steps to expand",
        measure_text,
    )
    assert found.label == "450,006,000 of them"
    assert found.notes[1] == "the limit is 20,000,000"


# ------------------------------------------------------------------------------ not its business

WRONG: dict[str, tuple[str, str]] = {
    "an index": ("node h[2]\nx -> h[5]", "D223"),
    "a slice": ("node h[2]\nx -> h[1..9]", "D223"),
    "a division": ("for k in 0..3 { node_[k // 0] -> y }\nnode node_[2]\nx -> y", "D220"),
    "a number": ("for k in 0..10000000 * 10000000 { x -> y }", "D221"),
    "a size": ("node h[0 - 3]\nx -> y", "D222"),
    "a chain of none": ("c = chain step(x) times 0\nc -> y", "D222"),
    "a reduction": ("c = chain cell(x) times 3 reduce at 7\nc -> y", "D223"),
    "a condition": ("if 1 // 0 { x -> y }", "D220"),
    "a condition of a candidate": ("x ~> y : if 1 // 0 then skip else relu", "D220"),
    "an argument": ("y = cell(x; width = 1 % 0)", "D220"),
    "inputs": ("node h[3]\nx -> h\ny = step(h)", "D212"),
    "what does not fit what is passed": ("y = apply(x; f = cell2)", "D212"),
}
APPLY = "motif apply(a; motif f) -> (b) { b = f(a) }\nmotif cell2(a, c) -> (b) { b = sum(a, c) }\n"


@pytest.mark.parametrize("what", WRONG)
def test_wrong_numbers_are_left_to_expansion(what: str) -> None:
    body, code = WRONG[what]
    text = STEP + CELL + APPLY + network(body)
    measure_text(text)
    assert [d.code for d in refused(text)] == [code]


def test_values_are_left_to_expansion() -> None:
    text = "network net(x: [4]; n, m = n) -> (y: [4]) { node h[n]\nx -> y }"
    measure_text(text)
    measure_text(text, other=3)
    found: tuple[Diagnostic, ...] = refused(text)
    assert [d.code for d in found] == ["D411"]


# ------------------------------------------------------------------------------ reading numbers


def test_a_number_is_short() -> None:
    counts = (7, 1_203_000, 10**15, 10**6000)
    assert list(map(about, counts)) == ["7", "1,203,000", "10^15", "10^6000"]
