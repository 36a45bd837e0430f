"""graph.json: a compiled network as text, and back."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final

from attrs import field, frozen

from bayesnas.compiler.artifacts.consistency import difference, inconsistencies
from bayesnas.compiler.artifacts.fits import Test, compiled
from bayesnas.compiler.artifacts.graph_json import graph_data, graph_of
from bayesnas.compiler.graph.model import Graph
from bayesnas.compiler.passes.shapes import infer_shapes
from bayesnas.compiler.program.limits import MAX_SIZE
from bayesnas.dsl.collector import without_collector
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError

FORMAT: Final = "bayesnas-graph"
VERSION: Final = 1
MAX_GRAPH_BYTES: Final = 100_000_000
_LONGEST_REASON: Final = 300


@frozen
class Annotation:
    """What a search has found of a graph, by edge id: gammas, and the rounds of removals.

    Round 0 is before the first round, or not known. ``notes`` are what figures say under the
    pointer; graph.json does not keep them.
    """

    gammas: Mapping[str, float] = field(factory=dict)
    removed: Mapping[str, int] = field(factory=dict)
    notes: Mapping[str, str] = field(factory=dict, eq=False)


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
def _fits() -> Test:
    """Whether data fits the whole schema."""
    return compiled(graph_schema())


@cache
def _row_schemas() -> dict[str, dict[str, Any]]:
    """The schema of each entry of the long lists."""
    schema = graph_schema()
    lists = {key: part for key, part in schema["properties"].items() if "items" in part}
    return {key: {**part["items"], "$defs": schema["$defs"]} for key, part in lists.items()}


@cache
def _row_tests() -> dict[str, Test]:
    return {key: compiled(schema) for key, schema in _row_schemas().items()}


@without_collector()
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
    _check_amount(data)
    if not _fits()(data):
        raise _NotAGraphError(_misfit(data))
    return {"budget": [], **data}


def _check_amount(data: Any) -> None:
    """Refuse what is cheap to refuse: too much for any graph, and nodes that no edge touches."""
    if not isinstance(data, dict):
        return
    rows = {key: data[key] for key in _row_tests() if isinstance(data.get(key), list)}
    count = sum(map(len, rows.values()))
    if count > MAX_SIZE:
        raise _NotAGraphError(
            f"it holds {count:,} nodes, edges and instances; a graph has at most {MAX_SIZE:,}"
        )
    edges = [edge for edge in rows.get("edges", ()) if isinstance(edge, dict)]
    targets = {text for edge in edges if isinstance(text := edge.get("target"), str)}
    for node in rows.get("nodes", ()):
        if not isinstance(node, dict) or node.get("role") == "input":
            continue
        if str(node.get("id")) not in targets and _row_tests()["nodes"](node):
            raise _NotAGraphError(f"nothing arrives at `{node['id']}`")


def _misfit(data: Any) -> str:
    """Where data does not fit the schema, and why: a row of each list, then the first bad row."""
    from jsonschema import Draft202012Validator  # for who reads a bad graph alone: it takes a while

    def first(schema: dict[str, Any], value: Any, path: str) -> str | None:
        for wrong in Draft202012Validator(schema).iter_errors(value):
            reason = wrong.message.rstrip(".")
            if len(reason) > _LONGEST_REASON:  # it begins with all that is wrong
                reason = f"not so: `{wrong.validator}: {json.dumps(wrong.validator_value)}`"
            return f"at {path}{wrong.json_path[1:]}: {reason}"
        return None

    rows: dict[str, list[Any]] = {}
    if isinstance(data, dict):
        rows = {key: data[key] for key in _row_tests() if isinstance(data.get(key), list)}
        short = {
            key: [row for row in entries if _row_tests()[key](row)][:1] or entries[:1]
            for key, entries in rows.items()
        }
        data = {**data, **short}
    reason = first(graph_schema(), data, "$")
    bad = (
        (key, k, row)
        for key, entries in rows.items()
        for k, row in enumerate(entries)
        if not _row_tests()[key](row)
    )
    for key, k, row in bad if reason is None else ():
        reason = reason or first(_row_schemas()[key], row, f"$.{key}[{k}]")
    assert reason is not None, "both tests are made of one schema"
    return reason


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
