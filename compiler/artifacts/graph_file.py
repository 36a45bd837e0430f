"""graph.json: a compiled network as text, and back."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from attrs import field, frozen

from bayesnas.compiler.artifacts.consistency import difference, inconsistencies
from bayesnas.compiler.artifacts.graph_json import graph_data, graph_of
from bayesnas.compiler.collector import without_collector
from bayesnas.compiler.graph.model import Graph
from bayesnas.compiler.passes.shapes import infer_shapes
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

FORMAT: Final = "bayesnas-graph"
VERSION: Final = 1
MAX_GRAPH_BYTES: Final = 100_000_000
_LONGEST_REASON: Final = 300


@frozen
class Annotation:
    """What a search has found of a graph, by edge id: gammas, and the rounds of removals.

    Round 0 is before the first round, or not known.
    """

    gammas: Mapping[str, float] = field(factory=dict)
    removed: Mapping[str, int] = field(factory=dict)


# ------------------------------------------------------------------------------------- graph.json


@cache
def graph_schema() -> dict[str, Any]:
    """The JSON Schema of graph.json, published with the package."""
    text = (
        files("bayesnas.compiler.artifacts")
        .joinpath("graph.schema.json")
        .read_text(encoding="utf-8")
    )
    schema: dict[str, Any] = json.loads(text)
    return schema


@cache
def _validator() -> Draft202012Validator:
    """Its references are written out but for the one that recurs: following them takes long."""
    from jsonschema import Draft202012Validator  # for who reads a graph alone: it takes a while

    schema = graph_schema()
    kept = ("stage", "stages")

    def inlined(value: Any) -> Any:
        if isinstance(value, list):
            return [inlined(item) for item in value]
        if not isinstance(value, dict):
            return value
        referred = value.get("$ref", "").removeprefix("#/$defs/")
        if referred and referred not in kept:
            value = {**schema["$defs"][referred], **value}
            del value["$ref"]
        return {key: inlined(item) for key, item in value.items()}

    return Draft202012Validator(inlined(schema))


def _thinned(data: Any) -> Any:
    """Data that fits the schema exactly if ``data`` does, and repeats no operation."""
    if not isinstance(data, dict) or not isinstance(data.get("edges"), list):
        return data
    seen: set[str] = set()

    def thinned(edge: Any) -> Any:
        if not isinstance(edge, dict) or "operation" not in edge:
            return edge
        text = json.dumps(edge["operation"])
        if text in seen:
            return {**edge, "operation": _ANY_OPERATION}
        seen.add(text)
        return edge

    return {**data, "edges": [thinned(edge) for edge in data["edges"]]}


_ANY_OPERATION: Final = {
    "label": "",
    "name": "",
    "definition": None,
    "stages": [{"primitive": "skip", "arguments": {}, "input_shape": [1], "output_shape": [1]}],
}


@without_collector
def graph_to_json(graph: Graph, annotation: Annotation | None = None) -> str:
    """The graph as JSON text that fits `graph_schema`; its shapes must be known."""
    notes = annotation or Annotation()
    parts = graph_data(graph, notes.gammas, notes.removed)
    return one_a_line({"format": FORMAT, "version": VERSION, "name": graph.name, **parts})


def graph_from_json(text: str, name: str) -> tuple[Graph, Annotation]:
    """A graph and what a search found of it, from the text of a graph.json called ``name``.

    The inverse of `graph_to_json`. Statements are not kept in JSON, and of places the line and
    column alone: such a graph can be drawn, costed and emitted, but makes no spec.

    Raises:
        DiagnosticError: D403 (no JSON, not of the schema, or nothing the compiler has written).
    """
    try:
        return _read_graph(_parse_json(text))
    except _NotAGraphError as error:
        reason = str(error).partition("\n")[0]
    except RecursionError:
        reason = "nested too deeply"
    reason = reason if len(reason) < _LONGEST_REASON else f"{reason[:_LONGEST_REASON]} and more"
    remedy = "write one with `bayesnas compile SPEC -o DIR --emit graph`"
    message = f"`{name}` is no graph of bayesnas"
    raise DiagnosticError(Diagnostic("D403", message, notes=(reason,), help=remedy))


class _NotAGraphError(Exception):
    """Why a text is no graph."""


def _parse_json(text: str) -> dict[str, Any]:
    """JSON that fits the schema, with numbers and texts that JSON can hold."""

    def refuse(word: str) -> None:
        raise _NotAGraphError(f"`{word}` is no number of JSON")

    try:
        data: Any = json.loads(text, parse_constant=refuse)
        json.dumps(data, ensure_ascii=False).encode("utf-8")
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise _NotAGraphError(f"no JSON at {place}: {error.msg.lower()}") from None
    except UnicodeEncodeError:
        raise _NotAGraphError("a text holds half a character") from None
    except ValueError:  # Python reads no number of so many digits
        raise _NotAGraphError("a number is too long") from None
    for wrong in _validator().iter_errors(_thinned(data)):
        raise _NotAGraphError(f"at {wrong.json_path}: {wrong.message.rstrip('.')}")
    return {"budget": [], **data}


def _read_graph(data: dict[str, Any]) -> tuple[Graph, Annotation]:
    """The graph, which has to be what its own parts say: it is inferred and written anew."""
    for key, identifier in (("nodes", "id"), ("edges", "id"), ("instances", "path")):
        counts = Counter(entry[identifier] for entry in data[key])
        if twice := next((n for n, count in counts.items() if count > 1), None):
            raise _NotAGraphError(f"`{twice}` stands twice in `{key}`")
    nodes = {node["id"] for node in data["nodes"]}
    for end in (end for edge in data["edges"] for end in (edge["source"], edge["target"])):
        if end not in nodes:
            raise _NotAGraphError(f"no node `{end}`")
    graph = graph_of(data)
    for reason in inconsistencies(graph):
        raise _NotAGraphError(reason)
    try:
        graph = infer_shapes(graph)
    except DiagnosticError as error:
        raise _NotAGraphError(error.diagnostics[0].message) from None
    gammas = {e["id"]: e["gamma"] for e in data["edges"] if "gamma" in e}
    removed = {e["id"]: int(e["removed"]) for e in data["edges"] if "removed" in e}
    annotation = Annotation(gammas, removed)
    for key, expected in graph_data(graph, annotation.gammas, annotation.removed).items():
        if differs := difference(data[key], expected, f"$.{key}"):
            raise _NotAGraphError(differs)
    return graph, annotation


def one_a_line(data: Mapping[str, Any]) -> str:
    """JSON with a line for each node, edge and instance."""
    entries = []
    for key, value in data.items():
        if isinstance(value, list) and value:
            rows = ",\n  ".join(json.dumps(row) for row in value)
            entries.append(f"{json.dumps(key)}: [\n  {rows}\n ]")
        else:
            entries.append(f"{json.dumps(key)}: {json.dumps(value)}")
    return "{\n " + ",\n ".join(entries) + "\n}\n"
