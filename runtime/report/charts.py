"""Figures in Vega-Lite: https://vega.github.io/vega-lite. The page's script draws them.

Colours are near those of Okabe and Ito, which differ for every kind of sight, and stand out on
white and on black.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

from bayesnas.runtime.report.blocks import Cell, Table

Spec: TypeAlias = dict[str, Any]

COLOURS: Final = (
    *("#1f83c6", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f", "#8c6d31"),
    *("#b2182b", "#5e4fa2"),
)
MARKED: Final = "#d55e00"
_HEIGHT: Final = 260


def axis(
    name: str,
    title: str | None = None,
    *,
    zero: bool = False,
    log: bool = False,
    **more: Any,
) -> Spec:
    """A channel of a position; dots and brackets in names are taken as they are."""
    scale = {"type": "log"} if log else {"zero": zero}
    channel: Spec = {"field": _field(name), "type": "quantitative", "title": title or name}
    return channel | {"scale": scale, "axis": {"tickCount": 5}} | more


def colour(name: str, domain: Sequence[str], legend: bool = True) -> Spec:
    """The channel of colours, the same for the same names in all figures of one domain."""
    channel: Spec = {
        "field": _field(name),
        "type": "nominal",
        "scale": {
            "domain": list(domain),
            "range": [tint_of(name, domain) for name in domain],
        },
        "title": None,
    }
    return channel if legend else channel | {"legend": None}


def tint_of(name: str, domain: Sequence[str]) -> str:
    """The colour of a name among others."""
    return COLOURS[domain.index(name) % len(COLOURS)]


def tooltip(names: Sequence[str]) -> list[Spec]:
    """What is shown of a mark under the pointer."""
    return [{"field": _field(name), "title": name} for name in names]


def figure(
    rows: Sequence[Mapping[str, Cell]],
    *layers: Spec,
    height: int = _HEIGHT,
    title: str | None = None,
) -> Spec:
    """Layers over the same rows, as wide as the page lets them be."""
    spec: Spec = {
        "data": {"values": list(rows)},
        "width": "container",
        "height": height,
        "layer": list(layers),
    }
    return spec | ({"title": title} if title else {})


def layer(mark: str | Spec, transform: Sequence[Spec] = (), **encoding: Any) -> Spec:
    """Marks of one kind."""
    spec: Spec = {"mark": mark, "encoding": encoding}
    return spec | ({"transform": list(transform)} if transform else {})


def lines(
    table: Table,
    x: str,
    ys: Sequence[str],
    x_title: str | None = None,
    y_title: str | None = None,
    *,
    log: bool = False,
    title: str | None = None,
) -> Spec:
    """Columns over one column: a line each, with points, and a name each in the legend."""
    rows: list[dict[str, Cell]] = [
        {x: record[x], "series": y, "value": record[y]}
        for record in table.records
        for y in ys
        if record[y] is not None
    ]
    mark = {"type": "line", "point": len(table.rows) <= 60}
    across = axis(x, x_title, axis={"tickCount": 5, "tickMinStep": 1})
    channels: Spec = {
        "x": across,
        "y": axis("value", y_title or ys[0], log=log),
        "color": colour("series", ys, legend=len(ys) > 1),
        "tooltip": tooltip([x, "series", "value"]),
    }
    return figure(rows, layer(mark, **channels), title=title)


def bars(
    rows: Sequence[Mapping[str, Cell]],
    name: str,
    value: str,
    *,
    title: str,
    by: str | None = None,
    domain: Sequence[str] = (),
) -> Spec:
    """Lying bars, in the order of the rows; those ``by`` the same name have one colour."""
    order = list(dict.fromkeys(str(row[name]) for row in rows))
    channels: Spec = {
        "y": {
            "field": _field(name),
            "type": "nominal",
            "sort": order,
            "title": None,
            "axis": {"labelLimit": 230},
        },
        "x": axis(value, None, zero=True) | {"title": None},
        "tooltip": tooltip([name, *([by] if by else []), value]),
    }
    count = len(order)
    if by:
        channels |= {
            "color": colour(by, domain),
            "yOffset": {"field": _field(by), "sort": [*domain]},
        }
        count *= max(1, len(domain))
    spec = figure(rows, layer({"type": "bar"}, **channels), title=title)
    return spec | {"height": max(60, 15 * count if by else 18 * count)}


def dot(size: int) -> Spec:
    """A mark of that area, in pixels."""
    return {"type": "point", "filled": True, "size": size, "opacity": 1}


def spread(rows: Sequence[Mapping[str, Cell]], name: str) -> list[dict[str, Cell]]:
    """The rows with ``low`` and ``high``: the number of that name, less and plus its error."""
    return [
        {
            **row,
            "low": number(row[name]) - number(row["error"]),
            "high": number(row[name]) + number(row["error"]),
        }
        for row in rows
    ]


def front(points: Sequence[tuple[float, float]], x: Spec, y: Spec, larger: bool) -> Spec:
    """The Pareto front as a layer: a line through the points that none is cheaper and better than.

    Args:
        points: costs and qualities.
        x: the channel of costs.
        y: the channel of qualities.
        larger: whether a larger quality is better.
    """
    chosen: list[dict[str, float]] = []
    sign = -1 if larger else 1
    for cost, quality in sorted(points, key=lambda point: (point[0], sign * point[1])):
        if not chosen or sign * quality < sign * chosen[-1]["quality"]:
            chosen.append({"cost": cost, "quality": quality})
    mark = {
        "type": "line",
        "interpolate": "step-after",
        "strokeDash": [5, 3],
        "color": "currentColor",
        "opacity": 0.7,
    }
    line = layer(mark, x=x | {"field": "cost"}, y=y | {"field": "quality"})
    return {"data": {"values": chosen}, **line}


def number(value: Cell) -> float:
    """A number; 0 for what is none."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else 0.0


def _field(name: str) -> str:
    """A name of a column that Vega-Lite takes for a name and not for a path."""
    return "".join(f"\\{c}" if c in ".[]" else c for c in name)
