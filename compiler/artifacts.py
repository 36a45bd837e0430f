"""What a compiled network is written as: graph.json and gamma.json, gamma.md, settings of files.

Files appear whole or not at all (`write_text`).
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from stat import S_IMODE
from typing import Any, Final

import jsonschema
from attrs import field, frozen

from bayesnas.compiler.cost import edge_cost
from bayesnas.compiler.gamma import Dependency, Expression, GammaPrinter, Gammas, derive_gamma
from bayesnas.compiler.graph import (
    AnyStage,
    Edge,
    Graph,
    Instance,
    Node,
    Operation,
    ParallelStage,
    RetainConstraint,
    Stage,
)
from bayesnas.compiler.verify import verify
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, Span

FORMAT: Final = "bayesnas-graph"
VERSION: Final = 1
DEPENDENCIES: Final[tuple[Dependency, ...]] = ("local", "recursive")


@frozen
class Annotation:
    """What a search has found of a graph: gamma by edge id, and the edges it removed."""

    gammas: Mapping[str, float] = field(factory=dict)
    removed: frozenset[str] = frozenset()


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all: beside its place first, then moved into it."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, data: bytes) -> None:
    """See `write_text`. A file that is replaced keeps its permissions."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = S_IMODE(path.stat().st_mode) if path.exists() else 0o644
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(name).chmod(mode)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


# ------------------------------------------------------------------------------------- graph.json


@cache
def graph_schema() -> dict[str, Any]:
    """The JSON Schema of graph.json, published with the package."""
    text = files("bayesnas.compiler").joinpath("graph.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


@cache
def _validator() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(graph_schema())


def graph_to_json(graph: Graph, annotation: Annotation | None = None) -> str:
    """The graph as JSON text that fits `graph_schema`."""
    found = annotation or Annotation()
    data = {
        "format": FORMAT,
        "version": VERSION,
        "name": graph.name,
        "nodes": [_node(node) for node in graph.nodes()],
        "edges": [_edge(edge, found) for edge in graph.edges()],
        "instances": [_instance(i) for i in graph.instances.values()],
        "retain": [{"node": r.node, "count": r.count} for r in graph.retains],
    }
    _validator().validate(data)
    return _one_a_line(data)


def graph_from_json(text: str, name: str) -> tuple[Graph, Annotation]:
    """A graph and what a search found of it, from the text of a graph.json called ``name``.

    Spans and statements are not kept in JSON: such a graph can be drawn, costed and emitted.

    Raises:
        DiagnosticError: D403 (no JSON, or not of the schema).
    """
    try:
        data = json.loads(text)
        _validator().validate(data)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise _not_a_graph(name, f"no JSON at {place}: {error.msg.lower()}") from None
    except RecursionError:
        raise _not_a_graph(name, "nested too deeply") from None
    except jsonschema.ValidationError as error:
        raise _not_a_graph(name, f"at {error.json_path}: {error.message}") from None
    try:
        graph = _build(data)
        _check(graph)
    except (AssertionError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else "an unknown name"
        raise _not_a_graph(name, reason) from None
    gammas = {e["id"]: e["gamma"] for e in data["edges"] if e.get("gamma") is not None}
    removed = frozenset(e["id"] for e in data["edges"] if e.get("removed"))
    return graph, Annotation(gammas, removed)


def _one_a_line(data: Mapping[str, Any]) -> str:
    """JSON with a line for each node, edge and instance."""
    entries = []
    for key, value in data.items():
        if isinstance(value, list) and value:
            rows = ",\n  ".join(json.dumps(row) for row in value)
            entries.append(f"{json.dumps(key)}: [\n  {rows}\n ]")
        else:
            entries.append(f"{json.dumps(key)}: {json.dumps(value)}")
    return "{\n " + ",\n ".join(entries) + "\n}\n"


def _build(data: dict[str, Any]) -> Graph:
    for key, identifier in (("nodes", "id"), ("edges", "id"), ("instances", "path")):
        names = [entry[identifier] for entry in data[key]]
        assert len(set(names)) == len(names), f"a name stands twice in `{key}`"
    instances = {i["path"]: _read_instance(i) for i in data["instances"]}
    retains = tuple(RetainConstraint(r["node"], r["count"]) for r in data["retain"])
    return Graph(data["name"], instances, retains=retains).rebuild(
        [
            Node(n["id"], n["name"], n["scope"], n["role"], n["merge"], _optional_shape(n["shape"]))
            for n in data["nodes"]
        ],
        [_read_edge(e) for e in data["edges"]],
    )


def _check(graph: Graph) -> None:
    """What the schema cannot say: names that mean something, and the graph's invariants."""
    assert "" in graph.instances, "no instance is the network"
    for instance in graph.instances.values():
        parent = instance.parent
        assert instance.path == "" or parent in graph.instances, f"no instance `{parent}`"
        for port in (*instance.inputs, *instance.outputs):
            assert port in graph.network, f"no node `{port}`"
    for edge in graph.edges():
        assert edge.scope in graph.instances, f"no instance `{edge.scope}`"
        edge_cost(edge)  # every primitive is known and has its numbers
    verify(graph, "reading")


def _not_a_graph(name: str, reason: str) -> DiagnosticError:
    remedy = "write one with `bayesnas compile SPEC -o DIR --emit graph`"
    return DiagnosticError(
        Diagnostic("D403", f"`{name}` is no graph of bayesnas", notes=(reason,), help=remedy)
    )


def _node(node: Node) -> dict[str, Any]:
    return {
        "id": node.id,
        "name": node.name,
        "scope": node.scope,
        "role": node.role,
        "merge": node.merge,
        "shape": None if node.shape is None else list(node.shape),
        "place": _place(node.span),
    }


def _edge(edge: Edge, found: Annotation) -> dict[str, Any]:
    cost = edge_cost(edge)
    operation = edge.operation
    result: dict[str, Any] = {
        "id": edge.id,
        "source": edge.source,
        "target": edge.target,
        "kind": edge.kind,
        "connection": edge.connection,
        "scope": edge.scope,
        "order": edge.order,
        "operation": {
            "label": operation.label,
            "name": operation.name,
            "definition": operation.definition,
            "stages": [_stage(s) for s in operation.stages],
        },
        "gate": edge.gate,
        "group": edge.group,
        "choice": edge.choice,
        "place": _place(edge.span),
        "parameters": cost.parameters,
        "flops": cost.flops,
    }
    if edge.id in found.gammas:
        result["gamma"] = found.gammas[edge.id]
    if edge.id in found.removed:
        result["removed"] = True
    return result


def _stage(stage: AnyStage) -> dict[str, Any]:
    if isinstance(stage, ParallelStage):
        return {"parallel": [[_stage(s) for s in branch] for branch in stage.branches]}
    return {
        "primitive": stage.primitive,
        "arguments": dict(stage.arguments),
        "input_shape": None if stage.input_shape is None else list(stage.input_shape),
        "output_shape": None if stage.output_shape is None else list(stage.output_shape),
    }


def _instance(instance: Instance) -> dict[str, Any]:
    return {
        "path": instance.path,
        "group_path": instance.group_path,
        "motif": instance.motif,
        "parent": instance.parent,
        "parameters": dict(instance.parameters),
        "inputs": list(instance.inputs),
        "outputs": list(instance.outputs),
        "chain": instance.chain,
    }


def _place(span: Span | None) -> str | None:
    """File and place, without the folders of the machine it was compiled on."""
    return None if span is None else str(span).rsplit("/", 1)[-1]


def _optional_shape(shape: list[int] | None) -> tuple[int, ...] | None:
    return None if shape is None else tuple(shape)


def _read_edge(data: dict[str, Any]) -> Edge:
    operation = data["operation"]
    return Edge(
        data["id"],
        data["source"],
        data["target"],
        data["kind"],
        data["connection"],
        data["scope"],
        data["order"],
        Operation(
            operation["label"],
            operation["name"],
            tuple(_read_stage(s) for s in operation["stages"]),
            operation["definition"],
        ),
        data["gate"],
        data["group"],
        data["choice"],
    )


def _read_stage(data: dict[str, Any]) -> AnyStage:
    if "parallel" in data:
        return ParallelStage(tuple(tuple(map(_read_stage, branch)) for branch in data["parallel"]))
    shapes = (_optional_shape(data["input_shape"]), _optional_shape(data["output_shape"]))
    return Stage(data["primitive"], tuple(data["arguments"].items()), None, *shapes)


def _read_instance(data: dict[str, Any]) -> Instance:
    return Instance(
        data["path"],
        data["group_path"],
        data["motif"],
        data["parent"],
        tuple(data["parameters"].items()),
        tuple(data["inputs"]),
        tuple(data["outputs"]),
        chain=data["chain"],
    )


# ------------------------------------------------------------------------------------------ gamma


@frozen
class GammaReport:
    """The gamma expressions of a graph as JSON text and as Markdown."""

    json: str
    markdown: str


def gamma_report(graph: Graph) -> GammaReport:
    """Both expressions of every tied group, written for its first gate.

    Gates of one group differ in the names of their switches alone.
    """
    printer = GammaPrinter(graph)
    derived = {dependency: derive_gamma(graph, dependency) for dependency in DEPENDENCIES}
    data = {
        "network": graph.name,
        "gates": [_gate(graph, members, derived, printer) for members in graph.groups().values()],
        "flows": {d: _flows(gammas, printer) for d, gammas in derived.items()},
        "relays": {
            printer.symbol_of_relay(c.id): c.id for c in graph.all_connections() if c.searched
        },
    }
    return GammaReport(_one_a_line(data), _markdown(graph, data))


def _gate(
    graph: Graph,
    members: list[Edge],
    derived: Mapping[Dependency, Gammas],
    printer: GammaPrinter,
) -> dict[str, Any]:
    first = members[0]
    assert first.gate is not None
    connection = next(c for c in graph.connections(first.target) if c.id == first.connection)
    return {
        "group": first.group,
        "source": connection.source,
        "target": first.target,
        "operation": first.operation.label,
        "place": _place(first.span),
        "gates": [edge.gate for edge in members],
        **{d: _printed(gammas.gates[first.gate], printer) for d, gammas in derived.items()},
    }


def _printed(expression: Expression, printer: GammaPrinter) -> dict[str, str]:
    text, latex = printer.print(expression)
    return {"text": text, "latex": latex}


def _flows(gammas: Gammas, printer: GammaPrinter) -> dict[str, dict[str, str]]:
    return {
        printer.symbol_of_flow(node): {"node": node, **_printed(flow, printer)}
        for node, flow in gammas.flows.items()
    }


def _markdown(graph: Graph, data: dict[str, Any]) -> str:
    lines = [
        f"# Dependency of every gate of `{graph.name}`",
        "",
        "gamma is the prior variance of an architecture weight, as an expression in the switches:",
        "`s_n` of gate n, `r_n` of the i' node of a searched edge (0 is off, infinity on).",
        "AND is `1/(1/a + 1/b)`, OR is `a + b`. `F_n` is what arrives at a node, listed below.",
        "`local` is equation 8 of Zhou et al. (ICML 2019), which looks one level back;",
        "`recursive` looks back to the inputs. Gates of one row are tied and share one",
        "architecture; the expression is that of the first.",
        "",
        "| gates | edge | operation | gamma | place |",
        "|---|---|---|---|---|",
    ]
    for gate in data["gates"]:
        numbers = gate["gates"]
        shown = ", ".join(map(str, numbers[:3])) + (", ..." if len(numbers) > 3 else "")
        arrow = f"`{gate['source']} -> {gate['target']}`"
        texts = {gate[d]["text"] for d in DEPENDENCIES}
        formula = " / ".join(f"`{t}`" for t in sorted(texts))
        lines.append(f"| {shown} | {arrow} | `{gate['operation']}` | {formula} | {gate['place']} |")
    for dependency in DEPENDENCIES:
        lines += ["", f"## What arrives, `{dependency}`", ""]
        lines += ["| F | node | text | LaTeX |", "|---|---|---|---|"]
        for symbol, flow in data["flows"][dependency].items():
            if flow["text"] not in ("oo", "0"):
                latex = f"${flow['latex']}$"
                lines.append(f"| `{symbol}` | `{flow['node']}` | `{flow['text']}` | {latex} |")
    lines += ["", "## Nodes i'", "", "| r | searched edge |", "|---|---|"]
    lines += [f"| `{symbol}` | `{name}` |" for symbol, name in data["relays"].items()]
    return "\n".join(lines) + "\n"
