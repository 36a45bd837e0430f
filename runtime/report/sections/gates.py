"""How the gates of a search were judged, round by round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from bayesnas.runtime.report.blocks import Block, Cell, Chart, Table
from bayesnas.runtime.report.charts import (
    COLOURS,
    MARKED,
    Spec,
    axis,
    bars,
    colour,
    dot,
    figure,
    layer,
    spread,
    tint_of,
    tooltip,
)
from bayesnas.runtime.report.files import Row, RunFiles
from bayesnas.runtime.runs.ownership import ROUNDS

_COLUMNS: Final = "round", "connection", "operation", "mean", "error", "gamma", "chance", "alive"
_MANY: Final = 24  # connections that are drawn one by one
_CROSS: Final = "M-1,-1L1,1M-1,1L1,-1"
_SMALL: Final = 130  # height of a small figure, in pixels


def gate_blocks(run: RunFiles) -> list[Block]:
    """How each group's gate was judged, round by round, a small figure a connection."""
    rows = _rows(run)
    if not rows:
        return []
    table = Table.of("gates", _COLUMNS, [[row.get(n) for n in _COLUMNS] for row in rows])
    by_connection: dict[str, list[dict[str, Cell]]] = {}
    for record in table.records:
        by_connection.setdefault(str(record["connection"]), []).append(record)
    domain = sorted({str(row["operation"]) for row in rows})
    chosen = _chosen(by_connection)
    rounds = [int(row["round"]) for row in rows]
    if max(rounds) > min(rounds):
        legend = tuple((name, tint_of(name, domain)) for name in domain)
        specs = [_over_rounds(n, by_connection[n], domain, rounds) for n in chosen]
        about = (
            "The posterior mean of each operation's gate over the rounds, with a band of one "
            "standard deviation where there is one; a cross is where it was removed. Tied gates "
            "are one line, their mean."
        )
    else:
        specs = [_once(name, by_connection[name]) for name in chosen]
        legend = (("in the found network", MARKED), ("removed", COLOURS[6]))
        about = "The posterior mean of each operation's gate, with one standard deviation."
        if any(row["chance"] is not None for row in rows):
            about = (
                "The chance that the best member has the operation, by the posterior. What is "
                "found is the member of the least expected loss as a whole: where the data hardly "
                "decide, it may have an operation that is not the likeliest of its connection."
            )
    if len(chosen) < len(by_connection):
        about += (
            f" Shown are the {len(chosen)} of {len(by_connection)} connections whose gates differ "
            "most; the table has all."
        )
    title = "The posterior of every gate"
    return [Chart(title, about, tuple(specs), table, wide=False, legend=legend)]


def _rows(run: RunFiles) -> list[Row]:
    """What was found of each group in each round, with its connection and its operation."""
    labels = {row["group"]: row["operation"] for row in run.rows["gates.jsonl"]}
    return [
        {
            **row,
            "connection": row["group"].rpartition(":")[0],
            "operation": labels.get(row["group"], row["group"]),
        }
        for row in run.rows[ROUNDS]
        if row["mean"] is not None or row.get("chance") is not None
    ]


def _chosen(rows: Mapping[str, Sequence[Mapping[str, Cell]]]) -> list[str]:
    """The connections that are drawn: all, or of many those whose last values differ most."""
    if len(rows) <= _MANY:
        return list(rows)

    def distance(name: str) -> float:
        column = "chance" if any(r["chance"] is not None for r in rows[name]) else "mean"
        values = [float(r[column] or 0) for r in rows[name]]
        return max(values) - min(values)

    chosen = {*sorted(rows, key=distance, reverse=True)[:_MANY]}
    return [name for name in rows if name in chosen]


def _over_rounds(
    name: str, rows: Sequence[Mapping[str, Cell]], domain: Sequence[str], rounds: Sequence[int]
) -> Spec:
    records = spread([row for row in rows if row["mean"] is not None], "mean")
    x = axis("round", "round", axis={"tickMinStep": 1, "tickCount": 5})
    x["scale"] = {"domain": [min(rounds), max(rounds)], "nice": False}
    y, of = axis("mean", "gate"), colour("operation", domain, legend=False)
    told = tooltip(("operation", "round", "mean", "error", "gamma", "chance"))
    cross = {"type": "point", "shape": _CROSS, "size": 60, "strokeWidth": 2}
    band = {"type": "area", "opacity": 0.13}
    return figure(
        records,
        layer(band, x=x, y=axis("low", "gate"), y2={"field": "high"}, color=of),
        layer({"type": "line", "strokeWidth": 1.5}, x=x, y=y, color=of),
        layer(dot(16), x=x, y=y, color=of, tooltip=told),
        layer(cross, [{"filter": "!datum.alive"}], x=x, y=y, color=of, tooltip=told),
        height=_SMALL,
        title=name,
    )


def _once(name: str, rows: Sequence[Mapping[str, Cell]]) -> Spec:
    kept = {"test": "datum.alive", "value": MARKED}
    of = {"condition": kept, "value": COLOURS[6]}
    if any(row["chance"] is not None for row in rows):
        return _chances(name, rows, of)
    y = {"field": "operation", "type": "nominal", "title": None}
    told = tooltip(("operation", "mean", "error", "alive"))
    records = spread(rows, "mean")
    return figure(
        records,
        layer("rule", y=y, x=axis("low", "gate"), x2={"field": "high"}, color=of),
        layer(dot(40), y=y, x=axis("mean", "gate"), color=of, tooltip=told),
        height=max(60, 20 * len(records)),
        title=name,
    )


def _chances(name: str, rows: Sequence[Mapping[str, Cell]], of: Spec) -> Spec:
    """A bar an operation."""
    spec = bars(rows, "operation", "chance", title=name)
    channels = spec["layer"][0]["encoding"]
    channels["x"] |= {"scale": {"domain": [0, 1]}, "title": "chance"}
    channels["color"] = of
    channels["tooltip"] = tooltip(("operation", "chance", "mean", "error", "alive"))
    return spec
