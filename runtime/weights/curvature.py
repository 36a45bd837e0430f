"""Curvature of the mean loss in every weight of a network: the diagonal of Gauss-Newton.

With J_n the Jacobian of example n's outputs in the weights and sum_k c_nk d_nk d_nk^T the curvature
of its loss in the outputs (`Task.factors`), the diagonal is that of

    1/N sum_n sum_k c_nk (J_n^T d_nk) (J_n^T d_nk)^T.

`exact` takes a backward pass for each term. `sampled` takes one for each batch: pulled back is one
vector, sum_n sum_k xi_nk sqrt(c_nk) J_n^T d_nk with signs xi drawn at random, whose square is the
batch's sum in expectation, since the signs of different terms cancel. Neither keeps feature maps
or gradients of more than what it passes at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Final, Protocol, TypeAlias

import torch
from torch import Tensor, nn

from bayesnas.runtime.network.modules import evaluating, predict
from bayesnas.runtime.tasks.bundle import Inputs
from bayesnas.runtime.tasks.interface import Task
from bayesnas.runtime.weights.subject import Rows, Subject, group_sums, reading_sums

Batches: TypeAlias = Iterable[tuple[Inputs, Tensor]]  # inputs [N, ...] and targets [N, ...]
Weights: TypeAlias = Mapping[str, Tensor]  # by the names of parameters


class Estimator(Protocol):
    """The diagonal of Gauss-Newton in all weights, of the mean loss over all examples."""

    def __call__(
        self, module: nn.Module, task: Task, batches: Batches, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """By the names of parameters, each of that one's shape, type and device; at least 0.

        Dimensionless, and 0 where a weight takes no part. Normalisation is in evaluation mode
        meanwhile; ``generator`` is on the CPU, of what is drawn.
        """
        ...


def sampled(
    module: nn.Module, task: Task, batches: Batches, generator: torch.Generator
) -> dict[str, Tensor]:
    """An unbiased estimate for a backward pass a batch; many small ones say more than a large."""

    def slopes(weights: Weights, inputs: Inputs, targets: Tensor) -> Iterator[Weights]:
        outputs = predict(module, inputs)
        yield _slopes(outputs, weights, _direction(task, outputs.detach(), targets, generator))

    return _mean_squares(module, batches, slopes)


def exact(
    module: nn.Module, task: Task, batches: Batches, generator: torch.Generator
) -> dict[str, Tensor]:
    """The diagonal itself, an example and a factor of it at a time.

    A backward pass each, in the memory of one example and its gradient: it works for all that has
    a gradient, and on a CPU it is no slower than gradients of several at once.
    """
    del generator  # nothing is drawn

    def slopes(weights: Weights, inputs: Inputs, targets: Tensor) -> Iterator[Weights]:
        for n in range(len(inputs)):
            outputs = predict(module, inputs[n : n + 1])
            for direction in _directions(task, outputs.detach(), targets[n : n + 1]):
                yield _slopes(outputs, weights, direction, again=True)

    return _mean_squares(module, batches, slopes)


def _mean_squares(
    module: nn.Module,
    batches: Batches,
    slopes: Callable[[Weights, Inputs, Tensor], Iterator[Weights]],
) -> dict[str, Tensor]:
    """The squares of what ``slopes`` pulls back of each batch, summed, over all examples."""
    weights, count = dict(module.named_parameters()), 0
    totals = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    with evaluating(module):
        for inputs, targets in batches:
            for pulled in slopes(weights, inputs, targets):
                for name, slope in pulled.items():
                    totals[name] += slope.square()
            count += len(inputs)
    return {name: total / max(count, 1) for name, total in totals.items()}


ESTIMATORS: Final[Mapping[str, Estimator]] = MappingProxyType({"sampled": sampled, "exact": exact})


def of_readers(
    subject: Subject,
    task: Task,
    batches: Batches,
    gates: Tensor | None = None,
) -> tuple[Tensor, dict[str, Rows]]:
    """Curvature of the mean loss in gates of value 1 on the channels [C], float64, on the CPU.

    Such a gate multiplies a channel where it is read. It is the diagonal of Gauss-Newton, estimated
    as that of weights is. Besides, that in gates where one tensor alone reads, by its name, of its
    strands.

    Args:
        subject: the network and its channels; its generator draws the signs.
        task: what it learns.
        batches: inputs [N, ...] and targets [N, ...]; many small ones say more than a large one.
        gates: of its operations [G], if it is a supernet.
    """
    weights = dict(subject.module.named_parameters())
    total, count = torch.zeros(subject.size, dtype=torch.float64), 0
    parts: dict[str, Rows] = {}
    with evaluating(subject.module):
        for inputs, targets in batches:
            outputs = predict(subject.module, inputs, gates)
            direction = _direction(task, outputs.detach(), targets, subject.generator)
            slopes = _slopes(outputs, weights, direction)
            products = {name: weights[name].detach() * slope for name, slope in slopes.items()}
            sums = reading_sums(subject, products)
            whole = {s: torch.zeros(s.size, dtype=torch.float64) for s in subject.strands}
            for name, rows in sums.items():
                part = parts.setdefault(name, {})
                for strand, row in rows.items():
                    wide = row.double().cpu()
                    whole[strand] += wide
                    part[strand] = part.get(strand, 0) + wide.square()
            total += subject.joined(whole).square()
            count += len(inputs)
    means = {name: {s: r / count for s, r in rows.items()} for name, rows in parts.items()}
    return total / max(count, 1), means


def gradient_of_channels(
    subject: Subject,
    task: Task,
    batches: Batches,
    gates: Tensor | None = None,
) -> Tensor:
    """Gradient of the mean loss in the same gates [C], float64, on the CPU."""
    weights = dict(subject.module.named_parameters())
    total, count = torch.zeros(subject.size, dtype=torch.float64), 0
    with evaluating(subject.module):
        for inputs, targets in batches:
            loss = task.loss(predict(subject.module, inputs, gates), targets) * len(inputs)
            total += _along_gates(subject, weights, _slopes(loss, weights, torch.ones_like(loss)))
            count += len(inputs)
    return total / max(count, 1)


def _along_gates(
    subject: Subject, weights: Mapping[str, Tensor], slopes: Mapping[str, Tensor]
) -> Tensor:
    products = {name: weights[name].detach() * slope for name, slope in slopes.items()}
    return subject.joined(group_sums(subject, products, readers=True)).double().cpu()


def _slopes(
    outputs: Tensor, weights: Mapping[str, Tensor], direction: Tensor, again: bool = False
) -> dict[str, Tensor]:
    """What is pulled back to the weights that take part, by their names; ``again``: not at last."""
    slopes = torch.autograd.grad(
        outputs, [*weights.values()], direction, retain_graph=again, allow_unused=True
    )
    pairs = zip(weights, slopes, strict=True)
    return {name: slope for name, slope in pairs if slope is not None}


def _directions(task: Task, outputs: Tensor, targets: Tensor) -> Iterator[Tensor]:
    """sqrt(c_k) d_k [1, K] of one example, by its factors as they count; none where c_k is 0."""
    for part in task.weighed(targets, task.factors(outputs)):
        for weight, direction in zip(part.weights[0], part.directions[0], strict=True):
            if weight > 0:
                yield (weight.sqrt() * direction)[None].to(outputs)


def _direction(task: Task, outputs: Tensor, targets: Tensor, generator: torch.Generator) -> Tensor:
    """sum_k xi_nk sqrt(c_nk) d_nk of each example [N, K], by its factors as they count."""
    total = torch.zeros_like(outputs)
    for part in task.weighed(targets, task.factors(outputs)):
        shape = part.weights.shape
        signs = torch.randint(0, 2, shape, generator=generator).to(part.weights) * 2 - 1
        scale = signs * part.weights.sqrt()
        total += (scale[:, :, None] * part.directions).sum(dim=1).to(total)
    return total
