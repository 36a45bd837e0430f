"""Lines of canonical text, and how long lists fill them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Literal

from attrs import evolve, frozen

LINE: Final = 100  # characters that a line should not exceed
INDENT: Final = "    "
_SLACK = 2  # characters


@frozen
class Line:
    """A line of canonical text.

    ``start`` begins a statement or definition, ``more`` goes on with it, ``close`` begins with the
    parenthesis of a list in it, ``end`` with the brace of a block, ``comment`` has no text.
    ``apart``: an empty line stands before it.
    """

    indent: str
    text: str
    role: Literal["start", "more", "close", "end", "comment"] = "start"
    apart: bool = False
    comment: str = ""

    def __str__(self) -> str:
        gap = "  " if self.text and self.comment else ""
        return f"{self.indent}{self.text}{gap}{self.comment}"


def join_lines(lines: Iterable[Line]) -> str:
    """The text of these lines; a block that holds nothing becomes ``{ }``."""
    text: list[str] = []
    opened = False
    for line in lines:
        if opened and line.role == "end":
            text[-1] += f" {evolve(line, indent='')}"
        else:
            text += ["", str(line)] if line.apart else [str(line)]
        opened = line.text.endswith("{") and not line.comment
    return "".join(f"{line}\n" for line in text)


def fill(texts: Sequence[str], glue: str, width: int) -> list[str]:
    """The fewest lines that hold the texts, about as long as each other, rather the first."""
    rows = _greedy(texts, glue, width)
    longest = max(map(len, texts))
    while longest < (limit := max(map(len, rows))):
        narrower = _greedy(texts, glue, limit - 1)
        if len(narrower) > len(rows):
            return _greedy(texts, glue, min(limit + _SLACK, width))
        rows = narrower
    return rows


def _greedy(texts: Sequence[str], glue: str, width: int) -> list[str]:
    first, *rest = texts
    rows = [first]
    for text in rest:
        if len(rows[-1]) + len(glue) + len(text) <= width:
            rows[-1] += glue + text
        else:
            rows.append(text)
    return rows
