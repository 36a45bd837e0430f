"""The equations of concrete masks, each by itself."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from bayesnas.runtime.weights.concrete import (
    entropy_term,
    logistic,
    mean_masks,
    relaxed_masks,
    weight_term,
)

P = torch.tensor([0.02, 0.1, 0.5, 0.8, 0.99], dtype=torch.float64)
LOGITS = torch.logit(P)
COUNT = 40_000


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def close(found: Tensor, expected: Tensor, errors: float = 5.0) -> None:
    """Means of `COUNT` draws between 0 and 1, within so many standard errors of the widest."""
    torch.testing.assert_close(found, expected, rtol=0, atol=errors * 0.5 / math.sqrt(COUNT))


def test_the_noise_is_a_difference_of_two_gumbel_variables() -> None:
    """log(-log r1) - log(-log r2), as the paper draws it: the same shares below some points."""
    r1, r2 = torch.rand(2, COUNT, generator=generator(), dtype=torch.float64)
    published = torch.log(-torch.log(r1)) - torch.log(-torch.log(r2))
    drawn = logistic(COUNT, 1, generator())[:, 0]
    points = torch.tensor([-4.0, -1.0, 0.0, 1.0, 4.0], dtype=torch.float64)
    close(
        (drawn[:, None] < points).double().mean(0),
        (published[:, None] < points).double().mean(0),
        7.0,
    )
    close((drawn[:, None] < points).double().mean(0), torch.sigmoid(points))


@pytest.mark.parametrize("temperature", [0.05, 0.2, 1.0])
def test_masks_are_open_with_the_chance_to_stay(temperature: float) -> None:
    masks = relaxed_masks(LOGITS, COUNT, generator(), temperature)
    assert masks.shape == (COUNT, len(P))
    assert ((masks >= 0) & (masks <= 1)).all()
    close((masks > 0.5).double().mean(0), 1 - P)


@pytest.mark.parametrize("temperature", [0.2, 1.0])
def test_means_are_those_of_draws(temperature: float) -> None:
    close(
        relaxed_masks(LOGITS, COUNT, generator(), temperature).mean(0),
        mean_masks(LOGITS, temperature),
    )


def test_means_in_closed_form() -> None:
    c = torch.exp(LOGITS)
    closed = (1 - c + c * LOGITS) / (1 - c) ** 2
    closed[2] = 0.5  # its limit
    torch.testing.assert_close(mean_masks(LOGITS, 1.0), closed, rtol=0, atol=1e-4)
    torch.testing.assert_close(mean_masks(LOGITS, 1e-9), 1 - P, rtol=0, atol=1e-6)
    torch.testing.assert_close(mean_masks(LOGITS) + mean_masks(-LOGITS), torch.ones_like(P))


def test_every_example_has_masks_of_its_own_with_gradients() -> None:
    logits = LOGITS.clone().requires_grad_()
    masks = relaxed_masks(logits, 8, generator())
    assert len(masks.unique(dim=0)) == 8
    [gradient] = torch.autograd.grad(masks.sum(), logits)
    assert (gradient < 0).all()


def test_the_prior_of_the_weights() -> None:
    squares = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0], dtype=torch.float64)
    d2, n = 50.0, 200.0
    plain = sum(d2 * (1 - p) / (2 * n) * s for p, s in zip(P, squares, strict=True))
    torch.testing.assert_close(weight_term(LOGITS, squares, d2 / n), plain)
    fixed = torch.full((5,), -torch.inf, dtype=torch.float64)  # never dropped: plain weight decay
    assert float(weight_term(fixed, squares, 0.1)) == pytest.approx(0.05 * 15)


def test_the_entropy_of_the_masks() -> None:
    masks = torch.tensor([3.0, 1.0, 2.0, 8.0, 1.0], dtype=torch.float64)
    plain = sum(
        k / 10 * (p * math.log(p) + (1 - p) * math.log(1 - p))
        for p, k in zip(P.tolist(), masks.tolist(), strict=True)
    )
    assert float(entropy_term(LOGITS, masks, 10)) == pytest.approx(plain)
