"""Lines: what stands on the lines of a connection, in which colors, and how they are stroked."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from attrs import evolve, field, frozen

from bayesnas.compiler.artifacts.drawing.looks import Contents, label_of
from bayesnas.compiler.artifacts.drawing.words import WIDTH, lines, listed, shortened
from bayesnas.compiler.artifacts.graph_file import Annotation
from bayesnas.compiler.graph.model import Connection, Edge

# Blue, vermilion and greys differ for every kind of sight; printed in grey, what is searched is
# dashed and what is kept is thick.
FIXED, SEARCHED, KEPT = "#444444", "#0064a6", "#b84300"
PALE, GONE = "#bbbbbb", "#777777"  # lines, words


@frozen
class Line:
    """One line: the text in it, the text's color, Graphviz's attributes of the stroke, and notes.

    ``notes`` are what is said under the pointer, in pictures that can.
    """

    text: str = ""
    color: str = FIXED
    style: Mapping[str, str] = field(factory=dict)
    notes: tuple[str, ...] = ()


PLAIN: Final = Line()
DEAD: Final = Line("", GONE, {"color": PALE})
_DASHED: Final = Line("", SEARCHED, {"color": SEARCHED, "style": "dashed"})
_KEPT: Final = Line("", KEPT, {"color": KEPT, "penwidth": "2"})
_REMOVED: Final = Line("", GONE, {"color": PALE, "style": "dashed"})


def lines_of(
    connection: Connection, contents: Contents, silent: Collection[str] = ()
) -> list[Line]:
    """The lines of a connection: one for a choice, one each for operations that are fixed or kept.

    Args:
        connection: what is drawn.
        contents: of the whole graph.
        silent: labels of choices that do not stand on their lines.
    """
    if connection.searched:
        if contents.is_result:
            return _result(connection.edges, contents.annotation)
        label = label_of(connection)
        return [evolve(_DASHED, text="" if label in silent else label)]
    alive = {connection.source, connection.target} <= contents.alive
    operations = [edge.operation for edge in connection.edges]
    return [
        evolve(PLAIN if alive else DEAD, text="" if o.is_identity else _broken(o.label))
        for o in operations
    ]


def is_plain(connection: Connection) -> bool:
    """Whether it only passes a tensor on."""
    return not connection.searched and all(e.operation.is_identity for e in connection.edges)


def _result(edges: Iterable[Edge], annotation: Annotation) -> list[Line]:
    """A line for each operation that was kept, and a pale one for all that went."""
    kept = [edge for edge in edges if edge.id not in annotation.removed]
    gone = [edge for edge in edges if edge.id in annotation.removed]
    result = []
    for edge in kept:
        gamma = annotation.gammas.get(edge.id)
        weight = "" if gamma is None else f"\nγ {shortened(gamma)}"
        text = _broken(edge.operation.label) + weight
        result.append(evolve(_KEPT, text=text, notes=_notes([edge], annotation)))
    if gone:
        text = _departures(gone, annotation.removed)
        result.append(evolve(_REMOVED, text=text, notes=_notes(gone, annotation)))
    return result


def _notes(edges: Iterable[Edge], annotation: Annotation) -> tuple[str, ...]:
    return tuple(annotation.notes[edge.id] for edge in edges if edge.id in annotation.notes)


def _broken(label: str) -> str:
    """An operation, broken before `>>` where it is long."""
    return "\n".join(lines(listed([label])))


def _departures(gone: Iterable[Edge], rounds: Mapping[str, int]) -> str:
    """What went, round by round: `2: sep(3), skip`, and no number for round 0."""
    by_round: dict[int, list[str]] = {}
    for edge in sorted(gone, key=lambda edge: rounds[edge.id]):
        by_round.setdefault(rounds[edge.id], []).append(edge.operation.label)
    rows = []
    for number, labels in by_round.items():
        start = f"{number}:\N{NO-BREAK SPACE}" if number else ""
        rows += lines(start + listed(labels), WIDTH, 4)
    return "".join(f"{row}\\l" for row in rows)
