"""The sections of a comparison: strategies in a table, over seeds, against cost, and in words."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Final
from urllib.parse import quote

from bayesnas.runtime.report.blocks import (
    Block,
    Cell,
    Chart,
    Code,
    Links,
    Numbers,
    Section,
    Table,
    Words,
)
from bayesnas.runtime.report.charts import (
    Spec,
    axis,
    colour,
    dot,
    figure,
    front,
    layer,
    tint_of,
    tooltip,
)
from bayesnas.runtime.report.colours import coloured
from bayesnas.runtime.report.files import ComparisonFiles, RunFiles
from bayesnas.runtime.report.metrics import (
    larger_is_better,
    metric_digits,
    metric_scale,
    metric_title,
)
from bayesnas.runtime.report.sections.layers import COSTS
from bayesnas.runtime.report.sections.making import broken, comparison_command, facts_of
from bayesnas.runtime.runs.ownership import REPORT, RESULT

_CONFIDENCE: Final = 0.95
_NUMBERS: Final = ("parameters", "flops", "images_trained", "seconds")


def comparison_sections(files: ComparisonFiles, place: Path | None = None) -> list[Section]:
    """All of them, with links from the folder ``place``, in which the page will lie."""
    scale, _ = metric_scale(files.metric)
    quality = f"test_{files.metric}"
    alone = len({entry["strategy"] for entry in files.entries}) == 1
    rows: list[dict[str, Any]] = [
        {
            **entry,
            "quality": scale * entry[quality],
            "searched by": entry["strategy"],
            "strategy": _name(entry, files.swept, alone),
        }
        for entry in files.entries
    ]
    by_strategy: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_strategy.setdefault(row["strategy"], []).append(row)
    sign = -1 if larger_is_better(files.metric) else 1
    order = sorted(by_strategy, key=lambda name: sign * _mean(by_strategy[name], "quality"))
    title = metric_title(files.metric, "test")
    numbers = ("quality", *_NUMBERS[:3], "images_evaluated", "seconds")
    names = ("searched by", *files.swept, "seed", *numbers)
    columns = ("strategy", *names[1:])
    table = Table.of("runs", columns, [[row.get(name, "") for name in names] for row in rows])
    about = "A dot for each seed over its strategy's box: the middle half, and the median."
    costs = tuple(_against_cost(rows, order, cost, name, files.metric) for cost, name in COSTS)
    cost_about = (
        "A dot a run. The line joins the runs that no other is cheaper and better than: the Pareto "
        "front."
    )
    legend = tuple((name, tint_of(name, order)) for name in order)
    blocks: tuple[Block, ...] = (
        _summary(by_strategy, order, title, files),
        *_failures(files),
        Words(tuple(significance(by_strategy, order, files.metric))),
        Chart("Over the seeds", about, (_boxes(rows, order, title),), table),
        Chart("Cost against quality", cost_about, costs, table, wide=False, legend=legend),
        *([] if place is None else _pages(files, rows, place)),
    )
    return [Section("Strategies", (), blocks), _making(files)]


def _making(files: ComparisonFiles) -> Section:
    """How it was made; versions and machine are those of its first search that is there."""
    spec = str(files.record["spec"])
    settings = [
        (f"{kind}: {name}", "swept" if value is None else value)
        for kind in ("search", "train")
        for name, value in files.record[kind].items()
        if isinstance(value, str | int | float | None) and (kind, name) != ("search", "strategy")
    ]
    facts: list[tuple[str, str]] = [("data", str(files.record["data"]))]
    blocks: list[Block] = []
    searches = [cell / "search" for cell in files.cells if cell.parent == files.folder]
    if first := next((path for path in searches if (path / RESULT).is_file()), None):
        run = RunFiles.open(first)
        facts = facts_of(run)
        command = broken(comparison_command(files, run))
        blocks.append(Code("The command again, into the folder NEW", command))
    blocks += [
        Numbers(
            "Settings",
            "Those of all its runs.",
            Table.of("settings", ("setting", "value"), settings),
        ),
        Code("The spec", spec, coloured(spec), folded=True),
    ]
    return Section("How it was made", tuple(facts), tuple(blocks))


def significance(
    entries: Mapping[str, Sequence[Mapping[str, Any]]], order: Sequence[str], metric: str
) -> list[str]:
    """What the seeds say of the best strategy against each other one, in a sentence each.

    Runs of the same seed are pairs; the interval is that of Student's t for their mean difference.
    """
    best, *others = order
    _, unit = metric_scale(metric)
    points, digits = " points" if unit == "%" else unit, metric_digits(metric)
    sentences = []
    for other in others:
        first, second = ({e["seed"]: e["quality"] for e in entries[name]} for name in (best, other))
        differences = [first[seed] - second[seed] for seed in first.keys() & second.keys()]
        named = f"{best} against {other}"
        if len(differences) < 2:
            sentences.append(f"{named}: one seed, from which nothing can be said.")
            continue
        mean, half = fmean(differences), _half_width(differences)
        low, high = mean - half, mean + half
        decided = low > 0 if larger_is_better(metric) else high < 0
        more, less = "more than the seeds make by chance", "no more than chance may make"
        sentences.append(
            f"{named}: {mean:+.{digits}f}{points} on average over {len(differences)} seeds, "
            f"{_CONFIDENCE:.0%} interval {low:+.{digits}f} to {high:+.{digits}f}: "
            f"{more if decided else less}."
        )
    if len(others) > 1:
        sentences.append(
            "The best was chosen for being the best, and each comparison may err in one of twenty: "
            "of several, some may."
        )
    return sentences


def _half_width(values: Sequence[float]) -> float:
    """Of the interval of the mean, by Student's t."""
    from scipy.stats import t

    quantile = float(t.ppf(0.5 + _CONFIDENCE / 2, len(values) - 1))
    return quantile * stdev(values) / math.sqrt(len(values))


def _name(entry: Mapping[str, Any], swept: Sequence[str], alone: bool) -> str:
    """A strategy with the settings that were swept, those that it uses; ``alone``, these only."""
    used = [f"{name} = {entry[name]}" for name in swept if entry.get(name, "") != ""]
    return ", ".join(used if used and alone else [entry["strategy"], *used])


def _pages(files: ComparisonFiles, rows: Sequence[Mapping[str, Any]], place: Path) -> list[Links]:
    """Links to the page of each search and its training, of those that are there."""
    links = []
    for cell, row in zip(files.cells, rows, strict=True):
        if cell.parent == files.folder and (page := cell / REPORT).is_file():
            address = Path(os.path.relpath(page, place)).as_posix()
            links.append((f"{row['strategy']}, seed {row['seed']}", quote(address)))
    about = "The search and the training of each, on pages in the folder of the comparison."
    return [Links("Run by run", about, tuple(links))] if links else []


def _failures(files: ComparisonFiles) -> list[Numbers]:
    """The cells that did not end, in a table, if there are any."""
    if not files.failures:
        return []
    names = ("strategy", *files.swept, "seed", "error")
    rows = [[row.get(name, "") for name in names] for row in files.failures]
    about = "The same command, without `--force`, goes on with these."
    return [Numbers("Failed", about, Table.of("failures", names, rows))]


def _summary(
    entries: Mapping[str, Sequence[Mapping[str, Any]]],
    order: Sequence[str],
    title: str,
    files: ComparisonFiles,
) -> Numbers:
    rows: list[tuple[Cell, ...]] = []
    swept, digits = files.swept, metric_digits(files.metric)
    for strategy in order:
        runs = entries[strategy]
        spread = stdev(run["quality"] for run in runs) if len(runs) > 1 else 0.0
        start = [runs[0][name] for name in ("searched by", *swept)]
        quality = f"{_mean(runs, 'quality'):.{digits}f} ± {spread:.{digits}f}"
        rows.append((*start, len(runs), quality, *(round(_mean(runs, n)) for n in _NUMBERS)))
    columns = ("strategy", *swept, "seeds", title, "parameters", "FLOPs", "examples trained on")
    columns += ("seconds of search",)
    about = "Means over the seeds, the quality with its standard deviation; the best first."
    return Numbers("In a table", about, Table.of("strategies", columns, rows))


def _mean(entries: Sequence[Mapping[str, Any]], name: str) -> float:
    return fmean(entry[name] for entry in entries)


def _boxes(rows: Sequence[Mapping[str, Cell]], order: Sequence[str], title: str) -> Spec:
    y = {
        "field": "strategy",
        "type": "nominal",
        "sort": list(order),
        "title": None,
        "axis": {"labelLimit": 230},
    }
    x = axis("quality", title)
    of = colour("strategy", order, legend=False)
    box = layer(
        {
            "type": "boxplot",
            "extent": "min-max",
            "size": 16,
            "box": {"opacity": 0.4},
            "rule": {"color": "currentColor", "opacity": 0.6},
            "ticks": {"color": "currentColor", "opacity": 0.6, "size": 12},
        },
        y=y,
        x=x,
        color=of,
    )
    told = tooltip(("strategy", "seed", "quality", "parameters", "flops"))
    dots = layer(
        dot(40),
        y=y,
        x=x,
        color=of,
        tooltip=told,
    )
    return figure(rows, box, dots, height=max(80, 44 * len(order)))


def _against_cost(
    rows: Sequence[Mapping[str, Any]], order: Sequence[str], cost: str, name: str, metric: str
) -> Spec:
    x, y, of = (
        axis(cost, name),
        axis("quality", metric_title(metric, "test")),
        colour("strategy", order, legend=False),
    )
    told = tooltip(("strategy", "seed", "quality", "parameters", "flops"))
    points = [(row[cost], row["quality"]) for row in rows]
    dots = layer(dot(55), x=x, y=y, color=of, tooltip=told)
    return figure(rows, front(points, x, y, larger=larger_is_better(metric)), dots)
