"""What no schema can say of a graph that was read: that the compiler could have written it.

Each check is a generator of reasons against the graph; it may rely on the checks before it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from bayesnas.compiler.graph.model import Edge, Graph
from bayesnas.compiler.graph.verify import INVARIANTS
from bayesnas.compiler.graph.walks import primitives_of
from bayesnas.compiler.objectives import check_objective
from bayesnas.compiler.operations.primitives import PRIMITIVES
from bayesnas.compiler.passes.structure import check_structure
from bayesnas.dsl.diagnostics import DiagnosticError, Source, Span

NOWHERE: Final = Span(Source("graph.json", ""), 1, 1, 1, 1)


def inconsistencies(graph: Graph) -> Iterator[str]:
    """Reasons why the compiler cannot have written this graph, but for its shapes.

    Take the first alone: what follows may fail on a graph that a check before it has refused.
    """
    for check in _CHECKS:
        yield from check(graph)
    for about, broken in INVARIANTS.items():
        yield from (f"not so: {about}: {place}" for place in broken(graph))
    yield from _objectives(graph)
    yield from _structure(graph)


def difference(given: Any, expected: Any, path: str = "$") -> str | None:
    """Where two JSON values first differ, and how."""
    if given == expected:
        return None
    if isinstance(given, Mapping) and isinstance(expected, Mapping):
        keys = [*expected, *(k for k in given if k not in expected)]
        pairs = [(f"{path}.{k}", given.get(k), expected.get(k)) for k in keys]
    elif isinstance(given, list) and isinstance(expected, list) and len(given) == len(expected):
        pairs = [
            (f"{path}[{k}]", a, b) for k, (a, b) in enumerate(zip(given, expected, strict=True))
        ]
    else:
        return _differs(path, given, expected)
    return next((d for place, a, b in pairs if (d := difference(a, b, place))), None)


def _differs(path: str, given: Any, expected: Any) -> str:
    return f"at {path}: {given!r}, where the rest of the graph makes it {expected!r}"


# ------------------------------------------------------------------------------------- instances


def _instances(graph: Graph) -> Iterator[str]:
    """The network first, every other after its parent and named below it."""
    if next(iter(graph.instances)) != "":
        yield "the first instance is not the network"
    seen: set[str] = set()
    for path, instance in graph.instances.items():
        if path == "":
            if instance.parent is not None or instance.motif != graph.name:
                yield f"the instance with an empty path is not the network `{graph.name}`"
        elif instance.parent not in seen:
            yield f"no instance `{instance.parent}` before `{path}`"
        elif not _below(path, instance.parent or ""):
            yield f"instance `{path}` does not lie in `{instance.parent}`"
        if (instance.group_path == "") != (path == ""):
            yield f"instance `{path}` has the group `{instance.group_path}`"
        seen.add(path)


def _below(path: str, parent: str) -> bool:
    prefix = f"{parent}." if parent else ""
    return path.startswith(prefix) and bool(_LOCAL.fullmatch(path.removeprefix(prefix)))


def _nodes(graph: Graph) -> Iterator[str]:
    for node in graph.nodes():
        if node.scope not in graph.instances:
            yield f"node `{node.id}` lies in no instance"
        prefix = f"{node.scope}." if node.scope else ""
        if node.role != "relay" and node.id != f"{prefix}{node.name}":
            yield f"node `{node.id}` is not `{node.name}` of `{node.scope}`"
        if node.role != "relay" and not _LOCAL.fullmatch(node.name):
            yield f"node `{node.id}` has an invalid name"
        if node.role in ("input", "relay") and node.merge != "sum":
            yield f"node `{node.id}` merges nothing"


def _ports(graph: Graph) -> Iterator[str]:
    """Inputs and outputs of an instance are its nodes of that role."""
    roles: dict[tuple[str, str], list[str]] = {}
    for node in graph.nodes():
        roles.setdefault((node.scope, node.role), []).append(node.id)
    for path, instance in graph.instances.items():
        for role, named in (("input", instance.inputs), ("output", instance.outputs)):
            if sorted(roles.get((path, role), [])) != sorted(named):
                yield f"the {role}s of `{path}` are not its nodes of that role"
        starts, ends = ([pair[k] for pair in instance.states or ()] for k in (0, 1))
        if starts and not path:
            yield "the network is a scan"
        for ports, named in ((starts, instance.inputs), (ends, instance.outputs)):
            if len({*ports}) < len(ports) or not {*ports} <= {*named}:
                yield f"the states of `{path}` are not inputs and outputs of it"


# ------------------------------------------------------------------------------------- edges


def _edges(graph: Graph) -> Iterator[str]:
    """Edges stay inside their instance, or lead to a port of an instance inside it."""
    for edge in graph.edges():
        if edge.scope not in graph.instances:
            yield f"edge `{edge.id}` lies in no instance"
            continue
        source, target = graph.node(edge.source), graph.node(edge.target)
        crossing = {source.scope, target.scope} - {edge.scope}
        if source.scope != edge.scope and source.role != "output":
            yield f"edge `{edge.id}` starts inside another instance"
        if (target.scope == edge.scope) == (target.role == "input"):
            yield f"edge `{edge.id}` ends inside another instance, or at an input"
        if len(crossing) > 1 or any(graph.instances[s].parent != edge.scope for s in crossing):
            yield f"edge `{edge.id}` leads too far"
        if crossing and not (edge.kind == "fixed" and edge.operation.is_identity):
            yield f"edge `{edge.id}` has an operation on its way between instances"
        yield from _name(graph, edge)


def _name(graph: Graph, edge: Edge) -> Iterator[str]:
    """Ids tell ends and operation."""
    relay = edge.connection if edge.kind == "relay" else f"{edge.connection}'"
    source = graph.node(edge.source)
    if (edge.kind == "relay") != (graph.node(edge.target).role == "relay") or (
        (edge.kind == "searched") != (source.role == "relay")
    ):
        yield f"edge `{edge.id}` is {edge.kind}, and its ends are not"
    elif edge.kind == "relay":
        if not edge.id == edge.connection == edge.target or not edge.operation.is_identity:
            yield f"edge `{edge.id}` is not what stands before the candidates of an edge"
    else:
        before = graph.incoming(edge.source) if edge.kind == "searched" else [edge]
        plain = f"{before[0].source}->{edge.target}" if before else ""
        if re.sub(r"#[0-9]+\Z", "", edge.connection) != plain:
            yield f"edge `{edge.id}` connects other nodes than `{edge.connection}`"
        if edge.kind == "searched" and edge.source != relay:
            yield f"edge `{edge.id}` does not start at `{relay}`"
        if edge.id != f"{edge.connection}:{edge.operation.name}":
            yield f"edge `{edge.id}` is not `{edge.operation.name}` of `{edge.connection}`"
    if not _WORD.fullmatch(edge.operation.name):
        yield f"the operation of edge `{edge.id}` has an invalid name"


def _arrivals(graph: Graph) -> Iterator[str]:
    """Exactly one edge enters an input of an instance, and none an input of the network."""
    for path, instance in graph.instances.items():
        for port in instance.inputs:
            arrives = len(graph.incoming(port))
            if arrives != (1 if path else 0):
                yield f"{arrives} edges enter `{port}`"


def _connections(graph: Graph) -> Iterator[str]:
    """Edges of a connection lie side by side; gates are numbered through every instance."""
    first: dict[str, Edge] = {}
    gates: dict[str, list[int]] = {}
    inside: dict[str, list[int]] = {}
    for edge in graph.edges():
        one = first.setdefault(edge.connection, edge)
        if (one.source, one.target, one.kind, one.scope) != (
            edge.source, edge.target, edge.kind, edge.scope,
        ):  # fmt: skip
            yield f"connection `{edge.connection}` has several kinds or ends"
        if edge.gate is not None:
            gates.setdefault(edge.connection, []).append(edge.gate.number)
            path: str | None = edge.scope
            while path is not None:
                inside.setdefault(path, []).append(edge.gate.number)
                path = graph.instances[path].parent
    for where, numbers in (*gates.items(), *inside.items()):
        if numbers != list(range(numbers[0], numbers[0] + len(numbers))):
            yield f"gates of `{where}` are not numbered one after the other"


def _operations(graph: Graph) -> Iterator[str]:
    for edge in graph.edges():
        for stage in primitives_of(edge.operation.stages):
            primitive = PRIMITIVES.get(stage.primitive)
            if primitive is None:
                yield f"there is no primitive `{stage.primitive}`; a plugin may have had it"
                continue
            needed = {name for name, default in primitive.parameters.items() if default is None}
            written = dict(stage.written or ())
            if not needed <= set(written) <= set(primitive.parameters):
                yield f"`{stage.primitive}` of edge `{edge.id}` has other numbers than it takes"


_LOCAL: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\[[0-9]+\])?")
_WORD: Final = re.compile(r"[A-Za-z0-9_]+")
_CHECKS: Final[tuple[Callable[[Graph], Iterator[str]], ...]] = (
    _instances,
    _nodes,
    _ports,
    _edges,
    _arrivals,
    _connections,
    _operations,
)


# ------------------------------------------------------------------------------------- passes


def _objectives(graph: Graph) -> Iterator[str]:
    """Objectives that a spec may have, one an output at most."""
    ports = [graph.node(node).name for node in graph.root.outputs]
    told = [objective.port for objective in graph.objectives]
    for objective in graph.objectives:
        if objective.port not in ports or told.count(objective.port) > 1:
            yield f"no single output `{objective.port}`, which learns something"
        elif check_objective(objective.entry(NOWHERE)):
            yield f"`{objective.port}` cannot learn `{objective.term}`"


def _structure(graph: Graph) -> Iterator[str]:
    """Cycles through instances, and loose ends."""
    try:
        kept = check_structure(graph)
    except DiagnosticError as error:
        yield error.diagnostics[0].message
        return
    lost = next((n.id for n in graph.nodes() if n.id not in kept.network), None)
    if lost is not None or kept.instances != graph.instances:
        yield f"`{lost}` lies on no way from an input to an output"
