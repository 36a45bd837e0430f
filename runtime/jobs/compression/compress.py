"""A trained network made smaller: channels are removed, and what is left is trained on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from attrs import asdict, evolve, frozen
from torch import nn

from bayesnas.compiler.artifacts.figure import write_figure
from bayesnas.compiler.graph.cost import Cost, graph_cost
from bayesnas.compiler.settings import TrainSettings, layered, make_settings, shortened
from bayesnas.compiler.slices.figure import WIDTHS, draw_widths
from bayesnas.compiler.slices.layers import Layer
from bayesnas.compiler.space.latencies import Whole
from bayesnas.compiler.space.latency_file import latencies_json, read_latencies
from bayesnas.runtime.data.dataset import Data
from bayesnas.runtime.data.loading import load_data
from bayesnas.runtime.data.splits import HOLDOUT
from bayesnas.runtime.jobs.compression.bounds import Judge, step_budgets
from bayesnas.runtime.jobs.compression.cut import Cut, Sparsity
from bayesnas.runtime.jobs.compression.first import Untrained, first_run, of_part
from bayesnas.runtime.jobs.compression.pacing import Clock
from bayesnas.runtime.jobs.compression.removal import Removal
from bayesnas.runtime.jobs.compression.wanted import Compression
from bayesnas.runtime.jobs.failures import plugins_named
from bayesnas.runtime.jobs.start import Start
from bayesnas.runtime.jobs.train import TrainResult, train, training_split
from bayesnas.runtime.jobs.trained import TrainedRun, own_weights
from bayesnas.runtime.network.device import pick_device
from bayesnas.runtime.runs.ownership import (
    COMPRESSED,
    LATENCIES,
    STEPS,
    check_out,
    set_aside,
    settings_of,
)
from bayesnas.runtime.runs.progress import say_note
from bayesnas.runtime.runs.record import RunOptions
from bayesnas.runtime.tasks.scores import Score
from bayesnas.runtime.weights.choice import Limits
from bayesnas.runtime.weights.priors.interface import Prior
from bayesnas.runtime.weights.priors.registry import DRAWN
from bayesnas.runtime.weights.priors.several import Held


@frozen
class CompressResult:
    """A compression: costs, layers, and scores on the test part.

    ``removed`` is the score before what is left was trained on, ``trained`` what that ended with;
    ``figure`` is the picture of the widths, or the text it is drawn from; ``wholes`` are the
    networks before and after, measured whole, where a budget was of latency.
    """

    before: Cost
    after: Cost
    layers: tuple[Layer, ...]
    removed: Score
    trained: TrainResult
    figure: Path
    sparsity: Sparsity | None = None
    wholes: tuple[Whole, ...] = ()


@plugins_named()
def compress(
    network: Path | Untrained, wanted: Compression, values: Mapping[str, Any], options: RunOptions
) -> CompressResult:
    """Make a network smaller, and train it on in a run of its own.

    The new run is a training like others: evaluated, exported, resumed, compressed again. What
    comes before it, the training of a network that has none, removals but the last and trainings
    in which channels are judged, are runs in the folder ``steps`` of its own.

    Args:
        network: the folder of a finished training, or what is trained first.
        wanted: how small, and by what.
        values: settings of the training on, over those of the run; all of it together takes its
            epochs, one for each part at least.
        options: of the new run; without data, those of the finished training are taken.

    Raises:
        DiagnosticError: D413, D414 (the new run's folder), D415, D416 (no trained run), D506 (data
            or its options), D607 (a supernet), D608 (no such layer), D609 (the budget cannot be
            met), and what `Compression.checked` and `train` raise.
    """
    wanted = wanted.checked(values)
    given = [network] if isinstance(network, Path) else options.inputs(network.compiled)
    check_out(options.out, options.resume, options.force, given)
    try:
        return _begun(network, wanted, values, options)
    except KeyboardInterrupt as error:
        steps = options.out / STEPS
        if not steps.is_dir() or all(settings_of(step) is None for step in steps.iterdir()):
            raise
        said = f"`--resume` goes on with the run in `{options.out}`"
        raise KeyboardInterrupt(said) from error


def _begun(
    network: Path | Untrained, wanted: Compression, values: Mapping[str, Any], options: RunOptions
) -> CompressResult:
    """The same once it is known that it may be written."""
    folder, clock = (
        (network, None) if isinstance(network, Path) else _first(network, wanted, options)
    )
    run = TrainedRun.open(folder)
    data, options = _with_data(run, options)
    settings = make_settings(TrainSettings, layered(run.training, values))
    if "rate_steps" not in values:  # those of the run are of its own epochs
        whole = make_settings(TrainSettings, run.training).epochs
        settings = shortened(evolve(settings, epochs=whole), settings.epochs)
    if settings.class_weights == "balanced":  # channels are judged by what is learned
        data = evolve(data, task=data.task.balanced(data.train.targets))
    return _Work(run, wanted, settings, options, data.to(pick_device(options.device)), clock).go()


def _first(
    network: Untrained, wanted: Compression, options: RunOptions
) -> tuple[Path, Clock | None]:
    """The training that comes first, and what was measured to see what is possible.

    Raises:
        DiagnosticError: D608, D609, before anything is trained; what `train` raises.
    """
    whole, clock, limits = graph_cost(network.compiled.graph), None, wanted.limits
    if wanted.timed and not (options.resume and settings_of(first_run(options.out))):
        clock = Clock.of(network.compiled, limits.layers, pick_device(options.device))
        whole = evolve(whole, latency=clock.takes({}))
    if clock is not None or not wanted.timed:
        [due] = step_budgets(whole, wanted.budgets, 1)
        judge = Judge(wanted.importance, limits, due, options.seed, wanted.families)
        network.check(judge, clock)
    if options.force:
        set_aside(options.out)
    texts = {} if clock is None else {LATENCIES: latencies_json(clock.table)}
    return network.train(options, texts), clock


def _with_data(run: TrainedRun, options: RunOptions) -> tuple[Data, RunOptions]:
    """The data, and the options that name it: the run's own, read as it was, where none is named.

    Raises:
        DiagnosticError: D423 (an option does nothing), D506 (other classes), and what `load_data`
            raises.
    """
    if options.data:
        data = load_data(options.data, run.compiled.graph, options.data_options)
        data.task.check_record(run.record, data.name)
        return data, options
    data = run.own_data(options.data_options)
    name, reading = run.own_reading(options.data_options)
    return data, evolve(options, data=name, data_options=reading)


class _Work:
    """The parts of a compression, one after the other; those that have ended are not done again."""

    def __init__(
        self,
        run: TrainedRun,
        wanted: Compression,
        settings: TrainSettings,
        options: RunOptions,
        data: Data,
        measured: Clock | None = None,
    ) -> None:
        self.run, self.wanted, self.options, self.data = run, wanted, options, data
        self.measured = measured  # of this network, before it was trained
        self.whole = settings  # of all parts together
        self.part = 0  # trainings that have ended
        self.before = graph_cost(run.compiled.graph)
        self.clock: Clock | None = None  # of the removal at hand
        self.layers: dict[str, Layer] = {}
        self.told: list[dict[str, Any]] = []

    def go(self) -> CompressResult:
        if self.options.force and (self.wanted.learns or self.wanted.steps > 1):
            set_aside(self.options.out)  # now: what goes on with the steps is not to meet it
        run, wanted, limits = self.run, self.wanted, self.wanted.limits
        own = (wanted.families, wanted.draws, wanted.lambda_w, wanted.curvature)
        for number in range(1, wanted.steps + 1):
            last = number == wanted.steps
            self.clock = self._clock(run, limits, number)
            if self.clock is not None and number == 1:
                self.before = evolve(self.before, latency=self.clock.takes({}))
            due = step_budgets(self.before, wanted.budgets, wanted.steps)[number - 1]
            trains = self._trains(number)
            judge = Judge(wanted.importance, limits, due, self.options.seed, *own, trains)
            removal = Removal.of(run, judge, self.data, self.clock)
            if number == 1:  # that the budget cannot be met is said at once, not in the last step
                removal.bounds.check(step_budgets(self.before, wanted.budgets, 1)[0])
            cut = self._judged(removal, number) if wanted.learns else removal.judged()
            self.layers = cut.layers(self.layers)
            removed = cut.score(self.data, run.at_once)
            trained = self._train(cut, removed, number, self._out(number), last)
            if not last:
                limits = evolve(limits, layers=cut.layers_kept())
                run = TrainedRun.open(self._out(number))
        return self._result(cut, removed, trained)

    def _trains(self, number: int) -> bool:
        """Whether what is left by a removal learns on."""
        return not (self.wanted.shared and number == self.wanted.steps)

    def _settings(self) -> TrainSettings:
        """Those of the next training: each has as many epochs, the last one what is left."""
        whole, parts = self.whole.epochs, max(1, self.wanted.trainings)
        each = max(1, whole // parts)
        self.part += 1
        return shortened(
            self.whole, each if self.part < parts else max(1, whole - (parts - 1) * each)
        )

    def _out(self, number: int) -> Path:
        """Where what is left after a removal is trained."""
        return self.options.out if number == self.wanted.steps else self._place(str(number))

    def _clock(self, run: TrainedRun, limits: Limits, number: int) -> Clock | None:
        """Times of the run's operations, where a budget asks; as they were where it is resumed."""
        if not self.wanted.timed:
            return None
        outs = [self._out(number), self._place(f"{number}_judged")]
        outs += [first_run(self.options.out)] if number == 1 else []
        files = [out / LATENCIES for out in outs]
        begun = [file for file in files if self.options.resume and file.is_file()]
        table = read_latencies(begun[0]) if begun else None
        if table is None and number == 1 and self.measured is not None:
            table = self.measured.table
        device = pick_device(self.options.device)
        return Clock.of(run.compiled, limits.layers, device, table)

    def _times(self) -> dict[str, str]:
        """The file of all that was measured for a removal, if anything was."""
        return {} if self.clock is None else {LATENCIES: latencies_json(self.clock.table)}

    def _after(self, cut: Cut) -> Cost:
        """What is left costs."""
        cost = graph_cost(cut.narrowed.compiled.graph)
        return cost if self.clock is None else evolve(cost, latency=self.clock.takes(cut.kept))

    def _place(self, name: str) -> Path:
        return self.options.out / STEPS / name

    def _judged(self, removal: Removal, number: int) -> Cut:
        """The removal by what the network says of its channels, trained under a prior."""
        make, priors = removal.prior(), list[Prior]()

        def prior(module: nn.Module, data: Data, settings: TrainSettings) -> Prior:
            priors.append(make(module, data, settings))
            return priors[0]

        out = self._place(f"{number}_judged")
        # Of weights that are kept otherwise none would be exactly zero.
        settings = evolve(self._settings(), average=0.0, keep="last")
        if self.wanted.importance == DRAWN:
            settings = evolve(settings, holdout=settings.holdout or HOLDOUT)
        start = Start(removal.bounds.state, self._made(number), {}, prior)
        train(removal.compiled, settings, of_part(self.options, out), start, self._times())
        generator = torch.Generator().manual_seed(self.options.seed)
        parts = training_split(self.data, settings, generator)
        return removal.judged(priors[0], own_weights(TrainedRun.open(out)), parts)

    def _train(self, cut: Cut, removed: Score, number: int, out: Path, last: bool) -> TrainResult:
        after, wholes = self._after(cut), self._wholes(cut) if last else ()
        scores, sparsity = self.data.task.entries("test", removed), cut.sparsity()
        names = self.data.task.entry_names("test")
        told = {
            "before": self.before.record() | {name: self.run.record[name] for name in names},
            "steps": self.told,
            "removed": after.record() | scores,
            **({"sparsity": asdict(sparsity)} if sparsity else {}),
            **({"masks": [c.record() | {"loss": v} for v, c in cut.masks]} if cut.masks else {}),
            **({"latency": [asdict(w) | {"error": w.error} for w in wholes]} if wholes else {}),
        }
        start = Start(
            cut.narrowed.state,
            self._made(number),
            {"compression": told},
            _held(cut) if cut.masked else None,
            trains := self._trains(number),
        )
        texts = {
            COMPRESSED: cut.narrowed.text,
            "layers.jsonl": _lines(layer.record() for layer in self.layers.values()),
            "slices.jsonl": _lines(cut.rows()),
            **self._times(),
        }
        settings = self._settings() if trains else self.whole
        result = train(cut.narrowed.compiled, settings, of_part(self.options, out), start, texts)
        entries = {
            f"trained_{n}": v for n, v in self.data.task.entries("test", result.test).items()
        }
        self.told.append(after.record() | scores | entries)
        return result

    def _made(self, number: int) -> dict[str, Any]:
        """How a part of the compression came about: it is resumed only with the same."""
        wanted = self.wanted
        budgets = step_budgets(self.before, wanted.budgets, 1)[0]
        return {
            "compression": {
                "weights_hash": self.run.record["weights_hash"],
                "budgets": [asdict(budget) for budget in budgets],
                "importance": wanted.importance,
                "limits": {**asdict(wanted.limits), "layers": list(wanted.limits.layers)},
                "steps": wanted.steps,
                "step": number,
                **({} if wanted.families == ("channel",) else {"families": [*wanted.families]}),
                **({"draws": wanted.draws} if wanted.importance == DRAWN else {}),
                **({"lambda_w": wanted.lambda_w} if wanted.lambda_w else {}),
                **({} if wanted.curvature == "sampled" else {"curvature": wanted.curvature}),
                **({"result": wanted.result} if wanted.shared else {}),
            }
        }

    def _result(self, cut: Cut, removed: Score, trained: TrainResult) -> CompressResult:
        layers = (*self.layers.values(),)
        figure = self.options.out / WIDTHS
        advice = write_figure(draw_widths(layers), figure)
        if advice is not None:
            say_note(advice)
            figure = figure.with_suffix(".dot")
        return CompressResult(
            self.before,
            self._after(cut),
            layers,
            removed,
            trained,
            figure,
            cut.sparsity(),
            self._wholes(cut),
        )

    def _wholes(self, cut: Cut) -> tuple[Whole, ...]:
        """The networks before and after, measured whole, where a budget asks."""
        if self.clock is None:
            return ()
        return self.clock.wholes(self.run.compiled.graph, cut.kept)


def _held(cut: Cut) -> Callable[[nn.Module, Data, TrainSettings], Prior]:
    """What keeps masked weights at zero while what is left trains on."""
    return lambda module, *_: Held(module, cut.weights)


def _lines(rows: Iterable[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)
