"""Bayesian linear regression on blocks of inputs, each with a prior variance of its own.

The variances are those of the largest evidence (MacKay, *Bayesian interpolation*, Neural
Computation 1992), found by expectation maximisation. A block that says nothing of the targets loses
its variance and with it its say: relevance determination. Each variance has one observation more
than the data have, so that a few targets alone do not silence a block.
"""

from __future__ import annotations

from typing import Final

import torch
from attrs import frozen
from torch import Tensor

from bayesnas.runtime.strategies.gaussian import Gaussian
from bayesnas.runtime.strategies.linear_algebra import eigh

ITERATIONS: Final = 300  # of the variances, which settle to a percent or so
_LEAST: Final = 1e-12  # a variance, in units of the targets': it keeps divisions finite


@frozen(eq=False)
class Regression:
    """The posterior of a linear function: all float64, targets' units.

    Args:
        center: inputs at which the function is ``level`` [K].
        level: the mean of the targets.
        coefficients: of the inputs [K].
        noise: variance of a target round the function.
        variances: of the coefficients of each block [B].
    """

    center: Tensor
    level: float
    coefficients: Gaussian
    noise: float
    variances: Tensor

    def mean(self, inputs: Tensor) -> Tensor:
        """Of the function at some inputs [M, K]: [M]."""
        return self.level + (inputs - self.center) @ self.coefficients.mean

    def draws(self, inputs: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """Values at some inputs [M, K] of functions drawn from the posterior: [count, M]."""
        coefficients = self.coefficients.sample(generator, count)
        return self.level + coefficients @ (inputs - self.center).T


def regress(inputs: Tensor, blocks: Tensor, targets: Tensor) -> Regression:
    """The posterior of a linear function.

    Args:
        inputs: [J, K], float64, J > 0; of each block scaled so that their variances, summed over
            the block, are near 1.
        blocks: the block of each input [K], int64, from 0 on.
        targets: [J], float64.

    Raises:
        NumericalError: inputs or targets are not finite.
    """
    center, level = inputs.mean(dim=0), float(targets.mean())
    x, y = inputs - center, targets - level
    spread = max(float(y.square().mean()), _LEAST)
    count = int(blocks.max()) + 1
    sizes = torch.bincount(blocks, minlength=count).to(x.dtype)
    variances = torch.full((count,), spread / count, dtype=x.dtype)
    first, noise = variances[0].item(), spread / 2
    for _ in range(ITERATIONS):
        second, residual = _moments(x, y, variances[blocks], noise)
        sums = torch.zeros(count, dtype=x.dtype).index_add(0, blocks, second)
        variances = ((sums + first) / (sizes + 1)).clamp_min(_LEAST * spread)
        noise = max((residual + spread / 2) / (len(y) + 1), _LEAST * spread)
    coefficients = _posterior(x.T @ x, x.T @ y, variances[blocks], noise)
    return Regression(center, level, coefficients, noise, variances)


def _moments(x: Tensor, y: Tensor, variances: Tensor, noise: float) -> tuple[Tensor, float]:
    """Second moments of the coefficients [K] by `_posterior`, and the mean square of what is left.

    By the targets' covariance [J, J]: there are far fewer of them than inputs.
    """
    values, vectors = eigh(x * variances @ x.T / noise, "the precision of the sources")
    values = values.clamp_min(0)
    shrink = 1 / (noise * (1 + values))
    loads = x.T @ vectors
    mean = variances * (loads @ (shrink * (vectors.T @ y)))
    variance = variances - variances.square() * (loads.square() @ shrink)
    residual = (y - x @ mean).square().sum() + noise * (values / (1 + values)).sum()
    return mean.square() + variance, float(residual)


def _posterior(gram: Tensor, projected: Tensor, variances: Tensor, noise: float) -> Gaussian:
    """Of coefficients with independent priors, from x^T x [K, K] and x^T y [K]."""
    half = variances.sqrt()
    values, vectors = eigh(half[:, None] * gram * half / noise, "the precision of the sources")
    # The symmetric root: eigenvectors of equal values are any, and draws would hang on rounding.
    root = half[:, None] * (vectors / (1 + values.clamp_min(0)).sqrt() @ vectors.T)
    return Gaussian(root @ (root.T @ projected) / noise, root)
