"""One motif, or the network around them: its boxes, and the lines between them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

from attrs import define, evolve, field

from bayesnas.compiler.artifacts.drawing.canvas import Canvas, instance_name
from bayesnas.compiler.artifacts.drawing.chains import Box, boxes
from bayesnas.compiler.artifacts.drawing.lists import Folded, Reading, folded
from bayesnas.compiler.artifacts.drawing.looks import Contents, label_of
from bayesnas.compiler.artifacts.drawing.shapes import draw_instance, draw_list, draw_node
from bayesnas.compiler.artifacts.drawing.strokes import DEAD, PLAIN, Line, lines_of
from bayesnas.compiler.artifacts.drawing.words import compressed, identifier
from bayesnas.compiler.graph.model import Connection, Instance

_CROWD: Final = 30  # searched connections of one label beyond which they are not drawn one by one


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
    lists: Folded | None = None  # where too much is searched to be drawn one by one
    silent: frozenset[str] = frozenset()  # the label of too many lines that could not be folded
    _boxes: dict[str, Box] = field(factory=dict)  # by the paths of their members

    def __attrs_post_init__(self) -> None:
        self._fold()
        for box in boxes(self.instance.path, self.contents, self.numbers):
            self._boxes |= {member.path: box for member in box.members}
            draw_instance(box, self.contents, self.canvas)
        places = self.lists.places if self.lists is not None else {}
        for node in self.contents.nodes.get(self.instance.path, ()):
            hidden = node.id in places or (node.role == "relay" and not self.relays)
            if not hidden and not self.contents.is_alias(node.id):
                draw_node(node, self.contents, self.canvas)
        if self.lists is not None:
            self._draw_lists(self.lists)
        for connection in self._connections:
            if not {connection.source, connection.target} & places.keys():
                self._connection(connection)
        for start, end in self.instance.states or ():
            self.canvas.back(identifier(end), identifier(start))

    @property
    def _connections(self) -> list[Connection]:
        return self.contents.connections.get(self.instance.path, [])

    def _fold(self) -> None:
        """Decide what is done about lines that are too many."""
        if self.contents.is_result or self.relays:
            return
        counts = Counter(label_of(c) for c in self._connections if c.searched)
        crowds = frozenset(label for label, count in counts.items() if count > _CROWD)
        if crowds:
            self.lists = folded(self.instance.path, self.contents)
        if self.lists is None and len(crowds) == 1:
            self.silent = crowds

    # --------------------------------------------------------------------------------- lines

    def _connection(self, connection: Connection) -> None:
        (source, tail), (target, head) = map(self._end, (connection.source, connection.target))
        within = source == target  # another name of the instance, or inside a folded chain
        if within or self._is_later(connection.target):
            return
        if connection.relay is not None and self.relays:
            relay = identifier(connection.relay)
            line = PLAIN if connection.relay in self.contents.alive else DEAD
            self._stroke(source, relay, line, tail=tail)
            source, tail = relay, ""
        for line in lines_of(connection, self.contents, self.silent):
            self._stroke(source, target, line, tail=tail, head=head)

    def _is_later(self, target: str) -> bool:
        """Whether a later link of a folded chain is fed: what it reads, the first one reads too."""
        scope = self.contents.graph.node(target).scope
        return scope != self.instance.path and scope != self._boxes[scope].first.path

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

    def _stroke(
        self, source: str, target: str, line: Line, *, tail: str = "", head: str = ""
    ) -> None:
        self.canvas.stroke(
            source,
            target,
            line.text,
            tail=tail,
            head=head,
            style=line.style,
            color=line.color,
            notes=line.notes,
        )

    # --------------------------------------------------------------------------------- lists

    def _draw_lists(self, lists: Folded) -> None:
        """Element k of every list, what it reads and what reads it."""
        for base, nodes in lists.members.items():
            draw_list(self._list_name(base), base, nodes, self.contents.graph, self.canvas)
        for reading in lists.readings:
            self._reading(reading, lists)
        readers: dict[tuple[str, str, bool, str], list[Connection]] = {}
        for connection in self._connections:
            if connection.source in lists.places and connection.target not in lists.places:
                base, _ = lists.places[connection.source]
                kind = (base, connection.target, connection.searched, label_of(connection))
                readers.setdefault(kind, []).append(connection)
        for (base, *_), connections in readers.items():
            self._reader(self._list_name(base), connections)

    def _list_name(self, base: str) -> str:
        """A list's name to Graphviz, which no node has."""
        return f"%list {identifier(f'{self.instance.path}.{base}')}"

    def _reading(self, reading: Reading, lists: Folded) -> None:
        target, tail = self._list_name(reading.target), ""
        for line in lines_of(reading.connection, self.contents):
            if not reading.offsets:
                source, tail = self._end(reading.source)
            elif reading.offsets == (0,):
                source = self._list_name(reading.source)
            else:
                words = lists.name(reading.source, reading.offsets)
                source = self.canvas.note(target, words, fontcolor=line.color)
            self._stroke(source, target, line, tail=tail)

    def _reader(self, source: str, connections: list[Connection]) -> None:
        """A line to a node that reads elements of a list, with these elements on it."""
        target, head = self._end(connections[0].target)
        names = compressed(self.contents.graph.node(c.source).name for c in connections)
        for line in lines_of(connections[0], self.contents):
            text = "\n".join(filter(None, (", ".join(names), line.text)))
            self._stroke(source, target, evolve(line, text=text), head=head)
