"""Boxes: what stands in the boxes of nodes, of lists and of instances, and how they look."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from bayesnas.compiler.artifacts.drawing.canvas import Canvas, instance_name
from bayesnas.compiler.artifacts.drawing.chains import Box
from bayesnas.compiler.artifacts.drawing.looks import Contents, kind_of
from bayesnas.compiler.artifacts.drawing.strokes import GONE, PALE
from bayesnas.compiler.artifacts.drawing.words import compressed, identifier, size, sizes
from bayesnas.compiler.graph.model import Graph, Node
from bayesnas.compiler.graph.scans import length_of

_INPUT, _OUTPUT, _MOTIF = "#dbe9f6", "#e3f1e4", "#fdf0d0"  # corners and marks tell them as well
_MERGES: Final = {"sum": "+", "concat": "concat", "product": "×"}
_FAINT: Final = {"color": PALE, "fontcolor": GONE}


def draw_node(node: Node, contents: Contents, canvas: Canvas) -> None:
    """The box of a node, or the small one of an i' node."""
    style = {} if node.id in contents.alive else _FAINT
    name = identifier(node.id)
    if node.role == "relay":
        canvas.box(name, node.name, shape="ellipse", fontsize="9", **style)
        return
    mark = {"input": "▸ ", "output": "◂ "}.get(node.role, "")
    canvas.box(
        name,
        f"{mark}{node.name}{_merge(node, contents.graph)}{_below(size(node.shape))}",
        style="rounded,filled",
        fillcolor={"input": _INPUT, "output": _OUTPUT}.get(node.role, "white"),
        penwidth="1.6" if mark else "1",
        **style,
    )


def draw_list(name: str, base: str, nodes: Sequence[Node], graph: Graph, canvas: Canvas) -> None:
    """The box of a list's element k, framed twice; ``name`` is the box's to Graphviz."""
    shape = _below(sizes([node.shape for node in nodes]))
    label = f"{base}[k]{_merge(nodes[-1], graph)}{shape}"
    canvas.box(name, label, style="rounded", peripheries="2")


def draw_instance(box: Box, contents: Contents, canvas: Canvas) -> None:
    """The box of an instance, or of links of a chain, whose corners are sharp."""
    nodes = contents.nodes.get(box.first.path, ())
    alive = any(node.id in contents.alive for node in nodes)
    canvas.box(
        instance_name(box.first.path),
        _record(box, contents.graph),
        shape="record",
        style="filled",
        fillcolor=_MOTIF if alive else "white",
        **({} if alive else _FAINT),
    )


def _record(box: Box, graph: Graph) -> str:
    """Its inputs above where there are several, its outputs below."""
    first = box.first
    start = f"{first.parent}." if first.parent else ""
    names = compressed(member.path.removeprefix(start) for member in box.members)
    kind = f", {kind_of(first)}" if kind_of(first) else ""
    times = f" × {len(box.members)}" if len(box.members) > 1 else ""
    loop, length = ("", ()) if first.states is None else ("↻ ", (length_of(graph, first),))
    outputs = [
        [(*(graph.node(member.outputs[k]).shape or ()), *length) for member in box.members]
        for k in range(len(first.outputs))
    ]
    words = [", ".join(names), f"{loop}{first.motif}{kind}{times}", *map(sizes, outputs)]
    rows = ["\\n".join(_escaped(word) for word in words if word)]
    if len(first.inputs) > 1:
        rows.insert(0, _ports(first.inputs, graph))
    if len(first.outputs) > 1:
        rows.append(_ports(first.outputs, graph))
    return f"{{{'|'.join(rows)}}}"


def _ports(ports: Iterable[str], graph: Graph) -> str:
    names = [graph.node(port).name for port in ports]
    return f"{{{'|'.join(f'<{name}> {name}' for name in names)}}}"


def _merge(node: Node, graph: Graph) -> str:
    """How a node makes one tensor of several."""
    return f"  ({_MERGES[node.merge]})" if len(graph.connections(node.id)) > 1 else ""


def _below(text: str) -> str:
    return f"\n{text}" if text else ""


def _escaped(text: str) -> str:
    """Text in a record, whose fields end at bars and braces."""
    return "".join(f"\\{c}" if c in "{}|<>\\" else c for c in text)
