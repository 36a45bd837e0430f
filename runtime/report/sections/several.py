"""Several runs side by side, before each has its own part of the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bayesnas.runtime.report.blocks import Block, Cell, Chart, Numbers, Section, Table
from bayesnas.runtime.report.charts import axis, colour, figure, layer, tooltip
from bayesnas.runtime.report.files import ComparisonFiles, RunFiles
from bayesnas.runtime.report.metrics import metric_names, metric_told, worded


def several_sections(runs: Sequence[RunFiles | ComparisonFiles]) -> list[Section]:
    """A table of them all, and the losses of the runs in one figure."""
    columns = ("run", "folder", "parameters", "FLOPs", "score", "seed")
    rows: list[tuple[Cell, ...]] = []
    names = _distinct(runs)
    for name, run in zip(names, runs, strict=True):
        if isinstance(run, ComparisonFiles):
            rows.append((name, str(run.folder), None, None, f"{len(run.entries)} runs", None))
            continue
        cost: dict[str, Any] = dict(run.result.get("found", run.result))
        rows.append(
            (
                *(name, str(run.folder), cost.get("parameters"), cost.get("flops")),
                *(_score(run), run.settings.get("seed")),
            )
        )
    blocks: list[Block] = [
        Numbers("In a table", "What each of them ended with.", Table.of("all_runs", columns, rows))
    ]
    single = [(n, r) for n, r in zip(names, runs, strict=True) if isinstance(r, RunFiles)]
    if chart := _losses(single):
        blocks.append(chart)
    return [Section("Side by side", (), tuple(blocks))]


def _distinct(runs: Sequence[RunFiles | ComparisonFiles]) -> list[str]:
    """Their names; with their place where two have the same."""
    names = [run.name for run in runs]
    return [
        name if names.count(name) == 1 else f"{name} ({number})"
        for number, name in enumerate(names, start=1)
    ]


def _score(run: RunFiles) -> str:
    for part in ("test", "holdout"):
        for metric in metric_names(run.result, part):
            told = metric_told(metric, run.result[f"{part}_{metric}"])
            return f"{'held-out' if part == 'holdout' else part} {worded(metric)} {told}"
    return "" if run.result else "not finished"


def _losses(runs: Sequence[tuple[str, RunFiles]]) -> Chart | None:
    """Training losses over the seconds of each run."""
    rows: list[tuple[Cell, ...]] = [
        (name, row.get("seconds"), row["train_loss"])
        for name, run in runs
        for row in run.rows["history.jsonl"]
        if row["train_loss"] is not None
    ]
    if not rows:
        return None
    table = Table.of("losses", ("run", "seconds", "training loss"), rows)
    line = layer(
        {"type": "line", "point": True},
        x=axis("seconds", "seconds of work"),
        y=axis("training loss", "training loss, nats"),
        color=colour("run", [name for name, _ in runs]),
        tooltip=tooltip(table.columns),
    )
    about = "The training loss of each run over the time that it took."
    return Chart("Losses", about, (figure(table.records, line),), table)
