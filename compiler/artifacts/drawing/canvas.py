"""One cluster of Graphviz, with words that stand in their lines instead of beside them.

Graphviz keeps boxes clear of lines, frames and each other, but not the labels of edges; so a label
is a box without a frame in the middle of its line.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

import graphviz
from attrs import define, field, frozen

from bayesnas.compiler.artifacts.drawing.words import identifier

FONT_SIZE: Final = {"box": 11, "line": 9, "title": 13}
NODE_GAP: Final = 0.2  # inches between two boxes in a row
_CHARACTER: Final = 0.0083  # inches a point of the font, a little more than in most fonts
_PASSING: Final = 0.15  # inches that a line takes beside boxes
_MARGIN: Final = 0.5  # inches of a frame, both sides


@frozen
class _Line:
    source: str
    target: str
    words: float  # the width of what stands in it, in inches; 0 for nothing

    @property
    def rows(self) -> int:
        """How far down it leads at least."""
        return 2 if self.words else 1


@define
class Canvas:
    """A cluster in the making; what is drawn is kept as well to measure it."""

    body: graphviz.Digraph = field(factory=graphviz.Digraph)
    _widths: dict[str, float] = field(factory=dict)  # inches, of boxes and words
    _lines: list[_Line] = field(factory=list)
    _caption: float = 0.0  # inches

    def box(self, name: str, label: str, **attributes: str) -> None:
        """A box; lines of the label end at a newline or at `\\n`."""
        self._widths[name] = _width(label, "box") + 0.1
        self.body.node(name, graphviz.nohtml(label), **attributes)

    def note(self, target: str, text: str, **attributes: str) -> str:
        """Words that stand for what leads to a box; their name, which no box has."""
        name = self._words(target, text, **attributes)
        self._widths[name] = _width(text, "line")
        return name

    def _words(self, place: str, text: str, **attributes: str) -> str:
        name = f"%{len(self.body.body)} {place}"
        frame = {"shape": "plaintext", "margin": "0.03,0.02", "height": "0", "width": "0"}
        size = str(FONT_SIZE["line"])
        self.body.node(name, graphviz.nohtml(text), fontsize=size, **frame, **attributes)
        return name

    def stroke(
        self,
        source: str,
        target: str,
        text: str = "",
        *,
        tail: str = "",
        head: str = "",
        style: Mapping[str, str],
        color: str,
        notes: Sequence[str] = (),
    ) -> None:
        """A line from box to box, ``tail`` and ``head`` their ports, with a text of ``color``.

        ``notes`` are said under the pointer.
        """
        tails = {"tailport": tail} if tail else {}
        heads = {"headport": head} if head else {}
        told = {"tooltip": "\\n".join(map(graphviz.escape, notes))} if notes else {}
        self._lines.append(_Line(source, target, _width(text, "line") if text else 0.0))
        if not text:
            self._edge(source, target, **style, **tails, **heads, **told)
            return
        middle = self._words(f"{source} {target}", text, fontcolor=color, **told)
        self._edge(source, middle, arrowhead="none", headport="n", **style, **tails, **told)
        self._edge(middle, target, tailport="s", **style, **heads, **told)

    def back(self, source: str, target: str) -> None:
        """A line to a box above, where what leaves this one comes in a position later."""
        self._edge(source, target, style="dotted", constraint="false")

    @property
    def count(self) -> int:
        """How many lines there are."""
        return len(self._lines)

    def _edge(self, source: str, target: str, **attributes: str) -> None:
        self.body.edge(source, target, **attributes)

    def sources(self) -> list[str]:
        """Boxes that no line enters."""
        entered = {line.target for line in self._lines}
        return [name for name in self._widths if name not in entered]

    def sinks(self) -> list[str]:
        """Boxes that no line leaves."""
        departed = {line.source for line in self._lines}
        return [name for name in self._widths if name not in departed]

    def caption(self, table: str, longest: int) -> None:
        """What stands above: a table in Graphviz's HTML, and how long its longest line is."""
        self._caption = longest * FONT_SIZE["line"] * _CHARACTER
        self.body.attr(label=table, labeljust="l")

    def width(self) -> float:
        """About how wide Graphviz will draw it, in inches.

        A row is as wide as its boxes and the lines that pass; the words of these are spread over
        all the rows that they pass, for they may stand in any.
        """
        levels = self._levels()
        boxes: defaultdict[int, float] = defaultdict(float)
        for name, width in self._widths.items():
            boxes[levels[name]] += width + NODE_GAP
        # How many inches more the lines take from a row on.
        changes: defaultdict[int, float] = defaultdict(float)
        for line in self._lines:
            start, end = levels[line.source] + 1, levels[line.target]
            if end > start:
                inches = max(_PASSING, (line.words + NODE_GAP) / (end - start))
                changes[start] += inches
                changes[end] -= inches
        widest, passing = 0.0, 0.0
        for level in sorted({*boxes, *changes}):
            passing += changes[level]
            widest = max(widest, boxes[level] + passing)
        return max(widest, self._caption) + _MARGIN

    def _levels(self) -> dict[str, int]:
        """The row of each box: below all it reads, by two where words stand between."""
        following: dict[str, list[_Line]] = {}
        waiting = Counter(line.target for line in self._lines)
        for line in self._lines:
            following.setdefault(line.source, []).append(line)
        levels = dict.fromkeys(self._widths, 0)
        starts = self.sources()
        ready = list(starts)
        while ready:
            for line in following.get(ready.pop(), ()):
                below = levels[line.source] + line.rows
                levels[line.target] = max(levels[line.target], below)
                waiting[line.target] -= 1
                if not waiting[line.target]:
                    ready.append(line.target)
        for start in starts:  # as near to what they feed as they may be
            lines = following.get(start, ())
            levels[start] = min((levels[one.target] - one.rows for one in lines), default=0)
        return levels


def _width(text: str, kind: str) -> float:
    """About how wide a text will be, in inches; a newline, `\\n`, `\\l` or a bar ends a line."""
    longest = max(map(len, re.split(r"\n|\\[nl]|\|", text)))
    return longest * FONT_SIZE[kind] * _CHARACTER + 0.06


def instance_name(path: str) -> str:
    """An instance's name to Graphviz, which no node has."""
    return f"%instance {identifier(path)}"
