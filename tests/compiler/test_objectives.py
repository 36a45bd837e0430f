"""What outputs learn: said in a spec, checked when it is compiled, kept in what comes of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support import compile_text

from bayesnas.commands.values import parse_objectives
from bayesnas.compiler.artifacts.derive import derive_spec
from bayesnas.compiler.artifacts.graph_file import graph_from_json, graph_to_json
from bayesnas.compiler.objectives import Objective, read_objective
from bayesnas.compiler.pipeline import Compiled, compile_loaded
from bayesnas.dsl.diagnostics import DiagnosticError, Source
from bayesnas.dsl.loader import load_text
from bayesnas.dsl.printing.printer import print_spec

NETWORK = """\
network two(x: [4, 8, 8]) -> (label: [3], map: [4, 8, 8]) {
    x -> label : global_avg_pool >> linear(3)
    x -> map : relu
}
"""


def learning(entries: str) -> Compiled:
    return compile_text(f"{NETWORK}\nlearn {{ {entries} }}")


def test_an_entry_says_objective_options_and_weight() -> None:
    objectives = learning("map = regression(sigma = 0.25) * 2; label = classification").graph
    assert objectives.objectives == (
        Objective("label", "classification"),
        Objective("map", "regression", {"sigma": 0.25}, 2.0),
    )


@pytest.mark.parametrize(
    ("entries", "code", "message"),
    [
        ("mapp = regression", "D235", "no output `mapp`"),
        ("map = regresion", "D233", "unknown objective `regresion`"),
        ("map = regression(mu = 1)", "D234", "`regression` has no option `mu`"),
        ("map = multilabel(mu = 1)", "D234", "`multilabel` has no option `mu`"),
        ("map = regression(sigma = 1e9)", "D234", "invalid value `1000000000.0` of `sigma`"),
        ("map = regression(sigma = 0)", "D234", "the noise of `map` is not estimated: it is a map"),
        ("map = regression(sigma = wide)", "D234", "invalid value `wide` of `sigma`"),
        ("map = classification(ignored = 2.5)", "D234", "invalid value `2.5` of `ignored`"),
        ("map = regression(sigma = 1, sigma = 2)", "D234", "`sigma` is given twice"),
        ("map = regression * 0", "D234", "the weight 0 of `map`"),
        ("map = regression * 1e999", "D234", "the weight inf of `map`"),
        ("label = classification(ignored = 9)", "D234", "`ignored` does nothing for `label`"),
        ("map = regression; map = regression", "D201", "`map` is defined twice"),
        ("map = auxiliary(of = 3)", "D234", "invalid value `3` of `of`"),
        ("map = regression(of = label)", "D234", "`regression` has no option `of`"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(entries: str, code: str, message: str) -> None:
    with pytest.raises(DiagnosticError) as caught:
        learning(entries)
    [found] = caught.value.diagnostics
    assert found.code == code
    assert message in found.message
    assert found.help
    assert found.span is not None
    assert found.span.line == (1 if re.search("does nothing|a map", message) else 6)


@pytest.mark.parametrize(
    ("entries", "code", "message"),
    [
        ("map = auxiliary; label = regression * 2", "D234", "a weight of `label`, the only output"),
        ("map = auxiliary(of = map)", "D237", "`map` learns what `map` does, which is no other"),
        ("map = auxiliary", "D237", "`map` is [4, 8, 8], and `label`, whose targets it learns"),
        ("map = auxiliary; label = auxiliary", "D237", "no output of `two` is left"),
    ],
)
def test_what_does_not_suit_the_network_is_said_at_the_port(
    entries: str, code: str, message: str
) -> None:
    with pytest.raises(DiagnosticError) as caught:
        learning(entries)
    first = caught.value.diagnostics[0]
    assert first.code == code
    assert message in first.message
    assert first.help
    assert first.span is not None
    assert first.span.line == 1


def test_what_an_auxiliary_output_alone_reads_is_said() -> None:
    text = """\
network n(x: [4], z: [4]) -> (y: [2], aux: [2]) {
    x -> y : linear(2)
    z -> aux : linear(2)
}
learn { aux = auxiliary }
"""
    with pytest.raises(DiagnosticError, match="`z` is read by an auxiliary output alone"):
        compile_text(text)


def test_a_weight_of_the_only_output_is_refused() -> None:
    text = "network n(x: [4]) -> (y: [2]) { x -> y : linear(2) }\nlearn { y = regression * 2 }"
    with pytest.raises(DiagnosticError, match="a weight of `y`, the only output"):
        compile_text(text)


@pytest.mark.parametrize(
    "entry",
    [
        "map = regression(sigma = 0.123456789) * 1e-07",
        "map = multilabel",
        "map = auxiliary(of = label) * 0.4",
    ],
)
def test_an_objective_is_read_as_it_is_printed(entry: str) -> None:
    assert str(read_objective(entry)) == entry


@pytest.mark.parametrize("text", ["map", "map=", "map=regression}", "a=b c=d", "x } learn { y=z"])
def test_arguments_that_are_none(text: str) -> None:
    with pytest.raises(DiagnosticError, match="cannot read the objective"):
        parse_objectives([text])


def test_what_is_given_stands_over_the_spec_and_is_kept() -> None:
    compiled = learning("map = regression * 2")
    given = compiled.learning(parse_objectives(["map=classification*0.5", "label=multilabel"]))
    text = print_spec(derive_spec(given, given.graph))
    assert text.endswith("learn { label = multilabel; map = classification * 0.5 }\n")
    derived = compile_loaded(load_text(Source("found.nas", text), Path()))
    assert derived.graph.objectives == given.graph.objectives
    written = graph_to_json(given.graph)
    assert graph_from_json(written, "graph.json")[0].objectives == given.graph.objectives
    with pytest.raises(DiagnosticError, match="cannot learn `classification"):
        graph_from_json(written.replace('"weight": 0.5', '"weight": 0'), "graph.json")
