"""Pass 1: every name that cannot be right is refused, all of them in one go."""

from pathlib import Path

import pytest
from support import (
    assert_refused,
    compile_text,
    deadline,
    network,
    refused,
    resolve_text,
)

from bayesnas.compiler.operations import aliases
from bayesnas.compiler.operations.primitives import PRIMITIVES
from bayesnas.compiler.program.resolve import resolve
from bayesnas.dsl.diagnostics import DiagnosticError
from bayesnas.dsl.loader import load
from bayesnas.dsl.mistakes.habits import OPERATION_NAMES

M = "motif m(a; width = 4, stride = 1) -> (b) { a -> b : conv(3, width, stride) }\n"
TWO = "motif two(a, b) -> (c) { {a, b} -> c }\n"
FORK = "motif fork(a, b, c) -> (d, e) { {a, b, c} -> {d, e} }\n"

INVALID = {
    # D201: defined twice
    "op f = skip\nop §f = relu": ("D201", "`f` is defined twice"),
    "op f = skip\nchoice §f = relu | skip": ("D201", "`f` is defined twice"),
    "op §conv = skip": ("D201", "`conv` is defined twice"),
    "motif m(a) -> (b) { a -> b }\nmotif §m(a) -> (b) { a -> b }": (
        "D201",
        "`m` is defined twice",
    ),
    "search { rounds = 1\n  §rounds = 2 }": ("D201", "`rounds` is defined twice"),
    # D202: unknown operation
    "op f = §conf(3)": ("D202", "unknown operation `conf`"),
    "op f = relu >> §nothing_like_it": ("D202", "unknown operation `nothing_like_it`"),
    M + network("x -> y : §m"): ("D202", "unknown operation `m`"),
    # D203: unknown node
    network("x -> y\n§z -> y"): ("D203", "`z` is not a node of `net`"),
    network("x -> y\nretain 1 into §h"): ("D203", "`h` is not a node of `net`"),
    network("x -> y\n§h[0] = x : skip"): ("D203", "`h` is not a node of `net`"),
    # D204: arguments that do not fit
    "op f = conv(3, 1, 1, 1, 1, 0, 1, 3, 0, §7)": ("D204", "too many arguments of `conv`"),
    "op f = relu(§1)": ("D204", "too many arguments of `relu`"),
    "op f = conv(3, §sride = 2)": ("D204", "`conv` has no parameter `sride`"),
    "op f = conv(3, §kernel = 2)": ("D204", "parameter `kernel` of `conv` is given twice"),
    "op f = §conv": ("D204", "`conv` needs a value for `kernel`"),
    "op f(k, w) = conv(k, w)\nop g = §f": ("D204", "`f` needs a value for `k` and `w`"),
    M + network("§y = m(x; 3)"): ("D204", "parameters of the motif `m` are given by name"),
    M + network("y = m(x; §with = 3)"): ("D204", "`m` has no parameter `with`"),
    "motif w(a; n) -> (b) { a -> b }\n" + network("§y = w(x)"): (
        "D204",
        "`w` needs a value for `n`",
    ),
    # D205: unknown number
    "op f = conv(§k)": ("D205", "`k` is no parameter or loop variable here"),
    "op f(k = §w, w = 3) = conv(k)": ("D205", "`w` is no parameter or loop variable here"),
    network("for k in 0..2 { }\nx -> y : conv(§k)"): (
        "D205",
        "`k` is no parameter or loop variable here",
    ),
    network("node h[§n]\nx -> y"): ("D205", "`n` is no parameter or loop variable here"),
    "network net(x: [§c]) -> (y: [1]) { x -> y }": (
        "D205",
        "`c` is no parameter or loop variable here",
    ),
    # D206: candidates where one operation is meant
    network("x -> y : §skip | relu"): ("D206", "candidates stand where one operation is meant"),
    "choice c = skip | relu\n" + network("x -> y : §c"): (
        "D206",
        "candidates stand where one operation is meant",
    ),
    "op f = §relu | skip": ("D206", "candidates stand where one operation is meant"),
    "choice c = conv(3) >> (§relu | skip)": (
        "D206",
        "candidates stand where one operation is meant",
    ),
    # D207: made of itself
    "op §f = relu >> f": ("D207", "`f` is made of itself"),
    "op §f = g\nop g = relu >> f": ("D207", "`f` is made of itself"),
    "motif §m(a) -> (b) { b = m(a) }": ("D207", "`m` is made of itself"),
    # D208: twice in one place
    "op f(k, §k) = conv(k)": ("D208", "parameter `k` stands twice"),
    "motif m(a, §a) -> (b) { a -> b }": ("D208", "`a` stands twice"),
    "motif m(a) -> (§a) { }": ("D208", "`a` stands twice"),
    network("for k in 0..2 { §for k in 0..2 { } }\nx -> y"): (
        "D208",
        "loop variable `k` hides a parameter or another loop's",
    ),
    network("node h\nnode §h[2]\nx -> y"): ("D208", "`h` is both a node and a list of nodes"),
    network("for k in 0..2 {\n  §z = x : skip\n}\nx -> y"): (
        "D208",
        "`z` would be defined anew in each turn of the loop",
    ),
    network("for k in 0..2 { node §z }\nx -> y"): (
        "D208",
        "`z` would be defined anew in each turn of the loop",
    ),
    # D209: an index of a single node
    network("§x[0] -> y"): ("D209", "`x` is a single node and takes no index"),
    network("x -> §y[..1]"): ("D209", "`y` is a single node and takes no index"),
    # D210: searched without candidates
    network("§x ~> y"): ("D210", "a searched edge needs its candidate operations"),
    # D211: unknown motif
    M + network("§y = n(x)"): ("D211", "unknown motif `n`"),
    network("§y = conv(x)"): ("D211", "unknown motif `conv`"),
    network("§z = chain cells(x) times 3\nz -> y"): ("D211", "unknown motif `cells`"),
    # D212: ports that do not fit; D219: motifs that no chain can use
    TWO + network("§y = two(x)"): ("D212", "`two` has 2 inputs, 1 given"),
    FORK + network("§y = fork(x, x, x)"): ("D212", "`fork` has 2 outputs, 1 given"),
    FORK + network("§p, q = chain fork(x, x, x) times 2\n{p, q} -> y"): (
        "D219",
        "`fork` has 3 inputs and 2 outputs and cannot be chained",
    ),
    TWO + network("§p = chain two(x, x) times 4 reduce at 2\np -> y"): (
        "D219",
        "a reducing chain sets `width` and `stride`, which `two` does not have",
    ),
    # D217: flowing into an input
    network("§x = y : skip\nx -> y"): ("D217", "nothing can flow into `x`, an input"),
    network("y -> §x"): ("D217", "nothing can flow into `x`, an input"),
    M + network("§x = m(x)\nx -> y"): ("D217", "nothing can flow into `x`, an input"),
    # D230, D231: settings
    "search {\n  §lambda = 1 }": ("D230", "unknown search setting `lambda`"),
    "train { §rounds = 3 }": ("D230", "unknown train setting `rounds`"),
    "search { §rounds = 1.5 }": ("D231", "invalid value `1.5` of `rounds`"),
    "search { §rounds = 0 }": ("D231", "invalid value `0` of `rounds`"),
    "search { §epochs = many }": ("D231", "invalid value `many` of `epochs`"),
    "train { §learning_rate = 1e9 }": ("D231", "invalid value `1000000000.0` of `learning_rate`"),
    'search { §dependency = "global" }': ("D231", "invalid value `global` of `dependency`"),
    "search { §dependency = 3 }": ("D231", "invalid value `3` of `dependency`"),
    "search { §epochs = 1e999 }": ("D231", "invalid value `inf` of `epochs`"),
}


@pytest.mark.parametrize("snippet", INVALID)
def test_invalid(snippet: str) -> None:
    code, message = INVALID[snippet]
    assert_refused(snippet, code, message, resolve_text)


@pytest.mark.parametrize(
    ("snippet", "label", "note", "remedy"),
    [
        (
            "op f = skip\nop §f = relu",
            "defined again",
            "`f` is defined at spec.nas:1:4",
            "rename one of them",
        ),
        ("op §relu = skip", "defined again", "`relu` is a primitive", "rename one of them"),
        ("op f = §conf(3)", "not defined", None, "did you mean `conv`?"),
        (
            "op f = conv(3, §sride = 2)",
            "",
            "`conv` takes `kernel`, `width`, `stride`, `dilation`, `groups`, `bias`, `expand`, "
            "`kernel_width` and `causal`",
            "did you mean `stride`?",
        ),
        ("op f = relu(§1)", "", "`relu` takes no parameters", "leave it out"),
        (
            network("§node1 -> y").replace("x:", "node2:"),
            "not declared in `net`",
            "declared nodes are `node2` and `y`",
            "did you mean `node2`?",
        ),
        (
            "op f(kernel) = conv(§kernal)",
            "unknown name",
            "known here: `kernel`",
            "did you mean `kernel`?",
        ),
        (
            "op §f = g\nop g = h\nop h = relu >> f",
            "",
            "by way of f -> g -> h -> f",
            "end the circle: a definition uses only what does not use it",
        ),
        (
            network("§y = conv(x)"),
            "not defined",
            None,
            "`conv` is an operation: write `y = x : conv`",
        ),
        (M + network("x -> y : §m"), "not defined", None, "`m` is a motif: write `y = m(x)`"),
        (
            TWO + network("§y = two(x)"),
            "",
            "its inputs are `a` and `b`",
            "name 2",
        ),
        (
            "search { §rounds = 1.5 }",
            "",
            None,
            "write a whole number from 1 to 1000",
        ),
        ("search { §round = 1 }", "", None, "did you mean `rounds`?"),
        ('search { §dependency = "locale" }', "", None, "did you mean `local`?"),
        ('train { §epochs = "3" }', "", None, "remove the quotes: `epochs = 3`"),
        (
            "train { §augment = turn }",
            "",
            None,
            "write `auto`, `none`, `flip`, `shift` or `shift_flip`",
        ),
        (
            "choice c = skip | relu\n" + network("x ~> y : §c >> bn"),
            "",
            None,
            "a choice is no part of another operation: put the rest into each candidate,"
            " as in `conv(3) >> bn | skip >> bn`",
        ),
        (
            "choice c = (§skip | relu) + bn",
            "",
            None,
            "a choice is no part of another operation: put the rest into each candidate,"
            " as in `conv(3) + bn | skip + bn`",
        ),
    ],
)
def test_what_a_diagnostic_tells(snippet: str, label: str, note: str | None, remedy: str) -> None:
    [found] = refused(snippet.replace("§", ""), resolve_text)
    assert found.label == label
    assert found.help == remedy
    if note is not None:
        assert found.notes == (note,)


IMPORT = "import the file that defines it, define it, or name its `--plugin`"


NOTHING = (
    "leave it out: every operation of a searched edge can be pruned already, and a fixed edge that "
    "carries nothing need not be written"
)


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("lr", "did you mean `learning_rate`?"),
        ("bs", "did you mean `batch_size`?"),
        ("seed", "a seed is no setting: give it on the command line, `--seed 1`"),
        ("epoch", "did you mean `epochs`?"),
    ],
)
def test_settings_as_others_call_them(name: str, remedy: str) -> None:
    [found] = refused(f"train {{ {name} = 1 }}", resolve_text)
    assert (found.code, found.help) == ("D230", remedy)


@pytest.mark.parametrize(
    ("operation", "remedy"),
    [
        ("batchnorm", "did you mean `bn`?"),
        ("BatchNorm2d", "did you mean `bn`?"),
        ("batch_norm", "did you mean `bn`?"),
        ("ReLU", "did you mean `relu`?"),
        ("identity", "did you mean `skip`?"),
        ("dense(3)", "did you mean `linear`?"),
        ("fc(3)", "did you mean `linear`?"),
        ("dwconv(3)", "did you mean `depthwise_conv`?"),
        ("maxpool(3)", "did you mean `max_pool`?"),
        ("avgpool(3)", "did you mean `avg_pool`?"),
        ("swish", "did you mean `silu`?"),
        ("none", NOTHING),
        ("Zero", NOTHING),
        ("adaptive_avg_pool(1)", "did you mean `global_avg_pool`?"),
        ("softmax", "leave it out: the loss and `predict` take it themselves"),
        ("log_softmax", "leave it out: the loss and `predict` take it themselves"),
        ("mixture(4)", IMPORT),
    ],
)
def test_operations_as_others_call_them(operation: str, remedy: str) -> None:
    [found] = refused(f"choice c = skip | {operation}", resolve_text)
    assert found.code == "D202"
    assert found.help == remedy


@pytest.mark.parametrize(
    ("operation", "parameters"),
    [
        ("conv(3, out_channels = 16)", ["width"]),
        ("conv(kernel_size = 3, channels = 8)", ["kernel", "width"]),
        ("conv(3, filters = 8)", ["width"]),
        ("linear(out_features = 10)", ["width"]),
        ("max_pool(size = 3)", ["kernel"]),
        ("dropout(p = 20)", ["percent"]),
        ("conv(kernal = 3)", ["kernel"]),
    ],
)
def test_parameters_as_others_call_them_are_not_missing_as_well(
    operation: str, parameters: list[str]
) -> None:
    found = refused(f"op f = {operation}", resolve_text)
    assert [d.help for d in found] == [f"did you mean `{name}`?" for name in parameters]


@pytest.mark.parametrize(
    ("merge", "remedy"),
    [
        ("cat", "merges are `sum`, `concat` and `product`: did you mean `concat`?"),
        ("add", "merges are `sum`, `concat` and `product`: did you mean `sum`?"),
        ("mul", "merges are `sum`, `concat` and `product`: did you mean `product`?"),
        ("max", "merges are `sum`, `concat` and `product`"),
        ("mean", "merges are `sum`, `concat` and `product`"),
        ("batchnorm", "`bn` is an operation: write `y = x : bn`"),
    ],
)
def test_merges_as_others_call_them(merge: str, remedy: str) -> None:
    found = assert_refused(network(f"§y = {merge}(x, x)"), "D211", f"unknown motif `{merge}`")
    assert found.help == remedy


def test_syntax_errors_know_the_primitive_operations() -> None:
    """The rules cannot import them: they stand below the compiler."""
    assert {*OPERATION_NAMES} == {*PRIMITIVES}


def test_other_names_are_of_operations_and_parameters_there_are() -> None:
    assert {*aliases._OPERATIONS} <= {*PRIMITIVES}
    assert {*aliases._PARAMETERS} <= {p for o in PRIMITIVES.values() for p in o.parameters}


# ------------------------------------------------------------------------------ networks


def test_a_spec_without_a_network_can_be_resolved_and_not_compiled() -> None:
    assert set(resolve_text("op f = skip").operations) == {"f"}
    found = assert_refused("§op f = skip", "D216", "the spec has no network")
    assert "network name(image: [3, 32, 32])" in found.help


def test_one_of_several_networks_is_chosen_by_name() -> None:
    text = network("x -> y") + network("x -> y").replace("net(", "net2(")
    program = resolve_text(text)
    assert program.network("net2").name == "net2"
    assert program.network().name == "net"


def test_an_unknown_network() -> None:
    program = resolve_text(network("x -> y"))
    with pytest.raises(DiagnosticError) as caught:
        program.network("ne")
    [found] = caught.value.diagnostics
    assert (found.code, found.message) == ("D216", "no network `ne`")
    assert found.help == "did you mean `net`?"


def test_the_only_network_needs_no_name() -> None:
    assert resolve_text(network("x -> y")).network().name == "net"


# ------------------------------------------------------------------------------ all in one go


def test_all_errors_of_a_file_come_at_once_in_the_order_of_their_places() -> None:
    text = """\
search { epoch = 1 }
op f = conf(3)
motif m(a) -> (b) {
    a -> c
    a ~> b
}
network net(x: [3]) -> (y: [3]) {
    y = m(x, x)
    x[0] -> y : linear
}
"""
    found = [(d.code, d.span and (d.span.line, d.span.column)) for d in refused(text)]
    assert found == [
        ("D230", (1, 10)),
        ("D202", (2, 8)),
        ("D203", (4, 10)),
        ("D210", (5, 5)),
        ("D212", (8, 5)),
        ("D209", (9, 5)),
        ("D204", (9, 17)),
    ]


def test_an_error_does_not_hide_others_of_its_kind() -> None:
    found = refused("op f = one >> two(k) | three", resolve_text)
    assert [d.code for d in found] == ["D206", "D202", "D202", "D205", "D202"]


def test_errors_of_imported_files_come_along(tmp_path: Path) -> None:
    (tmp_path / "ops.nas").write_text("op f = nothing")
    (tmp_path / "main.nas").write_text('import "ops.nas"\nop g = nowhere')
    with pytest.raises(DiagnosticError) as caught:
        resolve(load(tmp_path / "main.nas"))
    places = [str(d.span) for d in caught.value.diagnostics]
    assert places == [f"{tmp_path}/main.nas:2:8", f"{tmp_path}/ops.nas:1:8"]


# ------------------------------------------------------------------------------ what is right


def test_names_are_known_wherever_they_are_defined() -> None:
    program = resolve_text("op g = f\nop f = relu\n" + network("y = m(x)") + M)
    assert set(program.operations) == {"f", "g"}
    assert set(program.motifs) == {"m"}


def test_an_imported_definition_can_be_used() -> None:
    text = 'import "ops/basic.nas"\n' + network("x -> y : conv_bn_relu(3)")
    assert "conv_bn_relu" in resolve_text(text).operations


def test_a_default_may_use_the_parameters_before_it() -> None:
    resolve_text("op f(k, w = 2 * k) = conv(k, w)")


def test_a_later_loop_may_use_the_same_variable() -> None:
    resolve_text(network("for k in 0..2 { }\nfor k in 0..2 { }\nx -> y"))


def test_the_arms_of_a_condition_may_define_the_same_node() -> None:
    resolve_text(network("if 1 { z = x : skip } else { z = x : relu }\nz -> y"))


def test_settings_are_kept_by_kind() -> None:
    compiled = compile_text(network("x -> y") + "search { rounds = 3 }\ntrain { epochs = 2 }")
    assert compiled.settings("search") == {"rounds": 3}
    assert compiled.settings("train") == {"epochs": 2}


# ------------------------------------------------------------------------------ very many

many = "".join
LONG = {
    "unknown operations": "op f = " + " >> ".join(f"operation{k}" for k in range(9_000)),
    "unknown operations beside known ones": many(f"op operation{k} = relu\n" for k in range(3_000))
    + network(many(f"x -> y : aperation{k}\n" for k in range(3_000))),
    "unknown nodes beside known ones": network(
        "node "
        + ", ".join(f"node{k}" for k in range(5_000))
        + many(f"\nnude{k} -> y" for k in range(5_000))
    ),
    "unknown settings": "search {" + many(f"epocs{k} = 1 " for k in range(9_000)) + "}",
    "settings twice": "search {" + "rounds = 1 " * 9_000 + "}",
    "definitions twice": "op f = relu\n" * 9_000,
}


@pytest.mark.parametrize("what", LONG)
def test_the_first_hundred_errors_come_soon(what: str) -> None:
    with deadline(10.0):
        found = refused(LONG[what], resolve_text)
    assert len(found) == 100
    assert found[0].span is not None


def test_a_long_circle_is_found_soon() -> None:
    text = many(f"op f{k} = f{(k + 1) % 9_000}\n" for k in range(9_000))
    with deadline(10.0):
        [found] = refused(text, resolve_text)
    assert (found.code, found.message) == ("D207", "`f0` is made of itself")


def test_operations_too_deep_to_be_followed() -> None:
    text = many(f"op f{k} = f{k + 1}\n" for k in range(5_000)) + "op f5000 = relu\n"
    [found] = refused(text + network("x -> y : f0"), resolve_text)
    assert (found.code, found.message) == ("D104", "nested too deeply")
