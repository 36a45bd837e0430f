"""A graph's payloads as JSON values and back: the keys of `graph.schema.json`, no checks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from attrs import asdict

from bayesnas.compiler.graph.cost import Cost, network_costs
from bayesnas.compiler.graph.model import (
    AnyStage,
    BudgetConstraint,
    Edge,
    Gate,
    Graph,
    Instance,
    Node,
    Operation,
    ParallelStage,
    RetainConstraint,
    Stage,
)
from bayesnas.compiler.objectives import Objective
from bayesnas.compiler.operations.primitives import Shape
from bayesnas.dsl.diagnostics import Source, Span
from bayesnas.dsl.terminal import visible

# --------------------------------------------------------------------------------------- to JSON


def graph_data(
    graph: Graph, gammas: Mapping[str, float], removed: Mapping[str, int]
) -> dict[str, list[dict[str, Any]]]:
    """Everything of a graph whose shapes are known, but its name."""
    costs = network_costs(graph)
    return {
        "nodes": [_node(node) for node in graph.nodes()],
        "edges": [_edge(edge, costs[edge.id], gammas, removed) for edge in graph.edges()],
        "instances": [_instance(i) for i in graph.instances.values()],
        "retain": [
            {"node": r.node, "count": r.count, "place": place(r.span)} for r in graph.retains
        ],
        "budget": [
            {"cost": b.cost, "limit": b.limit, "place": place(b.span)} for b in graph.budgets
        ],
        "learn": [asdict(o, filter=lambda a, _: a.name != "of") for o in graph.objectives],
    }


def place(span: Span | None) -> str | None:
    """File and place, without the folders of the machine it was compiled on."""
    if span is None:
        return None
    return visible(str(span).rsplit("/", 1)[-1])


def _node(node: Node) -> dict[str, Any]:
    return {
        "id": node.id,
        "name": node.name,
        "scope": node.scope,
        "role": node.role,
        "merge": node.merge,
        "shape": list(node.shape or ()),
        "place": place(node.span),
    }


def _edge(
    edge: Edge, cost: Cost, gammas: Mapping[str, float], removed: Mapping[str, int]
) -> dict[str, Any]:
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
            "place": place(operation.span),
            "stages": [_stage(s) for s in operation.stages],
        },
        "gate": edge.gate and edge.gate.number,
        "group": edge.gate and edge.gate.group,
        "choice": edge.gate and edge.gate.choice,
        "place": place(edge.span),
        "parameters": cost.parameters,
        "flops": cost.flops,
    }
    if edge.id in gammas:
        result["gamma"] = gammas[edge.id]
    if edge.id in removed:
        result["removed"] = removed[edge.id]
    return result


def _stage(stage: AnyStage) -> dict[str, Any]:
    if isinstance(stage, ParallelStage):
        return {"parallel": [[_stage(s) for s in branch] for branch in stage.branches]}
    arguments, written = dict(stage.arguments), dict(stage.written or stage.arguments)
    return {
        "primitive": stage.primitive,
        "arguments": arguments,
        **({} if written == arguments else {"written": written}),
        "input_shape": list(stage.input_shape or ()),
        "output_shape": list(stage.output_shape or ()),
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
        **({"shared": True} if instance.shared else {}),
        **({} if instance.states is None else {"states": [*map(list, instance.states)]}),
    }


# ------------------------------------------------------------------------------------- from JSON


def graph_of(data: Mapping[str, Any]) -> Graph:
    """The graph of data that fits the schema and repeats no id; edges must have their ends."""
    instances = {i["path"]: _read_instance(i) for i in data["instances"]}
    retains = tuple(
        RetainConstraint(r["node"], int(r["count"]), span_of(r.get("place")))
        for r in data["retain"]
    )
    budgets = tuple(
        BudgetConstraint(b["cost"], int(b["limit"]), span_of(b.get("place")))
        for b in data.get("budget", ())
    )
    learned = tuple(
        Objective(
            o["port"], o["name"], {k: float(v) for k, v in o["options"].items()}, float(o["weight"])
        )
        for o in data.get("learn", ())
    )
    graph = Graph(data["name"], instances, retains=retains, budgets=budgets, objectives=learned)
    operations: dict[str, Operation] = {}  # edges whose operations read alike share one
    edges = [_read_edge(edge, operations) for edge in data["edges"]]
    return graph.rebuild(map(_read_node, data["nodes"]), edges)


def span_of(text: str | None) -> Span | None:
    """The place that `place` wrote; the text of its file does not travel."""
    if text is None:
        return None
    name, line, column = text.rsplit(":", 2)
    start = int(column)
    return Span(Source(name, ""), int(line), start, int(line), start + 1)


def _read_node(data: Mapping[str, Any]) -> Node:
    return Node(
        data["id"],
        data["name"],
        data["scope"],
        data["role"],
        data["merge"],
        _shape(data["shape"]),
        span_of(data["place"]),
    )


def _read_edge(data: Mapping[str, Any], operations: dict[str, Operation]) -> Edge:
    text = json.dumps(data["operation"])
    if text not in operations:
        operations[text] = _read_operation(data["operation"])
    return Edge(
        data["id"],
        data["source"],
        data["target"],
        data["kind"],
        data["connection"],
        data["scope"],
        int(data["order"]),
        operations[text],
        _read_gate(data),
        span_of(data["place"]),
    )


def _read_operation(data: Mapping[str, Any]) -> Operation:
    return Operation(
        data["label"],
        data["name"],
        tuple(map(_read_stage, data["stages"])),
        data["definition"],
        span_of(data.get("place")),
    )


def _read_gate(data: Mapping[str, Any]) -> Gate | None:
    """A gate without a group is none; the checks that follow say that it is missing."""
    if data["gate"] is None or data["group"] is None:
        return None
    return Gate(int(data["gate"]), data["group"], data["choice"])


def _read_stage(data: Mapping[str, Any]) -> AnyStage:
    if "parallel" in data:
        return ParallelStage(tuple(tuple(map(_read_stage, branch)) for branch in data["parallel"]))
    return Stage(
        data["primitive"],
        _numbers(data["arguments"]),
        None,
        _shape(data["input_shape"]),
        _shape(data["output_shape"]),
        _numbers(data.get("written", data["arguments"])),
    )


def _read_instance(data: Mapping[str, Any]) -> Instance:
    return Instance(
        data["path"],
        data["group_path"],
        data["motif"],
        data["parent"],
        _numbers(data["parameters"]),
        tuple(data["inputs"]),
        tuple(data["outputs"]),
        chain=data["chain"],
        shared=data.get("shared", False),
        states=tuple((start, end) for start, end in data["states"]) if "states" in data else None,
    )


def _shape(sizes: list[int]) -> Shape:
    return tuple(map(int, sizes))


def _numbers(values: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    return tuple((name, int(value)) for name, value in values.items())
