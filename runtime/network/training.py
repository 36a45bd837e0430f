"""What all trainings share: SGD, losses that must be finite, evaluation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError
from bayesnas.runtime.data.dataset import Data, laid_out, stretches
from bayesnas.runtime.data.examples import Examples
from bayesnas.runtime.data.free_memory import release_memory
from bayesnas.runtime.network.carrying import States, judged_rows
from bayesnas.runtime.network.modules import predict
from bayesnas.runtime.network.together.ranks import own_rows, world
from bayesnas.runtime.tasks.bundle import Inputs
from bayesnas.runtime.tasks.interface import Task
from bayesnas.runtime.tasks.scores import Report, Score

Judgement = TypeVar("Judgement", Score, Report, Tensor)

ABSURD = 100  # times the loss of chance, beyond which a network has learned nothing but nonsense


def sgd(
    parameters: Iterable[Any], rate: float, momentum: float, decay: float, nesterov: bool = True
) -> torch.optim.SGD:
    """SGD, in Nesterov's form unless told otherwise; ``decay`` is the fixed lambda of (16)."""
    return torch.optim.SGD(
        parameters,
        lr=rate,
        momentum=momentum,
        weight_decay=decay,
        nesterov=nesterov and momentum > 0,
    )


def diverged(message: str, *notes: str, remedy: str = "lower `learning_rate`") -> DiagnosticError:
    """D602 (status 1): the work has met numbers that are none, or beyond all bounds."""
    return DiagnosticError(Diagnostic("D602", message, notes=notes, help=remedy), status=1)


def check_loss(loss: Tensor, place: str) -> float:
    """The loss as a number.

    Raises:
        DiagnosticError: D602 (status 1) if it is not finite.
    """
    value = float(loss.detach())
    if not math.isfinite(value):
        raise diverged(f"the loss became {value} in {place}")
    return value


def check_weights(module: nn.Module, place: str) -> None:
    """Refuse weights and statistics of normalisation that are not finite.

    Raises:
        DiagnosticError: D602 (status 1), naming the first tensor.
    """
    if (bad := non_finite(module.state_dict())) is not None:
        raise diverged(f"{bad} after {place}")


def non_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """What is wrong with the first of some tensors that is not finite; None where all are."""
    for name, tensor in tensors.items():
        if bad := int((~torch.isfinite(tensor)).sum()):
            return f"`{name}` has {bad:,} of {tensor.numel():,} numbers that are not finite"
    return None


def absurd(score: Score, chance: Score | None) -> bool:
    """Whether a loss is not finite, or `ABSURD` times that of ``chance`` above it.

    ``chance`` is what needs no learning, as `Task.chance` has it; None where that is not known. A
    density may make it negative or 0: it counts as one nat at least.
    """
    if not math.isfinite(score.loss):
        return True
    return chance is not None and score.loss > chance.loss + ABSURD * max(1.0, abs(chance.loss))


def check_score(score: Score, chance: Score | None, what: str) -> None:
    """Refuse an absurd loss; ``what`` names it.

    Raises:
        DiagnosticError: D602 (status 1).
    """
    if absurd(score, chance):
        guess = () if chance is None else (f"without learning it is {chance.loss:.3g}",)
        raise diverged(f"the {what} became {score.loss:.3g}", *guess)


@torch.no_grad()
def evaluate(
    module: nn.Module,
    data: Data,
    part: Examples,
    at_once: int,
    gates: Tensor | None = None,
) -> Score:
    """How good the network is on a part of the data, normalisation in evaluation mode.

    It looks at ``at_once`` examples at a time, which changes nothing but time and memory.
    """
    return _judged(module, data.task.score, part, at_once, data.normalize, gates)


@torch.no_grad()
def example_losses(
    module: nn.Module,
    data: Data,
    part: Examples,
    at_once: int,
    gates: Tensor | None = None,
) -> Tensor:
    """The loss of every example [N] alike, without its weight, float64 on the CPU.

    In the order of the part, of a network that carries no state from one to the next.
    """

    def losses(predictions: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
        batches = [data.task.losses(outputs, targets) for outputs, targets in predictions]
        return torch.cat(batches).to("cpu", torch.float64)

    return _judged(module, losses, part, at_once, data.normalize, gates)


@torch.no_grad()
def report(module: nn.Module, data: Data, part: Examples, at_once: int) -> Report:
    """The same, and by class."""
    return _judged(module, data.task.report, part, at_once, data.normalize)


@torch.no_grad()
def report_raw(module: nn.Module, task: Task, part: Examples, at_once: int) -> Report:
    """How good a network is that standardises its inputs itself, and by class."""
    return _judged(module, task.report, part, at_once, laid_out)


def _judged(
    module: nn.Module,
    judge: Callable[[Iterable[tuple[Tensor, Tensor]]], Judgement],
    part: Examples,
    at_once: int,
    seen: Callable[[Inputs], Inputs],
    gates: Tensor | None = None,
) -> Judgement:
    """``seen`` makes of a batch what the network takes; a carried state is carried on."""
    was_training, states = module.training, States.of(module)
    module.eval()
    release_memory(part.targets.device)
    batches = part.in_order(at_once, own_rows)
    rows = 0
    if states.carriers:
        rows = judged_rows(len(part), at_once)
        device = part.targets.device
        batches = part.batches([places.to(device) for places in stretches(len(part), rows)])
    with states.elsewhere(rows):
        passes = ((seen(inputs), targets) for inputs, targets in batches)
        judgement = judge(_predictions(module, passes, gates))
    module.train(was_training)
    return judgement


def _predictions(
    module: nn.Module, passes: Iterable[tuple[Inputs, Tensor]], gates: Tensor | None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Outputs and targets, batch by batch; each rank has made a share of the outputs."""
    for inputs, targets in passes:
        share = world().share(len(targets))
        yield share.whole(predict(module, share.of(inputs), gates)), targets
