"""A training, from scratch or from given weights, into the folder of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from attrs import asdict, field, frozen
from torch import Tensor, nn

from bayesnas.compiler.emit.pytorch import emit_torch
from bayesnas.compiler.graph.cost import graph_cost
from bayesnas.compiler.pipeline import Compiled
from bayesnas.compiler.settings import TrainSettings
from bayesnas.runtime.data.dataset import Batches, Data
from bayesnas.runtime.data.loading import load_data
from bayesnas.runtime.jobs.failures import explained, no_better, plugins_named
from bayesnas.runtime.jobs.memory import Demand, watched
from bayesnas.runtime.jobs.preparation import settled
from bayesnas.runtime.jobs.trained import deployed_state, input_record, statistics_name
from bayesnas.runtime.network.kernels import layout
from bayesnas.runtime.network.memory import TEST, AtOnce
from bayesnas.runtime.network.modules import build
from bayesnas.runtime.network.training import (
    absurd,
    check_score,
    check_weights,
    report,
    sgd,
    train_epoch,
)
from bayesnas.runtime.runs.folder import Run, RunOptions, pick_device
from bayesnas.runtime.runs.interruption import Watch
from bayesnas.runtime.runs.ownership import RESULT, WEIGHTS, check_out
from bayesnas.runtime.runs.progress import Progress, Stopwatch, say_note
from bayesnas.runtime.runs.reading import (
    COUNT,
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
from bayesnas.runtime.runs.seals import file_hash
from bayesnas.runtime.tasks.confusion import Confusion
from bayesnas.runtime.tasks.interface import Score, Task
from bayesnas.runtime.weights.priors.interface import Prior


@frozen
class TrainResult:
    """What a training ended with; ``test`` is the score on the test part."""

    parameters: int
    flops: int
    test: Score
    task: Task
    confusion: Confusion | None  # on the test part, where there are classes
    test_examples: int
    seconds: float
    seed: int
    device: str

    def record(self) -> dict[str, Any]:
        """As ``result.json`` has it: the score under its metric's name."""
        plain = asdict(self, recurse=False)
        del plain["test"], plain["task"], plain["confusion"]
        by_class = {} if self.confusion is None else {"test_by_class": self.confusion.record()}
        score = self.task.entries("test", self.test)
        return {**plain, **score, "metric": self.task.metric, **by_class}


@frozen
class Start:
    """What a training goes on from, instead of fresh weights.

    Args:
        state: parameters and buffers by name.
        made: how they came about, for ``settings.json``: a run is resumed only with the same.
        texts: files that tell of it, by name.
        told: what ``result.json`` says of it.
        prior: makes what the channels of the network are held to while they are judged.
    """

    state: Mapping[str, Tensor] = field(repr=False)
    made: Mapping[str, Any]
    texts: Mapping[str, str]
    told: Mapping[str, Any]
    prior: Callable[[nn.Module, Data, TrainSettings], Prior] | None = None


@plugins_named()
def train(
    compiled: Compiled, settings: TrainSettings, options: RunOptions, start: Start | None = None
) -> TrainResult:
    """Train a network from scratch, evaluate it on the test part, save it in a run's folder.

    A supernet is trained with every gate at 1. With a start, the training goes on from that.
    """
    check_out(options.out, options.resume, options.force, options.inputs(compiled))
    device = pick_device(options.device)
    say_note(edited(Path(compiled.loaded.source.name)))
    data = load_data(options.data, compiled.graph, options.data_options).to(device)
    if compiled.graph.searched():
        say_note("a supernet is trained with every gate at 1")
    settings, data, census = settled(settings, data, compiled)
    extra = {"examples": census.record(), **tested_on(data), **(start.made if start else {})}
    examples = data.train.fingerprint()
    demand = Demand.of(compiled.graph, settings, device)
    with (
        Run.begin("train", compiled, settings, options, examples, extra) as run,
        explained(run, settings.learning_rate),
        watched(demand),
        plugins_named(data),
    ):
        at_once = AtOnce(demand.footprint, settings.batch_size)
        for name, text in (start.texts if start else {}).items():
            run.write_text(name, text)
        return _Training(compiled, settings, options, data, run, device, at_once, start).fit()


def tested_on(data: Data) -> dict[str, str]:
    """What ``settings.json`` says of the test part: a result holds for it alone."""
    return {"test_hash": data.test.fingerprint()}


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
        graph, origin = compiled.graph, compiled.loaded.source.name
        module, self.emitted = build(graph, origin, options.seed, layout=layout(graph, device))
        if start is not None:
            module.load_state_dict(start.state)
        self.module = module.to(device)
        self.optimizer = sgd(
            self.module, settings.learning_rate, settings.momentum, settings.weight_decay
        )
        self.generator = torch.Generator().manual_seed(options.seed)
        torch.manual_seed(options.seed)  # for dropout
        self.batches = Batches(
            data, data.train, settings.batch_size, settings.augment, self.generator
        )
        make = start.prior if start is not None else None
        self.prior = make(self.module, data, settings) if make is not None else None
        self.watch = Watch()
        self.epoch = 0
        self.step = 0  # steps of the epoch so far
        self.losses = 0.0  # sum over the examples of these steps
        self.clock = Stopwatch()
        self.history: list[dict[str, Any]] = []

    def fit(self) -> TrainResult:
        if (state := self.run.checkpoint(self._schema(), self.device)) is not None:
            self._restore(state)
        epochs, per_epoch = self.settings.epochs, len(self.batches)
        with Progress(epochs * per_epoch, "train") as progress:
            progress.skip(self.epoch * per_epoch + self.step)
            while self.epoch < epochs:
                loss = self._one_epoch(progress)
                self.epoch += 1
                check_weights(self.module, f"epoch {self.epoch}")
                seconds = round(self.clock.count(), 3)
                self.history.append({"epoch": self.epoch, "train_loss": loss, "seconds": seconds})
                self._checkpoint()
                self.watch.saved()
                if self.epoch % max(1, epochs // 10) == 0:
                    progress.say(f"epoch {self.epoch}/{epochs}: train loss {loss:.4f}")
        return self._finish()

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
        for value in train_epoch(
            self.module,
            self.optimizer,
            self.batches,
            self.settings,
            self.epoch,
            self.step,
            self.prior,
        ):
            before = self.batches.examples(self.step)
            self.step += 1
            self.losses += value * (self.batches.examples(self.step) - before)
            progress.step(loss=f"{value:.3f}")
            yield value

    def _save_within(self, loss: float) -> None:
        """Save what was reached in the middle of an epoch, unless the last loss is absurd.

        Raises:
            DiagnosticError: D602 if weights are not finite.
        """
        check_weights(self.module, f"step {self.step} of epoch {self.epoch + 1}")
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
            "model": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "order": self.batches.order,
            "dropout": torch.get_rng_state(),
            **({} if self.prior is None else {"prior": self.prior.state()}),
        }
        self.run.save_checkpoint(state)

    def _schema(self) -> Schema:
        """What `_checkpoint` saves."""
        row = record({"epoch": COUNT, "train_loss": NUMBER, "seconds": DURATION})
        entries = record(
            {
                "epoch": between(0, self.settings.epochs),
                "step": between(0, len(self.batches)),
                "losses": NUMBER,
                "seconds": DURATION,
                "history": listed(row),
                "model": like_all(self.module.state_dict()),
                "optimizer": like_optimizer(self.optimizer),
                "generator": TORCH_STATE,
                "order": TORCH_STATE,
                "dropout": TORCH_STATE,
                **({} if self.prior is None else {"prior": self.prior.state_schema()}),
            }
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
        self.module.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"].cpu())
        self.batches.order = state["order"].cpu()
        torch.set_rng_state(state["dropout"].cpu())
        if self.prior is not None:
            self.prior.restore(state["prior"])

    def _finish(self) -> TrainResult:
        cost, task = graph_cost(self.compiled.graph), self.data.task
        tested = report(self.module, self.data, self.data.test, self.at_once.forward(TEST))
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
            tested.confusion,
            count,
            self.clock.seconds,
            self.options.seed,
            str(self.device),
        )
        self.run.save(WEIGHTS, deployed_state(self.module, self.data))
        plain = emit_torch(  # for readers: without the schedule
            self.compiled.graph,
            self.compiled.loaded.source.name,
            statistics=statistics_name(self.data.train.inputs.dtype),
        )
        self.run.write_text("network.py", plain.source)
        about = {
            "class_name": plain.class_name,
            "input": input_record(self.data),
            "weights_hash": file_hash(self.run.out / WEIGHTS),
            **(self.start.told if self.start else {}),
        }
        self.run.write_json(RESULT, result.record() | task.record() | about)
        return result
