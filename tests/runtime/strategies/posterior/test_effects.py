"""Effects of groups on the losses of steps, against plain references."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from bayesnas.runtime.strategies.posterior.effects import DRIFT, detrended, effects


def experiments(count: int, noise: float, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Members [T, 8], their losses [T] on a falling trend, and the true effects [8]."""
    generator = torch.Generator().manual_seed(seed)
    members = (torch.rand(count, 8, generator=generator) < 0.5).double()
    true = torch.linspace(-0.2, 0.15, 8, dtype=torch.float64)
    trend = 2 * torch.exp(-torch.arange(count) / count).double()
    errors = noise * torch.randn(count, generator=generator, dtype=torch.float64)
    return members, trend + members @ true + errors, true


@pytest.mark.parametrize("count", [1, 2, 50, 101, 400])
def test_detrending_by_hand(count: int) -> None:
    series = torch.randn(count, 3, dtype=torch.float64)
    half = DRIFT // 2
    expected = torch.stack(
        [series[t] - series[max(0, t - half) : t + half + 1].mean(dim=0) for t in range(count)]
    )
    torch.testing.assert_close(detrended(series), expected)


def test_a_trend_of_all_is_nobodys_effect() -> None:
    members, losses, _ = experiments(600, noise=0.1)
    plain = effects(members, losses)
    steep = effects(members, losses + torch.linspace(5, 0, 600, dtype=torch.float64))
    assert (plain.mean - steep.mean).abs().max() < 0.02


def test_effects_are_found_within_their_errors() -> None:
    members, losses, true = experiments(2000, noise=0.3)
    found = effects(members, losses)
    errors = found.deviation
    assert (((found.mean - true) / errors).abs() < 4).all()
    assert 0.5 < float(errors.mean()) / (0.3 * 2 / math.sqrt(2000)) < 2


def test_the_posterior_is_the_textbooks_at_its_own_variances() -> None:
    """Mean A^-1 X^T y / sigma^2 and covariance A^-1, A = X^T X / sigma^2 + I / tau^2."""
    members, losses, _ = experiments(300, noise=0.2)
    found = effects(members, losses)
    x, y = detrended(members), detrended(losses[:, None])[:, 0]
    covariance = found.root @ found.root.T
    precision = torch.linalg.inv(covariance)
    # Two numbers, sigma^-2 and tau^-2, make the whole matrix.
    basis = torch.stack([(x.T @ x).flatten(), torch.eye(8, dtype=x.dtype).flatten()], dim=1)
    solved = torch.linalg.lstsq(basis, precision.flatten()[:, None]).solution[:, 0]
    torch.testing.assert_close(basis @ solved, precision.flatten(), rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(found.mean, covariance @ x.T @ y * solved[0], rtol=1e-7, atol=1e-9)
    best = log_evidence(x, y, *(1 / solved).tolist())
    for factor in (0.8, 1.25):
        assert log_evidence(x, y, factor / float(solved[0]), 1 / float(solved[1])) < best
        assert log_evidence(x, y, 1 / float(solved[0]), factor / float(solved[1])) < best


def log_evidence(x: Tensor, y: Tensor, noise: float, prior: float) -> float:
    """Of y ~ N(0, noise I + prior X X^T), by the whole matrix."""
    covariance = noise * torch.eye(len(y), dtype=y.dtype) + prior * x @ x.T
    normal = torch.distributions.MultivariateNormal(torch.zeros_like(y), covariance)
    return float(normal.log_prob(y))


def test_what_never_varies_has_no_effect() -> None:
    members, losses, _ = experiments(200, noise=0.1)
    members[:, 3] = 1
    found = effects(members, losses)
    assert abs(float(found.mean[3])) < 1e-9
    assert torch.isfinite(found.root).all()


@pytest.mark.parametrize("value", [0.0, 2.3])
def test_losses_that_are_all_alike(value: float) -> None:
    members, losses, _ = experiments(100, noise=0.1)
    found = effects(members, torch.full_like(losses, value))
    assert torch.isfinite(found.mean).all()
    assert found.mean.abs().max() < 1e-6
