"""What a page is made of: sections of blocks, which say what is shown and not how it looks."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeAlias

from attrs import field, frozen

Cell: TypeAlias = str | int | float | bool | None


@frozen
class Table:
    """Numbers by name of column; ``name`` is that of its CSV, without the ending."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    @classmethod
    def of(cls, name: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> Table:
        """From any sequences."""
        return cls(name, tuple(columns), tuple(map(tuple, rows)))

    @property
    def records(self) -> list[dict[str, Cell]]:
        """A dictionary a row."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]

    @property
    def csv(self) -> str:
        """As CSV, a line a row below the names."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerows([self.columns, *self.rows])
        return text.getvalue()


@frozen
class Chart:
    """Figures that stand side by side, and the numbers they are drawn from.

    Args:
        title: a few words.
        about: what is to be seen, in a sentence: the figure for who does not see it.
        specs: one of Vega-Lite each, with the data in it.
        table: the numbers.
        wide: whether each takes the whole width of the page.
        legend: names and colours, where all figures share them.
    """

    kind: ClassVar[str] = "chart"
    title: str
    about: str
    specs: tuple[Mapping[str, Any], ...]
    table: Table
    wide: bool = True
    legend: tuple[tuple[str, str], ...] = ()


@frozen
class Picture:
    """A picture as markup, and what stands below it."""

    caption: str
    markup: str = field(repr=False)


@frozen
class Panel:
    """An image by an address that holds it, what it shows in words, and what is said below it."""

    text: str
    address: str = field(repr=False)
    word: str = ""


@frozen
class Example:
    """Images of one example side by side, and what stands below them."""

    caption: str
    panels: tuple[Panel, ...]


@frozen
class Drawings:
    """Drawings of networks side by side, and what they show as a table."""

    kind: ClassVar[str] = "drawings"
    title: str
    about: str
    pictures: tuple[Picture, ...]
    table: Table | None = None


@frozen
class Gallery:
    """Examples in rows; the legend has names and colours that all of them share."""

    kind: ClassVar[str] = "gallery"
    title: str
    about: str
    examples: tuple[Example, ...]
    table: Table
    legend: tuple[tuple[str, str], ...] = ()

    @property
    def panels(self) -> int:
        """Images of an example, at most."""
        return max(len(example.panels) for example in self.examples)


@frozen
class Numbers:
    """A table to be read as it is."""

    kind: ClassVar[str] = "numbers"
    title: str
    about: str
    table: Table


@frozen
class Code:
    """A text of a program or a spec; ``markup`` is it with colours, where there are any."""

    kind: ClassVar[str] = "code"
    title: str
    text: str
    markup: str = ""
    folded: bool = False


@frozen
class Words:
    """Sentences."""

    kind: ClassVar[str] = "words"
    texts: tuple[str, ...]


@frozen
class Links:
    """Names and addresses of other pages."""

    kind: ClassVar[str] = "links"
    title: str
    about: str
    links: tuple[tuple[str, str], ...]


Block: TypeAlias = Chart | Drawings | Gallery | Numbers | Code | Words | Links


@frozen
class Section:
    """Blocks under a heading; ``facts`` are names and values that stand first."""

    title: str
    facts: tuple[tuple[str, str], ...]
    blocks: tuple[Block, ...]
