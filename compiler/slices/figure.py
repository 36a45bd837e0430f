"""A picture of widths: how much of each layer is left."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from bayesnas.compiler.slices.layers import Layer

WIDTHS: Final = "widths.svg"  # in the folder of a run
LENGTH: Final = 240  # points, of the widest layer's bar
HEIGHT: Final = 12
KEPT, GONE = "#3b6ea5", "#dfe5ec"


def draw_widths(layers: Sequence[Layer]) -> str:
    """Bars of all layers in the DOT language, the removed part pale, in the order given.

    Where weights are masked, the dark part is as much of the channels left as of weights not zero.
    """
    widest = max((layer.channels for layer in layers), default=1)
    rows = "\n".join(_row(layer, LENGTH / widest) for layer in layers)
    rows = rows or "<tr><td>no layer has a width</td></tr>"
    return (
        'digraph widths {\nnode [shape=plain fontname="Helvetica" fontsize=10]\n'
        f'widths [label=<<table border="0" cellspacing="2" cellpadding="0">\n{rows}\n</table>>]\n'
        "}\n"
    )


def _row(layer: Layer, point: float) -> str:
    kept = layer.channels_kept * layer.density
    masked = "" if layer.weights is None else f", {layer.density:.0%} of their weights"
    if layer.thinned:
        masked = f", {layer.share:.0%} of its connections{masked}"
    rest = LENGTH - layer.channels * point  # invisible, so that all bars begin in one line
    bars = "".join(
        f'<td fixedsize="true" width="{round(length)}" height="{HEIGHT}"{color}></td>'
        for length, color in (
            (kept * point, f' bgcolor="{KEPT}"'),
            ((layer.channels - kept) * point, f' bgcolor="{GONE}"'),
            (rest, ""),
        )
        if length >= 1
    )
    bar = f'<table border="0" cellspacing="0" cellpadding="0"><tr>{bars}</tr></table>'
    return (
        f'<tr><td align="right">{escape(layer.layer)} </td><td align="left">{bar}</td>'
        f'<td align="left"> {layer.channels_kept:,} of {layer.channels:,}{masked}'
        "</td></tr>"
    )
