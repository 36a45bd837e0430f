"""Syntax tree to canonical text, and back."""

from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given
from strategies import specs
from support import parse_text

from bayesnas.dsl import tree
from bayesnas.dsl.diagnostics import DiagnosticError, Source
from bayesnas.dsl.loader import load, packaged_specs, read_source
from bayesnas.dsl.parsing.parser import parse
from bayesnas.dsl.printing.layout import LINE
from bayesnas.dsl.printing.printer import print_spec


def canonical(text: str) -> str:
    return print_spec(parse_text(text))


@given(specs)
def test_what_is_printed_parses_to_the_same_tree(spec: tree.Spec) -> None:
    assert parse_text(print_spec(spec)) == spec


@given(specs)
def test_printing_is_idempotent(spec: tree.Spec) -> None:
    text = print_spec(spec)
    assert canonical(text) == text


def library() -> list[Source]:
    operations = files("bayesnas.dsl").joinpath("library", "ops")
    return [Source(f.name, f.read_text(encoding="utf-8")) for f in operations.iterdir()]


@pytest.mark.parametrize("name", packaged_specs())
def test_packaged_specs_survive_printing(name: str) -> None:
    source = load(name).source
    assert parse_text(print_spec(parse(source))) == parse(source)


@pytest.mark.parametrize("source", library(), ids=lambda source: source.name)
def test_the_library_survives_printing(source: Source) -> None:
    assert parse_text(print_spec(parse(source))) == parse(source)


@pytest.mark.parametrize("name", packaged_specs())
def test_printed_lines_are_short(name: str) -> None:
    printed = print_spec(load(name).main)
    assert max(map(len, printed.splitlines())) <= LINE


def test_an_empty_spec_prints_nothing() -> None:
    assert canonical("# nothing") == ""


# ------------------------------------------------------------------------------ parentheses


@pytest.mark.parametrize(
    "expression",
    [
        "a // (b * c)",
        "a // b * c",
        "a - (b - c)",
        "(a + b) * c",
        "-(a + b)",
        "--a",
        "a - -b",
        "not (a and b)",
        "(not a) == b",
        "not a == b",
        "(a < b) == (c < d)",
        "(a or b) and c",
        "a or b and c",
        "a or (b or c)",
        "-a % b",
        "(not a) + 1",
    ],
)
def test_an_expression_keeps_only_the_parentheses_it_needs(expression: str) -> None:
    text = f"op f = g({expression})\n"
    assert canonical(text) == text
    assert canonical(f"op f = g(({expression}))\n") == text


@pytest.mark.parametrize(
    "term",
    [
        "(a | b) >> c",
        "a | b >> c",
        "a + b | c",
        "a + (b | c)",
        "(a | b) | c",
        "a | b | c",
        "(a >> b) >> c",
        "(if k then a else b) >> c",
        "if k then a else b >> c",
        "if k then if j then a else b else c",
        "a | (if k then b else c)",
        "if a // (b * c) == 2 then x else y",
    ],
)
def test_an_operation_keeps_only_the_parentheses_it_needs(term: str) -> None:
    text = f"choice f = {term}\n"
    assert canonical(text) == text
    assert canonical(f"choice f = ({term})\n") == text


# ------------------------------------------------------------------------------ form


def test_the_canonical_form() -> None:
    text = """
import "a.nas" import "b.nas"
op f=conv(3)>>bn op g(k,s=1)=f
motif m(a,b;w)->(c){node h[2],x;for k in 0..2{{a,b}~>h[k]:f|g(k);if k>0{h[k-1]->h[k]}else{}}
if w==1{c=concat(h)}else{c=sum(h)}}
"""
    expected = """\
import "a.nas"
import "b.nas"

op f = conv(3) >> bn
op g(k, s = 1) = f

motif m(a, b; w) -> (c) {
    node h[2], x
    for k in 0..2 {
        {a, b} ~> h[k] : f | g(k)
        if k > 0 { h[k - 1] -> h[k] }
    }
    if w == 1 {
        c = concat(h)
    } else {
        c = sum(h)
    }
}
"""
    assert canonical(text) == expected


def test_a_long_definition_breaks_at_its_outermost_operator() -> None:
    candidates = [f"operation_with_a_long_name({k}) >> bn" for k in range(4)]
    expected = "choice c =\n      " + "\n    | ".join(candidates) + "\n"
    assert canonical(f"choice c = {' | '.join(candidates)}") == expected


@pytest.mark.parametrize(
    "text",
    [
        # plain operations fill lines of about one length
        """\
choice c =
      an_operation(1) | an_operation(2) | an_operation(3) | an_operation(4) | an_operation(5)
    | an_operation(6) | an_operation(7) | an_operation(8) | an_operation(9)
""",
        """\
op f(kernel, stride = 1) =
       relu >> depthwise_conv(kernel, stride) >> conv(1) >> bn(affine = 0)
    >> relu >> depthwise_conv(kernel) >> conv(1) >> bn(affine = 0)
""",
        # what fits on one line stays on one
        """\
choice c(kernel, stride = 1) =
    an_operation(kernel, 1) | an_operation(kernel, 2) | an_operation(kernel, 3) | an_other
""",
        """\
op f(a_width, a_stride = 1) =
    if a_stride == 1 then skip + a_bottleneck(a_kernel, a_width)
    else if a_stride == 2 then a_bottleneck(a_kernel, a_width, stride = a_stride)
    else a_bottleneck(a_kernel, a_width, a_stride, 1)
""",
        """\
op f(a_width, a_stride = 1) =
       (if a_stride == 1 then skip else factorized_reduce(a_width) >> bn(affine = 0))
    >> an_operation_with_a_long_name
""",
        """\
motif m(x) -> (y) {
    x ~> y :
          an_operation(1) | an_operation(2) | an_operation(3) | an_operation(4)
        | an_operation(5) | an_operation(6) | an_operation(7)
}
""",
        """\
motif m(x) -> (y) {
    y = x :
          an_operation_with_a_long_name(1, width = 16, stride = 2)
        + an_operation_with_a_long_name(2, width = 16, stride = 2)
}
""",
        """\
motif m(state) -> (body) {
    body = tied chain a_motif(state, state, state, state, state, state) times 20
        reduce at 20 // 3, 40 // 3
}
""",
        """\
motif m(
    before, last; a_width, a_stride = 1, a_lag = 1,
    the_first_of_many = 1, motif the_second_of_many = cell
) -> (out) {
    x = cell(
        before, last; width = 16 + a_widening * (k + 1) // (3 * blocks),
        stride = 1 + (k == blocks or k == 2 * blocks)
    )
    body = chain cell(
        before, last; width = 16 + a_widening * (k + 1) // (3 * blocks), a_stride = 2
    ) times 20 reduce at 20 // 3, 40 // 3
    out = concat(
        an_input_with_a_long_name, another_input_with_a_long_name,
        yet_another_input_with_a_long_name
    )
}
""",
    ],
)
def test_long_lines_break(text: str) -> None:
    assert canonical(text) == text
    assert canonical(" ".join(text.split())) == text


def test_blocks_that_hold_nothing() -> None:
    text = "motif m(a) -> (b) {}search{}"
    assert canonical(text) == "motif m(a) -> (b) { }\n\nsearch { }\n"


def test_a_set_of_one_is_that_one() -> None:
    text = "motif m(a) -> (b) { {a} -> {b} }"
    assert "    a -> b\n" in canonical(text)


# ------------------------------------------------------------------------------ settings


@pytest.mark.parametrize(
    ("written", "printed"),
    [
        ("3", "3"),
        ("3e-4", "3e-4"),
        ("0.00025", "2.5e-4"),
        ("0.001", "0.001"),
        ("1e16", "1e16"),
        ("1e999", "1e999"),
        ("-0.5", "-0.5"),
        ("word", "word"),
        ('"word"', "word"),
        ('"a b"', '"a b"'),
        ('""', '""'),
        ('"3"', '"3"'),
        ('"sum"', '"sum"'),
        ('"é"', '"é"'),
    ],
)
def test_the_values_of_settings(written: str, printed: str) -> None:
    assert canonical(f"search {{\n a = {written} }}") == f"search {{ a = {printed} }}\n"


def test_numbers_keep_their_kind() -> None:
    spec = parse_text("search { a = 1.0; b = 1 }")
    again = parse_text(print_spec(spec))
    [settings] = again.definitions
    assert isinstance(settings, tree.Settings)
    assert [type(entry.value) for entry in settings.entries] == [float, int]


def test_a_spec_read_from_a_file_prints_as_one_read_from_text(tmp_path: Path) -> None:
    text = "op f = conv(3)\n"
    file = tmp_path / "f.nas"
    file.write_text(text)
    assert print_spec(parse(read_source(file))) == text


# ------------------------------------------------------------------------------ depth


@pytest.mark.parametrize(
    "expression",
    ["1" + " + 1" * 3000, "1" + " or 1" * 3000, "1" + " * (2 + 1)" * 250],
    ids=("sum", "or", "product"),
)
def test_a_very_long_expression_is_refused(expression: str) -> None:
    with pytest.raises(DiagnosticError) as caught:
        canonical(f"op f = g({expression})")
    [found] = caught.value.diagnostics
    assert (found.code, found.message) == ("D104", "nested deeper than 200 levels")
    assert found.span is not None
    assert (found.span.line, found.span.column) == (1, 10)


@pytest.mark.parametrize("word", ["-", "not "])
def test_so_are_many_signs(word: str) -> None:
    for count in (250, 3000):
        with pytest.raises(DiagnosticError) as caught:
            canonical(f"op f = g({word * count}1)")
        assert caught.value.diagnostics[0].code == "D104"


def test_a_long_expression_is_printed() -> None:
    text = f"op f = g(1{' + 1' * 190})\n"
    assert " ".join(canonical(text).split()) == text.strip()
    assert parse_text(canonical(text)) == parse_text(text)
    many = " + ".join(["skip"] * 3000)
    assert " ".join(canonical(f"op f = {many}").split()) == f"op f = {many}"
