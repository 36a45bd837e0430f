"""Scans in source: loops over the positions of series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bayesnas.compiler.emit.motifs.writing import BODY, Writing
from bayesnas.compiler.emit.names import identifier
from bayesnas.compiler.emit.source import call_source
from bayesnas.compiler.emit.texts import INDENT, wrapped
from bayesnas.compiler.graph.model import Instance
from bayesnas.compiler.graph.scans import series_of, ways_back


def write_scan(writing: Writing, scan: Instance, attribute: str) -> None:
    """A loop over the positions of series: lists of what each makes, stacked to series."""
    graph, series, back = writing.graph, series_of(writing.graph, scan), ways_back(writing.graph)
    given = dict(zip(scan.inputs, writing.given(scan), strict=True))
    states = [start for start, _ in scan.states or ()]
    held = {port: writing.variable(graph.node(port).name) for port in (*series, *states)}
    carriers = {port: _carrier(writing, scan, attribute, port) for port in states}
    begun = [
        f"{carriers[port]}({given[port]})" if carriers[port] else given[port] for port in states
    ]
    writing.assign_each([held[port] for port in states], begun)
    made = {
        port: held[back[port]] if port in back else writing.variable(graph.node(port).name)
        for port in scan.outputs
    }
    lists = {
        port: writing.variable(f"{identifier(graph.node(port).name)}_list")
        for port in scan.outputs
        if graph.outgoing(port)
    }
    writing.lines += [f"{BODY}{several} = []" for several in lists.values()]
    _head(writing, [held[port] for port in series], [given[port] for port in series])
    arguments = [*(held.get(port, given[port]) for port in scan.inputs), *writing.gates_of(scan)]
    call = f"self.{attribute}({', '.join(arguments)})"
    writing.assign([made[port] for port in scan.outputs], call, 3)
    for port, several in lists.items():
        text = f"{several}.append({made[port]})"
        writing.lines += wrapped(f"{BODY}{INDENT}", text, level=3)
    for port, carrier in carriers.items():
        writing.lines += [f"{BODY}{carrier}.keep({held[port]})"] if carrier else []
    _stack(writing, lists)


def _carrier(writing: Writing, scan: Instance, attribute: str, port: str) -> str:
    """What carries a state of a scan from call to call; empty where nothing does."""
    if scan.path not in writing.common.carried:
        return ""
    node = writing.graph.node(port)
    width = (node.shape or ())[0]
    source = call_source("Carried", "Carried", ("width",), (width,))
    writing.helpers.add("Carried")
    name = writing.attribute(f"{attribute}_{node.name}", source, writing.span(scan))
    return f"self.{name}"


def _head(writing: Writing, variables: Sequence[str], series: Sequence[str]) -> None:
    """``for x, y in zip(...):``, over all positions of these series."""
    turns = [f"{one}.unbind(dim=2)" for one in series]
    over = turns[0] if len(turns) == 1 else f"zip({', '.join(turns)})"
    writing.lines += wrapped(f"{BODY}for {', '.join(variables)} in ", over, level=2, tail=":")


def _stack(writing: Writing, lists: Mapping[str, str]) -> None:
    """Lists of what the positions have made, by output, as series."""
    graph = writing.graph
    for port, several in lists.items():
        name = graph.node(graph.outgoing(port)[0].target).name
        variable = writing.variables[port] = writing.variable(name)
        call = f"torch.stack({several}, dim=2)"
        writing.lines += wrapped(f"{BODY}{variable} = ", call, level=2)
