"""Curvature of the mean loss in every weight of a network: the diagonal of Gauss-Newton, sampled.

With J_n the Jacobian of example n's outputs in the weights and sum_k c_nk d_nk d_nk^T the curvature
of its loss in the outputs (`Task.factors`), the diagonal is that of

    1/N sum_n sum_k c_nk (J_n^T d_nk) (J_n^T d_nk)^T.

Pulled back is one vector a batch, sum_n sum_k xi_nk sqrt(c_nk) J_n^T d_nk with signs xi drawn at
random: its square is the batch's sum in expectation, since the signs of different terms cancel.
That is one backward pass a batch, and no example's own gradient is held.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from bayesnas.runtime.network.modules import predict
from bayesnas.runtime.tasks.bundle import Inputs
from bayesnas.runtime.tasks.interface import Task


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
    training, weights = module.training, dict(module.named_parameters())
    totals = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    count = 0
    try:
        module.eval()
        for inputs, targets in batches:
            outputs = predict(module, inputs)
            direction = _direction(task, outputs.detach(), targets, generator)
            slopes = torch.autograd.grad(outputs, [*weights.values()], direction, allow_unused=True)
            for total, slope in zip(totals.values(), slopes, strict=True):
                if slope is not None:
                    total += slope.square()
            count += len(inputs)
    finally:
        module.train(training)
    return {name: total / max(count, 1) for name, total in totals.items()}


def _direction(task: Task, outputs: Tensor, targets: Tensor, generator: torch.Generator) -> Tensor:
    """sum_k xi_nk sqrt(c_nk) d_nk of each example [N, K]."""
    counts, total = task.weights(targets), torch.zeros_like(outputs)
    for part in task.factors(outputs):
        shape = part.weights.shape
        signs = torch.randint(0, 2, shape, generator=generator).to(part.weights) * 2 - 1
        scale = part.weights if counts is None else counts[:, None] * part.weights
        total += ((signs * scale.sqrt())[:, :, None] * part.directions).sum(dim=1).to(total)
    return total
