"""graph.json and the gamma report; files that appear whole or not at all."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import jsonschema
import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from living import PACKAGED, packaged
from strategies import spaces
from support import assert_style, deadline, graph_of, network

from bayesnas.compiler.artifacts.figure import draw
from bayesnas.compiler.artifacts.gamma_report import gamma_report
from bayesnas.compiler.artifacts.graph_file import (
    Annotation,
    graph_from_json,
    graph_schema,
    graph_to_json,
)
from bayesnas.compiler.emit.pytorch import emit_torch
from bayesnas.compiler.graph.cost import edge_cost, graph_cost
from bayesnas.compiler.graph.model import Graph
from bayesnas.compiler.passes.shapes import infer_shapes
from bayesnas.compiler.pipeline import compile_spec
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError
from bayesnas.dsl.loader import packaged_specs

SMALL = network("x ~> y : conv(3) | skip\nx -> y : relu >> (conv(1) + skip)")


# ------------------------------------------------------------------------------------ graph.json


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(graph_schema())


@pytest.mark.parametrize("name", PACKAGED)
def test_json_fits_its_schema(name: str) -> None:
    jsonschema.validate(json.loads(graph_to_json(packaged(name).graph)), graph_schema())


def assert_comes_back(graph: Graph) -> None:
    """Nothing is lost that is written, drawn or emitted, places included."""
    written = graph_to_json(graph)
    back, found = graph_from_json(written, "graph.json")
    assert found == Annotation()
    assert list(back.nodes()) == list(graph.nodes())
    assert back.edges() == graph.edges()
    assert back.instances == graph.instances
    assert (back.retains, back.budgets) == (graph.retains, graph.budgets)
    assert graph_to_json(back) == written
    assert emit_torch(back, "x.nas") == emit_torch(graph, "x.nas")
    assert draw(back) == draw(graph)


@settings(max_examples=settings().max_examples // 4)
@given(spaces())
def test_json_and_back_is_the_identity(text: str) -> None:
    assert_comes_back(graph_of(text))


# Parameters of the larger packaged specs that make their graphs small.
FEWER = {
    "darts_cell": {"cells": 3},
    "densenet": {"layers": 3},
    "hierarchical": {"motifs": 1},
    "nasbench201": {"cells": 1},
    "nasnet": {"cells": 3},
    "treecell_pyramidnet": {"blocks": 1},
}


@pytest.mark.parametrize("name", packaged_specs())
def test_every_packaged_spec_comes_back(name: str) -> None:
    assert_comes_back(compile_spec(name, FEWER.get(name)).graph)


ODD_NAMES = ("_", "__", "_1", "a_", "class", "self", "nn", "forward", "x" * 300)


@pytest.mark.parametrize("name", ODD_NAMES)
@pytest.mark.parametrize("other", ["_", "b"])
def test_odd_names_come_back(name: str, other: str) -> None:
    """Of operations, choices, motifs, nodes, parameters and networks alike."""
    other = other if other != name else "c"
    assert_comes_back(
        graph_of(f"""
            op {name} = conv(3)
            op {other}(_) = conv(_) >> bn
            choice {name}_or = {name} | {other}(1) | {other}(3) | {name} >> {name} + {name} >> bn
            motif {name}_m({other}, b1; ___ = 4) -> ({name}) {{
                {{{other}, b1}} ~> {name} : {name}_or
            }}
            network _(x: [4, 8, 8]) -> (y: [4, 8, 8]) {{
                {name} = {name}_m(x, x)
                node {other}[2]
                {name} ~> {other}[0] : {name} | {other}(1)
                {name} ~> {other}[1] : {other}(3)
                {other} -> y : {name}
            }}""")
    )


def test_budgets_and_numbers_as_written_come_back() -> None:
    graph = graph_of(network("budget parameters <= 3M\nretain 1 into y\nx ~> y : conv(3) | skip"))
    data = json.loads(graph_to_json(graph))
    place = "spec.nas:2:1"
    assert data["budget"] == [{"cost": "parameters", "limit": 3_000_000, "place": place}]
    stage = data["edges"][1]["operation"]["stages"][0]
    assert stage["written"] == {"kernel": 3}
    assert stage["arguments"]["width"] == 4
    assert "written" not in data["edges"][2]["operation"]["stages"][0]
    assert_comes_back(graph)


def test_what_was_left_out_before_may_be_missing() -> None:
    graph = graph_of(SMALL)
    data = json.loads(graph_to_json(graph))
    del data["budget"]
    for operation in (e["operation"] for e in data["edges"]):
        del operation["place"]
        for one in operation["stages"]:
            one.pop("written", None)
    back, _ = graph_from_json(json.dumps(data), "graph.json")
    assert back.edges() == graph.edges()


def test_shapes_can_be_inferred_again() -> None:
    graph, _ = graph_from_json(graph_to_json(graph_of(SMALL)), "graph.json")
    wide = [evolve(n, shape=(6, 8, 8)) if n.id in "xy" else n for n in graph.nodes()]
    inferred = infer_shapes(graph.rebuild(wide, graph.edges()))
    assert inferred.node("y").shape == (6, 8, 8)
    [conv] = [e for e in inferred.edges() if e.id == "x->y:conv_3"]
    assert '"width": 6' in graph_to_json(inferred)
    assert edge_cost(conv).parameters == 9 * 6 * 6


@pytest.mark.parametrize("removed", [0, 3])
def test_what_a_search_found_comes_back(removed: int) -> None:
    graph = graph_of(SMALL)
    found = Annotation({"x->y:conv_3": 0.25, "x->y:skip": 0.0}, {"x->y:skip": removed})
    written = graph_to_json(graph, found)
    assert graph_from_json(written, "graph.json")[1] == found
    edges = {e["id"]: e for e in json.loads(written)["edges"]}
    assert edges["x->y:conv_3"]["gamma"] == 0.25
    assert "removed" not in edges["x->y:conv_3"]
    assert edges["x->y:skip"]["removed"] == removed
    assert "gamma" not in edges["x->y#2:relu_conv_skip"]


def test_json_tells_what_an_edge_costs_and_where_it_stands() -> None:
    graph = graph_of(SMALL)
    data = json.loads(graph_to_json(graph))
    for edge, written in zip(graph.edges(), data["edges"], strict=True):
        cost = edge_cost(edge)
        assert (written["parameters"], written["flops"]) == (cost.parameters, cost.flops)
        line = 3 if edge.connection == "x->y#2" else 2
        assert written["place"] == f"spec.nas:{line}:1"
    assert sum(e["parameters"] for e in data["edges"]) == graph_cost(graph).parameters


# ------------------------------------------------------------------------------------ broken json


def refused(text: str) -> Diagnostic:
    with pytest.raises(DiagnosticError) as caught:
        graph_from_json(text, "some/graph.json")
    [found] = caught.value.diagnostics
    assert (found.code, caught.value.status) == ("D403", 2)
    assert found.message == "`some/graph.json` is no graph of bayesnas"
    assert found.notes
    assert "bayesnas compile" in found.help
    assert_style(found)
    return found


NOT_JSON = [
    "", "{", '{"format": }', "nodes: []", "\x00", "[" * 100_000, '{"a": 1} {"b": 2}', "9" * 5000,
    "NaN", "-Infinity", r'["\ud800"]',
]  # fmt: skip


@pytest.mark.parametrize("text", NOT_JSON, ids=lambda t: repr(t[:20]))
def test_what_is_no_json(text: str) -> None:
    refused(text)


def test_broken_json_names_its_place() -> None:
    [note] = refused('{\n "format" 3').notes
    assert note == "no JSON at line 2, column 11: expecting ':' delimiter"


@pytest.mark.parametrize("text", ["[]", "3", "null", "{}", '{"format": "bayesnas-graph"}'])
def test_json_that_is_something_else(text: str) -> None:
    refused(text)


def changed(change: Callable[[dict[str, Any]], object]) -> str:
    data: dict[str, Any] = json.loads(graph_to_json(graph_of(SMALL)))
    change(data)
    return json.dumps(data)


OUTSIDE_THE_SCHEMA: dict[str, Callable[[dict[str, Any]], object]] = {
    "another version": lambda d: d.update(version=2),
    "another format": lambda d: d.update(format="onnx"),
    "one key more": lambda d: d.update(more=1),
    "no nodes": lambda d: d.update(nodes=[]),
    "a role that is none": lambda d: d["nodes"][0].update(role="king"),
    "no instance": lambda d: d.update(instances=[]),
    "a shape of zero": lambda d: d["nodes"][0].update(shape=[0, 8, 8]),
    "a gate below zero": lambda d: d["edges"][1].update(gate=-1),
    "a gamma below zero": lambda d: d["edges"][1].update(gamma=-0.5),
    "a number as text": lambda d: d["edges"][0].update(order="1"),
    "a stage without shapes": lambda d: d["edges"][1]["operation"]["stages"][0].pop("input_shape"),
    "a stage of two kinds": lambda d: stage(d).update(parallel=[[dict(stage(d))]]),
    "an operation of nothing": lambda d: d["edges"][1]["operation"].update(stages=[]),
    "a removal without its round": lambda d: d["edges"][1].update(removed=True),
    "a removal in half a round": lambda d: d["edges"][1].update(removed=1.5),
    "a removal before round 0": lambda d: d["edges"][1].update(removed=-1),
    "half a gate": lambda d: d["edges"][1].update(gate=0.5),
    "a gamma without an end": lambda d: d["edges"][1].update(gamma=1e301),
    "a name that ends a text": lambda d: d["edges"][1]["operation"].update(definition='"'),
    "a name of two lines": lambda d: d["instances"][0].update(motif="net\n"),
    "a place that is none": lambda d: d["nodes"][0].update(place="spec.nas"),
}


@pytest.mark.parametrize("change", OUTSIDE_THE_SCHEMA.values(), ids=OUTSIDE_THE_SCHEMA)
def test_json_outside_the_schema(change: Callable[[dict[str, Any]], object]) -> None:
    assert refused(changed(change)).notes[0].startswith("at $")


def stage(data: dict[str, Any]) -> dict[str, Any]:
    first: dict[str, Any] = data["edges"][1]["operation"]["stages"][0]
    return first


def again(items: list[dict[str, Any]], which: int, **other: object) -> None:
    """One item once more, a little different."""
    items.append({**items[which], **other})


# What fits the schema and still is no graph.
INCONSISTENT: dict[str, Callable[[dict[str, Any]], object]] = {
    "an edge from nowhere": lambda d: d["edges"][1].update(source="gone"),
    "an edge to nowhere": lambda d: d["edges"][1].update(target="gone"),
    "an edge in no instance": lambda d: d["edges"][1].update(scope="gone"),
    "a node in no instance": lambda d: d["nodes"][0].update(scope="gone"),
    "a node twice": lambda d: again(d["nodes"], 0),
    "an edge twice": lambda d: again(d["edges"], -1),
    "no network": lambda d: d["instances"][0].update(path="gone"),
    "an unknown parent": lambda d: again(d["instances"], 0, path="p", parent="q"),
    "an unknown port": lambda d: d["instances"][0].update(inputs=["gone"]),
    "an unknown primitive": lambda d: stage(d).update(primitive="gone"),
    "a primitive without its numbers": lambda d: stage(d).update(arguments={}),
    "a cycle": lambda d: again(d["edges"], -1, id="back", source="y", target="x"),
    "a gate without a group": lambda d: d["edges"][1].update(group=None),
    "a group without a gate": lambda d: d["edges"][0].update(group="x->y:conv_3"),
    "a choice without a gate": lambda d: d["edges"][0].update(choice="ops"),
    "gates out of order": lambda d: d["edges"][1].update(gate=1),
    "an i' nothing enters": lambda d: d["edges"].pop(0),
    "a retained node that is none": lambda d: d.update(retain=[{"node": "gone", "count": 1}]),
    "a node under another name": lambda d: d["nodes"][0].update(name="z"),
    "an edge under another name": lambda d: d["edges"][1]["operation"].update(name="z"),
    "an edge of another connection": lambda d: d["edges"][1].update(connection="y->x"),
    "an input less": lambda d: d["instances"][0].update(inputs=["y"]),
    "an instance inside itself": lambda d: again(d["instances"], 0, path="p", parent="p"),
    "a graph of another name": lambda d: d.update(name="other"),
    "an input that is entered": lambda d: again(d["edges"], -1, id="x->x:skip", target="x"),
    "a node nothing reaches": lambda d: again(d["nodes"], 1, id="z", name="z", role="inner"),
    "another shape": lambda d: d["nodes"][1].update(shape=[8, 8, 8]),
    "other numbers": lambda d: stage(d)["written"].update(kernel=5),
    "an even kernel": lambda d: stage(d)["written"].update(kernel=2),
    "a number it does not take": lambda d: stage(d)["written"].update(groove=1),
    "another cost": lambda d: d["edges"][1].update(parameters=1),
    "edges out of order": lambda d: d["edges"].reverse(),
}


@pytest.mark.parametrize("change", INCONSISTENT.values(), ids=INCONSISTENT)
def test_json_that_is_no_graph(change: Callable[[dict[str, Any]], object]) -> None:
    refused(changed(change))


REASONS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "loose nodes": (
        lambda d: d["nodes"].extend({**d["nodes"][1], "id": f"n{k}"} for k in range(9)),
        "nothing arrives at `n0`",
    ),
    "a long shape": (
        lambda d: d["nodes"][0].update(shape=[1] * 200),
        "at $.nodes[0].shape: not so: `maxItems: 8`",
    ),
    "the last of many": (
        lambda d: d["retain"].extend([*[{"node": "y", "count": 1}] * 3, {"node": "y"}]),
        "at $.retain[3]: 'count' is a required property",
    ),
    "more than a spec makes": (
        lambda d: d["retain"].extend([{"node": "y", "count": 1}] * 500_000),
        "it holds 500,008 nodes, edges and instances; a graph has at most 500,000",
    ),
    "an unknown node": (INCONSISTENT["an edge from nowhere"], "no node `gone`"),
    "a cost": (
        INCONSISTENT["another cost"],
        "at $.edges[1].parameters: 1, where the rest of the graph makes it 144",
    ),
    "a shape": (
        INCONSISTENT["another shape"],
        "output `y` is declared as [8, 8, 8] and arrives as [4, 8, 8]",
    ),
    "gates": (
        INCONSISTENT["gates out of order"],
        "gates of `x->y` are not numbered one after the other",
    ),
    "a primitive": (
        INCONSISTENT["an unknown primitive"],
        "there is no primitive `gone`; a plugin may have had it",
    ),
    "a kernel": (
        INCONSISTENT["an even kernel"],
        "the kernel of `conv` is 2, an even number",
    ),
}


@pytest.mark.parametrize("what", REASONS)
def test_the_reason_is_told(what: str) -> None:
    change, reason = REASONS[what]
    assert refused(changed(change)).notes == (reason,)


# ------------------------------------------------------------------------------------ fuzzing

FUZZED = [
    SMALL,
    "motif pair(a, b; n = 2) -> (c, d) {\n"
    "node h[n]\na ~> h : two\nb -> c\nh -> d : relu + skip\n}\n"
    "choice two = conv(3) >> bn | skip\n"
    + network(
        "u, v = tied chain pair(x, x) times 2\n{u, v} -> y\nbudget flops <= 600M\nretain 1 into y"
    ),
]


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every container of a JSON value with each of its keys."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    found = []
    for key, inner in list(items):
        found.append((value, key))
        if isinstance(inner, dict | list):
            found += places(inner)
    return found


@st.composite
def mutated(draw_: st.DrawFn) -> str:
    """A graph.json in which a few values are deleted, repeated, or replaced by others."""
    graph = graph_of(draw_(st.sampled_from(FUZZED)))
    ids = [e.id for e in graph.searched()]
    found = Annotation(dict.fromkeys(ids, 0.5), dict.fromkeys(ids[1:], 2))
    data: dict[str, Any] = json.loads(graph_to_json(graph, found))
    for _ in range(draw_(st.integers(1, 3))):
        container, key = draw_(st.sampled_from(places(data)))
        other, elsewhere = draw_(st.sampled_from(places(data)))
        plain = st.sampled_from(["", "x", "gone", 0, 1, -1, 2.5, 10**13, None, True, [], {}])
        match draw_(st.sampled_from(["delete", "other", "other", "plain", "again", "swap"])):
            case "delete":
                del container[key]
            case "other":
                container[key] = deepcopy(other[elsewhere])
            case "swap":
                value = deepcopy(other[elsewhere])
                other[elsewhere] = deepcopy(container[key])
                container[key] = value
            case "again" if isinstance(container, list):
                container.append(deepcopy(container[key]))
            case _:
                container[key] = draw_(plain)
    return json.dumps(data)


def read(text: str) -> tuple[Graph, Annotation] | None:
    """A graph, or None where it is refused as none."""
    try:
        return graph_from_json(text, "graph.json")
    except DiagnosticError as error:
        codes = [d.code for d in error.diagnostics]
    assert codes == ["D403"]
    return None


@given(mutated())
def test_a_broken_graph_is_refused_or_works(text: str) -> None:
    with deadline(5.0):
        if (found := read(text)) is not None:
            written = graph_to_json(*found)
            assert graph_to_json(*graph_from_json(written, "graph.json")) == written
            ast.parse(emit_torch(found[0], "x.nas").source)
            gamma_report(found[0])
            draw(*found)
