"""graph.json and the gamma report; files that appear whole or not at all."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from living import PACKAGED, packaged, snapshot
from strategies import spaces
from support import assert_style, graph_of, network

from bayesnas.compiler.artifacts import (
    Annotation,
    gamma_report,
    graph_from_json,
    graph_schema,
    graph_to_json,
    write_bytes,
    write_text,
)
from bayesnas.compiler.cost import edge_cost, graph_cost
from bayesnas.compiler.emit import emit_torch
from bayesnas.compiler.figure import draw
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError

SMALL = network("x ~> y : conv(3) | skip\nx -> y : relu >> (conv(1) + skip)")


def without_places(text: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(text)
    for item in (*data["nodes"], *data["edges"]):
        item["place"] = None
    return data


# ------------------------------------------------------------------------------------ graph.json


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(graph_schema())


@pytest.mark.parametrize("name", PACKAGED)
def test_json_fits_its_schema(name: str) -> None:
    jsonschema.validate(json.loads(graph_to_json(packaged(name).graph)), graph_schema())


@settings(max_examples=settings().max_examples // 4)
@given(spaces())
def test_json_and_back_is_the_identity(text: str) -> None:
    """Apart from places: the text of a spec does not travel with its graph."""
    graph = graph_of(text)
    written = graph_to_json(graph)
    back, found = graph_from_json(written, "graph.json")
    assert found == Annotation()
    assert list(back.nodes()) == list(graph.nodes())
    assert back.edges() == graph.edges()
    assert back.instances == graph.instances
    assert back.retains == graph.retains
    second = graph_to_json(back)
    assert json.loads(second) == without_places(written)
    assert graph_to_json(graph_from_json(second, "graph.json")[0]) == second


def test_what_a_search_found_comes_back() -> None:
    graph = graph_of(SMALL)
    found = Annotation({"x->y:conv_3": 0.25, "x->y:skip": 0.0}, frozenset({"x->y:skip"}))
    written = graph_to_json(graph, found)
    assert graph_from_json(written, "graph.json")[1] == found
    edges = {e["id"]: e for e in json.loads(written)["edges"]}
    assert edges["x->y:conv_3"]["gamma"] == 0.25
    assert "removed" not in edges["x->y:conv_3"]
    assert edges["x->y:skip"]["removed"] is True
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


def test_a_graph_from_json_can_be_emitted_and_drawn() -> None:
    graph = packaged("digits_cell").graph
    back, _ = graph_from_json(graph_to_json(graph), "graph.json")
    assert graph_cost(back) == graph_cost(graph)
    assert emit_torch(back, "x").gates == emit_torch(graph, "x").gates
    assert draw(back) == draw(graph)


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


NOT_JSON = ["", "{", '{"format": }', "nodes: []", "\x00", "[" * 100_000, '{"a": 1} {"b": 2}']


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
    "gates out of order": lambda d: d["edges"][1].update(gate=1),
    "an i' nothing enters": lambda d: d["edges"].pop(0),
    "a retained node that is none": lambda d: d.update(retain=[{"node": "gone", "count": 1}]),
}


@pytest.mark.parametrize("change", INCONSISTENT.values(), ids=INCONSISTENT)
def test_json_that_is_no_graph(change: Callable[[dict[str, Any]], object]) -> None:
    refused(changed(change))


# ------------------------------------------------------------------------------------ gamma


@pytest.mark.parametrize("name", PACKAGED)
def test_every_group_stands_once(name: str) -> None:
    graph = packaged(name).graph
    report = gamma_report(graph)
    data = json.loads(report.json)
    assert data["network"] == graph.name
    assert [g["group"] for g in data["gates"]] == list(graph.groups())
    gates = sorted(n for g in data["gates"] for n in g["gates"])
    assert gates == list(range(len(graph.searched())))
    table = report.markdown.partition("## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")][1:]
    assert len(rows) == len(graph.groups())
    for group, row in zip(data["gates"], rows, strict=True):
        assert f"`{group['operation']}`" in row
        assert row.endswith(f" {group['place']} |")


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


# ------------------------------------------------------------------------------------ files


def test_files_are_written_whole(tmp_path: Path) -> None:
    write_text(tmp_path / "a" / "b.txt", "γ\n")
    assert (tmp_path / "a" / "b.txt").read_bytes() == "γ\n".encode()
    write_text(tmp_path / "a" / "b.txt", "")
    assert snapshot(tmp_path) == {"a": None, "a/b.txt": b""}


class FullDiskError(OSError):
    pass


@pytest.mark.parametrize("error", [FullDiskError, KeyboardInterrupt])
@pytest.mark.parametrize("step", ["replace", "chmod"])
def test_a_failing_write_leaves_what_was(
    step: str, error: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_text(tmp_path / "kept.txt", "old")
    before = snapshot(tmp_path)

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(Path, step, fail)
    for name in ("kept.txt", "new.txt"):
        with pytest.raises(error):
            write_bytes(tmp_path / name, b"new")
    assert snapshot(tmp_path) == before


def test_a_folder_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        write_text(tmp_path / "folder", "text")
    assert snapshot(tmp_path) == {"folder": None}
