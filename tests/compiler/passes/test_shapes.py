"""Pass 4: channels and resolution of every node; what does not fit is refused with both sides."""

from itertools import pairwise

import pytest
from hypothesis import given
from strategies import spaces
from support import assert_refused, edge, graph_of, network, refused

from bayesnas.compiler.graph.model import Graph, ParallelStage
from bayesnas.compiler.operations.primitives import PRIMITIVES, Shape
from bayesnas.compiler.passes.shapes import infer_shapes


def shaped(operation: str, shape: str, result: str) -> str:
    return f"network net(x: {shape}) -> (y: {result}) {{\n§x -> y : {operation}\n}}"


# ------------------------------------------------------------------------------ operations

MAP, ROW, VECTOR = "[4, 8, 8]", "[4, 9]", "[10]"


@pytest.mark.parametrize(
    ("operation", "shape", "result"),
    [
        ("skip", MAP, (4, 8, 8)),
        ("skip", VECTOR, (10,)),
        ("conv(3)", MAP, (4, 8, 8)),
        ("conv(3, 16)", MAP, (16, 8, 8)),
        ("conv(5, 6, 2)", "[4, 7, 9]", (6, 4, 5)),
        ("conv(3, dilation = 2)", MAP, (4, 8, 8)),
        ("conv(1, 2, groups = 2)", MAP, (2, 8, 8)),
        ("depthwise_conv(3, 2)", MAP, (4, 4, 4)),
        ("factorized_reduce(6)", MAP, (6, 4, 4)),
        ("factorized_reduce(6)", "[4, 7, 9]", (6, 4, 5)),
        ("max_pool(3, 2)", "[4, 7, 8]", (4, 4, 4)),
        ("avg_pool(3, 3)", MAP, (4, 3, 3)),
        ("upsample(2)", MAP, (4, 16, 16)),
        ("bn >> relu", MAP, (4, 8, 8)),
        ("global_avg_pool", MAP, (4,)),
        ("flatten", "[4, 2, 3]", (24,)),
        ("linear(3)", VECTOR, (3,)),
        ("dropout(50)", VECTOR, (10,)),
        ("global_avg_pool >> linear(3)", MAP, (3,)),
        ("conv(1, 6) >> (conv(3) + skip)", MAP, (6, 8, 8)),
        ("conv(3, 6, 2)", ROW, (6, 5)),
        ("depthwise_conv(5, dilation = 4)", ROW, (4, 9)),
        ("max_pool(3, 2)", ROW, (4, 5)),
        ("max_pool(2, 2)", "[4, 6]", (4, 3)),
        ("avg_pool(2, 2)", MAP, (4, 4, 4)),
        ("avg_pool(3)", ROW, (4, 9)),
        ("upsample(3)", ROW, (4, 27)),
        ("bn >> relu >> dropout(10) >> skip", ROW, (4, 9)),
        ("global_avg_pool", ROW, (4,)),
        ("flatten", ROW, (36,)),
        ("linear(6) >> bn >> relu", VECTOR, (6,)),
        ("conv(1, expand = 6)", MAP, (24, 8, 8)),
        ("conv(3, 5, 2, expand = 3)", ROW, (15, 5)),
        ("conv(1, expand = 3) >> conv(1, 2, groups = 2)", MAP, (2, 8, 8)),
        ("pad_channels(7)", MAP, (7, 8, 8)),
        ("pad_channels(4)", ROW, (4, 9)),
    ],
)
def test_operations(operation: str, shape: str, result: Shape) -> None:
    graph = graph_of(shaped(operation, shape, str(list(result))).replace("§", ""))
    assert graph.node("y").shape == result


def test_every_primitive_is_known_by_its_name() -> None:
    assert all(name == primitive.name for name, primitive in PRIMITIVES.items())
    assert all(primitive.summary for primitive in PRIMITIVES.values())


# ------------------------------------------------------------------------------ D301


@pytest.mark.parametrize(
    ("operation", "shape", "message", "remedy"),
    [
        (
            "conv(3)",
            VECTOR,
            "`conv` needs a map [channels, length] or [channels, height, width], got [10]",
            "write `linear(10)` for a vector, or apply it before `global_avg_pool` or `flatten`",
        ),
        (
            "max_pool(3)",
            VECTOR,
            "`max_pool` needs a map [channels, length] or [channels, height, width], got [10]",
            "leave it out for a vector, or apply it before `global_avg_pool` or `flatten`",
        ),
        (
            "factorized_reduce",
            ROW,
            "`factorized_reduce` needs a map [channels, height, width], got [4, 9]",
            "write `conv(1, 4, stride = 2)`",
        ),
        (
            "linear(3)",
            ROW,
            "`linear` needs a vector [features], got [4, 9]",
            "put `global_avg_pool` or `flatten` before it",
        ),
        (
            "pad_channels(3)",
            MAP,
            "`pad_channels` cannot shrink 4 channels to 3",
            "write a width of 4 or more, or `conv(1, 3)`",
        ),
        (
            "conv(3, groups = 3, expand = 2)",
            MAP,
            "3 groups divide 4 -> 8 channels unevenly",
            "write `groups = 1`: it divides both",
        ),
        ("conv(3, expand = 0)", MAP, "`expand` of `conv` is 0", "write 1 or more"),
        (
            "linear(3)",
            MAP,
            "`linear` needs a vector [features], got [4, 8, 8]",
            "put `global_avg_pool` or `flatten` before it",
        ),
        (
            "max_pool(2)",
            MAP,
            "the kernel of `max_pool` is 2, an even number",
            "write `kernel = 3`: padding keeps the resolution for odd ones alone, "
            "or `kernel = 2, stride = 2`",
        ),
        (
            "avg_pool(4, 2)",
            "[4, 7]",
            "the kernel of `avg_pool` is 4, an even number",
            "write `kernel = 5`: padding keeps the resolution for odd ones alone",
        ),
        (
            "avg_pool(2, 2)",
            "[4, 7]",
            "windows of 2 do not cover 7 evenly",
            "declare `x: [4, 8]`: sizes that halve evenly, or write `kernel = 3`",
        ),
        (
            "conv(3, 6, groups = 4)",
            MAP,
            "4 groups divide 4 -> 6 channels unevenly",
            "write `groups = 2`: it divides both",
        ),
        (
            "factorized_reduce(5)",
            MAP,
            "`factorized_reduce` needs an even width, got 5",
            "write a width of 6",
        ),
        ("conv(3, 0)", MAP, "`width` of `conv` is 0", "write 1 or more"),
        ("conv(3, 4, 0)", MAP, "`stride` of `conv` is 0", "write 1 or more"),
        ("conv(3, bias = 0 - 2)", MAP, "`bias` of `conv` is -2", "write 0 or more"),
        ("conv(0 - 1)", MAP, "`kernel` of `conv` is -1", "write 1 or more"),
        ("conv(3, stride = 0 - 1)", MAP, "`stride` of `conv` is -1", "write 1 or more"),
        (
            "relu >> (skip + max_pool(3, 2))",
            MAP,
            "cannot sum [4, 8, 8] and [4, 4, 4] with `+`",
            "append `>> avg_pool(3, stride=2)` to branch 1 of the `+`",
        ),
    ],
)
def test_an_operation_refuses_its_input(
    operation: str, shape: str, message: str, remedy: str
) -> None:
    found = assert_refused(shaped(operation, shape, "[1]"), "D301", message)
    assert found.help == remedy
    assert "on the edge `x -> y`" in found.notes[0]


@pytest.mark.parametrize(
    "operation", ["dropout(101)", "conv(3, bias = 2)", "bn(affine = 2)", "linear(1, bias = 7)"]
)
def test_shares_and_flags_have_an_upper_end(operation: str) -> None:
    shape = VECTOR if "linear" in operation else MAP
    result = "[1]" if "linear" in operation else MAP
    [found] = refused(shaped(operation, shape, result).replace("§", ""))
    assert found.code == "D301"


def test_a_refusal_tells_the_operation_its_edge_and_where_it_is_defined() -> None:
    text = "op wide = relu >>\n  linear(3)\n" + network("§x -> y : wide")
    found = assert_refused(text, "D301", "`linear` needs a vector [features], got [4, 8, 8]")
    assert found.notes == ("in `wide` on the edge `x -> y`", "the operation is at spec.nas:2:3")


# ------------------------------------------------------------------------------ D302

VERBS = {"sum": "sum", "concat": "concatenate", "product": "multiply"}


def test_a_sum_shows_both_shapes_and_where_each_comes_from() -> None:
    text = network("x -> y : conv(3)\n§x -> y : max_pool(3, 2)")
    found = assert_refused(text, "D302", "cannot sum [4, 8, 8] and [4, 4, 4] at `y`")
    assert found.label == "arrives as [4, 4, 4]"
    assert found.notes == (
        "[4, 8, 8] comes by `conv(3)` on `x -> y`, at spec.nas:2:1",
        "[4, 4, 4] comes by `max_pool(3, stride=2)` on `x -> y`, at spec.nas:3:1",
    )
    assert found.help == "append `>> avg_pool(3, stride=2)` to `conv(3)` on `x -> y`"


def test_a_concatenation_needs_one_resolution() -> None:
    text = network("p = x : max_pool(3, 2)\n§y = concat(x, p)")
    found = assert_refused(text, "D302", "cannot concatenate [4, 8, 8] and [4, 4, 4] at `y`")
    assert found.help == "put `avg_pool(3, stride=2)` on `x -> y`"


@pytest.mark.parametrize("merge", ["concat", "sum"])
def test_a_map_and_a_vector_do_not_merge(merge: str) -> None:
    text = network(f"v = x : global_avg_pool\n§y = {merge}(x, v)")
    assert_refused(text, "D302", f"cannot {VERBS[merge]} [4, 8, 8] and [4] at `y`")


@pytest.mark.parametrize("factors", ["x, v", "v, x", "v, x, v, x"])
def test_a_map_is_multiplied_by_a_number_a_channel(factors: str) -> None:
    graph = graph_of(network(f"v = x : global_avg_pool\ny = product({factors})"))
    assert graph.node("y").shape == (4, 8, 8)


def test_a_vector_that_multiplies_has_a_number_for_each_channel() -> None:
    text = network("v = x : global_avg_pool >> linear(6)\n§y = product(v, x)")
    found = assert_refused(text, "D302", "cannot multiply [4, 8, 8] and [6] at `y`")
    assert found.help == "put `linear(4)` on `v -> y`"


def test_maps_that_a_vector_multiplies_still_differ() -> None:
    text = network("v = x : global_avg_pool\np = x : max_pool(3, 2)\n§y = product(v, x, p)")
    assert_refused(text, "D302", "cannot multiply [4, 8, 8] and [4, 4, 4] at `y`")


@pytest.mark.parametrize("merge", ["concat", "sum", "product"])
@pytest.mark.parametrize("shape", ["[4]", "[8]", "[4, 8]", "[8, 8]", "[8, 8, 4]"])
def test_what_has_another_rank_does_not_merge(merge: str, shape: str) -> None:
    """Not even where the sizes that are left would be the same."""
    if (merge, shape) in (("product", "[4]"), ("product", "[8]")):
        pytest.skip("a number per channel, or `linear` makes it so")
    other = "[4, 8]" if shape.count(",") != 1 else "[4, 8, 8]"
    text = (
        f"network net(a: {other}, b: {shape}) -> (y: [1]) {{\n"
        f"c = a : relu\nd = b : relu\n§y = {merge}(c, d) }}"
    )
    found = assert_refused(text, "D302", f"cannot {VERBS[merge]} {other} and {shape} at `y`")
    assert "put `global_avg_pool" in found.help


def test_a_product_needs_equal_shapes() -> None:
    text = network("w = x : conv(1, 6)\n§y = product(x, w)")
    assert_refused(text, "D302", "cannot multiply [4, 8, 8] and [6, 8, 8] at `y`")


def test_candidates_of_one_edge_need_equal_shapes() -> None:
    text = network("§x ~> y : conv(3) | conv(3, 6)")
    assert_refused(text, "D302", "cannot sum [4, 8, 8] and [6, 8, 8] at `y`")


def test_candidates_of_one_edge_are_summed_even_into_a_concatenation() -> None:
    text = network("y = concat()\n§x ~> y : conv(3) | conv(3, 6)")
    assert_refused(text, "D302", "cannot sum [4, 8, 8] and [6, 8, 8] at `y`")


# ------------------------------------------------------------------------------ D303


def test_an_output_is_what_it_is_declared_as() -> None:
    text = "network net(x: [4, 8, 8]) -> (§y: [10]) {\n x -> y : global_avg_pool\n}"
    found = assert_refused(text, "D303", "output `y` is declared as [10] and arrives as [4]")
    assert found.notes == ("the last operation is `global_avg_pool`, at spec.nas:2:2",)
    assert found.help == (
        "declare `y: [4]`, or append `>> linear(10)` to `global_avg_pool` on `x -> y`"
    )


# ------------------------------------------------------------------------------ merges that fit


@pytest.mark.parametrize(
    ("body", "shape"),
    [
        ("y = concat(x, x, x)", (12, 8, 8)),
        ("w = x : conv(1, 6)\ny = concat(x, w)", (10, 8, 8)),
        ("y = sum(x, x)", (4, 8, 8)),
        ("y = product(x, x)", (4, 8, 8)),
        ("v = x : flatten\nw = x : global_avg_pool\ny = concat(v, w)", (260,)),
        ("y = concat()\nx ~> y : skip | conv(3)\nx -> y : conv(1) + conv(3)", (8, 8, 8)),
    ],
)
def test_merges(body: str, shape: Shape) -> None:
    text = network(body).replace("(y: [4, 8, 8])", f"(y: {list(shape)})")
    assert graph_of(text).node("y").shape == shape


def test_one_slip_gives_one_error() -> None:
    body = "p = x : linear(3)\nq = p : conv(3)\n{p, q} -> y : conv(3)"
    assert [d.code for d in refused(network(body))] == ["D301"]


def test_independent_slips_come_at_once() -> None:
    body = "p = x : linear(3)\nq = x : max_pool(2)\nr = concat(p, q)\nr -> y"
    assert [d.code for d in refused(network(body))] == ["D301", "D301"]


def test_the_first_slip_of_a_statement_is_told() -> None:
    text = network("p = x : conv(1, 6)\n§{x, p} -> y : linear(3)")
    assert_refused(text, "D301", "`linear` needs a vector [features], got [4, 8, 8]")


def test_a_wrong_motif_is_told_once_for_all_its_instances() -> None:
    text = "motif m(a) -> (b) { a -> b : linear(3) }\n" + network("p = m(x)\nq = m(x)\n{p, q} -> y")
    assert len(refused(text)) == 1


# ------------------------------------------------------------------------------ stages


def test_stages_know_their_numbers() -> None:
    graph = graph_of(network("x -> y : conv(3, 6, 2) >> conv(1, 4) >> upsample(2)"))
    [first, second, third] = edge(graph, "x->y:conv_conv_upsample").operation.stages
    assert not isinstance(first, ParallelStage)
    assert dict(first.arguments) == {
        "kernel": 3,
        "width": 6,
        "stride": 2,
        "dilation": 1,
        "groups": 1,
        "bias": 0,
        "expand": 1,
        "kernel_width": 3,
        "causal": 0,
    }
    shapes = [(s.input_shape, s.output_shape) for s in (first, second, third)]
    assert shapes == [
        ((4, 8, 8), (6, 4, 4)),
        ((6, 4, 4), (4, 4, 4)),
        ((4, 4, 4), (4, 8, 8)),
    ]


def test_an_expanded_width_is_resolved_and_kept_as_written() -> None:
    graph = graph_of(network("x -> y : conv(1, 3, expand = 4) >> conv(1, 4)"))
    [first, _] = graph.incoming("y")[0].operation.stages
    assert not isinstance(first, ParallelStage)
    assert (dict(first.arguments)["width"], dict(first.arguments)["expand"]) == (12, 1)
    assert dict(first.written or ()) == {"kernel": 1, "width": 3, "expand": 4}
    assert graph.incoming("y")[0].operation.label.startswith("conv(1, width=3, expand=4)")
    again = infer_shapes(graph)
    assert [e.operation for e in again.edges()] == [e.operation for e in graph.edges()]


def joins(graph: Graph) -> list[tuple[Shape | None, Shape | None]]:
    """Shapes that must agree: between the stages of an operation, and with the node it leaves."""
    pairs = []
    for e in graph.edges():
        stages = [s for s in e.operation.stages if not isinstance(s, ParallelStage)]
        if len(stages) == len(e.operation.stages):
            pairs.append((graph.node(e.source).shape, stages[0].input_shape))
            pairs += [(a.output_shape, b.input_shape) for a, b in pairwise(stages)]
    return pairs


@given(spaces())
def test_all_shapes_are_known_and_agree(text: str) -> None:
    graph = graph_of(text)
    assert all(node.shape is not None for node in graph.nodes())
    assert all(left == right is not None for left, right in joins(graph))


@pytest.mark.parametrize(
    ("operation", "size"),
    [
        ("conv(1, expand = 1000000000000)", "4,000,000,000,000"),
        (" >> ".join(["upsample(1000000000)"] * 999), "10^18"),
    ],
)
def test_dimensions_have_a_bound(operation: str, size: str) -> None:
    name = operation.partition("(")[0]
    message = f"`{name}` makes a dimension of {size}, beyond 10^12"
    assert_refused(shaped(operation, MAP, MAP), "D301", message)
