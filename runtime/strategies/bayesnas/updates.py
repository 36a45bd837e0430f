r"""The updates of BayesNAS, one function an equation (Zhou et al., ICML 2019).

Symbols: w architecture weight, s switch, gamma prior variance, omega reweighting, C posterior
variance, H curvature; all dimensionless, all positive but w. The objective is (16) with the loss
as a mean,

    mean NLL + lambda_w sum_g omega_g ||w_g||_2 + lambda/2 ||W||^2.

Dividing it by lambda_w leaves the penalty as the equations assume it, and shows what lambda_w
says: the likelihood counts as 1/lambda_w examples. Hence H is the mean GGN divided by lambda_w;
lambda_w = 1/N is the likelihood of (15) as it stands.
"""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor

from bayesnas.runtime.strategies.linear_algebra import cholesky

# Where the entropy ln(2 pi e gamma) / 2 of a gate is zero.
ENTROPY_THRESHOLD: Final = 1 / (2 * math.pi * math.e)


def posterior_variance(gamma: Tensor, curvature: Tensor) -> Tensor:
    """(17) with the full curvature: the diagonal of C = (diag(1/gamma) + H)^-1, [G].

    Args:
        gamma: [G], at least 0; a gamma of 0 gives a C of 0.
        curvature: H [G, G] positive semidefinite, or its diagonal [G] as in the paper.

    Raises:
        NumericalError: H is not finite, or too far from positive semidefinite.
    """
    if curvature.dim() == 1:
        return gamma / (1 + gamma * curvature)
    root = gamma.sqrt()
    inner = torch.eye(len(gamma), dtype=gamma.dtype, device=gamma.device)
    inner = inner + root[:, None] * curvature * root[None, :]
    inverse = torch.cholesky_inverse(cholesky(inner, "the posterior precision of the gates"))
    return gamma * inverse.diagonal()


def reweighting(gamma: Tensor, variance: Tensor, groups: Tensor, count: int) -> Tensor:
    """(18), and for tied groups: omega_g = sqrt(sum_i (1/gamma_i - C_i / gamma_i^2)) [count].

    Args:
        gamma: [G].
        variance: C [G], at most gamma.
        groups: the group of each gate, int64 [G] in 0..count-1; one gate a group is (18) itself.
        count: how many groups there are.
    """
    tiny = torch.finfo(gamma.dtype).tiny ** 0.25  # a gate of gamma 0 has an endless penalty
    safe = gamma.clamp_min(tiny)
    terms = ((1 - variance / safe) / safe).clamp_min(0)  # rounding alone makes it negative
    return (
        torch.zeros(count, dtype=gamma.dtype, device=gamma.device)
        .index_add(0, groups, terms)
        .sqrt()
    )


def group_norm(w: Tensor, groups: Tensor, count: int) -> Tensor:
    """||w_g||_2 of every group [count]."""
    zeros = torch.zeros(count, dtype=w.dtype, device=w.device)
    return zeros.index_add(0, groups, w**2).sqrt()


def switches(norm: Tensor, omega: Tensor) -> Tensor:
    """(19): s_g = ||w_g||_2 / omega_g; 0 where w is 0."""
    tiny = torch.finfo(omega.dtype).tiny
    return torch.where(norm > 0, norm / omega.clamp_min(tiny), torch.zeros_like(norm))


def entropy(gamma: Tensor) -> Tensor:
    """ln(2 pi e gamma) / 2, in nats: a gate is pruned where it is not positive."""
    return 0.5 * torch.log(2 * math.pi * math.e * gamma)
