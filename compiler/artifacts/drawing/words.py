"""Words in a figure: sizes, broken lines, many paths in few words, names that Graphviz can take."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence
from html import escape
from itertools import groupby
from typing import Final

from attrs import frozen

from bayesnas.compiler.operations.primitives import Shape

WIDTH: Final = 28  # of a line beside an edge, in characters
CAPTION: Final = 40  # of a line below a title, in characters
_PATHS: Final = 3  # lines of paths
_GLUE: Final = "\N{NO-BREAK SPACE}"  # no line ends here


@frozen
class Words:
    """A line of a caption."""

    text: str
    size: int
    color: str = "black"
    bold: bool = False

    @property
    def markup(self) -> str:
        """As Graphviz's HTML."""
        text = escape(self.text)
        text = f"<b>{text}</b>" if self.bold else text
        return f'<font point-size="{self.size}" color="{self.color}">{text}</font>'


def identifier(name: str) -> str:
    """A name that Graphviz neither splits at a colon, nor unescapes, nor reads as HTML."""
    return re.sub(r"[%:<>\\]", lambda match: f"%{ord(match[0]):02x}", name)


def lines(text: str, width: int = WIDTH, indent: int = 0) -> list[str]:
    """A text in lines, broken at spaces; what comes after the first is indented.

    The indents are of no-break spaces, for viewers of SVG drop others at the start of a line.
    """
    wrapper = textwrap.TextWrapper(width, break_long_words=False, break_on_hyphens=False)
    wrapper.subsequent_indent = _GLUE * indent
    first, *others = wrapper.wrap(text) or [""]
    start = wrapper.subsequent_indent
    return [
        first.replace(_GLUE, " "),
        *(start + row.removeprefix(start).replace(_GLUE, " ") for row in others),
    ]


def unbroken(label: str) -> str:
    """An operation on one line, or, where it is long, with breaks before `>>` alone."""
    glued = label.replace(" ", _GLUE)
    return glued.replace(f"{_GLUE}>>", " >>") if len(label) > WIDTH else glued


def listed(labels: Iterable[str], *, bar: bool = False) -> str:
    """Operations in a row, for `lines`: a line ends between two or inside a long one.

    ``bar``: with a bar before each but the first, else with a comma after each but the last.
    """
    return (f" |{_GLUE}" if bar else ", ").join(map(unbroken, labels))


def table(rows: Iterable[Words]) -> str:
    """Lines below each other as a label in Graphviz's HTML."""
    cells = (f'<tr><td align="left">{row.markup}</td></tr>' for row in rows)
    start = '<table border="0" cellborder="0" cellspacing="0" cellpadding="1">'
    return f"<{start}{''.join(cells)}</table>>"


def size(shape: Shape | None) -> str:
    """Channels and lengths: `16×32×32`."""
    return "×".join(map(str, shape or ()))


def sizes(shapes: Sequence[Shape | None]) -> str:
    """The sizes of a row of tensors, from the first to the last: `80…180×32×32`."""
    first, last = shapes[0] or (), shapes[-1] or ()
    if first == last:
        return size(first)
    if first[1:] == last[1:]:
        return f"{first[0]}…{size(last)}"
    return f"{size(first)} … {size(last)}"


def compressed(paths: Iterable[str]) -> list[str]:
    """Paths that differ in one index alone as one, the last index first: `a[0–4]`, `a[1, 3].h`."""
    rows = [tuple(re.split(r"\[([^]]*)\]", path)) for path in paths]
    for position in range(max(map(len, rows), default=0) - 2, 0, -2):
        groups: dict[tuple[str, ...], list[str]] = {}
        for row in rows:
            index = row[position] if position < len(row) else ""
            groups.setdefault(_with(row, position, ""), []).append(index)
        rows = [_with(key, position, _runs(indices)) for key, indices in groups.items()]
    return [
        "".join(f"[{part}]" if number % 2 else part for number, part in enumerate(row))
        for row in rows
    ]


def _with(row: tuple[str, ...], position: int, part: str) -> tuple[str, ...]:
    """The row with another part in a position, if it is as long."""
    return (*row[:position], part, *row[position + 1 :]) if position < len(row) else row


def _runs(indices: Sequence[str]) -> str:
    """Indices with those in a row drawn together: `0–4, 6`."""
    unique = list(dict.fromkeys(indices))
    if not all(index.isdigit() for index in unique):
        return ", ".join(unique)
    numbered = groupby(enumerate(map(int, unique)), lambda pair: pair[1] - pair[0])
    runs = [[index for _, index in run] for _, run in numbered]
    return ", ".join(f"{run[0]}–{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def path_lines(paths: Sequence[str]) -> list[str]:
    """The paths of a motif's instances, or the first of them and how many there are."""
    short = compressed(paths)
    rows = lines(listed(short), CAPTION)
    if len(rows) > _PATHS:
        rows = [*rows[: _PATHS - 1], f"… ({len(paths)} in all)"]
    return rows


def shortened(number: float) -> str:
    """A number to two digits, both shown: ``0.30``, ``12``, ``5.0e-05``."""
    return f"{number:#.2g}".rstrip(".")
