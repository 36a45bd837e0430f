"""gamma.json and gamma.md: complete, and what a reader computes from them is gamma."""

from __future__ import annotations

import json
import math
import random
import re
from functools import cache

import pytest
import sympy
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from living import PACKAGED, packaged
from markdown_gamma import Document, formulas
from matplotlib.mathtext import MathTextParser
from strategies import spaces
from support import graph_of, network
from switches import DEPENDENCIES, FIGURE_1, Switches, both, evaluated

from bayesnas.compiler.artifacts.gamma_markdown import gamma_markdown
from bayesnas.compiler.artifacts.gamma_report import gamma_report
from bayesnas.compiler.artifacts.gamma_text import GammaPrinter
from bayesnas.compiler.artifacts.graph_json import place
from bayesnas.compiler.graph.model import Graph
from bayesnas.compiler.graph.walks import drop_dead
from bayesnas.compiler.passes.gamma import (
    Dependency,
    Flow,
    Gammas,
    RelaySwitch,
    Switch,
    derive_gamma,
)
from bayesnas.compiler.pipeline import compile_spec
from bayesnas.dsl.loader import packaged_specs

# ------------------------------------------------------------------------------ for people


def assert_tells_gamma(graph: Graph, seed: int) -> None:
    """Every gate stands once, in its instance with its operation, and its formula is its gamma."""
    document = Document.read(gamma_markdown(graph))
    gates, edges = document.gates(), graph.searched()
    assert [gate.number for gate in gates] == list(range(len(edges)))
    for gate, edge in zip(gates, edges, strict=True):
        assert (gate.instance, gate.operation) == (edge.scope, edge.operation.label)
        assert gate.place == place(edge.span)
    switches = Switches.draw(graph, seed)
    for dependency in DEPENDENCIES:
        expected = evaluated(derive_gamma(graph, dependency), switches).gates
        computed = document.gammas(switches, dependency)
        assert [computed[n] for n in range(len(edges))] == pytest.approx(expected, rel=1e-9)


@given(text=spaces(), seed=st.integers(0, 2**32))
def test_a_reader_computes_gamma(text: str, seed: int) -> None:
    """From the page alone: tables, flows and formulas as they are printed."""
    assert_tells_gamma(graph_of(text), seed)


@pytest.mark.parametrize("name", PACKAGED)
def test_a_reader_computes_gamma_of_packaged_specs(name: str) -> None:
    assert_tells_gamma(packaged(name).graph, 0)


@given(text=spaces(), seed=st.integers(0, 2**32))
def test_a_reader_computes_gamma_of_what_a_search_left(text: str, seed: int) -> None:
    """Instances of one motif are no longer alike."""
    graph = graph_of(text)
    generator = random.Random(seed)
    kept = {e.id for e in graph.edges() if e.gate is None or generator.random() < 0.6}
    pruned = drop_dead(graph.subgraph({node.id for node in graph.nodes()}, kept))
    if all(node in pruned.network for node in (*graph.root.inputs, *graph.root.outputs)):
        assert_tells_gamma(pruned, seed)


def assert_formulas_parse(markdown: str) -> None:
    for formula in formulas(markdown):
        parse_formula(re.sub(r"\d", "1", formula))  # whatever the numbers, and many are alike then


@cache
def parse_formula(formula: str) -> None:
    MathTextParser("path").parse(f"${formula}$")


@pytest.mark.parametrize("name", packaged_specs())
def test_the_page_is_readable(name: str) -> None:
    """Formulas are LaTeX, lines are short, and the page does not grow with repetitions."""
    graph = compile_spec(name).graph
    markdown = gamma_markdown(graph)
    assert_formulas_parse(markdown)
    for line in markdown.splitlines():
        assert len(line) <= (160 if line.startswith("|") else 100), line
    groups = {edge.searched_gate.group for edge in graph.searched()}
    assert len(markdown) < max(25_000, 160 * len(groups))


@hypothesis_settings(max_examples=5)
@given(text=spaces())
def test_formulas_parse(text: str) -> None:
    assert_formulas_parse(gamma_markdown(graph_of(text)))


def test_a_section_for_all_cells_of_darts() -> None:
    markdown = gamma_markdown(compile_spec("darts_cell").graph)
    assert len(markdown) < 7_000
    document = Document.read(markdown)
    assert list(document.sections) == ["The network `darts`", "`cell`"]
    cell = document.sections["`cell`"]
    assert "Tied as `body/reduction`, one architecture: `body[2]` (196–293), " in cell.text
    assert len(cell.rows) == 14
    assert cell.local["h[1]"] == r"S_{a,h_{1}} + S_{b,h_{1}} + S_{h_{0},h_{1}}"
    assert cell.recursive["out"] == r"\sum_{i=0}^{3} F_{h_{i}}"


def test_names_with_underscores_and_parallel_edges() -> None:
    body = "node to_y\nx ~> to_y : skip\nx ~> to_y : relu | skip\nto_y ~> y : skip"
    graph = graph_of(network(body))
    markdown = gamma_markdown(graph)
    assert_formulas_parse(markdown)
    sums = (r"S_{x,\mathrm{to\_y}}", r"S_{x,\mathrm{to\_y}}^{(2)}")
    document = Document.read(markdown)
    assert document.sections["The network `net`"].local["to_y"] == " + ".join(sums)
    assert_tells_gamma(graph, 3)


def test_indices_are_no_names_of_nodes() -> None:
    body = "node h[4], i, n\nx ~> {h, n} : relu\n{h, n} ~> i : relu\ni ~> y : relu"
    graph = graph_of(network(body))
    section = Document.read(gamma_markdown(graph)).sections["The network `net`"]
    assert section.local["i"] == r"\sum_{\nu=0}^{3} S_{h_{\nu},i} + S_{n,i}"
    assert_tells_gamma(graph, 5)


def test_what_is_tied_is_told_in_every_section() -> None:
    """Of two tied instances one is read at one output alone, and has fewer gates for that."""
    motifs = "motif first(u, v) -> (w) { w = u : skip }\n"
    motifs += (
        "motif two(x) -> (a, b) { node c, d\nx ~> {c, d} : relu\na = c : skip\nb = d : skip }\n"
    )
    body = "p, q = tied two(x)\nr, t = tied two(p)\ns = first(r, t)\nz = sum(q, s)\nz -> y"
    graph = graph_of(motifs + network(body))
    sections = Document.read(gamma_markdown(graph)).sections
    assert [section.text.count("Tied as `") for section in sections.values()] == [0, 1, 1, 0]
    assert_tells_gamma(graph, 6)


def test_a_product_is_a_harmonic_sum() -> None:
    body = "node g, h\nx ~> g : relu\nx ~> h : relu\np = product(g, h)\nz = product()\n"
    body += "g ~> z : relu\nh ~> z : relu\nz ~> y : relu\np ~> y : relu"
    graph = graph_of(network(body))
    section = Document.read(gamma_markdown(graph)).sections["The network `net`"]
    assert section.local["z"] == (r"\left(\frac{1}{S_{g,z}} + \frac{1}{S_{h,z}}\right)^{-1}")
    assert_tells_gamma(graph, 4)


# ------------------------------------------------------------------------------ gamma.json


@pytest.mark.parametrize("name", PACKAGED)
def test_every_group_stands_once(name: str) -> None:
    graph = packaged(name).graph
    data = json.loads(gamma_report(graph).json)
    assert data["network"] == graph.name
    assert [g["group"] for g in data["gates"]] == list(graph.groups())
    gates = sorted(n for g in data["gates"] for n in g["gates"])
    assert gates == list(range(len(graph.searched())))


def test_every_symbol_is_explained() -> None:
    """A reader can evaluate each text from what the report itself tells."""
    report = json.loads(gamma_report(packaged("digits_cell").graph).json)
    known = {f"s_{n}" for gate in report["gates"] for n in gate["gates"]} | set(report["relays"])
    for dependency in ("local", "recursive"):
        flows = report["flows"][dependency]
        for text in [g[dependency]["text"] for g in report["gates"]]:
            names = set(_names(text))
            assert names <= known | set(flows), text
        for flow in flows.values():
            assert set(_names(flow["text"])) <= known | set(flows)


def _names(text: str) -> list[str]:
    return [word for word in _words(text) if word[0] in "srF" and "_" in word]


def _words(text: str) -> list[str]:
    return "".join(c if c.isalnum() or c == "_" else " " for c in text).split()


def test_the_text_is_the_value() -> None:
    """Equation 8 on one edge after another, from the report's text and by hand."""
    graph = graph_of(network("node h\nx ~> h : conv(3) | skip\nh ~> y : conv(1)"))
    report = json.loads(gamma_report(graph).json)
    relay_values = {"x->h": 4.0, "h->y": 5.0}
    values = {"s_0": 0.5, "s_1": 2.0, "s_2": 3.0, "oo": math.inf}
    values |= {symbol: relay_values[name] for symbol, name in report["relays"].items()}
    for symbol, flow in report["flows"]["local"].items():
        values[symbol] = eval(flow["text"], values)
    first, second, last = (eval(gate["local"]["text"], values) for gate in report["gates"])
    assert first == pytest.approx(1 / (1 / 4 + 1 / 0.5))
    assert second == pytest.approx(1 / (1 / 4 + 1 / 2))
    assert last == pytest.approx(1 / (1 / 5 + 1 / (0.5 + 2) + 1 / 3))


# ------------------------------------------------------------------------------ texts


def numbers(printer: GammaPrinter, gammas: Gammas, switches: Switches) -> dict[str, float]:
    """Values of the symbols in printed texts, flows computed from their own texts."""
    values = {printer.print(Switch(n))[0]: s for n, s in enumerate(switches.gates)}
    values |= {printer.print(RelaySwitch(c))[0]: s for c, s in switches.relays.items()}
    for node, flow in gammas.flows.items():
        values[printer.print(Flow(node))[0]] = computed(printer.print(flow)[0], values)
    return values


def computed(text: str, values: dict[str, float]) -> float:
    symbols = {name: sympy.Symbol(name) for name in values}
    formula = sympy.sympify(text, locals=symbols)
    return float(formula.subs({symbols[name]: number for name, number in values.items()}))


def assert_printed_texts_compute(graph: Graph, dependency: Dependency, seed: int) -> None:
    gammas, switches = derive_gamma(graph, dependency), Switches.draw(graph, seed)
    printer = GammaPrinter(graph)
    values = numbers(printer, gammas, switches)
    found = [computed(printer.print(gamma)[0], values) for gamma in gammas.gates]
    assert found == pytest.approx(evaluated(gammas, switches).gates, rel=1e-9)


@both
def test_printed_texts_compute_the_same_numbers_on_figure_1(dependency: Dependency) -> None:
    assert_printed_texts_compute(graph_of(FIGURE_1), dependency, 1)


@both
@hypothesis_settings(max_examples=4)
@given(text=spaces().filter(lambda text: text.count("~>") < 5))
def test_printed_texts_compute_the_same_numbers(dependency: Dependency, text: str) -> None:
    assert_printed_texts_compute(graph_of(text), dependency, 2)


def test_the_text_and_latex_of_equation_8() -> None:
    graph = graph_of(FIGURE_1)
    text, latex = GammaPrinter(graph).print(derive_gamma(graph, "local").gates[2])
    assert text == "1/(1/r_1 + 1/F_2 + 1/s_2)"
    assert latex == (r"\frac{1}{\frac{1}{s'_{1}} + \frac{1}{F_{2}} + \frac{1}{s_{2}}}")


@both
def test_latex_is_balanced_and_never_empty(dependency: Dependency) -> None:
    graph = compile_spec("darts_cell", {"cells": 2}).graph
    gammas, printer = derive_gamma(graph, dependency), GammaPrinter(graph)
    for expression in (*gammas.gates[:40], *gammas.flows.values(), *gammas.relays.values()):
        latex = printer.print(expression)[1]
        assert latex
        depth = 0
        for character in latex:
            depth += (character == "{") - (character == "}")
            assert depth >= 0, latex
        assert depth == 0, latex


def test_symbols_are_names_of_their_own() -> None:
    graph = graph_of(FIGURE_1)
    printer = GammaPrinter(graph)
    switches = [Switch(n) for n in range(6)]
    relays = [RelaySwitch(c.id) for c in graph.all_connections() if c.searched]
    flows = [Flow(node.id) for node in graph.nodes()]
    for form in (0, 1):
        names = [printer.print(e)[form] for e in (*switches, *relays, *flows)]
        assert len(set(names)) == len(names)
