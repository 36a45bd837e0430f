"""The whole figure: drawings side by side and in rows, each with its title and its legend."""

from __future__ import annotations

from typing import Final

import graphviz
from attrs import define, field

from bayesnas.compiler.artifacts.drawing.canvas import FONT_SIZE, NODE_GAP, Canvas
from bayesnas.compiler.artifacts.drawing.looks import Contents, Look, looks, same_numbers
from bayesnas.compiler.artifacts.drawing.scope import ScopeFigure
from bayesnas.compiler.artifacts.drawing.strokes import FIXED, GONE, KEPT, SEARCHED
from bayesnas.compiler.artifacts.drawing.words import (
    CAPTION,
    Words,
    lines,
    listed,
    path_lines,
    table,
)

_FONT: Final = "Helvetica"
_WIDTH: Final = 11.5  # inches of a row; on a page of 6.5 inches 11 points are 6
_MANY: Final = 300  # lines beyond which Graphviz takes long to place and curve them


def page(contents: Contents, relays: bool) -> str:
    """The figure in the DOT language."""
    return _Page(contents, relays).source()


@define
class _Page:
    contents: Contents
    relays: bool
    choices: dict[str, tuple[str, ...]] = field(factory=dict)  # not yet spelled out: name -> labels

    def __attrs_post_init__(self) -> None:
        if not self.contents.is_result:
            self.choices = _choices(self.contents)

    def source(self) -> str:
        figure = _empty(self.contents.graph.name)
        drawings = looks(self.contents)
        numbers = {m.path: look.number for look in drawings for m in look.members}
        scopes = [ScopeFigure(d.first, self.contents, numbers, self.relays) for d in drawings]
        for look, scope in zip(drawings, scopes, strict=True):
            scope.canvas.body.name = f"cluster_{look.number}"
            caption = self._caption(look, scope)
            scope.canvas.caption(
                table(caption), max(len(row.text) for row in caption[1:] or caption)
            )
        rows = _rows([scope.canvas for scope in scopes])
        _break_rows(figure, rows)  # first: Graphviz keeps the order in which it meets boxes
        for canvas in (canvas for row in rows for canvas in row):
            canvas.body.attr(style="rounded", color="#999999", margin="14")
            figure.subgraph(canvas.body)
        if self.contents.is_result:
            figure.attr(label=table(_legend(self.contents)), labelloc="b")
        if sum(scope.canvas.count for scope in scopes) > _MANY:
            figure.attr(splines="line", nslimit="2")
        return str(figure.source)

    def _caption(self, look: Look, scope: ScopeFigure) -> list[Words]:
        """Its title, whose drawing it is, and the choices that were not spelled out before."""
        path = look.first.path
        rows = [Words(_title(look), FONT_SIZE["title"], bold=True)]
        if path:
            whose = path_lines([member.path for member in look.members])
            if not same_numbers(look.members, self.contents.graph):
                whose.append(f"with the numbers of {path}")
            rows += [_small(row, GONE) for row in whose]
        legend = [f"dashed lines without words: {label}" for label in scope.silent]
        if scope.lists is not None:
            last = scope.lists.length - 1
            rows.append(_small(f"drawn once for k from 0 to {last}; [..k] is all before k", GONE))
        for connection in self.contents.connections.get(path, ()):
            choice = connection.edges[0].choice
            if choice is not None and choice in self.choices:
                legend.append(f"{choice}: one weight each for " + listed(self.choices.pop(choice)))
        return rows + [_small(row, SEARCHED) for text in legend for row in lines(text, CAPTION, 4)]


def _empty(name: str) -> graphviz.Digraph:
    figure = graphviz.Digraph(name)
    figure.attr(rankdir="TB", fontname=_FONT, nodesep=str(NODE_GAP), ranksep="0.28")
    figure.attr("node", fontname=_FONT, shape="box", height="0.3", margin="0.08,0.04")
    figure.attr("node", fontsize=str(FONT_SIZE["box"]))
    figure.attr("edge", fontname=_FONT, color=FIXED, arrowsize="0.7")
    return figure


def _title(look: Look) -> str:
    if look.first.path == "":
        return f"network {look.first.motif}"
    return f"motif {look.first.motif}" + (f", {look.kind}" if look.kind else "")


def _choices(contents: Contents) -> dict[str, tuple[str, ...]]:
    """The candidates of every named choice, in the shortest way they are written.

    A choice may stand there with other numbers as well, at another stride say.
    """
    result: dict[str, tuple[str, ...]] = {}
    for connections in contents.connections.values():
        for connection in connections:
            choice = connection.edges[0].choice
            if choice is None or len(connection.edges) == 1:
                continue
            labels = tuple(edge.operation.label for edge in connection.edges)
            best = result.setdefault(choice, labels)
            if len("".join(labels)) < len("".join(best)):
                result[choice] = labels
    return result


def _rows(canvases: list[Canvas]) -> list[list[Canvas]]:
    """Drawings in rows that fit the page: each in the first row that has room for it."""
    rows: list[list[Canvas]] = []
    rooms: list[float] = []
    for canvas in canvases:
        width = canvas.width()
        number = next((n for n, room in enumerate(rooms) if width <= room), len(rows))
        if number == len(rows):
            rows.append([])
            rooms.append(_WIDTH)
        rows[number].append(canvas)
        rooms[number] -= width
    return rows


def _break_rows(figure: graphviz.Digraph, rows: list[list[Canvas]]) -> None:
    """Graphviz puts what a line leads to below: here unseen lines by way of an unseen point."""
    if len(rows) > 1:
        figure.attr(newrank="true")  # else it does not keep to that between clusters
    for number, row in enumerate(rows[1:]):
        point = f"%row {number}"
        figure.node(point, "", shape="point", style="invis", width="0", height="0")
        for name in (name for canvas in rows[number] for name in canvas.sinks()):
            figure.edge(name, point, style="invis", weight="0")
        for name in (name for canvas in row for name in canvas.sources()):
            figure.edge(point, name, style="invis", weight="0")
    for row in rows if len(rows) > 1 else ():
        with figure.subgraph() as tops:
            tops.attr(rank="same")
            for canvas in row:
                tops.node(canvas.sources()[0])


def _small(text: str, color: str) -> Words:
    return Words(text, FONT_SIZE["line"], color)


def _legend(contents: Contents) -> tuple[Words, ...]:
    """Of a result; not every search has a γ."""
    numbers = ", with its γ" if contents.annotation.gammas else ""
    return (
        _small(f"thick: what the search kept{numbers}", KEPT),
        _small("dashed, pale: removed, and in which round", GONE),
    )
