"""Strategies side by side: each searches with every seed, and what it found is trained anew."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from io import StringIO
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from attrs import asdict, define, evolve, field, frozen

from bayesnas.compiler.graph.model import Graph
from bayesnas.compiler.graph.walks import looked_up
from bayesnas.compiler.operations.primitives import Shape
from bayesnas.compiler.pipeline import Compiled, compile_spec
from bayesnas.compiler.settings import SearchSettings, TrainSettings
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError
from bayesnas.dsl.files import check_empty, check_free, write_text
from bayesnas.runtime.data.dataset import Data
from bayesnas.runtime.data.loading import load_data
from bayesnas.runtime.data.registry import Ports
from bayesnas.runtime.jobs.failures import lower_rate, remedied
from bayesnas.runtime.jobs.search import search
from bayesnas.runtime.jobs.space import Space
from bayesnas.runtime.jobs.train import tested_on, train
from bayesnas.runtime.runs.folder import Run, RunOptions, run_record
from bayesnas.runtime.runs.ownership import (
    FOUND,
    REPORT,
    RESULT,
    has_checkpoint,
    settings_of,
    tidy,
)
from bayesnas.runtime.runs.places import located
from bayesnas.runtime.runs.progress import say_note
from bayesnas.runtime.runs.reading import read_result
from bayesnas.runtime.runs.schemas import SEARCHED, TRAINED, tested
from bayesnas.runtime.runs.seals import check_file
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

    def row(self) -> dict[str, str | int | float]:
        """A row of compare.csv."""
        row = asdict(self)
        metric, outputs = row.pop("metric"), row.pop("outputs")
        row["quality"] = task_class(metric).filed(self.quality)
        row = {f"test_{metric}" if key == "quality" else key: value for key, value in row.items()}
        return row | {f"test_{port}_{name}": value for port, (name, value) in outputs.items()}


@frozen
class Summary:
    """All seeds of one strategy."""

    strategy: str
    entries: tuple[Entry, ...]

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

    def texts(self) -> tuple[str, ...]:
        """A row of the table."""
        task = self.task
        quality = task.quality_text(self.mean("quality"))
        deviation = f"{abs(task.scale) * self.deviation('quality'):.2f}"
        names = ("parameters", "flops", "images_trained", "seconds")
        return (
            self.strategy,
            f"{quality} ± {deviation}",
            *map(self._output_text, self.entries[0].outputs),
            *(f"{self.mean(name):,.0f}" for name in names),
        )

    def _output_text(self, port: str) -> str:
        """The mean metric of an output."""
        task = task_class(self.entries[0].outputs[port][0])
        return task.quality_text(task.filed(fmean(e.outputs[port][1] for e in self.entries)))


def compare(
    space: Space, runs: Sequence[tuple[SearchSettings, RunOptions]], schedule: TrainSettings
) -> list[Entry]:
    """Search and retrain for each of ``runs``, in folders below its ``out``.

    What a folder holds finished is read; what it holds half done is gone on with.

    Raises:
        DiagnosticError: D414 if what is there was begun otherwise; whatever the runs raise.
    """
    space.check()
    _begin(space, runs, schedule)
    comparison = _Comparison(space, schedule)
    entries = []
    for number, (settings, options) in enumerate(runs, start=1):
        say_note(f"{number} of {len(runs)}: {settings.strategy}, seed {options.seed}")
        out = _folder(settings, options)
        try:
            comparison.complete(settings, evolve(options, out=out))
        except KeyboardInterrupt:
            remedy = "without `--force`, the same command goes on with what is done"
            raise KeyboardInterrupt(remedy) from None
        entries.append(_entry(out, settings.strategy, options.seed))
    return entries


def _folder(settings: SearchSettings, options: RunOptions) -> Path:
    """Of one search and of the training of what it found."""
    return options.out / f"{settings.strategy}-{options.seed}"


@frozen
class _Seen:
    """Data as a network sees it: what ``augment`` means for it, and hashes."""

    augment: str
    data_hash: str
    tested: dict[str, str]

    @classmethod
    def of(cls, data: Data, augment: str) -> _Seen:
        """Of loaded data, which need not be kept."""
        return cls(data.augmentation(augment), data.train.fingerprint(), tested_on(data))


@define
class _Comparison:
    """What all runs have in common."""

    space: Space
    schedule: TrainSettings
    known: dict[tuple[tuple[Shape, ...], tuple[str, ...], str], _Seen] = field(factory=dict)

    def complete(self, settings: SearchSettings, options: RunOptions) -> None:
        """What is missing of one search and one training.

        Raises:
            DiagnosticError: D414 if what is there was begun otherwise, D416 if it has changed;
                whatever the runs raise.
        """
        at = evolve(options, out=options.out / "search")
        if _finished(at):
            self._check_search(settings, at)
        else:
            search(self.space, settings, _continued(at))
        if (expected := read_result(at.out, SEARCHED).get("found_hash")) is not None:
            check_file(at.out / FOUND, expected, RESULT)
        found = compile_spec(at.out / FOUND)
        at = evolve(options, out=options.out / "train")
        if _finished(at):
            self._check_training(found, at)
        else:
            self._train(found, _continued(at))

    def _train(self, found: Compiled, options: RunOptions) -> None:
        try:
            train(found, self.schedule, options)
        except DiagnosticError as error:  # `--option` is of the search
            place = "`learning_rate = {}` in the `train` block of the spec"
            raise remedied(error, lower_rate(self.schedule.learning_rate, place)) from None

    def _check_search(self, settings: SearchSettings, options: RunOptions) -> None:
        """Refuse a finished search that is none of this comparison."""
        seen = self._seen(self.space.searched.graph, settings.augment, options)
        settings = evolve(settings, augment=seen.augment)
        wanted, extra = self.space.wanted, self.space.record()
        record = run_record("search", wanted, settings, options, seen.data_hash, extra)
        Run(options.out).check_same(record)

    def _check_training(self, found: Compiled, options: RunOptions) -> None:
        """The same of a finished training."""
        seen = self._seen(found.graph, self.schedule.augment, options)
        settings = evolve(self.schedule, augment=seen.augment)
        record = run_record("train", found, settings, options, seen.data_hash, seen.tested)
        Run(options.out).check_same(record)

    def _seen(self, graph: Graph, augment: str, options: RunOptions) -> _Seen:
        """The data as a network sees it: its shape, and whether it looks numbers up, decide."""
        ports = Ports.of(graph)
        key = (*ports.inputs.values(),), tuple(looked_up(graph)), augment
        if key not in self.known:
            data = load_data(options.data, graph, options.data_options)
            self.known[key] = _Seen.of(data, augment)
        return self.known[key]


def _finished(options: RunOptions) -> bool:
    """Whether a run is not to be made again; it may have been killed at its very end."""
    if options.force or not (options.out / RESULT).is_file():
        return False
    tidy(options.out)
    return True


def _continued(options: RunOptions) -> RunOptions:
    """Options to go on with a run, or to begin it."""
    begun = not options.force and has_checkpoint(options.out)
    return evolve(options, resume=begun, force=not begun)


def _begin(
    space: Space, runs: Sequence[tuple[SearchSettings, RunOptions]], schedule: TrainSettings
) -> None:
    """Note in ``compare.json`` what the runs are of: space, data and settings.

    Raises:
        DiagnosticError: D413 (files of others are there), D414 (runs of something else).
    """
    settings, options = runs[0]
    check_empty(options.out, force=True)  # it may be no file
    if settings_of(options.out) is not None:
        message, remedy = f"`{options.out}` is the folder of a run", "choose another folder"
        raise DiagnosticError(Diagnostic("D413", message, help=remedy))
    record = {
        "spec": space.wanted.loaded.source.text,
        "network": space.wanted.network.name,
        "values": dict(space.wanted.values),
        **space.record(),
        "data": located(options.data_name),
        **options.data_options.record(),
        "search": asdict(settings) | {"strategy": None},
        "train": asdict(schedule),
    }
    path = options.out / "compare.json"
    begun = _begun(path)
    if begun is None or begun.keys() != record.keys():
        for name in ("compare.json", "compare.csv", "compare.svg", REPORT):
            check_free(options.out / name, options.force, "choose another folder with `-o`")
        for run in runs:
            check_empty(_folder(*run), options.force)
    elif begun != record and not options.force:
        raise DiagnosticError(
            Diagnostic(
                "D414",
                f"the comparison in `{options.out}` was begun otherwise",
                notes=("`compare.json` there holds its space, data and settings",),
                help="choose another folder, or pass `--force` to begin anew",
            )
        )
    write_text(path, json.dumps(record, indent=1) + "\n")


def _begun(path: Path) -> dict[str, Any] | None:
    """What a comparison has noted; None where there is none, or something else."""
    try:
        data = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None


def _entry(out: Path, strategy: str, seed: int) -> Entry:
    found, trained = read_result(out / "search", SEARCHED), read_result(out / "train", TRAINED)
    metric = trained["metric"]
    trained |= read_result(out / "train", tested(metric))
    outputs = {
        port: (str(one["metric"]), float(trained[f"test_{port}_{one['metric']}"]))
        for port, one in trained.get("outputs", {}).items()
    }
    return Entry(
        strategy,
        seed,
        metric,
        task_class(metric).filed(trained[f"test_{metric}"]),
        trained["parameters"],
        trained["flops"],
        found["images_trained"],
        found["images_evaluated"],
        found["seconds"],
        outputs,
    )


def summaries(entries: Iterable[Entry]) -> list[Summary]:
    """By strategy, the best mean quality first."""
    by_name: dict[str, list[Entry]] = {}
    for entry in entries:
        by_name.setdefault(entry.strategy, []).append(entry)
    found = [Summary(name, tuple(rows)) for name, rows in by_name.items()]
    return sorted(found, key=lambda summary: -summary.mean("quality"))


def write_comparison(entries: Sequence[Entry], out: Path) -> Path:
    """Write ``compare.csv``, a row a run, and ``compare.svg``; the figure's path."""
    rows = [entry.row() for entry in entries]
    lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
    write_text(out / "compare.csv", "\n".join(lines) + "\n")
    path = out / "compare.svg"
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
            label=summary.strategy,
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
