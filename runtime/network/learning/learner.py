"""A network that learns: its optimiser, learning rate, running mean, and the steps of an epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from bayesnas.compiler.emit.pytorch import Emitted
from bayesnas.compiler.graph.model import Graph
from bayesnas.compiler.settings import TrainSettings
from bayesnas.runtime.data.dataset import Batches
from bayesnas.runtime.network.carrying import States
from bayesnas.runtime.network.compiled import CompiledCall
from bayesnas.runtime.network.learning.auxiliary import Auxiliary
from bayesnas.runtime.network.learning.drop_path import DropPath
from bayesnas.runtime.network.learning.mixtures import mixed
from bayesnas.runtime.network.learning.rates import learning_rate
from bayesnas.runtime.network.modules import predict
from bayesnas.runtime.network.precision import precisely, wide
from bayesnas.runtime.network.recording import Recording
from bayesnas.runtime.network.together.ranks import world
from bayesnas.runtime.network.together.synchronised import parted
from bayesnas.runtime.network.training import check_loss, sgd
from bayesnas.runtime.tasks.bundle import Inputs


class Regulariser(Protocol):
    """What a training is held to besides its loss."""

    def penalty(self) -> Tensor | None:
        """What is descended with the mean loss of a step, if anything."""
        ...

    def stepped(self, rate: float) -> None:
        """After a step of the weights at that rate."""
        ...


class Learner:
    """A network, and all by which a training's settings make it learn.

    Args:
        module: the network, on its device.
        emitted: its source, which tells where its operations are.
        graph: what it was emitted from.
        settings: of the training.
        compiling: whether its steps are compiled.
    """

    def __init__(
        self,
        module: nn.Module,
        emitted: Emitted,
        graph: Graph,
        settings: TrainSettings,
        compiling: bool = False,
    ) -> None:
        self.module, self.settings = module, settings
        self.auxiliary = Auxiliary.of(graph)
        self.optimizer = optimizer_of(module, settings)
        self.path = DropPath(module, emitted, graph, settings.drop_path)
        self.regulariser: Regulariser | None = None
        # Gradients of a replay are overwritten by the next: steps of one pass alone.
        lasting = settings.accumulate == 1 and not settings.drop_path and not compiling
        self._recording = Recording.of(module, graph, settings.batch_size) if lasting else None
        self._steps = CompiledCall(module) if compiling else module
        self.states = States.of(module)
        self.states.make_room(settings.batch_size)  # before the network is copied or recorded
        self.average: AveragedModel | None = None
        if settings.average:
            mean = partial(_averaged, settings.average)
            self.average = AveragedModel(module, multi_avg_fn=mean, use_buffers=True)

    @property
    def judged(self) -> nn.Module:
        """The network that is judged: `kept`, without auxiliary outputs."""
        return self.auxiliary.judged(self.kept)

    @property
    def kept(self) -> nn.Module:
        """The network that is kept: the running mean, or the network itself."""
        return self.module if self.average is None else self.average.module

    def epoch(self, batches: Batches, epoch: int, taken: int = 0) -> Iterator[float]:
        """The batches of one pass; the loss of each.

        Args:
            batches: of the examples to train on.
            epoch: counted from 0.
            taken: batches of the pass that were taken before an interruption, a multiple of
                `accumulate`.

        Raises:
            DiagnosticError: D602 if a loss is not finite.
        """
        self.module.train()
        self.path.at(epoch / self.settings.epochs)
        if not taken:
            self.states.begin()
        count, due = len(batches), self.settings.accumulate
        for k, (inputs, targets) in enumerate(batches.series(count, taken), start=taken):
            together = min(due, count - k // due * due)  # batches of this step
            value = self._backward(batches, inputs, targets, together, f"epoch {epoch + 1}")
            if (k + 1) % due == 0 or k + 1 == count:
                self._step(learning_rate(self.settings, epoch, k, count))
            yield value

    def _backward(
        self, batches: Batches, inputs: Inputs, targets: Tensor, together: int, place: str
    ) -> float:
        settings = self.settings
        mixture = mixed(inputs, settings.mixup, settings.cutmix)
        with parted(len(targets)) as share:
            with precisely(settings.precision, inputs.device), self.states.carried():
                outputs = self._outputs(share.of(mixture.inputs))
            loss_of = partial(share.loss, self.auxiliary.joined(batches.data.task))
            loss = mixture.loss(loss_of, wide(outputs), targets)
            value = check_loss(world().sum(loss.detach().clone()), place)
            penalty = self.regulariser.penalty() if self.regulariser else None
            loss = loss if penalty is None else loss + penalty
            (loss / together if together > 1 else loss).backward()  # type: ignore[no-untyped-call]
        return value

    def _outputs(self, inputs: Inputs) -> Tensor:
        """As `predict`, on a GPU by a recorded pass, or by a compiled one."""
        recording = self._recording
        if recording is not None and (recording.has(inputs) or recording.record(inputs)):
            return recording(inputs)
        return predict(self._steps, inputs)

    def _step(self, rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        world().sum_gradients(self.module.parameters())
        if self.settings.gradient_clip:
            nn.utils.clip_grad_norm_(self.module.parameters(), self.settings.gradient_clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.regulariser is not None:
            self.regulariser.stepped(rate)
        if self.average is not None:
            self.average.update_parameters(self.module)

    # ------------------------------------------------------------------------------ interruption

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        average = {} if self.average is None else {"average": self.average.state_dict()}
        return {
            "model": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "carried": self.states.tensors(),
            **average,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Back to what `state` gave."""
        self.module.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.states.restore(state["carried"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])


def mean_decay(decay: float, steps: int) -> float:
    """Of a running mean after some steps: it forgets the first weights, which know nothing, soon.

    As TensorFlow's `ExponentialMovingAverage` has it by `num_updates`: with a fixed decay of 0.99 a
    third of the mean would be the first weights after 100 steps.
    """
    return min(decay, (1 + steps) / (10 + steps))


def _averaged(decay: float, means: list[Tensor], weights: list[Tensor], steps: Any) -> None:
    mean = get_ema_multi_avg_fn(mean_decay(decay, int(steps)))  # type: ignore[no-untyped-call]
    mean(means, weights, steps)


def optimizer_of(module: nn.Module, settings: TrainSettings) -> torch.optim.Optimizer:
    """The optimiser of a training, on all weights; decay where the settings want it.

    Vectors are normalisations' scales and shifts, and biases.
    """
    rate, decay = settings.learning_rate, settings.weight_decay
    parameters: list[dict[str, Any]] = [{"params": list(module.parameters())}]
    if settings.decay_norms == "no":
        vectors = [p for p in module.parameters() if p.dim() < 2]
        others = [p for p in module.parameters() if p.dim() >= 2]
        groups = ({"params": others}, {"params": vectors, "weight_decay": 0.0})
        parameters = [group for group in groups if group["params"]]
    if settings.optimizer == "adamw":
        betas = (settings.momentum, 0.999)
        return torch.optim.AdamW(parameters, lr=rate, betas=betas, weight_decay=decay)
    return sgd(parameters, rate, settings.momentum, decay, settings.nesterov == "yes")
