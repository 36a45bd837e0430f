"""The normal distribution that strategies draw gates and effects from."""

from __future__ import annotations

import torch
from attrs import frozen
from torch import Tensor


@frozen(eq=False)
class Gaussian:
    """N(mean, root root^T) over R numbers: ``mean`` [R], ``root`` [R, K], float64 on the CPU.

    A root, not the covariance, is what sampling takes, and it may be singular.
    """

    mean: Tensor
    root: Tensor

    @classmethod
    def independent(cls, mean: Tensor, variance: Tensor) -> Gaussian:
        """Independent numbers of these means and variances [R]; rounding below 0 counts as 0."""
        return cls(mean, torch.diag(variance.clamp_min(0).sqrt()))

    @property
    def variance(self) -> Tensor:
        """Of each number alone [R]."""
        return self.root.square().sum(dim=1)

    @property
    def deviation(self) -> Tensor:
        """The standard deviation of each number alone [R]."""
        return self.variance.sqrt()

    def __neg__(self) -> Gaussian:
        """The distribution of the numbers' negatives."""
        return Gaussian(-self.mean, self.root)

    def sample(self, generator: torch.Generator, *counts: int) -> Tensor:
        """Independent draws [*counts, R]."""
        noise = torch.randn(*counts, self.root.shape[1], generator=generator, dtype=self.mean.dtype)
        return self.mean + noise @ self.root.T
