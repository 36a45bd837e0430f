r"""Curvature of the mean loss in the gates: exact Gauss-Newton, Fisher estimates, the Hessian.

Convention, for everything in this package: the loss is the *mean* negative log-likelihood over
examples, and so is its curvature,

    GGN = 1/N sum_n J_n^T (diag p_n - p_n p_n^T) J_n    [G, G], dimensionless

with J_n [classes, G] the Jacobian of example n's logits in the gates and p_n its softmax. All of it
is taken in evaluation mode, over all examples of the batches together (how they are dealt into
batches changes nothing), and returned in float64 on the gates' device.

Three of the estimators are sums of squares: 1/N sum_n (V_n J_n)^T (V_n J_n), where the few rows of
V_n are directions in the space of logits. For the exact matrix V_n^T V_n = diag p_n - p_n p_n^T;
for a Fisher matrix the rows are gradients e_y - p_n of log-likelihoods, and the labels y say which:
drawn from p_n, their expectation is the GGN; those of the data give the empirical Fisher, which is
neither (Martens: New insights and perspectives on the natural gradient method, JMLR 2020, sections
8, 9 and 11). Zhou et al., ICML 2019, section 4.3, take the diagonal only.

Each example gets its own copy of the gate vector, so that one backward pass per direction gives
the rows of all examples at once. No weight takes part in it, and no feature map is kept beyond what
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

from bayesnas.runtime.modules import logits

Batches = Iterable[tuple[Tensor, Tensor]]  # inputs [N, ...] and labels [N]
# From softmax [N, classes] and labels [N]: K labels of each example and their weights, [N, K] both.
Choice = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
# From logits [N, classes] and labels [N]: V [N, K, classes].
_Directions = Callable[[Tensor, Tensor], Tensor]

CHUNK = 1  # directions in one vectorised backward pass


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
        J [N, classes, G] and logits [N, classes].

    Raises:
        ValueError: the module is in training mode.
    """
    if module.training:
        raise ValueError("per-example Jacobians need the module in evaluation mode")
    with _frozen(module):
        outputs, copies = _forward(module, inputs, gates)
        unit = torch.eye(outputs.shape[1]).to(outputs).expand(len(outputs), -1, -1)
        parts = [part for part in _pulled_back(outputs, copies, unit)]
    return torch.cat(parts, dim=1), outputs.detach()


def ggn(module: nn.Module, batches: Batches, gates: Tensor) -> Tensor:
    """The exact GGN [G, G] of the mean loss over all examples of the batches, in float64.

    The labels are not used: the GGN of the cross-entropy does not depend on them.
    """
    return _mean_square(module, batches, gates, _exact_directions, diagonal=False)


def ggn_diagonal(module: nn.Module, batches: Batches, gates: Tensor) -> Tensor:
    """The diagonal [G] of `ggn`, without the matrix; as many backward passes."""
    return _mean_square(module, batches, gates, _exact_directions, diagonal=True)


def fisher(module: nn.Module, batches: Batches, gates: Tensor, choose: Choice) -> Tensor:
    """Mean over examples of sum_k weight_k g_k g_k^T [G, G], in float64.

    g_k [G] is the gradient of one example's negative log-likelihood for its k-th chosen label. All
    labels with their probabilities as weights give the GGN.

    Args:
        module: a supernet.
        batches: inputs [N, ...] and labels [N].
        gates: [G].
        choose: from the softmax [N, classes], in float64, and the labels [N] of a batch, K labels
            of each example and their weights >= 0, both [N, K].
    """

    def directions(outputs: Tensor, labels: Tensor) -> Tensor:
        p = outputs.softmax(dim=1)
        chosen, weights = choose(p, labels)
        scores = one_hot(chosen, p.shape[1]) - p[:, None]
        return weights.sqrt()[:, :, None] * scores

    return _mean_square(module, batches, gates, directions, diagonal=False)


def fisher_monte_carlo(
    module: nn.Module,
    batches: Batches,
    gates: Tensor,
    generator: torch.Generator,
    samples: int = 1,
) -> Tensor:
    """`fisher` with ``samples`` labels of each example drawn from the model's own softmax.

    An unbiased estimate of the GGN (Martens 2020, section 9.2), for one backward pass a sample. The
    draw depends on the generator and the order of the examples, not on the module's device or, with
    a generator on the CPU, on the batches.

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

    No estimate of the GGN: it falls to 0 with the loss (Martens 2020, section 11).
    """
    return fisher(
        module, batches, gates, lambda p, labels: (labels[:, None], p.new_ones(len(p), 1))
    )


def hessian(module: nn.Module, batches: Batches, gates: Tensor) -> Tensor:
    """The Hessian [G, G] of the mean loss, in float64, by double backward: the reference.

    As many passes as there are gates; may be indefinite.
    """
    total, count = _zeros(gates, len(gates)), 0
    with _frozen(module):
        for inputs, labels in batches:
            shared, slope = _slope(module, inputs, labels, gates, create_graph=True)
            if slope.requires_grad:
                unit = torch.eye(len(gates)).to(slope)
                for k in range(len(gates)):
                    [row] = torch.autograd.grad(slope, shared, unit[k], retain_graph=True)
                    total[k] += row
            count += len(labels)
    # Symmetric but for rounding.
    return (total + total.T) / (2 * max(count, 1))


def gradient(module: nn.Module, batches: Batches, gates: Tensor) -> Tensor:
    """The gradient [G] of the mean loss in the gates, in float64; evaluation mode as above."""
    total, count = _zeros(gates), 0
    with _frozen(module):
        for inputs, labels in batches:
            total += _slope(module, inputs, labels, gates, create_graph=False)[1]
            count += len(labels)
    return total / max(count, 1)


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


def _exact_directions(outputs: Tensor, labels: Tensor) -> Tensor:
    """V [N, classes - 1, classes] with V^T V = diag p - p p^T, by its Cholesky factor.

    In closed form (Tanabe and Sagae, JRSS B 1992): with q_k the mass of the classes after k, row k
    is sqrt(p_k q_k / q_(k-1)) times e_k - p / q_k, the latter on the classes after k. One row less
    than there are classes saves one backward pass. In logarithms, because masses underflow.
    """
    del labels
    log_p = outputs.log_softmax(dim=1)
    log_q = log_p.flip(1).logcumsumexp(dim=1).flip(1)  # of class k and those after it
    scale = (0.5 * (log_p[:, :-1] + log_q[:, 1:] - log_q[:, :-1])).exp()
    after = (log_p[:, None, :] - log_q[:, 1:, None]).exp().triu(1)
    unit = torch.eye(log_p.shape[1]).to(log_p)
    return scale[:, :, None] * (unit[:-1] - after)


def _mean_square(
    module: nn.Module, batches: Batches, gates: Tensor, directions: _Directions, diagonal: bool
) -> Tensor:
    """1/N sum_n (V_n J_n)^T (V_n J_n) [G, G] or its diagonal [G]."""
    total, count = _zeros(gates, *[len(gates)] * (not diagonal)), 0
    with _frozen(module):
        for inputs, labels in batches:
            outputs, copies = _forward(module, inputs, gates)
            V = directions(outputs.detach().to(torch.float64), labels).to(outputs.dtype)
            for part in _pulled_back(outputs, copies, V):
                rows = part.to(torch.float64).flatten(0, 1)
                total += rows.square().sum(dim=0) if diagonal else rows.T @ rows
            count += len(inputs)
    return total / max(count, 1)


def _forward(module: nn.Module, inputs: Tensor, gates: Tensor) -> tuple[Tensor, Tensor]:
    """Logits [N, classes] and the examples' own gates [N, G] that they are a function of."""
    copies = gates.detach().expand(len(inputs), -1).clone().requires_grad_()
    return logits(module, inputs, copies), copies


def _pulled_back(outputs: Tensor, copies: Tensor, V: Tensor) -> Iterator[Tensor]:
    """V J [N, K, G], in parts along K; V is [N, K, classes]."""
    if not outputs.requires_grad:  # every gate is pruned
        yield V.new_zeros(*V.shape[:2], copies.shape[1])
        return
    parts = V.transpose(0, 1).split(CHUNK)
    for k, part in enumerate(parts):
        batched = len(part) > 1
        [rows] = torch.autograd.grad(
            outputs,
            copies,
            part if batched else part[0],
            retain_graph=k < len(parts) - 1,
            is_grads_batched=batched,
        )
        yield rows.transpose(0, 1) if batched else rows[:, None]


def _slope(
    module: nn.Module, inputs: Tensor, labels: Tensor, gates: Tensor, create_graph: bool
) -> tuple[Tensor, Tensor]:
    """The gates [G] of all examples, and the gradient [G] of the summed loss in them."""
    shared = gates.detach().clone().requires_grad_()
    loss = cross_entropy(logits(module, inputs, shared), labels, reduction="sum")
    if not loss.requires_grad:  # every gate is pruned
        return shared, torch.zeros_like(gates)
    [slope] = torch.autograd.grad(loss, shared, create_graph=create_graph)
    return shared, slope


def _zeros(gates: Tensor, *more: int) -> Tensor:
    return torch.zeros(len(gates), *more, dtype=torch.float64, device=gates.device)


@contextmanager
def _frozen(module: nn.Module) -> Iterator[None]:
    """The module in evaluation mode, its parameters without gradients; as it was afterwards."""
    modes = [(inner, inner.training) for inner in module.modules()]
    flags = [(parameter, parameter.requires_grad) for parameter in module.parameters()]
    module.eval().requires_grad_(False)
    try:
        with torch.enable_grad():
            yield
    finally:
        for inner, mode in modes:
            inner.training = mode
        for parameter, flag in flags:
            parameter.requires_grad_(flag)
