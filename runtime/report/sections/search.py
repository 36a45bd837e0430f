"""The sections of a search: what was found, how its gates went, what members are worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bayesnas.compiler.graph.cost import cost_text
from bayesnas.runtime.report.blocks import (
    Block,
    Chart,
    Code,
    Drawings,
    Picture,
    Section,
    Table,
)
from bayesnas.runtime.report.charts import (
    lines,
)
from bayesnas.runtime.report.colours import coloured
from bayesnas.runtime.report.drawings import drawing
from bayesnas.runtime.report.files import Row, RunFiles
from bayesnas.runtime.report.metrics import (
    metric_names,
    metric_scale,
    metric_title,
    metric_told,
    worded,
)
from bayesnas.runtime.report.sections.compression import compression
from bayesnas.runtime.report.sections.gates import gate_blocks
from bayesnas.runtime.report.sections.layers import layer_costs
from bayesnas.runtime.report.sections.members import member_section
from bayesnas.runtime.runs.ownership import FOUND, MEMBERS


def search_sections(run: RunFiles) -> list[Section]:
    """All of them; of a search at work, those that there is something to say in."""
    sections = [_found(run)]
    if history := run.rows["history.jsonl"]:
        sections.append(Section("The course of the search", (), tuple(_course(history))))
    if run.rows["layers.jsonl"]:
        sections += compression(run)
    if gates := gate_blocks(run):
        sections.append(Section("The gates", (), tuple(gates)))
    if members := run.rows[MEMBERS]:
        sections.append(member_section(run, members))
    return sections


def _found(run: RunFiles) -> Section:
    facts: list[tuple[str, str]] = [("strategy", str(run.settings["settings"].get("strategy", "")))]
    blocks: list[Block] = []
    result = run.result
    if not result:
        facts.append(("state", "not finished: what follows is what it has reached"))
        return Section("What was found", tuple(facts), ())
    supernet, found = result["supernet"], result["found"]
    for cost, title in (("parameters", "parameters"), ("flops", "FLOPs")):
        share = f" ({found[cost] / supernet[cost]:.0%} of the supernet's)" if supernet[cost] else ""
        facts.append((title, f"{found[cost]:,}{share}"))
    if isinstance(time := found.get("latency"), int):
        facts.append(("latency, the sum of operations", cost_text("latency", time)))
    facts.append(("operations kept", f"{result['operations_left']} of {result['operations']}"))
    for metric in metric_names(result, "holdout"):
        told = metric_told(metric, result[f"holdout_{metric}"])
        facts.append((f"held-out {worded(metric)}", told))
    shared = result.get("shared")
    shared = shared if isinstance(shared, dict) else {}
    for metric in metric_names(shared, "test"):
        name = f"test {worded(metric)}, weights of the search"
        facts.append((name, metric_told(metric, shared[f"test_{metric}"])))
    facts.append(("examples trained on", f"{result['images_trained']:,}"))
    blocks.append(_drawings(run))
    network = run.network
    blocks.append(layer_costs({"supernet": run.compiled.graph, "found": network.graph}))
    text = run.text(FOUND)
    blocks.append(Code("The found network as a spec", text, coloured(text), folded=True))
    return Section("What was found", tuple(facts), tuple(blocks))


def _drawings(run: RunFiles) -> Drawings:
    pictures = []
    for name, caption in (
        ("search.svg", "The space: what was kept (thick) and what went (pale, with its round)"),
        ("pruned.svg", "The found network"),
    ):
        if markup := drawing(run.text(name)):
            pictures.append(Picture(caption, markup))
    about = (
        "Point at a line for its operation, its numbers, and when and why it went; the table below "
        "has the same."
    )
    if not pictures:
        about = "Pictures need Graphviz's program dot; the table has what they show."
    columns = (
        "connection",
        "operation",
        "w",
        "error",
        "gamma",
        "chance",
        "removed in round",
        "removed by",
    )
    rows = [
        (
            *(row["edge"], row["operation"], _mean(row), row["error"], row["gamma"]),
            *(row.get("chance"), row["removed_in_round"], row["removed_by"]),
        )
        for row in run.rows["gates.jsonl"]
    ]
    return Drawings(
        "The space and the found network",
        about,
        tuple(pictures),
        Table.of("operations", columns, rows),
    )


def _mean(row: Mapping[str, Any]) -> Any:
    return row["w"] if row.get("w_solved") is None else row["w_solved"]


# --------------------------------------------------------------------------------------- the course


def _course(history: Sequence[Row]) -> list[Block]:
    """Losses, scores and what is alive over the images seen."""
    metrics = metric_names(history[-1], "holdout")
    losses = ("training loss", "held-out loss")
    columns = ["images", "round", *losses, *metrics, "operations", "seconds"]
    keys = ("images_trained", "round", "train_loss", "holdout_loss")
    rows = [
        (
            *map(row.get, keys),
            *(metric_scale(m)[0] * row[f"holdout_{m}"] for m in metrics),
            *map(row.get, ("alive", "seconds")),
        )
        for row in history
    ]
    table = Table.of("course", columns, rows)
    drawn = [
        (losses, "loss, nats", "Loss"),
        *(((m,), metric_title(m, "held-out"), f"Held-out {worded(m)}") for m in metrics),
        (("operations",), "operations", "Operations left"),
    ]
    specs = [
        lines(table, "images", names, "examples trained on", axis, title=title)
        for names, axis, title in drawn
    ]
    about = (
        "Over the examples trained on: the mean loss of the steps of each round, and what is left "
        "of the supernet on training examples that are held out."
    )
    return [Chart("Losses and scores", about, tuple(specs), table, wide=False)]
