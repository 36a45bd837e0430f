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
from attrs import define
from torch import Tensor

# Where the entropy ln(2 pi e gamma) / 2 of a gate is zero.
ENTROPY_THRESHOLD: Final = 1 / (2 * math.pi * math.e)
MAX_STEPS: Final = 5000


def posterior_variance(gamma: Tensor, curvature: Tensor) -> Tensor:
    """(17) with the full curvature: the diagonal of C = (diag(1/gamma) + H)^-1, [G].

    Args:
        gamma: [G], at least 0; a gamma of 0 gives a C of 0.
        curvature: H [G, G] positive semidefinite, or its diagonal [G] as in the paper.
    """
    if curvature.dim() == 1:
        return gamma / (1 + gamma * curvature)
    root = gamma.sqrt()
    inner = torch.eye(len(gamma), dtype=gamma.dtype, device=gamma.device)
    inner = inner + root[:, None] * curvature * root[None, :]
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(inner))
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


@define
class PenalisedQuadratic:
    """(16) in w for fixed weights W, on the quadratic model of the loss round a start w0.

    The minimum of ``g (w - w0) + (w - w0)^T H (w - w0) / 2 + sum_g omega_g ||w_g||_2``, by the
    alternating direction method of multipliers: the quadratic is solved exactly with one
    factorisation for all calls, the penalty by its proximal step, which lands on zero exactly.
    Calls with other omega start where the last one ended.
    """

    scale: float  # mean of H's diagonal; all is divided by it, which leaves the minimum in place
    target: Tensor  # H w0 - g
    inverse: Tensor  # (H + 1)^-1
    groups: Tensor
    z: Tensor
    u: Tensor

    @classmethod
    def of(
        cls, gradient: Tensor, curvature: Tensor, start: Tensor, groups: Tensor
    ) -> PenalisedQuadratic:
        """The model of g [G] and H [G, G] round w0 [G]; ``groups`` [G] numbers groups."""
        scale = float(curvature.diagonal().mean().clamp_min(torch.finfo(start.dtype).tiny))
        H, g = curvature / scale, gradient / scale
        eye = torch.eye(len(start), dtype=start.dtype, device=start.device)
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(H + eye))
        return cls(scale, H @ start - g, inverse, groups, start.clone(), torch.zeros_like(start))

    def minimise(self, omega: Tensor) -> Tensor:
        """The minimiser w [G] for penalties omega [groups]."""
        for _ in range(MAX_STEPS):
            w = self.inverse @ (self.target + self.z - self.u)
            before, self.z = self.z, proximal_step(w + self.u, self.groups, omega / self.scale)
            self.u = self.u + w - self.z
            gap = torch.maximum((w - self.z).abs().max(), (self.z - before).abs().max())
            if float(gap) < 1e-8:
                break
        return self.z


def proximal_step(w: Tensor, groups: Tensor, threshold: Tensor) -> Tensor:
    """Each group of w [G] shrunk towards zero by its threshold [groups], or onto it."""
    norm = group_norm(w, groups, len(threshold))
    tiny = torch.finfo(w.dtype).tiny
    scale = (1 - threshold / norm.clamp_min(tiny)).clamp_min(0)
    return w * scale[groups]
