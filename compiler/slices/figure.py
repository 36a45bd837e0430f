"""A picture of widths: how much of each layer is left."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from attrs import frozen

LENGTH: Final = 240  # points, of the widest layer's bar
HEIGHT: Final = 12
KEPT, GONE = "#3b6ea5", "#dfe5ec"


@frozen
class Width:
    """A layer's channels, 1 or more, and how many of them are left."""

    layer: str
    channels: int
    kept: int


def draw_widths(widths: Sequence[Width]) -> str:
    """Bars of all layers in the DOT language, the removed part pale, in the order given."""
    widest = max((width.channels for width in widths), default=1)
    rows = "\n".join(_row(width, LENGTH / widest) for width in widths)
    rows = rows or "<tr><td>no layer has a width</td></tr>"
    return (
        'digraph widths {\nnode [shape=plain fontname="Helvetica" fontsize=10]\n'
        f'widths [label=<<table border="0" cellspacing="2" cellpadding="0">\n{rows}\n</table>>]\n'
        "}\n"
    )


def _row(width: Width, point: float) -> str:
    gone = width.channels - width.kept
    rest = LENGTH - width.channels * point  # invisible, so that all bars begin in one line
    bars = "".join(
        f'<td fixedsize="true" width="{round(length)}" height="{HEIGHT}"{color}></td>'
        for length, color in (
            (width.kept * point, f' bgcolor="{KEPT}"'),
            (gone * point, f' bgcolor="{GONE}"'),
            (rest, ""),
        )
        if length >= 1
    )
    bar = f'<table border="0" cellspacing="0" cellpadding="0"><tr>{bars}</tr></table>'
    return (
        f'<tr><td align="right">{escape(width.layer)} </td><td align="left">{bar}</td>'
        f'<td align="left"> {width.kept:,} of {width.channels:,}</td></tr>'
    )
