"""Pass 2: loops, conditions, references, instances, chains and the numbers in them."""

import pytest
from support import (
    assert_refused,
    assert_style,
    compile_text,
    connections,
    deadline,
    edge,
    expand_text,
    graph_of,
    network,
    operations,
    refused,
    sources,
)

from bayesnas.compiler.graph.cost import graph_cost
from bayesnas.compiler.graph.model import Graph, RetainConstraint
from bayesnas.compiler.graph.verify import verify
from bayesnas.compiler.pipeline import compile_spec

# ------------------------------------------------------------------------------ names


def test_nodes_and_edges_are_named_after_the_spec() -> None:
    graph = expand_text(
        network("node h[2]\nx -> h[0] : conv(3)\nx ~> h[1] : skip | conv(1)\nh -> y")
    )
    assert [node.id for node in graph.nodes()] == ["x", "y", "h[0]", "h[1]"]
    assert [e.id for e in graph.edges()] == [
        "x->h[0]:conv_3",
        "x->h[1]:skip",
        "x->h[1]:conv_1",
        "h[0]->y:skip",
        "h[1]->y:skip",
    ]


def test_a_second_connection_of_two_nodes_has_a_name_of_its_own() -> None:
    graph = expand_text(network("x -> y : conv(3)\nx -> y : conv(3)"))
    assert [e.id for e in graph.edges()] == ["x->y:conv_3", "x->y#2:conv_3"]


def test_candidates_of_one_name_are_numbered() -> None:
    graph = expand_text(network("x ~> y : relu >> conv(1) | relu >> conv(3) | skip"))
    names = [e.operation.name for e in graph.edges()]
    assert len(set(names)) == 3
    assert all(name.isidentifier() for name in names)


def test_gates_count_searched_edges_in_the_order_of_the_spec() -> None:
    graph = expand_text(network("x ~> y : skip | relu\nx -> y\nx ~> y : tanh"))
    assert [(e.operation.label, e.gate and e.gate.number) for e in graph.edges()] == [
        ("skip", 0),
        ("relu", 1),
        ("skip", None),
        ("tanh", 2),
    ]


def test_places_lead_back_to_the_statement() -> None:
    graph = expand_text(network("node h[2]\n  x -> h : skip\nh -> y"))
    assert {str(e.span) for e in graph.outgoing("x")} == {"spec.nas:3:3"}
    assert str(graph.node("h[1]").span) == "spec.nas:2:6"


def test_operations_remember_where_they_are_defined() -> None:
    graph = expand_text("op mine(k) = conv(k)\n" + network("x -> y : mine(3)"))
    operation = edge(graph, "x->y:mine_3").operation
    assert (operation.label, operation.definition) == ("mine(3)", "mine")
    assert [stage.primitive for stage in operation.stages] == ["conv"]


# ------------------------------------------------------------------------------ references

FIVE = "node h[5]\n"


@pytest.mark.parametrize(
    ("reference", "indices"),
    [
        ("h", [0, 1, 2, 3, 4]),
        ("h[3]", [3]),
        ("h[..2]", [0, 1]),
        ("h[3..]", [3, 4]),
        ("h[1..4]", [1, 2, 3]),
        ("h[..]", [0, 1, 2, 3, 4]),
        ("h[2..2]", []),
        ("h[5..]", []),
        ("h[2 * 2]", [4]),
    ],
)
def test_references(reference: str, indices: list[int]) -> None:
    graph = expand_text(network(f"{FIVE}{reference} -> y"))
    assert sources(graph, "y") == [f"h[{k}]" for k in indices]


@pytest.mark.parametrize(
    ("reference", "index", "most"),
    [("h[5]", 5, 4), ("h[0 - 1]", -1, 4), ("h[..6]", 6, 5), ("h[6..]", 6, 5)],
)
def test_references_out_of_range(reference: str, index: int, most: int) -> None:
    message = f"index {index} of `h` is out of range"
    found = assert_refused(network(f"{FIVE}§{reference} -> y"), "D223", message, expand_text)
    assert found.help == f"indices count from 0; here up to {most}"


def test_a_set_connects_every_source_to_every_target() -> None:
    graph = expand_text(network("node h[2], g\n{x, g} -> {h, y}"))
    pairs = {f"{s} -> {t}" for s in ("x", "g") for t in ("h[0]", "h[1]", "y")}
    assert connections(graph) == pairs


def test_a_transform_reads_every_element_of_a_list() -> None:
    graph = expand_text(network("node h[2]\nz = h : relu\nz -> y"))
    assert sources(graph, "z") == ["h[0]", "h[1]"]


def test_merges() -> None:
    graph = expand_text(network("node h[3]\nh[0] = product()\nh[1] = concat(x, x)\ny = sum(h)"))
    merges = [graph.node(n).merge for n in ("h[0]", "h[1]", "h[2]", "y")]
    assert merges == ["product", "concat", "sum", "sum"]
    assert sources(graph, "h[1]") == ["x", "x"]
    assert sources(graph, "y") == ["h[0]", "h[1]", "h[2]"]


# ------------------------------------------------------------------------------ loops, conditions


def test_loops_unroll_with_their_variable() -> None:
    body = "node h[4]\nx -> h[0]\nfor k in 1..4 { h[..k] -> h[k] : conv(2 * k + 1) }"
    graph = expand_text(network(body))
    assert sources(graph, "h[3]") == ["h[0]", "h[1]", "h[2]"]
    assert operations(graph, "h[3]") == ["conv(7)"] * 3


def test_loops_nest() -> None:
    body = "node h[6]\nfor i in 0..2 { for j in 0..3 { x -> h[3 * i + j] : conv(i + j) } }"
    graph = expand_text(network(body))
    assert [operations(graph, f"h[{k}]") for k in (0, 2, 5)] == [
        ["conv(0)"],
        ["conv(2)"],
        ["conv(3)"],
    ]


@pytest.mark.parametrize("bounds", ["0..0", "3..1", "0..n - 1"])
def test_a_loop_may_have_no_turns(bounds: str) -> None:
    text = network(f"x -> y\nfor k in {bounds} {{ x -> y : conv(k) }}").replace(
        "])", "]; n = 1)", 1
    )
    assert len(expand_text(text).edges()) == 1


def test_conditions_are_decided_by_parameters_and_loop_variables() -> None:
    body = """
for k in 0..4 {
    if k % 2 == deep { x -> y : conv(k) } else { if k > 2 { x -> y : relu } }
}
"""
    text = network(body).replace("8])", "8]; deep = 0)", 1)
    assert operations(expand_text(text), "y") == ["conv(0)", "conv(2)", "relu"]
    assert operations(expand_text(text, deep=1), "y") == ["conv(1)", "conv(3)"]


def test_a_condition_guards_what_it_excludes() -> None:
    body = "for k in 0..3 { x -> y : if k == 0 then skip else conv(4 // k) }"
    assert operations(expand_text(network(body)), "y") == ["skip", "conv(4)", "conv(2)"]


def test_and_guards_what_stands_to_its_right() -> None:
    body = "for k in 0..3 { x -> y : if k > 0 and 4 // k > 2 then relu else skip }"
    assert operations(expand_text(network(body)), "y") == ["skip", "relu", "skip"]


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("7 // 2", 3),
        ("0 - 7 // 2", -3),
        ("-7 // 2", -4),
        ("7 % 3", 1),
        ("2 + 3 * 4", 14),
        ("(1 < 2) + (2 <= 2) + (3 > 4) + (1 != 1)", 2),
        ("not 3", 0),
        ("not 0", 1),
        ("3 and 2", 1),
        ("0 or 5", 1),
        ("1 or 1 // 0", 1),
        ("0 and 1 // 0", 0),
    ],
)
def test_expressions(expression: str, value: int) -> None:
    graph = expand_text(network(f"x -> y : conv({expression})"))
    assert operations(graph, "y") == [f"conv({value})"]


# ------------------------------------------------------------------------------ parameters

SIZED = "network net(x: [c, 8, 8]; c, w = 2 * c) -> (y: [w, 8, 8]) { x -> y : conv(3, w) }"


def test_values_override_defaults() -> None:
    graph = expand_text(SIZED, c=3)
    assert (graph.node("x").shape, graph.node("y").shape) == ((3, 8, 8), (6, 8, 8))
    assert expand_text(SIZED, c=3, w=5).node("y").shape == (5, 8, 8)
    assert expand_text(SIZED, c=3).root.parameters == (("c", 3), ("w", 6))


def test_a_value_for_no_parameter() -> None:
    [found] = refused(SIZED, lambda text: expand_text(text, c=3, width=2))
    assert (found.code, found.message) == ("D410", "network `net` has no parameter `width`")
    assert found.notes == ("its parameters are `c` and `w`",)
    assert found.span is not None
    assert (found.span.line, found.span.column) == (1, 9)
    assert_style(found)


def test_a_value_where_there_are_no_parameters() -> None:
    [found] = refused(network("x -> y"), lambda text: expand_text(text, c=3))
    assert (found.code, found.notes) == ("D410", ("it has none",))


def test_a_parameter_without_a_value() -> None:
    text = SIZED.replace("; c,", "; §c,")
    found = assert_refused(text, "D411", "parameter `c` of network `net` has no value", expand_text)
    assert found.help == "give it one with `--set c=...`, or a default here"


@pytest.mark.parametrize("shape", ["[0]", "[3, 0]", "[1, 2, 3, 4]", "[3, 0 - 1, 4]"])
def test_invalid_shapes(shape: str) -> None:
    text = f"network net(§x: {shape}) -> (y: [1]) {{ x -> y }}"
    [found] = refused(text.replace("§", ""), expand_text)
    assert found.code == "D222"
    assert_refused(text, "D222", found.message, expand_text)
    assert found.message.startswith("invalid shape [")


# ------------------------------------------------------------------------------ wrong numbers


@pytest.mark.parametrize("operator", ["//", "%"])
def test_division_by_zero(operator: str) -> None:
    text = network(f"x -> y : conv(n {operator} §(n - 3))").replace("8])", "8]; n = 3)", 1)
    # The place is the divisor, inside its parentheses.
    text = text.replace("§(n", "(§n")
    found = assert_refused(text, "D220", "division by zero", expand_text)
    assert found.help == "guard it with `if`, or choose other parameters"


def test_division_by_zero_in_a_turn_of_a_loop_stands_at_the_divisor() -> None:
    text = network("for k in 0..2 { x -> y : conv(4 // §k) }")
    assert_refused(text, "D220", "division by zero", expand_text)


def test_numbers_have_a_limit() -> None:
    text = network("x -> y : conv(§1000000 * 1000000 * 10)")
    assert_refused(text, "D221", "number beyond 10^12", expand_text)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("node §h[0 - 2]\nx -> y", "`h` would have -2 nodes"),
        ("x -> y\nretain §0 into y", "`retain 0` would leave nothing"),
        ("z = chain m(x) times §0\nx -> y", "a chain of 0 motifs"),
    ],
)
def test_numbers_that_make_no_sense(body: str, message: str) -> None:
    text = "motif m(a) -> (b) { a -> b }\n" + network(body)
    assert_refused(text, "D222", message, expand_text)


def test_one_wrong_size_does_not_hide_other_errors() -> None:
    body = "node h[0 - 1]\nnode g[2]\nh[0] = x : skip\nx -> h\ng[2] -> y\nx -> y : conv(1 // 0)"
    codes = [found.code for found in refused(network(body), expand_text)]
    assert codes == ["D222", "D223", "D220"]


def test_wrong_bounds_and_conditions_do_not_hide_other_errors() -> None:
    body = "for k in 0..1 // 0 { x -> y }\nif 1 % 0 { x -> y }\nnode h[0 - 1]\nx -> y"
    codes = [found.code for found in refused(network(body), expand_text)]
    assert codes == ["D220", "D220", "D222"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("node h[0 - 1]\nh[0], v = two(x, x)\nx -> y", "D222"),
        ("node g[1]\nh, g = chain two(x, x) times 3\nx -> y", "D208"),
        ("h, g = chain two(x, x) times 0\nx -> y", "D222"),
    ],
)
def test_a_call_whose_nodes_are_missing_makes_nothing(body: str, code: str) -> None:
    text = "motif two(a, b) -> (c, d) { a -> c\nb -> d }\n" + network(body)
    assert [found.code for found in refused(text, expand_text)] == [code]


def test_an_error_in_a_motif_is_said_once() -> None:
    text = "motif m(a) -> (b) { a -> b : conv(1 // §0) }\n" + network("z = m(x)\ny = m(z)")
    assert_refused(text, "D220", "division by zero", expand_text)


# ------------------------------------------------------------------------------ defined twice


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ("node h\nnode §h\nx -> y", "h"),
        ("node h[2]\nnode §h[3]\nx -> y", "h[0]"),
        ("z = x : skip\n§z = x : relu\nz -> y", "z"),
        ("node h[2]\nh[1] = x : skip\n§h[1] = x : relu\nh -> y", "h[1]"),
        ("y = x : skip\n§y = x : relu", "y"),
        ("y = sum(x)\n§y = m(x)", "y"),
        ("node h[2]\n§h = chain m(x) times 2\nh -> y", "h[0]"),
    ],
)
def test_defined_twice(body: str, name: str) -> None:
    text = "motif m(a) -> (b) { a -> b }\n" + network(body)
    assert_refused(text, "D208", f"`{name}` is defined twice", expand_text)


# ------------------------------------------------------------------------------ what `=` may define


@pytest.mark.parametrize("slice_", ["h[0..2]", "h[..]", "h[1..1]"])
@pytest.mark.parametrize("value", ["concat(x)", "x : skip", "m(x)", "chain m(x) times 2"])
def test_a_slice_cannot_be_defined(slice_: str, value: str) -> None:
    text = "motif m(a) -> (b) { a -> b }\n" + network(f"node h[2]\n{slice_} = {value}\nx -> y")
    found = refused(text)[0]
    assert found.span is not None
    assert (found.span.line, found.span.column) == (4, 1)
    assert_style(found)


def test_an_element_cannot_be_defined_as_a_chain() -> None:
    text = "motif m(a) -> (b) { a -> b }\n" + network("h[3] = chain m(x) times 2\nh -> y")
    found = refused(text)[0]
    assert found.span is not None
    assert (found.span.line, found.span.column) == (3, 1)


# ------------------------------------------------------------------------------ choices

CHOICE = """
choice c(k, stride = 1) =
    if k == 1 then skip | conv(1, stride = stride) else conv(k, stride = stride) | d(k)
choice d(k) = max_pool(k) | avg_pool(k)
"""


def test_choices_open_into_their_candidates() -> None:
    graph = expand_text(CHOICE + network("x ~> y : c(1) | c(3) | relu"))
    assert operations(graph, "y") == [
        "skip",
        "conv(1)",
        "conv(3)",
        "max_pool(3)",
        "avg_pool(3)",
        "relu",
    ]


def test_choices_take_parameters_of_the_motif_and_loop_variables() -> None:
    motif = "motif m(a; s = 2) -> (b) { for k in 1..3 { a ~> b : c(2 * k - 1, stride = s) } }\n"
    graph = expand_text(CHOICE + motif + network("y = m(x; s = 2)"))
    assert operations(graph, "y.b") == [
        "skip",
        "conv(1, stride=2)",
        "conv(3, stride=2)",
        "max_pool(3)",
        "avg_pool(3)",
    ]


def test_a_default_of_a_choice_may_use_its_other_parameters() -> None:
    text = "choice c(k, w = 2 * k) = conv(k, w) | conv(1, w)\n" + network("x ~> y : c(3)")
    assert operations(expand_text(text), "y") == ["conv(3, width=6)", "conv(1, width=6)"]


def test_parameters_of_a_choice_are_not_those_of_its_user() -> None:
    choice = "choice c(k, w = k) = conv(k, w) | skip\n"
    motif = "motif m(a; k = 7) -> (b) { a ~> b : c(3) }\n"
    graph = expand_text(choice + motif + network("y = m(x)"))
    assert operations(graph, "y.b") == ["conv(3, width=3)", "skip"]


def test_a_choice_of_one_is_still_searched() -> None:
    [only] = expand_text(network("x ~> y : conv(3)")).edges()
    assert (only.kind, only.searched_gate.number) == ("searched", 0)


def test_candidates_remember_the_choice_they_come_from() -> None:
    graph = expand_text(CHOICE + network("x ~> y : d(3)\nx ~> y : skip | relu"))
    assert [e.gate and e.gate.choice for e in graph.edges()] == ["d", "d", None, None]


def test_operations_kept_together_are_parallel_edges() -> None:
    graph = expand_text(network("x -> y : conv(1) + conv(3)"))
    assert [(e.kind, e.connection) for e in graph.edges()] == [("fixed", "x->y")] * 2


def test_a_fixed_condition_is_decided() -> None:
    text = network("x -> y : if n > 1 then conv(n) else skip").replace("8])", "8]; n = 1)", 1)
    assert operations(expand_text(text), "y") == ["skip"]
    assert operations(expand_text(text, n=3), "y") == ["conv(3)"]


# ------------------------------------------------------------------------------ instances

INNER = "motif inner(a, b; k = 1) -> (c, d) { a -> c : conv(k)\n b ~> d : skip | relu }\n"
OUTER = "motif outer(a) -> (b) { p, q = inner(a, a; k = 3)\n {p, q} -> b }\n"


def test_instances_are_scopes_of_their_own() -> None:
    graph = expand_text(INNER + OUTER + network("z = outer(x)\nz -> y"))
    assert list(graph.instances) == ["", "z", "z.p"]
    assert connections(graph) >= {
        "x -> z.a",
        "z.a -> z.p.a",
        "z.a -> z.p.b",
        "z.p.a -> z.p.c",
        "z.p.c -> z.p",
        "z.p.d -> z.q",
        "z.b -> z",
        "z -> y",
    }
    inner = graph.instances["z.p"]
    assert (inner.motif, inner.parent, inner.parameters) == ("inner", "z", (("k", 3),))
    assert (inner.inputs, inner.outputs) == (("z.p.a", "z.p.b"), ("z.p.c", "z.p.d"))


def test_instances_of_their_own_have_architectures_of_their_own() -> None:
    graph = expand_text(INNER + network("p, q = inner(x, x)\nr, s = inner(p, q)\n{r, s} -> y"))
    assert list(graph.groups()) == [
        "p.b->d:skip",
        "p.b->d:relu",
        "r.b->d:skip",
        "r.b->d:relu",
    ]


def test_elements_of_a_list_can_be_instances() -> None:
    motif = "motif m(a) -> (b) { a -> b }\n"
    graph = expand_text(motif + network("node h[2]\nfor k in 0..2 { h[k] = m(x) }\nh -> y"))
    assert list(graph.instances) == ["", "h[0]", "h[1]"]


def test_a_list_can_be_given_for_several_inputs() -> None:
    text = INNER + network("node h[2]\nx -> h\np, q = inner(h)\n{p, q} -> y")
    graph = expand_text(text)
    assert (sources(graph, "p.a"), sources(graph, "p.b")) == (["h[0]"], ["h[1]"])


def test_a_list_of_the_wrong_length() -> None:
    text = INNER + network("node h[3]\nx -> h\n§p, q = inner(h)\n{p, q} -> y")
    assert_refused(text, "D212", "`inner` has 2 inputs, 3 given", expand_text)


def test_motifs_that_share_an_operation_name_it_once() -> None:
    graph = expand_text(OUTER + INNER + network("z = outer(x)\nw = outer(z)\nw -> y"))
    labels = {e.operation.label for e in graph.edges()}
    assert labels == {"skip", "relu", "conv(3)"}


# ------------------------------------------------------------------------------ chains

STEP = "motif step(a; width = 4, stride = 1) -> (b) { a ~> b : conv(3, width, stride) | skip }\n"
CELL = """
motif cell(before, last; width = 4, stride = 1, lag = 1) -> (out) {
    a = before : conv(1, width, lag)
    b = last : conv(1, width)
    {a, b} ~> out : conv(3, stride = stride) | max_pool(3, stride)
}
"""


def parameters(graph: Graph, chain: str) -> list[dict[str, int]]:
    return [dict(i.parameters) for i in graph.instances.values() if i.chain == chain]


def test_each_link_reads_the_one_before_it() -> None:
    graph = expand_text(STEP + network("c = chain step(x) times 3\nc -> y"))
    assert [sources(graph, f"c[{k}].a") for k in range(3)] == [["x"], ["c[0]"], ["c[1]"]]
    assert sources(graph, "y") == ["c[2]"]


def test_each_cell_reads_the_two_before_it() -> None:
    graph = expand_text(CELL + network("s = x : skip\nc = chain cell(x, s) times 4\nc -> y"))
    read = [(*sources(graph, f"c[{k}].before"), *sources(graph, f"c[{k}].last")) for k in range(4)]
    assert read == [("x", "s"), ("s", "c[0]"), ("c[0]", "c[1]"), ("c[1]", "c[2]")]


def test_as_many_outputs_as_inputs_pass_side_by_side() -> None:
    swap = "motif swap(a, b) -> (c, d) { a -> d\n b -> c }\n"
    graph = expand_text(swap + network("p, q = chain swap(x, x) times 2\n{p, q} -> y"))
    assert (sources(graph, "p[1].a"), sources(graph, "p[1].b")) == (["p[0]"], ["q[0]"])
    assert sources(graph, "y") == ["p[1]", "q[1]"]
    assert list(graph.instances) == ["", "p[0]", "p[1]"]


def test_links_of_a_chain_can_be_read_by_index_and_slice() -> None:
    graph = expand_text(STEP + network("c = chain step(x) times 3\n{c[0], c[1..]} -> y\nc -> y"))
    assert sources(graph, "y") == ["c[0]", "c[1]", "c[2]", "c[2]"]


@pytest.mark.parametrize(
    ("head", "seeds", "targets"),
    [("cell(x", "stem", "y"), ("cell(x, z", "stem, stem", "y, last")],
    ids=["one input", "as many outputs as inputs"],
)
def test_inputs_that_come_from_one_link_have_no_lag(head: str, seeds: str, targets: str) -> None:
    """Both have the resolution of that link, and are read at it."""
    two = "z" in head
    graph = graph_of(f"""\
motif {head}; width, stride = 1, lag = 1) -> (out{", more" if two else ""}) {{
    out = x : conv(3, width, stride * lag)
    {"more = z : conv(3, width, stride * lag)" if two else ""}
}}
network net(image: [1, 32, 32]) -> (logits: [10]) {{
    stem = image : conv(3, 4)
    {targets} = chain cell({seeds}; width = 4) times 4 reduce at 1
    {"all = sum(y, last)" if two else "all = y : skip"}
    all -> logits : global_avg_pool >> linear(10)
}}
""")
    [last] = [node for node in graph.nodes() if node.name == "all"]
    assert last.shape == (8, 16, 16)


def test_reductions_set_stride_width_and_lag() -> None:
    body = "c = chain cell(x, x; width = 4) times 6 reduce at 2, 4\nc -> y"
    graph = expand_text(CELL + network(body))
    assert parameters(graph, "c") == [
        {"width": 4, "stride": 1, "lag": 1},
        {"width": 4, "stride": 1, "lag": 1},
        {"width": 8, "stride": 2, "lag": 1},
        {"width": 8, "stride": 1, "lag": 2},
        {"width": 16, "stride": 2, "lag": 1},
        {"width": 16, "stride": 1, "lag": 2},
    ]


def test_reductions_start_from_the_width_the_motif_has_by_default() -> None:
    text = "motif m(a; base = 3, width = 2 * base, stride = 1) -> (b) { a -> b }\n"
    graph = expand_text(text + network("c = chain m(x; base = 5) times 2 reduce at 1\nc -> y"))
    assert [p["width"] for p in parameters(graph, "c")] == [10, 20]


def test_a_chain_without_reductions_keeps_its_parameters() -> None:
    graph = expand_text(STEP + network("c = chain step(x; width = 8, stride = 1) times 2\nc -> y"))
    assert parameters(graph, "c") == [{"width": 8, "stride": 1}] * 2


@pytest.mark.parametrize("index", [3, -1])
def test_a_reduction_outside_the_chain(index: int) -> None:
    text = STEP + network(f"c = chain step(x) times 3 reduce at §{index}\nc -> y")
    message = f"reduction at {index} of a chain of 3"
    found = assert_refused(text, "D223", message, expand_text)
    assert found.help == "motifs of the chain count from 0 to 2"


def test_an_untied_chain_searches_each_link() -> None:
    graph = expand_text(STEP + network("c = chain step(x) times 3\nc -> y"))
    assert [len(edges) for edges in graph.groups().values()] == [1] * 6


def test_a_tied_chain_shares_one_architecture() -> None:
    graph = expand_text(STEP + network("c = tied chain step(x) times 3\nc -> y"))
    assert {name: len(edges) for name, edges in graph.groups().items()} == {
        "c.a->b:conv_3": 3,
        "c.a->b:skip": 3,
    }


def test_a_tied_chain_with_reductions_shares_two() -> None:
    body = "c = tied chain cell(x, x) times 5 reduce at 1, 3\nc -> y"
    graph = expand_text(CELL + network(body))
    assert {name: [e.scope for e in edges] for name, edges in graph.groups().items()} == {
        f"c/{kind}.{source}->out:{operation}": [f"c[{k}]" for k in links]
        for kind, links in (("normal", (0, 2, 4)), ("reduction", (1, 3)))
        for source in "ab"
        for operation in ("conv_3", "max_pool_3")
    }


def test_what_is_inside_a_tied_motif_is_tied_too() -> None:
    motif = "motif pair(a) -> (b) { p = step(a)\n q = step(p)\n q -> b }\n"
    graph = expand_text(STEP + motif + network("c = tied chain pair(x) times 2\nc -> y"))
    assert {name: len(edges) for name, edges in graph.groups().items()} == {
        f"c.{link}.a->b:{operation}": 2 for link in "pq" for operation in ("conv_3", "skip")
    }


def test_a_tied_chain_inside_an_untied_one_is_tied_within_each_link() -> None:
    motif = "motif inner(a) -> (b) { c = tied chain step(a) times 3\n c -> b }\n"
    graph = expand_text(STEP + motif + network("d = chain inner(x) times 2\nd -> y"))
    assert {name: len(edges) for name, edges in graph.groups().items()} == {
        f"d[{k}].c.a->b:{operation}": 3 for k in range(2) for operation in ("conv_3", "skip")
    }


def test_tied_links_share_candidates_that_are_given_their_width() -> None:
    text = """
op to(w) = conv(3, w)
motif step(a; width = 4, stride = 1) -> (b) {
    z = a : conv(1, width, stride)
    z ~> b : to(width) | skip
}
"""
    body = "c = tied chain step(x; width = 4) times 4 reduce at 1\nc -> y"
    sizes = [len(edges) for edges in expand_text(text + network(body)).groups().values()]
    assert sorted(sizes) == [1, 1, 3, 3]


def test_a_list_that_is_too_long_for_a_chain() -> None:
    body = "node h[3]\nx -> h\n§c = chain cell(h) times 2\nc -> y"
    assert_refused(CELL + network(body), "D212", "`cell` has 2 inputs, 3 given", expand_text)


# ------------------------------------------------------------------------------ retain


def test_retain_counts_for_each_node() -> None:
    graph = expand_text(network("node h[2]\nx ~> {h, y} : skip\nretain 2 into h\nretain 1 into y"))
    assert graph.retains == (
        RetainConstraint("h[0]", 2),
        RetainConstraint("h[1]", 2),
        RetainConstraint("y", 1),
    )


# ------------------------------------------------------------------------------ limits


def many(head: str, line: str, count: int) -> str:
    return head + "\n".join(line.format(k, k + 1) for k in range(count)) + "\n"


HUGE = {
    "turns": network("for k in 0..1000000000 { x -> y }"),
    "turns of turns": network("for i in 0..1000000 { for j in 0..1000000 { x -> y } }"),
    "empty turns": network("for i in 0..1000000 { for j in 0..1000000 { } }\nx -> y"),
    "edges": network("node h[100000]\nx -> y\nh -> h"),
    "edges of a loop": network("for i in 0..1000 { for j in 0..1001 { x -> y } }"),
    "nodes": network("node " + ", ".join(f"h{k}[1000000]" for k in range(50)) + "\nx -> y"),
    "a chain": STEP + network("c = chain step(x) times 1000000\nc -> y"),
    "motifs of motifs": STEP.replace("step", "m0")
    + many("", "motif m{1}(a) -> (b) {{ p = m{0}(a)\n b = m{0}(p) }}", 60)
    + network("y = m60(x)"),
    "candidates of choices": "choice c0 = skip | relu\n"
    + many("", "choice c{1} = c{0} | c{0}", 40)
    + network("x ~> y : c40"),
    "stages of operations": "op c0 = relu >> conv(3)\n"
    + many("", "op c{1} = c{0} >> c{0}", 40)
    + network("x -> y : c40"),
    "retained nodes": network("node h[1000000]\nfor k in 0..1000000 { retain 1 into h }\nx -> y"),
}


@pytest.mark.parametrize("what", HUGE)
def test_a_huge_spec_is_refused_at_once(what: str) -> None:
    with deadline(2.0):
        found = refused(HUGE[what])
    assert [d.code for d in found] in (["D224"], ["D222"])
    assert_style(found[0])
    assert found[0].span is not None


def test_motifs_nest_only_so_deep() -> None:
    text = STEP.replace("step", "m0") + many("", "motif m{1}(a) -> (b) {{ b = m{0}(a) }}", 150)
    [found] = refused(text + network("y = m150(x)"))
    assert (found.code, found.message) == ("D224", "motifs nest deeper than 100 levels")


def test_a_long_chain_is_within_the_limits() -> None:
    graph = expand_text(STEP + network("c = chain step(x) times 300\nc -> y"))
    assert len(graph.instances) == 301


# ------------------------------------------------------------------------------ DARTS


@pytest.fixture(scope="module")
def darts() -> Graph:
    return compile_spec("darts_cell").graph


def test_darts_has_the_edges_of_the_paper(darts: Graph) -> None:
    cells, edges, candidates = 8, 14, 7
    assert len(darts.searched()) == cells * edges * candidates == 784
    assert len(darts.groups()) == 2 * edges * candidates == 196
    assert {len(group) for group in darts.groups().values()} == {6, 2}


def test_darts_has_the_size_its_authors_print(darts: Graph) -> None:
    """`param size = 1.930618MB` of their search code: parameters in millions."""
    assert graph_cost(darts).parameters == 1_930_618


def test_darts_retains_two_connections_into_each_node(darts: Graph) -> None:
    assert len(darts.retains) == 8 * 4
    assert {retain.count for retain in darts.retains} == {2}


def test_darts_reduces_at_a_third_and_two_thirds(darts: Graph) -> None:
    strides = [p["stride"] for p in parameters(darts, "body")]
    assert strides == [1, 1, 2, 1, 1, 2, 1, 1]
    assert darts.node("body[7]").shape == (4 * 64, 8, 8)


def test_darts_takes_other_depths_and_widths() -> None:
    graph = compile_spec("darts_cell", {"cells": 5, "width": 8}).graph
    assert len(graph.searched()) == 5 * 14 * 7
    assert verify(graph, "the test") is graph


def test_compiled_graphs_keep_the_values_they_were_made_with() -> None:
    assert compile_text(SIZED, c=3).values == {"c": 3}
