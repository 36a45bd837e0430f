"""Curvature of the mean loss in every weight of a network: the diagonal of Gauss-Newton, sampled.

With J_n the Jacobian of example n's outputs in the weights and sum_k c_nk d_nk d_nk^T the curvature
of its loss in the outputs (`Task.factors`), the diagonal is that of

    1/N sum_n sum_k c_nk (J_n^T d_nk) (J_n^T d_nk)^T.

Pulled back is one vector a batch, sum_n sum_k xi_nk sqrt(c_nk) J_n^T d_nk with signs xi drawn at
random: its square is the batch's sum in expectation, since the signs of different terms cancel.
That is one backward pass per batch, and no example's own gradient is held.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from bayesnas.runtime.network.modules import evaluating, predict
from bayesnas.runtime.tasks.bundle import Inputs
from bayesnas.runtime.tasks.interface import Task
from bayesnas.runtime.weights.subject import Rows, Subject, group_sums, reading_sums


def diagonal(
    module: nn.Module,
    task: Task,
    batches: Iterable[tuple[Inputs, Tensor]],
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """An unbiased estimate of the diagonal, by the names of parameters, each of that one's shape.

    Args:
        module: a network; normalisation is in evaluation mode meanwhile.
        task: what it learns.
        batches: inputs [N, ...] and targets [N, ...]; many small ones say more than a large one.
        generator: on the CPU, of the signs.
    """
    weights = dict(module.named_parameters())
    totals = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    count = 0
    with evaluating(module):
        for inputs, targets in batches:
            outputs = predict(module, inputs)
            direction = _direction(task, outputs.detach(), targets, generator)
            for name, slope in _slopes(outputs, weights, direction).items():
                totals[name] += slope.square()
            count += len(inputs)
    return {name: total / max(count, 1) for name, total in totals.items()}


def of_readers(
    subject: Subject,
    task: Task,
    batches: Iterable[tuple[Inputs, Tensor]],
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
                    exact = row.double().cpu()
                    whole[strand] += exact
                    part[strand] = part.get(strand, 0) + exact.square()
            total += subject.joined(whole).square()
            count += len(inputs)
    means = {name: {s: r / count for s, r in rows.items()} for name, rows in parts.items()}
    return total / max(count, 1), means


def gradient_of_channels(
    subject: Subject,
    task: Task,
    batches: Iterable[tuple[Inputs, Tensor]],
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


def _slopes(outputs: Tensor, weights: Mapping[str, Tensor], direction: Tensor) -> dict[str, Tensor]:
    """What is pulled back to the weights that take part, by their names."""
    slopes = torch.autograd.grad(outputs, [*weights.values()], direction, allow_unused=True)
    pairs = zip(weights, slopes, strict=True)
    return {name: slope for name, slope in pairs if slope is not None}


def _direction(task: Task, outputs: Tensor, targets: Tensor, generator: torch.Generator) -> Tensor:
    """sum_k xi_nk sqrt(c_nk) d_nk of each example [N, K], by its factors as they count."""
    total = torch.zeros_like(outputs)
    for part in task.weighed(targets, task.factors(outputs)):
        shape = part.weights.shape
        signs = torch.randint(0, 2, shape, generator=generator).to(part.weights) * 2 - 1
        scale = signs * part.weights.sqrt()
        total += (scale[:, :, None] * part.directions).sum(dim=1).to(total)
    return total
