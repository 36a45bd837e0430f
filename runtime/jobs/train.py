"""A training, from scratch or from given weights, into the folder of a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from attrs import asdict, evolve, frozen

from bayesnas.compiler.graph.cost import graph_cost
from bayesnas.compiler.graph.model import Graph
from bayesnas.compiler.pipeline import Compiled
from bayesnas.compiler.settings import TrainSettings
from bayesnas.dsl.diagnostics import check_idle
from bayesnas.runtime.data.augmentation.extra import Extra
from bayesnas.runtime.data.dataset import Batches, Data, Streams, all_rows
from bayesnas.runtime.data.examples import Examples
from bayesnas.runtime.data.loading import load_data
from bayesnas.runtime.data.splits import held_counts, split
from bayesnas.runtime.jobs.deployed import readable, write_network
from bayesnas.runtime.jobs.failures import explained, no_better, plugins_named
from bayesnas.runtime.jobs.heldout import HeldOut, told_every
from bayesnas.runtime.jobs.memory import Demand, fitted, watched
from bayesnas.runtime.jobs.preparation import settled
from bayesnas.runtime.jobs.start import Start
from bayesnas.runtime.network.compiled import check_compiler
from bayesnas.runtime.network.device import pick_device, random_states, restore_random_states
from bayesnas.runtime.network.kernels import layout
from bayesnas.runtime.network.learning.auxiliary import lasting_state
from bayesnas.runtime.network.learning.learner import Learner
from bayesnas.runtime.network.memory import TEST, AtOnce
from bayesnas.runtime.network.modules import build
from bayesnas.runtime.network.together.ranks import joined, own_rows, world
from bayesnas.runtime.network.training import (
    absurd,
    check_score,
    check_weights,
    evaluate,
    report,
)
from bayesnas.runtime.runs.events import Event, Kind, numbers_of, tell
from bayesnas.runtime.runs.folder import Run
from bayesnas.runtime.runs.interruption import Watch
from bayesnas.runtime.runs.machine import machine_record
from bayesnas.runtime.runs.ownership import RESULT, check_out
from bayesnas.runtime.runs.progress import Progress, Stopwatch, say_note
from bayesnas.runtime.runs.reading import (
    ANY_NUMBER,
    COUNT,
    CUDA_STATE,
    DURATION,
    NUMBER,
    TORCH_STATE,
    Schema,
    agreeing,
    between,
    both,
    edited,
    like_all,
    like_optimizer,
    listed,
    record,
)
from bayesnas.runtime.runs.record import RunOptions
from bayesnas.runtime.runs.status import run_progress
from bayesnas.runtime.tasks.interface import Task
from bayesnas.runtime.tasks.scores import Report, Score


@frozen
class TrainResult:
    """What a training ended with; ``test`` is the score on the test part."""

    parameters: int
    flops: int
    test: Score
    task: Task
    report: Report  # on the test part
    test_examples: int
    seconds: float
    seed: int
    device: str

    def record(self) -> dict[str, Any]:
        """As ``result.json`` has it: the score under its metric's name."""
        plain = asdict(self, recurse=False)
        del plain["test"], plain["task"], plain["report"]
        score = self.task.entries("test", self.test)
        parts = self.report.record("test")
        about = {"metric": self.task.metric, "learned": self.task.learned}
        return {**plain, **score, **about, **parts}


@plugins_named()
def train(
    compiled: Compiled,
    settings: TrainSettings,
    options: RunOptions,
    start: Start | None = None,
    texts: Mapping[str, str] | None = None,
) -> TrainResult:
    """Train a network from scratch, evaluate it on the test part, save it in a run's folder.

    A supernet is trained with every gate at 1. With a start, the training goes on from that.
    ``texts`` are files that the folder has besides, by name. Several processes of `torchrun` train
    together.

    Raises:
        DiagnosticError: D423, D613 (compiled steps of several processes, or without a compiler);
            whatever data, folders and the work itself raise.
    """
    device = pick_device(options.device)
    with joined(device) as ranks:
        if options.compiling and ranks.size > 1:
            check_idle(["--compile"], "with several processes", "leave it out")
        if ranks.writes:
            check_out(options.out, options.resume, options.force, options.inputs(compiled))
        if options.compiling:
            check_compiler(device)
        return _train(compiled, settings, options, start, texts or {}, device)


def _train(
    compiled: Compiled,
    settings: TrainSettings,
    options: RunOptions,
    start: Start | None,
    texts: Mapping[str, str],
    device: torch.device,
) -> TrainResult:
    say_note(edited(Path(compiled.loaded.source.name)))
    data = load_data(options.data, compiled.graph, options.data_options, None, device).to(device)
    if compiled.graph.searched():
        say_note("a supernet is trained with every gate at 1")
    fit = round(len(data.train) * (1 - settings.holdout))
    settings = fitted(settings, trained_graph(compiled, start), fit, options)
    settings, data, census = settled(settings, data, compiled, settings.holdout or None)
    extra = {"examples": census.record(), **tested_on(data), **(start.made if start else {})}
    examples = data.train.fingerprint()
    demand = Demand.of(trained_graph(compiled, start), settings, device, len(data.train))
    with (
        Run.begin("train", compiled, settings, options, examples, extra) as run,
        explained(run, settings.learning_rate),
        watched(demand, options.out),
        plugins_named(data),
    ):
        at_once = AtOnce(demand.footprint, settings.batch_size)
        for name, text in texts.items():
            run.write_text(name, text)
        return _Training(compiled, settings, options, data, run, device, at_once, start).fit()


def trained_graph(compiled: Compiled, start: Start | None) -> Graph:
    """What is trained: with auxiliary outputs, unless it goes on from weights, which have none."""
    return compiled.training if start is None else compiled.graph


def tested_on(data: Data) -> dict[str, str]:
    """What ``settings.json`` says of the test part: a result holds for it alone."""
    return {"test_hash": data.test.fingerprint()}


def training_split(
    data: Data, settings: TrainSettings, generator: torch.Generator
) -> tuple[Examples, Examples | None]:
    """The examples that train, and those held out, if any; first of what a run's seed draws."""
    train, share = data.train, settings.holdout
    if not share:
        return train, None
    if settings.carry_state == "yes":  # the end of the text
        places = torch.arange(len(train), device=train.targets.device)
        first = len(train) - int(held_counts(np.array([len(train)]), share)[0])
        return train.subset(places[:first]), train.subset(places[first:])
    return split(train, data.task, share, generator)


class _Training:
    """One training; `state` and `restore` carry it over an interruption."""

    def __init__(
        self,
        compiled: Compiled,
        settings: TrainSettings,
        options: RunOptions,
        data: Data,
        run: Run,
        device: torch.device,
        at_once: AtOnce,
        start: Start | None,
    ) -> None:
        self.compiled, self.settings, self.options = compiled, settings, options
        self.at_once, self.start = at_once, start
        self.data, self.run, self.device = data, run, device
        graph, origin = trained_graph(compiled, start), compiled.loaded.source.name
        self.carrying = settings.carry_state == "yes"
        kind = layout(graph, device)
        module, emitted = build(graph, origin, options.seed, layout=kind, carrying=self.carrying)
        if start is not None:
            module.load_state_dict(start.state)
        self.emitted = emitted
        module.to(device)
        self.learner = Learner(module, emitted, graph, settings, options.compiling)
        self.generator = torch.Generator().manual_seed(options.seed)
        torch.manual_seed(options.seed)  # for dropout
        fit, held = training_split(data, settings, self.generator)
        self.held = HeldOut(data, held, settings, at_once.forward(TEST))
        size, extra = settings.batch_size, Extra.of(settings)
        make_batches = Streams if self.carrying else Batches
        learned = evolve(data, task=data.task.smoothed(settings.label_smoothing))  # never judged by
        mixes = settings.mixup or settings.cutmix  # rows of one process with those of others
        rows = all_rows if mixes else own_rows
        draws = self.generator
        self.batches = make_batches(learned, fit, size, settings.augment, draws, extra, rows)
        make = start.prior if start is not None else None
        self.prior = make(self.learner.module, data, settings) if make is not None else None
        self.learner.regulariser = self.prior
        self.watch = Watch()
        self.epoch = 0
        self.step = 0  # steps of the epoch so far
        self.losses = 0.0  # sum over the examples of these steps
        self.clock = Stopwatch()
        self.history: list[dict[str, Any]] = []

    def fit(self) -> TrainResult:
        if (state := self.run.checkpoint(self._schema(), self.device)) is not None:
            self._restore(state)
        trains = self.start is None or self.start.trains
        epochs, per_epoch = self.settings.epochs if trains else 0, len(self.batches)
        self._tell("begin", asdict(self.settings))
        with run_progress(
            self.run.out, epochs * per_epoch, "train", self.settings.batch_size, self.device
        ) as progress:
            progress.skip(self.epoch * per_epoch + self.step)
            while self.epoch < epochs:
                loss = self._one_epoch(progress)
                self.epoch += 1
                check_weights(self.learner.module, f"epoch {self.epoch}")
                world().check_together(self.learner.module, f"epoch {self.epoch}")
                held = self.held.look(self.learner, self.epoch)
                row = {"epoch": self.epoch, "train_loss": loss, **held}
                self.history.append({**row, "seconds": round(self.clock.count(), 3)})
                self._checkpoint()
                self.watch.saved()
                self._tell("row", self.history[-1])
                if self.epoch % told_every(epochs) == 0 or self.epoch == epochs:
                    progress.say(self._told(self.history[-1]))
        return self._finish()

    def _told(self, row: Mapping[str, Any]) -> str:
        """A row of the history, for people."""
        text = f"epoch {self.epoch}/{self.settings.epochs}: train loss {row['train_loss']:.4f}"
        if self.held.part is None:
            return text
        return f"{text}, held-out {self.data.task.told(self.data.task.score_of('holdout', row))}"

    def _tell(self, kind: Kind, entries: Mapping[str, Any]) -> None:
        step = self.epoch * len(self.batches) + self.step
        event = Event(kind, "train", self.run.out, step, numbers_of(entries))
        tell(self.options.listeners, event)

    def _one_epoch(self, progress: Progress) -> float:
        """The steps of an epoch, or the rest of them; the mean loss of all.

        Raises:
            KeyboardInterrupt: a signal has come, and what was reached is saved.
        """
        self.clock.start()
        self.watch.follow(self._steps(progress), self._save_within)
        mean = self.losses / self.batches.examples(self.step)
        self.step, self.losses = 0, 0.0
        return mean

    def _steps(self, progress: Progress) -> Iterator[float]:
        for value in self.learner.epoch(self.batches, self.epoch, self.step):
            before = self.batches.examples(self.step)
            self.step += 1
            self.losses += value * (self.batches.examples(self.step) - before)
            progress.step(loss=f"{value:.3f}")
            if self.step % self.settings.accumulate == 0 or self.step == len(self.batches):
                yield value  # here it may be saved: no gradient is half gathered

    def _save_within(self, loss: float) -> None:
        """Save what was reached in the middle of an epoch, unless the last loss is absurd.

        Raises:
            DiagnosticError: D602 if weights are not finite.
        """
        check_weights(self.learner.module, f"step {self.step} of epoch {self.epoch + 1}")
        self.clock.count()
        if not absurd(Score(loss, 0.0), self.data.task.chance(self.data.train.targets)):
            self._checkpoint()

    def _checkpoint(self) -> None:
        self.run.write_lines("history.jsonl", self.history)
        state = {
            "epoch": self.epoch,
            "step": self.step,
            "losses": self.losses,
            "seconds": self.clock.seconds,
            "history": self.history,
            "best": self.held.best,
            **self.learner.state(),
            "generator": self.generator.get_state(),
            "order": self.batches.order,
            **random_states(self.device),
            **({} if self.prior is None else {"prior": self.prior.state()}),
        }
        self.run.save_checkpoint(state)

    def _schema(self) -> Schema:
        """What `_checkpoint` saves."""
        row = {"epoch": COUNT, "train_loss": NUMBER, "seconds": DURATION}
        held = self.held.columns()
        weights = like_all(self.learner.module.state_dict())
        learner = {"model": weights, "optimizer": like_optimizer(self.learner.optimizer)}
        learner["carried"] = like_all(self.learner.states.tensors())
        if self.learner.average is not None:
            learner["average"] = like_all(self.learner.average.state_dict())
        entries = record(
            {
                "epoch": between(0, self.settings.epochs),
                "step": between(0, len(self.batches)),
                "losses": NUMBER,
                "seconds": DURATION,
                "history": listed(record(row | dict.fromkeys(held, ANY_NUMBER), optional=held)),
                "best": self.held.schema(weights),
                **learner,
                "generator": TORCH_STATE,
                "order": TORCH_STATE,
                "dropout": TORCH_STATE,
                "dropout_cuda": CUDA_STATE,
                **({} if self.prior is None else {"prior": self.prior.state_schema()}),
            },
            optional=("dropout_cuda",),
        )
        return both(entries, agreeing(self._fault))

    def _fault(self, state: Mapping[str, Any]) -> str | None:
        """What does not fit together in a checkpoint; None if nothing."""
        if len(state["history"]) != state["epoch"]:
            return "history is not as long as epoch says"
        after_last = state["epoch"] == self.settings.epochs and state["step"] > 0
        return "step is of an epoch after the last" if after_last else None

    def _restore(self, state: dict[str, Any]) -> None:
        self.epoch, self.step, self.losses = state["epoch"], state["step"], state["losses"]
        self.clock.seconds, self.history = state["seconds"], state["history"]
        self.learner.restore(state)
        self.held.best = state["best"]
        self.generator.set_state(state["generator"].cpu())
        self.batches.order = state["order"].cpu()
        restore_random_states(state, self.device)
        if self.prior is not None:
            self.prior.restore(state["prior"])

    def _finish(self) -> TrainResult:
        cost = graph_cost(self.compiled.graph)
        if (best := self.held.best) is not None:
            self.learner.kept.load_state_dict(best["model"])
            say_note(f"the weights of epoch {best['epoch']} are kept: best on what is held out")
        self._estimate()
        task = self.data.task
        tested = report(self.learner.judged, self.data, self.data.test, self.at_once.forward(TEST))
        score = tested.score
        chance, count = task.chance(self.data.test.targets), len(self.data.test)
        check_score(score, chance, "test loss")
        weighted = self.settings.class_weights == "balanced"
        say_note(no_better(task, score, chance, count, weighted))
        result = TrainResult(
            cost.parameters,
            cost.flops,
            score,
            task,
            tested,
            count,
            self.clock.seconds,
            self.options.seed,
            str(self.device),
        )
        if self.run.writes:
            self.run.write_lines("history.jsonl", self.history)  # it may be lost by now
            self._write(result)
        self._tell("end", result.record())
        return result

    def _estimate(self) -> None:
        """The noise of targets, where that is asked for: by what is held out, or was learned."""
        if self.data.task.estimating:
            part = self.held.part or self.data.train
            score = evaluate(self.learner.judged, self.data, part, self.at_once.forward(TEST))
            self.data = evolve(self.data, task=self.data.task.informed(score))

    def _write(self, result: TrainResult) -> None:
        """What a training leaves: weights, source, result."""
        plain = readable(self.compiled, self.data)
        kept, graph = self.learner.kept.state_dict(), self.compiled.graph
        lasting = lasting_state(kept, self.emitted, graph, plain)
        about = {
            **write_network(self.run, plain, lasting, self.data),
            "machine": machine_record(self.device),
            **(self.start.told if self.start else {}),
        }
        self.run.write_json(RESULT, result.record() | result.task.record() | about)
