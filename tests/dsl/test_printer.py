"""Syntax tree to canonical text, and back."""

from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given
from strategies import specs
from support import parse_text

from bayesnas.dsl import tree
from bayesnas.dsl.diagnostics import Source
from bayesnas.dsl.loader import load, packaged_specs, read_source
from bayesnas.dsl.parser import parse
from bayesnas.dsl.printer import LINE, print_spec


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
        if k > 0 {
            h[k - 1] -> h[k]
        }
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


def test_a_long_chain_breaks_before_its_reductions() -> None:
    chain = f"body = tied chain a_motif({', '.join(['state'] * 8)}; width = 16) times 20"
    text = f"motif m(state) -> (body) {{\n    {chain}\n        reduce at 20 // 3, 40 // 3\n}}\n"
    assert canonical(text) == text


def test_a_set_of_one_is_that_one() -> None:
    text = "motif m(a) -> (b) { {a} -> {b} }"
    assert "    a -> b\n" in canonical(text)


# ------------------------------------------------------------------------------ settings


@pytest.mark.parametrize(
    ("written", "printed"),
    [
        ("3", "3"),
        ("3e-4", "0.0003"),
        ("1e16", "1e+16"),
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
    assert canonical(f"search {{ a = {written} }}") == f"search {{\n    a = {printed}\n}}\n"


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
