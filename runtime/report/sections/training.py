"""The sections of a training: its curve, its answers by class, its worst examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from bayesnas.runtime.report.blocks import Block, Cell, Chart, Numbers, Section, Table
from bayesnas.runtime.report.charts import (
    COLOURS,
    Spec,
    axis,
    figure,
    layer,
    lines,
    tooltip,
)
from bayesnas.runtime.report.files import RunFiles
from bayesnas.runtime.report.metrics import metric_names, metric_told, worded
from bayesnas.runtime.report.sections.answers import answers_of
from bayesnas.runtime.report.sections.compression import compression
from bayesnas.runtime.report.sections.layers import layer_costs

_LARGEST: Final = 24  # classes of a matrix that is drawn whole
_WRITTEN: Final = 12  # classes of a matrix whose numbers are written in it
_STEEP: Final = 20  # times that a loss falls, from which its axis is logarithmic


def training_sections(run: RunFiles) -> list[Section]:
    """All of them; of a training at work, its curve alone."""
    result, history = run.result, run.rows["history.jsonl"]
    facts: list[tuple[str, str]] = []
    blocks: list[Block] = []
    if result:
        facts += [
            (f"test {worded(metric)}", metric_told(metric, result[f"test_{metric}"]))
            for metric in metric_names(result, "test")
        ]
        facts += [
            ("test loss", f"{result['test_loss']:.4g} nats"),
            ("test examples", f"{result.get('test_examples', 0):,}"),
            ("parameters", f"{result['parameters']:,}"),
            ("FLOPs", f"{result['flops']:,}"),
        ]
    else:
        facts.append(("state", "not finished: what follows is what it has reached"))
    if history:
        blocks.append(_curve(history))
    blocks.append(layer_costs({"network": run.compiled.graph}))
    trained = history or not result  # not where weights are a compression's result as they are
    title = "The training" if trained else "The network"
    sections = [Section(title, tuple(facts), tuple(blocks))]
    if run.made == "compress":
        sections += compression(run)
    answers: list[Block] = []
    for key, classes in result.items():
        if key.startswith("test_") and key.endswith("_by_class"):
            port = key.removeprefix("test_").removesuffix("by_class").strip("_")
            counted = "pixels" if _at_places(result, port) else "examples"
            answers += _by_class(classes, f"{port}: " if port else "", counted)
    if result:
        answers += [*_measures(result), *answers_of(run)]
    if answers:
        sections.append(Section("Its answers on the test part", (), tuple(answers)))
    return sections


def _measures(result: Mapping[str, Any]) -> list[Block]:
    """Tables of what files have by target or by label: ``test_by_target``."""
    blocks: list[Block] = []
    for key, entries in result.items():
        port, by, what = key.removeprefix("test_").rpartition("by_")
        known = key.startswith("test_") and by and what != "class"
        if not known or not isinstance(entries, dict):
            continue
        rows = {name: row for name, row in entries.items() if isinstance(row, dict)}
        names = list(dict.fromkeys(n for row in rows.values() for n in row))
        cells = [[name, *(_cell(row.get(n)) for n in names)] for name, row in rows.items()]
        table = Table.of(f"by_{what}", (what, *names), cells)
        title = f"{port.strip('_')}: by {what}" if port else f"By {what}"
        units = ", in each target's own units where it has some" if what == "target" else ""
        blocks.append(Numbers(title, f"On the test part{units}.", table))
    return blocks


def _cell(value: Any) -> Cell:
    return value if isinstance(value, int | float | str) else None


def _curve(history: Sequence[Mapping[str, Any]]) -> Chart:
    rows = [(row["epoch"], row["train_loss"], row["seconds"]) for row in history]
    table = Table.of("curve", ("epoch", "training loss", "seconds"), rows)
    losses = [row[1] for row in rows if row[1] is not None]
    log = bool(losses) and min(losses) > 0 and max(losses) > _STEEP * min(losses)
    about = (
        "The mean loss of the training steps of each epoch, in nats: minus the logarithm of the "
        "chance that the network gives to what is true."
    )
    spec = lines(table, "epoch", ("training loss",), "epoch", "training loss, nats", log=log)
    return Chart("Loss", about, (spec,), table)


def _at_places(result: Mapping[str, Any], port: str) -> bool:
    """Whether classes are those of pixels, of an output that may be one of several."""
    about = result.get("outputs", {}).get(port, {}) if port else result
    return "map" in about


def _by_class(classes: Mapping[str, Mapping[str, Any]], port: str, counted: str) -> list[Block]:
    """The confusion matrix, or of many classes the mistakes; and the numbers of each class.

    ``port`` stands before the titles: of which output they are, where there are several.
    ``counted`` is what has a class.
    """
    names = list(classes)
    counts = [
        {"class": name, "answer": answer, counted: n, "share": n / max(1, entry["examples"])}
        for name, entry in classes.items()
        for answer, n in entry["answers"].items()
    ]
    columns = ("class", "answer", counted, "share")
    table = Table.of("confusion", columns, [[row[c] for c in columns] for row in counts])
    small = len(names) <= _LARGEST
    about = (
        "Each row is a true class, each column an answer; the colour is the share of the class's "
        f"{counted}. All of the diagonal is right."
        if small
        else "The mistakes that were made most often."
    )
    spec = _matrix(counts, names, counted) if small else _mistakes(counts, counted)
    title = "Confusion matrix" if small else "Most frequent mistakes"
    numbers = ("examples", "precision", "recall", "f1")
    rows: list[list[Cell]] = [
        [name, *(entry[n] for n in numbers)] for name, entry in classes.items()
    ]
    by_class = Table.of("by_class", ("class", counted, *numbers[1:]), rows)
    told = (
        "Precision: the share of a class's answers that are right. Recall: the share of its "
        "examples that are found."
    )
    return [
        Chart(port + title, about, (spec,), table),
        Chart(f"{port}By class", told, (_shares(by_class, counted),), by_class),
    ]


def _matrix(counts: Sequence[Mapping[str, Cell]], names: Sequence[str], counted: str) -> Spec:
    shown = {
        **{str(row["class"]): 0 for row in counts},
        **{str(row["answer"]): 0 for row in counts},
    }
    order = [name for name in names if name in shown]
    x = {
        "field": "answer",
        "type": "nominal",
        "sort": order,
        "title": "answer",
        "axis": {"orient": "top", "labelAngle": -45 if max(map(len, order), default=0) > 2 else 0},
        "scale": {"domain": order},
    }
    y = {
        "field": "class",
        "type": "nominal",
        "sort": order,
        "title": "class",
        "scale": {"domain": order},
    }
    of = {
        "field": "share",
        "type": "quantitative",
        "scale": {"domain": [0, 1], "range": ["#9ecae133", COLOURS[0]]},
        "legend": None,
    }
    cells = layer(
        "rect", x=x, y=y, color=of, tooltip=tooltip(("class", "answer", counted, "share"))
    )
    layers = [cells]
    if len(order) <= _WRITTEN:
        written = {
            "condition": {"test": "datum.share > 0.65", "value": "white"},
            "value": "currentColor",
        }
        layers.append(layer({"type": "text"}, x=x, y=y, text={"field": counted}, color=written))
    return figure(counts, *layers, height=max(140, 26 * len(order)))


def _mistakes(counts: Sequence[Mapping[str, Cell]], counted: str) -> Spec:
    wrong = [row for row in counts if row["class"] != row["answer"]]
    wrong.sort(key=lambda row: -int(row[counted] or 0))
    rows: list[dict[str, Cell]] = [
        {"mistake": f"{row['class']} taken for {row['answer']}", **row} for row in wrong[:_LARGEST]
    ]
    y = {
        "field": "mistake",
        "type": "nominal",
        "sort": [row["mistake"] for row in rows],
        "title": None,
        "axis": {"labelLimit": 240},
    }
    bar = layer(
        "bar",
        y=y,
        x=axis(counted, counted, zero=True),
        tooltip=tooltip(("mistake", counted, "share")),
    )
    return figure(rows, bar, height=max(60, 18 * len(rows)))


def _shares(table: Table, counted: str) -> Spec:
    """Precision and recall of each class; of very many, of those of the lowest recall."""
    records = [r for r in table.records if r["recall"] is not None]
    records = sorted(records, key=lambda r: float(r["recall"] or 0))[: 2 * _LARGEST]
    kept = {str(r["class"]) for r in records}
    order = [str(r["class"]) for r in table.records if r["class"] in kept]
    rows: list[dict[str, Cell]] = [
        {"class": r["class"], "which": which, "share": r[which], counted: r[counted]}
        for r in records
        for which in ("precision", "recall")
        if r[which] is not None
    ]
    y = {"field": "class", "type": "nominal", "sort": order, "title": None}
    of = {
        "field": "which",
        "type": "nominal",
        "title": None,
        "scale": {"domain": ["precision", "recall"], "range": [COLOURS[0], COLOURS[1]]},
    }
    shape = {"field": "which", "type": "nominal", "title": None}
    dots = layer(
        {"type": "point", "filled": True, "size": 60, "opacity": 0.9},
        y=y,
        x=axis("share", "share", axis={"format": "%", "tickCount": 5}),
        color=of,
        shape=shape,
        tooltip=tooltip(("class", "which", "share", counted)),
    )
    return figure(rows, dots, height=max(80, 20 * len(order)))
