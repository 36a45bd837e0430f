"""Training from scratch and evaluation: SGD with a cosine, the same for supernets and results."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from attrs import asdict, evolve, frozen
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bayesnas.compiler.cost import graph_cost
from bayesnas.compiler.emit import emit_torch
from bayesnas.compiler.pipeline import Compiled
from bayesnas.compiler.settings import TrainSettings
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, quote
from bayesnas.runtime.data import Data, Part, batches, check_augment, plain_batches
from bayesnas.runtime.modules import build, logits
from bayesnas.runtime.progress import Progress, say_note
from bayesnas.runtime.runs import Run, RunOptions, check_out, pick_device
from bayesnas.runtime.sources import load_data

EVALUATION_BATCH = 500


@frozen
class TrainResult:
    """What a training ended with; accuracies are shares of the test part."""

    parameters: int
    flops: int
    test_accuracy: float
    test_examples: int
    seconds: float
    seed: int
    device: str


def cosine(start: float, step: int, steps: int) -> float:
    """A learning rate that falls from ``start`` to 0 along half a cosine."""
    return start * 0.5 * (1 + math.cos(math.pi * step / max(steps, 1)))


def sgd(module: nn.Module, rate: float, momentum: float, decay: float) -> torch.optim.SGD:
    """SGD in Nesterov's form on all weights; ``decay`` is the fixed lambda of (16)."""
    return torch.optim.SGD(
        module.parameters(),
        lr=rate,
        momentum=momentum,
        weight_decay=decay,
        nesterov=momentum > 0,
    )


def check_loss(loss: Tensor, place: str) -> float:
    """The loss as a number.

    Raises:
        DiagnosticError: D602 (status 1) if it is not finite.
    """
    value = float(loss.detach())
    if not math.isfinite(value):
        raise DiagnosticError(
            Diagnostic(
                "D602",
                f"the loss became {value} in {place}",
                help="lower `learning_rate`, for instance `--option learning_rate=0.01`",
            ),
            status=1,
        )
    return value


@torch.no_grad()
def accuracy(
    module: nn.Module, batches_: Iterable[tuple[Tensor, Tensor]], gates: Tensor | None = None
) -> float:
    """Share of examples predicted right, batch normalisation in evaluation mode."""
    was_training = module.training
    module.eval()
    right = count = 0
    for inputs, labels in batches_:
        predicted = logits(module, inputs, gates).argmax(dim=1)
        right += int((predicted == labels).sum())
        count += len(labels)
    module.train(was_training)
    return right / max(count, 1)


def evaluate(module: nn.Module, data: Data, part: Part, gates: Tensor | None = None) -> float:
    """`accuracy` on a part of the data."""
    return accuracy(module, plain_batches(data, part, EVALUATION_BATCH), gates)


def train_epoch(
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    data: Data,
    part: Part,
    settings: TrainSettings,
    epoch: int,
    generator: torch.Generator,
    after_step: Callable[[float], None],
) -> float:
    """One pass over a part of the data, the ``epoch``-th of a cosine; the mean loss of its steps.

    Args:
        module: the network.
        optimizer: of its weights.
        data: what ``part`` is of.
        part: the examples to train on.
        settings: the schedule.
        epoch: counted from 0.
        generator: of the order and the augmentation.
        after_step: is told the loss of every step.

    Raises:
        DiagnosticError: D602 if the loss is not finite.
    """
    module.train()
    steps = math.ceil(len(part) / settings.batch_size)
    total, count = 0.0, 0
    passes = batches(data, part, settings.batch_size, settings.augment, generator)
    for k, (inputs, labels) in enumerate(passes):
        for group in optimizer.param_groups:
            group["lr"] = cosine(settings.learning_rate, epoch * steps + k, settings.epochs * steps)
        loss = cross_entropy(logits(module, inputs), labels)
        value = check_loss(loss, f"epoch {epoch + 1}")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if settings.gradient_clip:
            nn.utils.clip_grad_norm_(module.parameters(), settings.gradient_clip)
        optimizer.step()
        total, count = total + value * len(labels), count + len(labels)
        after_step(value)
    return total / count


def train(compiled: Compiled, settings: TrainSettings, options: RunOptions) -> TrainResult:
    """Train a network from scratch, evaluate it on the test part, save it in a run's folder.

    A supernet is trained with every gate at 1.
    """
    check_out(options.out, options.resume, options.force)
    device = pick_device(options.device)
    data = load_data(options.data, compiled.graph, options.data_options).to(device)
    check_augment(data, settings.augment)
    say_note(data.note)
    run = Run.begin("train", compiled, settings, options)
    return _Training(compiled, settings, options, data, run, device).fit()


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
    ) -> None:
        self.compiled, self.settings, self.options = compiled, settings, options
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
        if self.options.resume:
            self._restore(self.run.load("checkpoint.pt", self.device))
        epochs = self.settings.epochs
        per_epoch = math.ceil(len(self.data.train) / self.settings.batch_size)
        with Progress(epochs * per_epoch, "train") as progress:
            progress.skip(self.epoch * per_epoch)
            while self.epoch < epochs:
                start = time.perf_counter()
                loss = self._one_epoch(progress)
                self.epoch += 1
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
        self.run.save("checkpoint.pt", state)

    def _restore(self, state: dict[str, Any]) -> None:
        self.epoch, self.seconds, self.history = state["epoch"], state["seconds"], state["history"]
        self.module.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"].cpu())
        torch.set_rng_state(state["dropout"].cpu())

    def _finish(self) -> TrainResult:
        cost = graph_cost(self.compiled.graph)
        result = TrainResult(
            cost.parameters,
            cost.flops,
            evaluate(self.module, self.data, self.data.test),
            len(self.data.test),
            self.seconds,
            self.options.seed,
            str(self.device),
        )
        weights = {
            "model": self.module.state_dict(),
            "mean": self.data.mean,
            "std": self.data.std,
            "classes": list(self.data.classes),
        }
        self.run.save("weights.pt", weights)
        source = emit_torch(self.compiled.graph, self.compiled.loaded.source.name).source
        self.run.write_text("network.py", source)  # for readers: without the schedule
        self.run.write_json("result.json", asdict(result))
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
    state = run.load("weights.pt", device)
    module, _ = build(compiled.graph, compiled.loaded.source.name, 0, scheduled)
    try:
        module.load_state_dict(state["model"])
    except (RuntimeError, KeyError) as error:
        raise DiagnosticError(
            Diagnostic(
                "D416",
                f"the weights in `{folder}` do not fit its spec",
                notes=(str(error).splitlines()[0],),
                help="leave `spec.nas` in the folder as the training wrote it",
            )
        ) from None
    return module.to(device).eval(), state, compiled


def evaluate_run(options: RunOptions) -> tuple[float, Data]:
    """Test accuracy of the trained run in ``options.out``, and the data it is of.

    Where ``options.data`` is empty, the run's own data is taken, as it was loaded then.
    """
    _, settings, compiled = Run.open(options.out)
    device = pick_device(options.device)
    module, state, _ = load_run(options.out, device)
    data_options = options.data_options
    if not options.data:
        data_options = evolve(data_options, resize=settings["resize"])
    data = load_data(options.data or settings["data"], compiled.graph, data_options).to(device)
    say_note(data.note)
    if list(data.classes) != state["classes"]:
        raise DiagnosticError(
            Diagnostic(
                "D506",
                f"`{data.name}` has other classes than the run was trained on",
                notes=(f"trained on {quote(state['classes'][:8])}",),
                help="evaluate on data with the same class folders",
            )
        )
    data = evolve(data, mean=state["mean"], std=state["std"])  # as it was trained
    return evaluate(module, data, data.test), data
