"""The section of a compression: what went, and what that cost and saved; widths of a search."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bayesnas.runtime.report.blocks import Block, Cell, Chart, Numbers, Section, Table
from bayesnas.runtime.report.charts import bars
from bayesnas.runtime.report.files import MASKED, RunFiles
from bayesnas.runtime.report.metrics import metric_names, metric_told, worded

_MOST: Final = 40  # layers that are drawn


def compression(run: RunFiles) -> list[Section]:
    """Widths before and after, costs, and the score at each step."""
    layers = run.rows["layers.jsonl"]
    masked = bool(layers) and all(name in row for row in layers for name in MASKED)
    counts = ("inputs", "inputs_kept", "channels", "channels_kept", *(MASKED if masked else ()))
    columns = ("layer", "operation", *counts)
    table = Table.of("widths", columns, [[row[c] for c in columns] for row in layers])
    records: list[dict[str, Cell]] = [
        {"layer": row["layer"], "width": width, "channels": number}
        for row in layers[:_MOST]
        for width, number in _bars(row, masked).items()
    ]
    domain = (*_bars(layers[0], masked),) if layers else ()
    spec = bars(records, "layer", "channels", title="Channels", by="width", domain=domain)
    some = "" if len(layers) <= _MOST else f" The first {_MOST} of {len(layers)} are drawn."
    when = "in the space and in what was found"
    if run.made == "compress":
        when = "before and after the compression"
    rest = " Unmasked is the share of a layer's weights that are not zero, in channels."
    about = f"The channels that each layer puts out, {when}.{rest if masked else ''}{some}"
    blocks: tuple[Block, ...] = (*_steps(run), Chart("Widths", about, (spec,), table))
    return [Section("The widths" if run.made == "search" else "The compression", (), blocks)]


def _bars(row: Mapping[str, Any], masked: bool) -> dict[str, float]:
    """The channels of a layer before and after, and those of weights that are not zero."""
    widths: dict[str, float] = {"before": row["channels"], "after": row["channels_kept"]}
    if masked:
        widths["unmasked"] = row["channels_kept"] * row["nonzero"] / max(1, row["weights"])
    return widths


def _steps(run: RunFiles) -> list[Numbers]:
    """Cost and score before, after the removal, and after training on."""
    told = run.result.get("compression")
    if not told:
        return []
    steps = [("before", told["before"])]
    for number, step in enumerate(told.get("steps", ()), start=1):
        trained = {
            k.removeprefix("trained_"): v for k, v in step.items() if k.startswith("trained_")
        }
        steps += [(f"{number}: after the removal", step), (f"{number}: trained on", step | trained)]
    steps.append(("after the removal", told["removed"]))
    if run.rows["history.jsonl"]:  # not where weights are the result as they are
        steps.append(("trained on", run.result))
    metrics = metric_names(run.result, "test")
    rows = [
        (
            *(name, step["parameters"], step["flops"]),
            *(metric_told(m, step[f"test_{m}"]) if f"test_{m}" in step else "" for m in metrics),
        )
        for name, step in steps
    ]
    columns = ("step", "parameters", "FLOPs", *(f"test {worded(m)}" for m in metrics))
    about = "What the network cost and was worth on the test part, step by step."
    return [Numbers("Step by step", about, Table.of("steps", columns, rows))]
