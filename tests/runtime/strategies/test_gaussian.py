"""The distribution that strategies draw from, against its own moments."""

from __future__ import annotations

import torch

from bayesnas.runtime.strategies.gaussian import Gaussian


def drawn(seed: int = 0) -> Gaussian:
    """Of four numbers, by a root of rank two."""
    generator = torch.Generator().manual_seed(seed)
    mean = torch.randn(4, generator=generator, dtype=torch.float64)
    return Gaussian(mean, torch.randn(4, 2, generator=generator, dtype=torch.float64))


def test_the_deviations_are_those_of_the_covariance() -> None:
    gaussian = drawn()
    covariance = gaussian.root @ gaussian.root.T
    torch.testing.assert_close(gaussian.variance, covariance.diagonal())
    torch.testing.assert_close(gaussian.deviation, covariance.diagonal().sqrt())


def test_samples_have_its_mean_and_covariance() -> None:
    gaussian, count = drawn(), 40_000
    points = gaussian.sample(torch.Generator().manual_seed(1), count)
    assert points.shape == (count, 4)
    error = 6 * gaussian.deviation / count**0.5
    assert ((points.mean(dim=0) - gaussian.mean).abs() < error).all()
    covariance = gaussian.root @ gaussian.root.T
    assert torch.allclose(points.T.cov(), covariance, atol=0.05 * float(covariance.abs().max()))


def test_one_sample_is_one_point() -> None:
    """The first of many, from the same generator."""
    gaussian = drawn()
    one = gaussian.sample(torch.Generator().manual_seed(1))
    [first] = gaussian.sample(torch.Generator().manual_seed(1), 1)
    assert one.shape == (4,)
    torch.testing.assert_close(one, first)


def test_the_negative_is_that_of_the_negatives() -> None:
    gaussian = drawn()
    assert torch.equal((-gaussian).mean, -gaussian.mean)
    assert torch.equal((-gaussian).variance, gaussian.variance)


def test_independent_numbers() -> None:
    """Rounding below zero is no variance."""
    gaussian = Gaussian.independent(torch.arange(3.0), torch.tensor([4.0, 0, -1e-12]))
    assert gaussian.mean.tolist() == [0, 1, 2]
    assert gaussian.deviation.tolist() == [2, 0, 0]
