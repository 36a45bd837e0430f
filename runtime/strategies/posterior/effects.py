"""What each group does to the loss of the steps that train members, by regression.

Every such step is an experiment: a member, and the loss of its batch. With x [R] the member's
groups and t the step, the model is

    loss = a(t) + x^T beta + noise,    beta ~ N(0, tau^2),    noise ~ N(0, sigma^2),

and both variances are those of the largest evidence (MacKay, *Bayesian interpolation*, Neural
Computation 1992).
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from bayesnas.runtime.strategies.gaussian import Gaussian
from bayesnas.runtime.strategies.linear_algebra import eigh

DRIFT: Final = 101  # steps whose mean loss stands for a(t)
LEAST: Final = 50  # steps that say something
ITERATIONS: Final = 50  # of the variances; they settle in about ten


def effects(members: Tensor, losses: Tensor) -> Gaussian:
    """The posterior of what each group does to the loss, in nats an example [R].

    Bayesian linear regression of losses on members, its variances by evidence.

    The slow drift of the losses is taken off first, and with it what does not vary.

    Args:
        members: which groups were in, or by how much, [T, R], T > 0; float64.
        losses: nats an example, [T], float64.

    Raises:
        NumericalError: members are not finite.
    """
    x, y = detrended(members), detrended(losses[:, None])[:, 0]
    values, vectors = eigh(x.T @ x, "the Gram matrix of the members")
    values, projected = values.clamp_min(0), vectors.T @ (x.T @ y)
    noise = prior = max(float(y.square().mean()), 1e-12)
    for _ in range(ITERATIONS):
        ridge = values + noise / prior
        solved, determined = projected / ridge, float((values / ridge).sum())
        residual = float((y - x @ (vectors @ solved)).square().sum())
        noise = max(residual / max(len(y) - determined, 1.0), 1e-12)
        prior = max(float(solved.square().sum()) / max(determined, 1e-12), 1e-12)
    precision = values / noise + 1 / prior
    return Gaussian(vectors @ (projected / noise / precision), vectors / precision.sqrt())


def detrended(series: Tensor) -> Tensor:
    """A series [T, K] less its running mean over `DRIFT` steps, fewer at the ends."""
    half = DRIFT // 2
    sums = torch.cat([series.new_zeros(1, series.shape[1]), series.cumsum(dim=0)])
    steps = torch.arange(len(series))
    first, last = (steps - half).clamp_min(0), (steps + half + 1).clamp_max(len(series))
    return series - (sums[last] - sums[first]) / (last - first)[:, None]
