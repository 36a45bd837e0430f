r"""Curvature of the mean loss in the gates: exact Gauss-Newton, Fisher estimates, the Hessian.

Convention, for everything in this package: the loss is the *mean* negative log-likelihood over
examples, and so are its gradient and its curvature. All of it is dimensionless, taken over all
examples of the batches together (how they are dealt into batches changes nothing), with the module
in evaluation mode, and returned in float64 on the gates' device.

Let J_n [K, G] be the Jacobian of example n's outputs in the gates, l_n' [K] the gradient of its
loss in the outputs, and sum_k c_nk d_nk d_nk^T [K, K] the curvature of its loss in the outputs,
both of which the task gives (`Task.slope`, `Task.factors`). Then follow

    gradient             1/N sum_n J_n^T l_n'
    GGN                  1/N sum_n sum_k c_nk (J_n^T d_nk) (J_n^T d_nk)^T
    Monte-Carlo Fisher   the same of sampled factors: the GGN in expectation
    empirical Fisher     1/N sum_n (J_n^T l_n') (J_n^T l_n')^T: neither

and where examples have weights (`Task.weights`), those stand before each term of the sums. Where
outputs have shares (`Task.shares`), slopes are multiplied by them, and directions by their roots.

(Martens: New insights and perspectives on the natural gradient method, JMLR 2020). H in (17) of
Zhou et al., ICML 2019, is any of them.

Each example gets its own copy of the gate vector, so that one backward pass pulls one direction of
every example back. No weight takes part in it, and no feature map is kept beyond what backward
holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from types import MappingProxyType
from typing import Final, Protocol, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from bayesnas.runtime.network.modules import evaluating, predict
from bayesnas.runtime.network.precision import exactly
from bayesnas.runtime.network.together.ranks import Share, world
from bayesnas.runtime.tasks.bundle import Inputs
from bayesnas.runtime.tasks.interface import Task
from bayesnas.runtime.tasks.parts import Factors

EXACT: Final = 1024  # outputs of an example, up to which a curvature is exact if that is asked for
EXACT_MAPS: Final = 64  # the same where some of them are a map's
SAMPLES: Final = 16  # of each example, where there are more

Batches: TypeAlias = Iterable[tuple[Inputs, Tensor]]  # inputs [N, ...] and targets [N, ...]
# From outputs [N, K] and targets [N, ...] of a batch.
FactorsOf: TypeAlias = Callable[[Tensor, Tensor], Iterable[Factors]]


class Estimator(Protocol):
    """The curvature of the mean loss in the gates, as a matrix [G, G] or its diagonal [G]."""

    def __call__(
        self,
        module: nn.Module,
        task: Task,
        batches: Batches,
        gates: Tensor,
        generator: torch.Generator,
    ) -> Tensor:
        """In float64; ``gates`` [G] are where it is taken, ``generator`` is of what is drawn."""
        ...


def gradient(module: nn.Module, task: Task, batches: Batches, gates: Tensor) -> Tensor:
    """The gradient [G] of the mean loss in the gates: a forward and a backward pass."""
    total, count = _zeros(gates, len(gates)), 0
    with _frozen(module):
        for inputs, targets in batches:
            share = world().share(len(targets))
            for weights, rows in _pulled(module, share, inputs, targets, gates, _slope_of(task)):
                total += share.counted((weights[:, :, None] * rows).sum(dim=(0, 1)))
            count += len(inputs)
    return _mean(total, count)


def ggn(module: nn.Module, task: Task, batches: Batches, gates: Tensor) -> Tensor:
    """The exact generalised Gauss-Newton matrix [G, G], for one backward pass a factor.

    Positive semidefinite. It depends on the targets by the examples' weights alone.
    """
    return fisher(module, batches, gates, _factors_of(task))


def ggn_diagonal(module: nn.Module, task: Task, batches: Batches, gates: Tensor) -> Tensor:
    """The diagonal [G] of `ggn`, without the matrix; as many backward passes."""
    return _mean_square(module, batches, gates, _factors_of(task), diagonal=True)


def fisher(module: nn.Module, batches: Batches, gates: Tensor, factors_of: FactorsOf) -> Tensor:
    """Mean over examples of J^T (sum_k c_k d_k d_k^T) J [G, G] for given factors.

    Args:
        module: a supernet.
        batches: inputs [N, ...] and targets [N, ...].
        gates: [G].
        factors_of: the factors of a batch, in parts, from its outputs [N, K] and targets.
    """
    return _mean_square(module, batches, gates, factors_of, diagonal=False)


def fisher_monte_carlo(
    module: nn.Module,
    task: Task,
    batches: Batches,
    gates: Tensor,
    generator: torch.Generator,
    samples: int = 1,
) -> Tensor:
    """`fisher` with ``samples`` sampled factors of each example.

    An unbiased estimate of the GGN for one backward pass a sample. The draw depends on the
    generator and the order of the examples, not on the module's device or, with a generator on the
    CPU, on the batches.

    Raises:
        ValueError: ``samples`` is less than 1.
    """
    if samples < 1:
        raise ValueError(f"a Monte-Carlo estimate needs 1 or more samples, not {samples}")

    def drawn(outputs: Tensor, targets: Tensor) -> Iterator[Factors]:
        return task.weighed(targets, task.sampled_factors(outputs, samples, generator))

    return fisher(module, batches, gates, drawn)


def fisher_empirical(module: nn.Module, task: Task, batches: Batches, gates: Tensor) -> Tensor:
    """`fisher` with the slopes of the data: the mean outer product of per-example gradients.

    No estimate of the GGN: it falls to 0 with the loss.
    """
    return fisher(module, batches, gates, _slope_of(task))


def hessian(module: nn.Module, task: Task, batches: Batches, gates: Tensor) -> Tensor:
    """The Hessian [G, G] of the mean loss, by double backward: the reference.

    One pass through the backward graph a gate; may be indefinite.
    """
    total, count = _zeros(gates, len(gates), len(gates)), 0
    # Fused attention has no second derivative.
    with _frozen(module), sdpa_kernel(SDPBackend.MATH):
        for inputs, targets in batches:
            shared = gates.detach().clone().requires_grad_()
            share = world().share(len(targets))
            outputs = predict(module, share.of(inputs), shared)
            loss = share.counted(task.loss(outputs, share.of(targets), "sum"))
            if loss.requires_grad:  # not every gate is pruned
                [slope] = torch.autograd.grad(loss, shared, create_graph=True)
                for k, entry in enumerate(slope):
                    [row] = torch.autograd.grad(entry, shared, retain_graph=True)
                    total[k] += row
            count += len(inputs)
    return _mean(total, count)


def _without_draws(
    estimate: Callable[[nn.Module, Task, Batches, Tensor], Tensor],
) -> Estimator:
    def estimator(
        module: nn.Module,
        task: Task,
        batches: Batches,
        gates: Tensor,
        generator: torch.Generator,
    ) -> Tensor:
        del generator  # nothing is drawn
        return estimate(module, task, batches, gates)

    return estimator


ESTIMATORS: Mapping[str, Estimator] = MappingProxyType(
    {
        "ggn": _without_draws(ggn),
        "ggn_diagonal": _without_draws(ggn_diagonal),
        "fisher_monte_carlo": fisher_monte_carlo,
        "fisher_empirical": _without_draws(fisher_empirical),
        "hessian": _without_draws(hessian),
        "sampled": partial(fisher_monte_carlo, samples=SAMPLES),
    }
)


def affordable(name: str, outputs: int, most: int = EXACT) -> str:
    """An estimator of that name, for an example of so many outputs.

    An exact one takes a backward pass for each output: of more than ``most`` it is sampled.
    """
    return "sampled" if name.startswith("ggn") and outputs > most else name


def _factors_of(task: Task) -> FactorsOf:
    return lambda outputs, targets: task.weighed(targets, task.factors(outputs))


def _slope_of(task: Task) -> FactorsOf:
    """The slope of each example's loss as its one factor."""

    def factors(outputs: Tensor, targets: Tensor) -> Iterator[Factors]:
        slope, shares = task.slope(outputs, targets), task.shares(targets)
        if shares is not None:
            slope = shares * slope
        weights, ones = task.weights(targets), slope.new_ones(len(slope), 1)
        yield Factors(ones if weights is None else weights[:, None] * ones, slope[:, None])

    return factors


def _mean_square(
    module: nn.Module, batches: Batches, gates: Tensor, factors_of: FactorsOf, diagonal: bool
) -> Tensor:
    """The mean over examples of sum_k c_k s_k s_k^T [G, G], s_k = J^T d_k, or its diagonal [G]."""
    total, count = _zeros(gates, *[len(gates)] * (1 if diagonal else 2)), 0
    with _frozen(module):
        for inputs, targets in batches:
            share = world().share(len(targets))
            for weights, pulled in _pulled(module, share, inputs, targets, gates, factors_of):
                rows = _weighted(weights, pulled)
                total += share.counted(rows.square().sum(dim=0) if diagonal else rows.T @ rows)
            count += len(inputs)
    return _mean(total, count)


def _mean(total: Tensor, count: int) -> Tensor:
    """The total of all ranks over that many examples.

    A matrix is without the rounding that makes it lopsided.
    """
    mean = world().sum(total) / max(count, 1)
    return (mean + mean.T) / 2 if mean.dim() == 2 else mean


def _weighted(weights: Tensor, rows: Tensor) -> Tensor:
    """Rows [N K', G] whose squares are those of the rows [N, K', G], by weight [N, K']."""
    return (weights.sqrt()[:, :, None] * rows).flatten(0, 1)


def _pulled(
    module: nn.Module,
    share: Share,
    inputs: Inputs,
    targets: Tensor,
    gates: Tensor,
    factors_of: FactorsOf,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Weights [N, K'] and J^T d [N, K', G] of every part of a batch's factors, float64.

    Those of a rank's share of the batch. What is drawn is drawn for the whole.
    """
    outputs, copies = _forward(module, share.of(inputs), gates)
    parts = iter(factors_of(share.spread(outputs.detach()), targets))
    part = next(parts, None)
    while part is not None:  # one at a time: those of 1,000 classes are a thousand times as many
        following = next(parts, None)
        directions = share.of(part.directions).to(outputs.dtype)
        rows = _pulled_back(outputs, copies, directions, last=following is None)
        yield share.of(part.weights), rows.to(torch.float64)
        part = following


def _forward(module: nn.Module, inputs: Inputs, gates: Tensor) -> tuple[Tensor, Tensor]:
    """Outputs [N, K] and the examples' own gates [N, G] that they are a function of."""
    copies = gates.detach().expand(len(inputs), -1).clone().requires_grad_()
    return predict(module, inputs, copies), copies


def _pulled_back(outputs: Tensor, copies: Tensor, directions: Tensor, last: bool) -> Tensor:
    """J^T d [N, K', G] for directions [N, K', K] in the space of outputs.

    The last time, backward frees what it has used: a fifth less memory at the peak.
    """
    if not outputs.requires_grad:  # every gate is pruned
        return directions.new_zeros(*directions.shape[:2], copies.shape[1])
    if directions.shape[1] == 1:
        [row] = torch.autograd.grad(outputs, copies, directions[:, 0], retain_graph=not last)
        return row[:, None]
    [rows] = torch.autograd.grad(
        outputs, copies, directions.transpose(0, 1), retain_graph=not last, is_grads_batched=True
    )
    return rows.transpose(0, 1)


def _zeros(gates: Tensor, *shape: int) -> Tensor:
    return torch.zeros(shape, dtype=torch.float64, device=gates.device)


@contextmanager
def _frozen(module: nn.Module) -> Iterator[None]:
    """The module in evaluation mode, its parameters without gradients; as it was afterwards."""
    with evaluating(module), fixed_weights(module), torch.enable_grad(), exactly():
        yield


@contextmanager
def fixed_weights(module: nn.Module) -> Iterator[None]:
    """The module's parameters without gradients, and what only they would need is not held."""
    flags = [(parameter, parameter.requires_grad) for parameter in module.parameters()]
    try:
        module.requires_grad_(False)
        yield
    finally:
        for parameter, flag in flags:
            parameter.requires_grad_(flag)
