"""A training from scratch into the folder of a run, and what is made of one."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import torch
from attrs import asdict, evolve, frozen
from torch import nn

from bayesnas.compiler.emit.pytorch import emit_torch
from bayesnas.compiler.graph.cost import graph_cost
from bayesnas.compiler.pipeline import Compiled
from bayesnas.compiler.settings import TrainSettings
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError
from bayesnas.runtime.data.dataset import Data
from bayesnas.runtime.data.loading import load_data
from bayesnas.runtime.jobs.failures import checkpoint_named
from bayesnas.runtime.jobs.memory import Demand, watched
from bayesnas.runtime.jobs.preparation import settled
from bayesnas.runtime.network.memory import TEST, AtOnce, Footprint
from bayesnas.runtime.network.modules import build
from bayesnas.runtime.network.normalisation import check_batches
from bayesnas.runtime.network.training import (
    check_score,
    check_weights,
    evaluate,
    non_finite,
    sgd,
    train_epoch,
)
from bayesnas.runtime.runs.folder import Run, RunOptions, pick_device
from bayesnas.runtime.runs.ownership import WEIGHTS, check_out
from bayesnas.runtime.runs.progress import Progress, say_note
from bayesnas.runtime.runs.reading import (
    COUNT,
    DURATION,
    NAMES,
    NUMBER,
    TORCH_STATE,
    Schema,
    between,
    both,
    like_all,
    like_optimizer,
    listed,
    open_record,
    record,
    rows_of,
    statistic,
)
from bayesnas.runtime.tasks.interface import Score, Task
from bayesnas.runtime.tasks.registry import example_shape, tasks


@frozen
class TrainResult:
    """What a training ended with; ``test`` is the score on the test part."""

    parameters: int
    flops: int
    test: Score
    task: Task
    test_examples: int
    seconds: float
    seed: int
    device: str

    def record(self) -> dict[str, Any]:
        """As ``result.json`` has it: the score under its metric's name."""
        plain = asdict(self, recurse=False)
        del plain["test"], plain["task"]
        return {**plain, **self.task.entries("test", self.test), "metric": self.task.metric}


def train(compiled: Compiled, settings: TrainSettings, options: RunOptions) -> TrainResult:
    """Train a network from scratch, evaluate it on the test part, save it in a run's folder.

    A supernet is trained with every gate at 1.
    """
    check_out(options.out, options.resume, options.force, options.inputs(compiled))
    device = pick_device(options.device)
    data = load_data(options.data, compiled.graph, options.data_options).to(device)
    settings = settled(settings, data)
    check_batches(
        compiled.graph,
        compiled.loaded.source.name,
        data.normalize(data.train.inputs[:1]),
        len(data.train),
        settings.batch_size,
    )
    demand = Demand.of(compiled.graph, settings, device)
    examples = data.train.fingerprint()
    with (
        Run.begin("train", compiled, settings, options, examples) as run,
        checkpoint_named(run),
        watched(demand),
    ):
        at_once = AtOnce(demand.footprint, settings.batch_size)
        return _Training(compiled, settings, options, data, run, device, at_once).fit()


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
    ) -> None:
        self.compiled, self.settings, self.options = compiled, settings, options
        self.at_once = at_once
        self.data, self.run, self.device = data, run, device
        module, self.emitted = build(compiled.graph, compiled.loaded.source.name, options.seed)
        self.module = module.to(device)
        self.optimizer = sgd(
            self.module, settings.learning_rate, settings.momentum, settings.weight_decay
        )
        self.generator = torch.Generator().manual_seed(options.seed)
        torch.manual_seed(options.seed)  # for dropout
        self.epoch = 0
        self.seconds = 0.0
        self.history: list[dict[str, Any]] = []

    def fit(self) -> TrainResult:
        if (state := self.run.checkpoint(self._schema(), self.device)) is not None:
            self._restore(state)
        epochs = self.settings.epochs
        per_epoch = math.ceil(len(self.data.train) / self.settings.batch_size)
        with Progress(epochs * per_epoch, "train") as progress:
            progress.skip(self.epoch * per_epoch)
            while self.epoch < epochs:
                start = time.perf_counter()
                loss = self._one_epoch(progress)
                self.epoch += 1
                check_weights(self.module, f"epoch {self.epoch}")
                self.seconds += time.perf_counter() - start
                self.history.append(
                    {"epoch": self.epoch, "train_loss": loss, "seconds": round(self.seconds, 3)}
                )
                self._checkpoint()
                if self.epoch % max(1, epochs // 10) == 0:
                    progress.say(f"epoch {self.epoch}/{epochs}: train loss {loss:.4f}")
        return self._finish()

    def _one_epoch(self, progress: Progress) -> float:
        return train_epoch(
            self.module,
            self.optimizer,
            self.data,
            self.data.train,
            self.settings,
            self.epoch,
            self.generator,
            lambda value: progress.step(loss=f"{value:.3f}"),
        )

    def _checkpoint(self) -> None:
        self.run.write_lines("history.jsonl", self.history)
        state = {
            "epoch": self.epoch,
            "seconds": self.seconds,
            "history": self.history,
            "model": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "dropout": torch.get_rng_state(),
        }
        self.run.save_checkpoint(state)

    def _schema(self) -> Schema:
        """What `_checkpoint` saves."""
        row = record({"epoch": COUNT, "train_loss": NUMBER, "seconds": DURATION})
        entries = record(
            {
                "epoch": between(0, self.settings.epochs),
                "seconds": DURATION,
                "history": listed(row),
                "model": like_all(self.module.state_dict()),
                "optimizer": like_optimizer(self.optimizer),
                "generator": TORCH_STATE,
                "dropout": TORCH_STATE,
            }
        )
        return both(entries, rows_of("history", "epoch"))

    def _restore(self, state: dict[str, Any]) -> None:
        self.epoch, self.seconds, self.history = state["epoch"], state["seconds"], state["history"]
        self.module.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"].cpu())
        torch.set_rng_state(state["dropout"].cpu())

    def _finish(self) -> TrainResult:
        cost, task = graph_cost(self.compiled.graph), self.data.task
        score = evaluate(self.module, self.data, self.data.test, self.at_once.forward(TEST))
        check_score(score, task.chance(self.data.test.targets), "test loss")
        result = TrainResult(
            cost.parameters,
            cost.flops,
            score,
            task,
            len(self.data.test),
            self.seconds,
            self.options.seed,
            str(self.device),
        )
        weights = {
            "model": self.module.state_dict(),
            "mean": self.data.mean,
            "std": self.data.std,
            **task.record(),
        }
        self.run.save(WEIGHTS, weights)
        source = emit_torch(self.compiled.graph, self.compiled.loaded.source.name).source
        self.run.write_text("network.py", source)  # for readers: without the schedule
        self.run.write_json("result.json", result.record())
        return result


def load_network(folder: str | Path, device: str = "cpu") -> nn.Module:
    """The trained network in a run's folder, in evaluation mode.

    It takes inputs normalised as in training (`Data.normalize`, with the run's mean and std).

    Raises:
        DiagnosticError: D415 or D416 if there is no trained run in the folder.
    """
    return load_run(Path(folder), pick_device(device))[0]


def load_run(
    folder: Path, device: torch.device, scheduled: bool = True
) -> tuple[nn.Module, dict[str, Any], Compiled]:
    """Like `load_network`, with what stands in ``weights.pt`` and the run's compiled spec."""
    run, _, compiled = Run.open(folder)
    module, _ = build(compiled.graph, compiled.loaded.source.name, 0, scheduled)
    channels = statistic([example_shape(compiled.graph)[0]])
    model = like_all(module.state_dict(), finite=False)  # what is not finite is named below
    entries = {"model": model, "mean": channels, "std": channels}
    named = {"classes": NAMES}  # of those tasks that have any
    state = run.weights(open_record(entries | named, optional=named), device)
    if (reason := _unfit(state, compiled)) is not None:
        raise DiagnosticError(
            Diagnostic(
                "D416",
                f"the weights in `{folder}` do not fit its spec",
                notes=(reason,),
                help="leave `spec.nas` and `weights.pt` in the folder as the training wrote them, "
                "or train anew",
            )
        )
    module.load_state_dict(state["model"])
    return module.to(device).eval(), state, compiled


def _unfit(state: dict[str, Any], compiled: Compiled) -> str | None:
    """What is wrong with the numbers of a trained network, or with its classes; None if nothing."""
    statistics = {name: state[name] for name in ("mean", "std")}
    if (reason := non_finite({**state["model"], **statistics})) is not None:
        return reason
    if not bool((state["std"] > 0).all()):
        return "`std` has numbers that are not positive"
    if not all(task.fits(state, compiled.graph) for task in tasks()):
        return "they are of another number of classes than the network has outputs"
    return None


def evaluate_run(options: RunOptions) -> tuple[Score, Data]:
    """The score of the trained run in ``options.out`` on the test part, and the data it is of.

    Where ``options.data`` is empty, the run's own data is taken, as it was loaded then.
    """
    _, settings, compiled = Run.open(options.out)
    device = pick_device(options.device)
    module, state, _ = load_run(options.out, device)
    data_options = options.data_options
    if not options.data:
        data_options = evolve(data_options, resize=settings["resize"], fit=settings["fit"])
    data = load_data(options.data or settings["data"], compiled.graph, data_options).to(device)
    say_note(data.note)
    data.task.check_record(state, data.name)
    data = evolve(data, mean=state["mean"], std=state["std"])  # as it was trained
    batch_size = settings.get("settings", {}).get("batch_size", TrainSettings().batch_size)
    at_once = AtOnce(Footprint.of(compiled.graph), batch_size)
    return evaluate(module, data, data.test, at_once.forward(TEST)), data
