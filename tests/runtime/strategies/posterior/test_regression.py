"""Regression on blocks of inputs, against plain references."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bayesnas.runtime.strategies.linear_algebra import NumericalError
from bayesnas.runtime.strategies.posterior.regression import regress

BLOCKS = torch.tensor([0, 1, 2, 2, 2])


def problem(count: int, noise: float, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs [J, 5], targets [J], true coefficients [5]: block 1 does nothing."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(count, 5, generator=generator, dtype=torch.float64)
    inputs[:, 2:] /= 3**0.5
    true = torch.tensor([1.0, 0.0, 0.5, -0.5, 0.3], dtype=torch.float64)
    errors = noise * torch.randn(count, generator=generator, dtype=torch.float64)
    return inputs, 2 + inputs @ true + errors, true


def test_the_posterior_is_the_textbooks_at_its_own_variances() -> None:
    inputs, targets, _ = problem(40, 0.3)
    posterior = regress(inputs, BLOCKS, targets)
    x, y = inputs - inputs.mean(dim=0), targets - targets.mean()
    precision = x.T @ x / posterior.noise + torch.diag(1 / posterior.variances[BLOCKS])
    covariance = posterior.coefficients.root @ posterior.coefficients.root.T
    # The variances move by less than a thousandth in the last of their iterations.
    torch.testing.assert_close(covariance, torch.linalg.inv(precision), rtol=5e-3, atol=1e-6)
    torch.testing.assert_close(
        posterior.coefficients.mean, covariance @ x.T @ y / posterior.noise, rtol=5e-3, atol=1e-6
    )


def test_coefficients_are_found_within_their_errors() -> None:
    inputs, targets, true = problem(100, 0.1)
    coefficients = regress(inputs, BLOCKS, targets).coefficients
    assert (((coefficients.mean - true) / coefficients.deviation).abs() < 4).all()
    assert coefficients.deviation.max() < 0.05


def test_a_block_that_says_nothing_loses_its_variance() -> None:
    inputs, targets, _ = problem(100, 0.1)
    variances = regress(inputs, BLOCKS, targets).variances
    assert variances[1] < variances[0] / 2
    assert variances[1] < variances[2]


def test_draws_have_the_posteriors_mean_and_variance() -> None:
    inputs, targets, _ = problem(30, 0.5)
    posterior = regress(inputs, BLOCKS, targets)
    draws = posterior.draws(inputs[:4], 20_000, torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        draws.mean(dim=0), posterior.mean(inputs[:4]), rtol=0, atol=5 * float(draws.std()) / 140
    )
    moved = (inputs[:4] - posterior.center) @ posterior.coefficients.root
    torch.testing.assert_close(draws.var(dim=0), moved.square().sum(dim=1), rtol=0.06, atol=1e-9)


def test_draws_do_not_hang_on_the_last_digit() -> None:
    """Three targets leave two of five directions as the prior has them: any turn of them is one."""
    inputs, targets, _ = problem(3, 0.5)
    moved = inputs * (1 + 1e-14 * torch.randn_like(inputs))
    elsewhere = problem(4, 0.5, seed=1)[0]
    one, other = (
        regress(x, BLOCKS, targets).draws(elsewhere, 20, torch.Generator().manual_seed(0))
        for x in (inputs, moved)
    )
    torch.testing.assert_close(one, other, rtol=0, atol=1e-8)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_few_targets_and_targets_all_alike(count: int) -> None:
    inputs, targets, _ = problem(count, 0.3)
    for some in (targets, torch.full_like(targets, 1.5)):
        posterior = regress(inputs, BLOCKS, some)
        assert torch.isfinite(posterior.mean(inputs)).all()
        assert (posterior.mean(inputs) - some).abs().max() < 3


def test_numbers_that_are_none_are_named() -> None:
    inputs, targets, _ = problem(10, 0.3)
    inputs[3, 2] = torch.nan
    with pytest.raises(NumericalError, match="the precision of the sources"):
        regress(inputs, BLOCKS, targets)
