"""One motif, or the network around them: its boxes and lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from attrs import define, evolve, field, frozen

from bayesnas.compiler.artifacts.drawing.canvas import Canvas, instance_name
from bayesnas.compiler.artifacts.drawing.chains import Box, boxes
from bayesnas.compiler.artifacts.drawing.looks import Contents, kind_of
from bayesnas.compiler.artifacts.drawing.words import (
    compressed,
    identifier,
    lines,
    listed,
    size,
    sizes,
)
from bayesnas.compiler.graph.model import Connection, Edge, Instance, Node

# Blue, vermilion and greys differ for every kind of sight; printed in grey, what is searched is
# dashed and what is kept is thick.
INPUT, OUTPUT, MOTIF = "#dbe9f6", "#e3f1e4", "#fdf0d0"
FIXED, SEARCHED, KEPT = "#444444", "#0064a6", "#b84300"
PALE, GONE = "#bbbbbb", "#777777"  # lines, words
_MERGES: Final[Mapping[str, str]] = {"sum": "+", "concat": "concat", "product": "×"}
_CROWD: Final = 40  # searched connections of one label beyond which most are told in words
_FAINT: Final = {"color": PALE, "fontcolor": GONE}


@frozen
class Line:
    """How a connection is drawn: what stands on it in which color, and how it is stroked."""

    text: str
    color: str = FIXED
    style: Mapping[str, str] = field(factory=dict)


_DASHED: Final = Line("", SEARCHED, {"color": SEARCHED, "style": "dashed"})
_DEAD: Final = Line("", GONE, {"color": PALE})


@define
class ScopeFigure:
    """The drawing of one instance for all that look like it.

    Args:
        instance: whose numbers are drawn.
        contents: of the whole graph.
        numbers: the drawing that stands for each instance.
        relays: whether i' nodes are drawn.
    """

    instance: Instance
    contents: Contents
    numbers: Mapping[str, int]
    relays: bool = False
    canvas: Canvas = field(factory=Canvas)
    crowds: frozenset[str] = frozenset()  # labels that the legend says once for all their lines
    _boxes: dict[str, Box] = field(factory=dict)  # by the paths of their members
    _drawn: set[tuple[str, str, str]] = field(factory=set)  # fixed edges between boxes
    _fans: dict[tuple[str, str], list[Connection]] = field(factory=dict)  # by box, line's label

    def __attrs_post_init__(self) -> None:
        for box in boxes(self.instance.path, self.contents, self.numbers):
            self._boxes |= {member.path: box for member in box.members}
            self._instance(box)
        for node in self.contents.nodes.get(self.instance.path, ()):
            if node.role != "relay" or self.relays:
                self._node(node)
        connections = self.contents.connections.get(self.instance.path, ())
        counts = Counter(label_of(c) for c in connections if c.searched)
        if not (self.contents.is_result or self.relays):
            self.crowds = frozenset(label for label, n in counts.items() if n > _CROWD)
        for connection in connections:
            self._connection(connection)
        for fan in self._fans.values():
            self._fan(fan)

    # --------------------------------------------------------------------------------- boxes

    def _instance(self, box: Box) -> None:
        alive = any(
            node.id in self.contents.alive for node in self.contents.nodes.get(box.first.path, ())
        )
        self.canvas.box(
            instance_name(box.first.path),
            self._record(box),
            shape="record",
            style="filled",
            fillcolor=MOTIF if alive else "white",
            **({} if alive else _FAINT),
        )

    def _record(self, box: Box) -> str:
        """Its inputs above where there are several, its outputs below."""
        first = box.first
        name = local_path(box, self.instance.path)
        kind = f", {kind_of(first)}" if kind_of(first) else ""
        times = f" × {len(box.members)}" if len(box.members) > 1 else ""
        outputs = [
            [self.contents.graph.node(member.outputs[k]).shape for member in box.members]
            for k in range(len(first.outputs))
        ]
        words = [name, f"{first.motif}{kind}{times}", *(sizes(s) for s in outputs if s[0])]
        rows = ["\\n".join(map(_escaped, words))]
        if len(first.inputs) > 1:
            rows.insert(0, self._ports(first.inputs))
        if len(first.outputs) > 1:
            rows.append(self._ports(first.outputs))
        return f"{{{'|'.join(rows)}}}"

    def _ports(self, ports: Iterable[str]) -> str:
        names = [self.contents.graph.node(port).name for port in ports]
        return f"{{{'|'.join(f'<{name}> {name}' for name in names)}}}"

    def _node(self, node: Node) -> None:
        if self.contents.is_alias(node.id):
            return
        style = {} if node.id in self.contents.alive else _FAINT
        if node.role == "relay":
            self.canvas.box(identifier(node.id), node.name, shape="ellipse", fontsize="9", **style)
            return
        merged = len(self.contents.graph.connections(node.id)) > 1
        merge = f"  ({_MERGES[node.merge]})" if merged else ""
        mark = {"input": "▸ ", "output": "◂ "}.get(node.role, "")
        shape = f"\n{size(node.shape)}" if node.shape else ""
        self.canvas.box(
            identifier(node.id),
            f"{mark}{node.name}{merge}{shape}",
            style="rounded,filled",
            fillcolor={"input": INPUT, "output": OUTPUT}.get(node.role, "white"),
            penwidth="1.6" if mark else "1",
            **style,
        )

    # --------------------------------------------------------------------------------- edges

    def _connection(self, connection: Connection) -> None:
        (source, tail), (target, head) = map(self._end, (connection.source, connection.target))
        if source == target:  # another name of the instance, or inside a folded chain
            return
        label = self._crowd(connection)
        if label is not None:
            self._fans.setdefault((target + head, label), []).append(connection)
            return
        if _is_plain(connection) and not self._is_new(source, target, connection):
            return
        if connection.relay is not None and self.relays:
            relay = identifier(connection.relay)
            line = Line("") if connection.relay in self.contents.alive else _DEAD
            self.canvas.stroke(source, relay, tail=tail, style=line.style, color=line.color)
            source, tail = relay, ""
        for line in self._lines(connection):
            self.canvas.stroke(
                source, target, line.text, tail=tail, head=head, style=line.style, color=line.color
            )

    def _crowd(self, connection: Connection) -> str | None:
        """The label of a line that is one of too many; plain ones are, where there are such."""
        if not self.crowds or not (connection.searched or _is_plain(connection)):
            return None
        label = label_of(connection) if connection.searched else ""
        return label if label in self.crowds or not label else None

    def _fan(self, fan: list[Connection]) -> None:
        """Into one box: the line from what comes last, and the others in words."""
        fan = sorted(fan, key=lambda c: self.contents.order[c.source])
        line = _DASHED if fan[0].searched else Line("")
        (source, tail), (target, head) = self._end(fan[-1].source), self._end(fan[-1].target)
        self.canvas.stroke(source, target, tail=tail, head=head, style=line.style, color=line.color)
        if len(fan) > 1:
            names = compressed(self._name(connection.source) for connection in fan[:-1])
            words = "\n".join(lines(listed(names)))
            note = self.canvas.note(target, words, fontcolor=line.color)
            self.canvas.stroke(note, target, head=head, style=line.style, color=line.color)

    def _name(self, identifier: str) -> str:
        """What a node is called in this instance."""
        scope = self.instance.path
        return identifier.removeprefix(f"{scope}.") if scope else identifier

    def _is_new(self, source: str, target: str, connection: Connection) -> bool:
        """Whether it is not yet drawn that one reads the other, between folded chains."""
        ends = [self.contents.graph.node(n) for n in (connection.source, connection.target)]
        box = self._box(connection.target)
        if box is not None and ends[1].scope != box.first.path:
            return False  # what a later link reads of, the first reads too
        key = (source, target, ends[1].name if box is not None else connection.id)
        if key in self._drawn:
            return False
        self._drawn.add(key)
        return True

    def _box(self, identifier: str) -> Box | None:
        node = self.contents.graph.node(identifier)
        return self._boxes.get(node.scope) if node.scope != self.instance.path else None

    def _end(self, end: str) -> tuple[str, str]:
        """What is drawn for a node, and the port of its instance where that has several."""
        scope = self.instance.path
        node = self.contents.graph.node(end)
        if node.scope == scope and self.contents.is_alias(end):
            node = self.contents.graph.node(self.contents.graph.connections(end)[0].source)
        if node.scope == scope:
            return identifier(node.id), ""
        box = self._boxes[node.scope]
        ports = box.first.inputs if node.role == "input" else box.first.outputs
        return instance_name(box.first.path), node.name if len(ports) > 1 else ""

    def _lines(self, connection: Connection) -> list[Line]:
        if connection.searched:
            if self.contents.is_result:
                return self._result(connection.edges)
            return [evolve(_DASHED, text=label_of(connection))]
        dead = not {connection.source, connection.target} <= self.contents.alive
        return [
            evolve(
                _DEAD if dead else Line(""),
                text="" if edge.operation.is_identity else in_lines(edge.operation.label),
            )
            for edge in connection.edges
        ]

    def _result(self, edges: Iterable[Edge]) -> list[Line]:
        """A line for each operation that was kept, and a pale one for all that went."""
        found = self.contents.annotation
        kept = [edge for edge in edges if edge.id not in found.removed]
        gone = [edge for edge in edges if edge.id in found.removed]
        result = []
        for edge in kept:
            gamma = found.gammas.get(edge.id)
            weight = "" if gamma is None else f"\nγ {gamma:.2g}"
            text = in_lines(edge.operation.label) + weight
            result.append(Line(text, KEPT, {"color": KEPT, "penwidth": "2"}))
        if gone:
            text = departures(gone, found.removed)
            result.append(Line(text, GONE, {"color": PALE, "style": "dashed"}))
        return result


def _is_plain(connection: Connection) -> bool:
    """Whether it only passes a tensor on."""
    return (
        not connection.searched
        and len(connection.edges) == 1
        and connection.edges[0].operation.is_identity
    )


def label_of(connection: Connection) -> str:
    """What a searched connection is called: its choice, or its candidates."""
    labels = [edge.operation.label for edge in connection.edges]
    choice = connection.edges[0].choice
    return (
        choice
        if choice is not None and len(labels) > 1
        else "\n".join(lines(listed(labels, bar=True)))
    )


def in_lines(label: str) -> str:
    """An operation, broken before `>>` where it is long."""
    return "\n".join(lines(listed([label])))


def departures(gone: Iterable[Edge], rounds: Mapping[str, int]) -> str:
    """What went, round by round: `2: sep(3), skip`, and no number for round 0."""
    by_round: dict[int, list[str]] = {}
    for edge in sorted(gone, key=lambda edge: rounds[edge.id]):
        by_round.setdefault(rounds[edge.id], []).append(edge.operation.label)
    rows = [
        row
        for number, labels in by_round.items()
        for row in lines((f"{number}:\N{NO-BREAK SPACE}" if number else "") + listed(labels), 28, 4)
    ]
    return "".join(f"{row}\\l" for row in rows)


def local_path(box: Box, parent: str) -> str:
    """The members' paths as they are called in the instance around them."""
    names = [m.path.removeprefix(f"{parent}.") if parent else m.path for m in box.members]
    return ", ".join(compressed(names))


def _escaped(text: str) -> str:
    """Text in a record, whose fields end at bars and braces."""
    return "".join(f"\\{c}" if c in "{}|<>\\" else c for c in text)
