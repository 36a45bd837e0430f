"""Nodes of a motif instance in source: what arrives at each, and how it is merged."""

from __future__ import annotations

from bayesnas.compiler.emit.edge_sources import candidate_name, output_shape
from bayesnas.compiler.emit.motifs.writing import BODY, Writing
from bayesnas.compiler.emit.names import identifier
from bayesnas.compiler.emit.texts import joined, wrapped
from bayesnas.compiler.graph.model import Connection


def write_node(writing: Writing, node: str) -> None:
    """The lines that make a node of all that arrives there."""
    graph, plan = writing.graph, writing.common.sources.plan
    connections = graph.connections(node)
    terms = [_arrival(writing, c, alone=len(connections) == 1) for c in connections]
    merge = graph.node(node).merge
    variable = writing.variables[node] = writing.variable(graph.node(node).name)
    if len(terms) == 1:
        writing.lines += wrapped(f"{BODY}{variable} = ", terms[0], level=2)
    elif merge == "concat":
        call = f"torch.cat([{', '.join(terms)}], dim=1)"
        writing.lines += wrapped(f"{BODY}{variable} = ", call, level=2)
    else:
        writing.lines += joined(variable, " + " if merge == "sum" else " * ", terms, 2)
    if plan is not None and node in plan.dense:
        writing.lines.append(f"{BODY}{variable} = DenseGradient.apply({variable})")
        writing.helpers.add("DenseGradient")


def _arrival(writing: Writing, connection: Connection, alone: bool) -> str:
    """Source of what one connection brings; a vector that a map is multiplied by, as a map."""
    term = _connection(writing, connection, alone)
    shape = writing.graph.node(connection.target).shape or ()
    missing = len(shape) - len(output_shape(connection.edges[0]))
    return f"{term}[{', '.join([':, :', *['None'] * missing])}]" if missing else term


def _connection(writing: Writing, connection: Connection, alone: bool) -> str:
    """Source of what one connection brings."""
    graph = writing.graph
    source = writing.value(connection.source)
    target = graph.node(connection.target).name
    local = graph.node(connection.source).name
    if graph.node(connection.source).scope != writing.instance.path:
        local = source
    full = f"{identifier(target)}_from_{identifier(local)}"
    if connection.searched:
        return _mixed(writing, connection, full, source)
    name = target if alone else full
    terms = []
    for edge in connection.edges:
        if edge.operation.is_identity:
            terms.append(source)
            continue
        several = len(connection.edges) > 1
        label = f"{name}_{edge.operation.name}" if several else name
        operation = writing.common.sources.operation(edge)
        attribute = writing.operations[edge.id] = writing.attribute(label, operation, edge.span)
        terms.append(f"self.{attribute}({source})")
    return terms[0] if len(terms) == 1 else f"({' + '.join(terms)})"


def _mixed(writing: Writing, connection: Connection, name: str, source: str) -> str:
    """Source of what a searched connection brings."""
    mixed, plan = writing.common.sources.mixed(connection), writing.common.sources.plan
    attribute = writing.attribute(name, mixed, connection.edges[0].span)
    for edge in connection.edges:
        candidate = candidate_name(edge)
        writing.places[edge.searched_gate.number] = attribute, candidate
        writing.operations[edge.id] = f"{attribute}.candidates.{candidate}"
    first = connection.edges[0].searched_gate.number
    arguments = [source, writing.gates(first, first + len(connection.edges))]
    if plan is not None and plan.meets(connection.source):
        arguments.append(_shared(writing, connection.source))
    return f"self.{attribute}({', '.join(arguments)})"


def _shared(writing: Writing, node: str) -> str:
    """What holds the parts of their work that a node's readers share."""
    if node not in writing.shared:
        name = writing.shared[node] = writing.variable(f"shared_{writing.value(node)}")
        writing.lines.append(f"{BODY}{name} = {{}}")
    return writing.shared[node]
