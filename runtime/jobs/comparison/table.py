"""What a comparison ends with: a row a cell, means over the seeds, and a figure."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from io import StringIO
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, TypeAlias

from attrs import asdict, evolve, field, frozen

from bayesnas.dsl.diagnostics import Diagnostic
from bayesnas.dsl.files import write_text
from bayesnas.runtime.jobs.comparison.cells import Cell, Value, named
from bayesnas.runtime.runs.reading import read_result
from bayesnas.runtime.runs.schemas import SEARCHED, TRAINED, tested
from bayesnas.runtime.tasks.interface import Task
from bayesnas.runtime.tasks.registry import task_class


@frozen
class Entry:
    """One search and the training of what it found; ``quality`` is the metric on the test part."""

    strategy: str
    seed: int
    metric: str
    quality: float
    parameters: int
    flops: int
    images_trained: int
    images_evaluated: int
    seconds: float
    outputs: Mapping[str, tuple[str, float]] = field(factory=dict)  # of several: metric, score
    swept: Mapping[str, Value] = field(factory=dict)  # of its settings, those that were swept

    @classmethod
    def of(cls, cell: Cell) -> Entry:
        """What a finished cell's folder holds.

        Raises:
            DiagnosticError: D416 (a result is not as it was written).
        """
        out = cell.folder
        found, trained = read_result(out / "search", SEARCHED), read_result(out / "train", TRAINED)
        metric = trained["metric"]
        trained |= read_result(out / "train", tested(metric))
        outputs = {
            port: (str(one["metric"]), float(trained[f"test_{port}_{one['metric']}"]))
            for port, one in trained.get("outputs", {}).items()
        }
        return cls(
            cell.strategy,
            cell.options.seed,
            metric,
            task_class(metric).filed(trained[f"test_{metric}"]),
            trained["parameters"],
            trained["flops"],
            found["images_trained"],
            found["images_evaluated"],
            found["seconds"],
            outputs,
            cell.swept,
        )

    def row(self) -> dict[str, Value]:
        """A row of compare.csv."""
        row = asdict(self)
        metric, outputs, swept = row.pop("metric"), row.pop("outputs"), row.pop("swept")
        row["quality"] = task_class(metric).filed(self.quality)
        row = {f"test_{metric}" if key == "quality" else key: value for key, value in row.items()}
        more = {f"test_{port}_{name}": value for port, (name, value) in outputs.items()}
        return {"strategy": row.pop("strategy"), **swept, **row, **more}


@frozen
class Failure:
    """A cell that did not end, and why."""

    cell: Cell
    diagnostics: tuple[Diagnostic, ...]

    @property
    def reason(self) -> str:
        """Why, in a line."""
        return "; ".join(f"{one.code}: {one.message}" for one in self.diagnostics)

    def row(self) -> dict[str, Value]:
        """A row of compare.csv."""
        cell = self.cell
        start = {"strategy": cell.strategy, **cell.swept, "seed": cell.options.seed}
        return {**start, "error": self.reason}

    def told(self) -> tuple[Diagnostic, ...]:
        """What is wrong, saying where."""
        note = f"of {self.cell.name}"
        return tuple(evolve(one, notes=(*one.notes, note)) for one in self.diagnostics)


Outcome: TypeAlias = Entry | Failure


@frozen
class Summary:
    """All seeds of one strategy, with the same settings."""

    strategy: str
    entries: tuple[Entry, ...]

    @property
    def swept(self) -> Mapping[str, Value]:
        """Of the settings, those that were swept."""
        return self.entries[0].swept

    @property
    def name(self) -> str:
        """What a figure calls it."""
        return named(self.strategy, self.swept)

    @property
    def task(self) -> type[Task]:
        """What was learned."""
        return task_class(self.entries[0].metric)

    def mean(self, name: str) -> float:
        """Over the seeds."""
        return fmean(getattr(entry, name) for entry in self.entries)

    def deviation(self, name: str) -> float:
        """Over the seeds, of a sample; 0 for one seed."""
        values = [getattr(entry, name) for entry in self.entries]
        return stdev(values) if len(values) > 1 else 0.0

    def texts(self, swept: Iterable[str] = ()) -> tuple[str, ...]:
        """A row of the table, with columns of the settings that were ``swept``."""
        task = self.task
        quality = task.quality_text(self.mean("quality"))
        if len(self.entries) > 1:
            quality += f" ± {abs(task.scale) * self.deviation('quality'):.{task.digits}f}"
        names = ("parameters", "flops", "images_trained", "seconds")
        return (
            self.strategy,
            *(str(self.swept.get(name, "")) for name in swept),
            quality,
            *map(self._output_text, self.entries[0].outputs),
            *(f"{self.mean(name):,.0f}" for name in names),
        )

    def _output_text(self, port: str) -> str:
        """The mean metric of an output."""
        task = task_class(self.entries[0].outputs[port][0])
        return task.quality_text(task.filed(fmean(e.outputs[port][1] for e in self.entries)))


def summaries(entries: Iterable[Entry]) -> list[Summary]:
    """By strategy and swept settings, the best mean quality first."""
    by_name: dict[tuple[Any, ...], list[Entry]] = {}
    for entry in entries:
        by_name.setdefault((entry.strategy, *entry.swept.items()), []).append(entry)
    found = [Summary(name, tuple(rows)) for (name, *_), rows in by_name.items()]
    return sorted(found, key=lambda summary: -summary.mean("quality"))


def write_comparison(outcomes: Sequence[Outcome], out: Path) -> Path:
    """Write ``compare.csv``, a row a cell, and ``compare.svg``, of those that ended.

    Returns:
        The figure's path; there is none where no cell has ended.
    """
    rows = [outcome.row() for outcome in outcomes]
    names = dict.fromkeys(name for row in sorted(rows, key=len, reverse=True) for name in row)
    buffer = StringIO()
    writer = csv.DictWriter(buffer, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(out / "compare.csv", buffer.getvalue())
    path = out / "compare.svg"
    if entries := [one for one in outcomes if isinstance(one, Entry)]:
        write_text(path, comparison_figure(entries))
    return path


def comparison_figure(entries: Sequence[Entry]) -> str:
    """The metric over parameters as SVG: a dot a run, a cross a strategy's mean."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.add_subplot()
    for number, summary in enumerate(summaries(entries)):
        color = f"C{number % 10}"
        scale = summary.task.scale
        quality = [scale * e.quality for e in summary.entries]
        axes.scatter([e.parameters for e in summary.entries], quality, s=16, color=color)
        axes.errorbar(
            summary.mean("parameters"),
            scale * summary.mean("quality"),
            xerr=summary.deviation("parameters"),
            yerr=abs(scale) * summary.deviation("quality"),
            fmt="x",
            color=color,
            capsize=3,
            label=summary.name,
        )
    axes.set_xlabel("parameters of the found network")
    metric = entries[0].metric
    axes.set_ylabel(", ".join(filter(None, (f"test {metric}", task_class(metric).unit))))
    axes.grid(alpha=0.3)
    axes.legend(title="mean ± deviation of seeds", fontsize="small")
    buffer = StringIO()
    with rc_context({"svg.hashsalt": "bayesnas"}):  # the same runs, the same file
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
