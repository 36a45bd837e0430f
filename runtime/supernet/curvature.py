r"""Curvature of the mean loss in the gates: exact Gauss-Newton, Fisher estimates, the Hessian.

Convention, for everything in this package: the loss is the *mean* negative log-likelihood over
examples, and so are its gradient and its curvature. All of it is dimensionless, taken over all
examples of the batches together (how they are dealt into batches changes nothing), with the module
in evaluation mode, and returned in float64 on the gates' device.

Let J_n [classes, G] be the Jacobian of example n's logits in the gates, p_n its softmax and y_n its
label. The score s_n(y) = J_n^T (e_y - p_n) [G] is the gradient of log p_n[y]. From scores follow

    gradient            -1/N sum_n s_n(y_n)
    GGN                  1/N sum_n sum_y p_n[y] s_n(y) s_n(y)^T
                       = 1/N sum_n J_n^T (diag p_n - p_n p_n^T) J_n
    Monte-Carlo Fisher   1/N sum_n s_n(y) s_n(y)^T, y drawn from p_n: the GGN in expectation
    empirical Fisher     1/N sum_n s_n(y_n) s_n(y_n)^T: neither

(Martens: New insights and perspectives on the natural gradient method, JMLR 2020). H in (17) of
Zhou et al., ICML 2019, is any of them.

Each example gets its own copy of the gate vector, so that one backward pass gives the scores of all
examples for one label each. No weight takes part in it, and no feature map is kept beyond what
backward holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from bayesnas.runtime.network.modules import logits

Batches = Iterable[tuple[Tensor, Tensor]]  # inputs [N, ...] and labels [N]
# From softmax [N, classes] and labels [N]: K labels of each example and their weights, [N, K] both.
Choice = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]

# Labels of an example in one vectorised backward pass. All ten of a usual data set at once take a
# tenth to a quarter less time than one by one, and a tenth more memory.
AT_ONCE = 16


class Estimator(Protocol):
    """The curvature of the mean loss in the gates, as a matrix [G, G] or its diagonal [G]."""

    def __call__(
        self, module: nn.Module, batches: Batches, gates: Tensor, generator: torch.Generator
    ) -> Tensor:
        """In float64; ``gates`` [G] are where it is taken, ``generator`` is of what is drawn."""
        ...


def jacobians(module: nn.Module, inputs: Tensor, gates: Tensor) -> tuple[Tensor, Tensor]:
    """Per-example Jacobians of the logits in the gates, and the logits.

    Args:
        module: a supernet in evaluation mode: batch normalisation in training mode mixes examples.
        inputs: [N, ...].
        gates: [G].

    Returns:
        J [N, classes, G] and logits [N, classes], in the inputs' precision.

    Raises:
        ValueError: the module is in training mode.
    """
    if module.training:
        raise ValueError("per-example Jacobians need the module in evaluation mode")
    with _frozen(module):
        outputs, copies = _forward(module, inputs, gates)
        unit = torch.eye(outputs.shape[1]).to(outputs).expand(len(outputs), -1, -1)
        parts = torch.split(unit, AT_ONCE, dim=1)
        rows = [_pulled_back(outputs, copies, part, part is parts[-1]) for part in parts]
    return torch.cat(rows, dim=1), outputs.detach()


def gradient(module: nn.Module, batches: Batches, gates: Tensor) -> Tensor:
    """The gradient [G] of the mean loss in the gates: a forward and a backward pass."""
    total, count = _zeros(gates, len(gates)), 0
    with _frozen(module):
        for inputs, labels in batches:
            for _, _, scores in _scores(module, inputs, labels, gates, _label_of_data):
                total -= scores.sum(dim=(0, 1))
            count += len(inputs)
    return _mean(total, count)


def ggn(module: nn.Module, batches: Batches, gates: Tensor) -> Tensor:
    """The exact generalised Gauss-Newton matrix [G, G], for one backward pass a class.

    Positive semidefinite. The labels are not used: it does not depend on them.
    """
    return fisher(module, batches, gates, _every_label)


def ggn_diagonal(module: nn.Module, batches: Batches, gates: Tensor) -> Tensor:
    """The diagonal [G] of `ggn`, without the matrix; as many backward passes."""
    return _mean_square(module, batches, gates, _every_label, diagonal=True)


def fisher(module: nn.Module, batches: Batches, gates: Tensor, choose: Choice) -> Tensor:
    """Mean over examples of sum_k weight_k s(y_k) s(y_k)^T [G, G] for chosen labels y_k.

    Args:
        module: a supernet.
        batches: inputs [N, ...] and labels [N].
        gates: [G].
        choose: from the softmax [N, classes], in float64, and the labels [N] of a batch, K labels
            of each example and their weights >= 0, both [N, K].
    """
    return _mean_square(module, batches, gates, choose, diagonal=False)


def fisher_monte_carlo(
    module: nn.Module,
    batches: Batches,
    gates: Tensor,
    generator: torch.Generator,
    samples: int = 1,
) -> Tensor:
    """`fisher` with ``samples`` labels of each example drawn from the model's own softmax.

    An unbiased estimate of the GGN for one backward pass a sample. The draw depends on the
    generator and the order of the examples, not on the module's device or, with a generator on the
    CPU, on the batches.

    Raises:
        ValueError: ``samples`` is less than 1.
    """
    if samples < 1:
        raise ValueError(f"a Monte-Carlo estimate needs 1 or more samples, not {samples}")

    def draw(p: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        u = torch.rand(
            len(labels), samples, generator=generator, device=generator.device, dtype=p.dtype
        ).to(p.device)
        # By hand: torch.multinomial's draws depend on how many examples it is given at once.
        drawn = torch.searchsorted(p.cumsum(dim=1), u, right=True).clamp_max(p.shape[1] - 1)
        return drawn, torch.full_like(u, 1 / samples)

    return fisher(module, batches, gates, draw)


def fisher_empirical(module: nn.Module, batches: Batches, gates: Tensor) -> Tensor:
    """`fisher` with the labels of the data: the mean outer product of per-example gradients.

    No estimate of the GGN: it falls to 0 with the loss.
    """
    return fisher(module, batches, gates, _label_of_data)


def hessian(module: nn.Module, batches: Batches, gates: Tensor) -> Tensor:
    """The Hessian [G, G] of the mean loss, by double backward: the reference.

    One pass through the backward graph a gate; may be indefinite.
    """
    total, count = _zeros(gates, len(gates), len(gates)), 0
    with _frozen(module):
        for inputs, labels in batches:
            shared = gates.detach().clone().requires_grad_()
            loss = cross_entropy(logits(module, inputs, shared), labels, reduction="sum")
            if loss.requires_grad:  # not every gate is pruned
                [slope] = torch.autograd.grad(loss, shared, create_graph=True)
                for k, entry in enumerate(slope):
                    [row] = torch.autograd.grad(entry, shared, retain_graph=True)
                    total[k] += row
            count += len(inputs)
    return _mean(total, count)


def _without_draws(estimate: Callable[[nn.Module, Batches, Tensor], Tensor]) -> Estimator:
    def estimator(
        module: nn.Module, batches: Batches, gates: Tensor, generator: torch.Generator
    ) -> Tensor:
        del generator  # nothing is drawn
        return estimate(module, batches, gates)

    return estimator


ESTIMATORS: Mapping[str, Estimator] = MappingProxyType(
    {
        "ggn": _without_draws(ggn),
        "ggn_diagonal": _without_draws(ggn_diagonal),
        "fisher_monte_carlo": fisher_monte_carlo,
        "fisher_empirical": _without_draws(fisher_empirical),
        "hessian": _without_draws(hessian),
    }
)


def _every_label(p: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    del labels
    return torch.arange(p.shape[1], device=p.device).expand_as(p), p


def _label_of_data(p: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    return labels[:, None], p.new_ones(len(p), 1)


def _mean_square(
    module: nn.Module, batches: Batches, gates: Tensor, choose: Choice, diagonal: bool
) -> Tensor:
    """The mean over examples of sum_k weight_k s_k s_k^T [G, G], or its diagonal [G]."""
    total, count = _zeros(gates, *[len(gates)] * (1 if diagonal else 2)), 0
    with _frozen(module):
        for inputs, labels in batches:
            for _, weights, scores in _scores(module, inputs, labels, gates, choose):
                rows = _weighted(weights, scores)
                total += rows.square().sum(dim=0) if diagonal else rows.T @ rows
            count += len(inputs)
    return _mean(total, count)


def _mean(total: Tensor, count: int) -> Tensor:
    """The total over that many examples; a matrix without the rounding that makes it lopsided."""
    mean = total / max(count, 1)
    return (mean + mean.T) / 2 if mean.dim() == 2 else mean


def _weighted(weights: Tensor, scores: Tensor) -> Tensor:
    """Rows [N K, G] whose squares are those of the scores [N, K, G], by weight [N, K]."""
    return (weights.sqrt()[:, :, None] * scores).flatten(0, 1)


def _scores(
    module: nn.Module, inputs: Tensor, labels: Tensor, gates: Tensor, choose: Choice
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Chosen labels [N, K], their weights [N, K] and scores [N, K, G], in parts along K."""
    outputs, copies = _forward(module, inputs, gates)
    p = outputs.detach().to(torch.float64).softmax(dim=1)
    parts = list(zip(*(torch.split(x, AT_ONCE, dim=1) for x in choose(p, labels)), strict=True))
    for k, (chosen, weights) in enumerate(parts):
        directions = one_hot(chosen, p.shape[1]) - p[:, None]
        scores = _pulled_back(
            outputs, copies, directions.to(outputs.dtype), last=k == len(parts) - 1
        )
        yield chosen, weights, scores.to(torch.float64)


def _forward(module: nn.Module, inputs: Tensor, gates: Tensor) -> tuple[Tensor, Tensor]:
    """Logits [N, classes] and the examples' own gates [N, G] that they are a function of."""
    copies = gates.detach().expand(len(inputs), -1).clone().requires_grad_()
    return logits(module, inputs, copies), copies


def _pulled_back(outputs: Tensor, copies: Tensor, directions: Tensor, last: bool) -> Tensor:
    """Rows of directions J [N, K, G] for directions [N, K, classes] in the space of logits.

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
    modes = [(inner, inner.training) for inner in module.modules()]
    flags = [(parameter, parameter.requires_grad) for parameter in module.parameters()]
    try:
        module.eval().requires_grad_(False)
        with torch.enable_grad():
            yield
    finally:
        for inner, mode in modes:
            inner.training = mode
        for parameter, flag in flags:
            parameter.requires_grad_(flag)
