"""The equations of BayesNAS, each against plain numbers."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from bayesnas.runtime.strategies.bayesnas.penalised import PenalisedQuadratic
from bayesnas.runtime.strategies.bayesnas.updates import (
    ENTROPY_THRESHOLD,
    entropy,
    group_norm,
    posterior_variance,
    reweighting,
    switches,
)

POSITIVE = st.floats(1e-3, 1e3)


def vector(*numbers: float) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


def psd(count: int, seed: int, rank: int | None = None) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(rank or count, count, generator=generator, dtype=torch.float64)
    return root.T @ root


ALONE = torch.arange(3)

# ------------------------------------------------------------------------------------ (17) to (20)


@given(POSITIVE, POSITIVE)
def test_posterior_variance_of_one_gate(gamma: float, h: float) -> None:
    expected = 1 / (1 / gamma + h)
    for curvature in (vector(h), vector(h)[:, None]):
        assert float(posterior_variance(vector(gamma), curvature)) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("rank", [6, 2])
def test_posterior_variance_with_the_full_curvature(seed: int, rank: int) -> None:
    H = psd(6, seed, rank)
    gamma = torch.logspace(-2, 2, 6, dtype=torch.float64)
    expected = torch.linalg.inv(torch.diag(1 / gamma) + H).diagonal()
    torch.testing.assert_close(posterior_variance(gamma, H), expected)


def test_posterior_variance_of_a_gate_that_is_off() -> None:
    """gamma 0 gives C 0, and its curvature says nothing about the others."""
    H = psd(3, 0)
    found = posterior_variance(vector(0.5, 0, 2), H)
    kept = torch.tensor([0, 2])
    alone = posterior_variance(vector(0.5, 2), H[kept][:, kept])
    torch.testing.assert_close(found, vector(float(alone[0]), 0, float(alone[1])))


def test_data_only_narrow_the_prior() -> None:
    gamma = vector(0.1, 1, 10)
    assert (posterior_variance(gamma, psd(3, 1)) < gamma).all()
    torch.testing.assert_close(posterior_variance(gamma, torch.zeros(3, 3).double()), gamma)


@given(POSITIVE, st.floats(0.001, 0.999))
def test_reweighting_of_one_gate(gamma: float, share: float) -> None:
    variance = share * gamma
    expected = math.sqrt(gamma - variance) / gamma
    found = reweighting(vector(gamma), vector(variance), torch.tensor([0]), 1)
    assert float(found) == pytest.approx(expected, rel=1e-6)


def test_reweighting_of_tied_gates() -> None:
    gamma, variance = vector(0.5, 2, 1), vector(0.1, 1.5, 0.5)
    found = reweighting(gamma, variance, torch.tensor([0, 1, 0]), 2)
    first = math.sqrt((1 / 0.5 - 0.1 / 0.5**2) + (1 / 1 - 0.5 / 1**2))
    second = math.sqrt(1 / 2 - 1.5 / 2**2)
    assert found.tolist() == pytest.approx([first, second])


def test_reweighting_of_a_gate_that_is_off() -> None:
    """Its penalty is endless, and a number all the same."""
    found = reweighting(vector(0, 1, 1), vector(0, 0.5, 1), ALONE, 3)
    assert torch.isfinite(found).all()
    assert float(found[0]) > 1e30
    assert float(found[2]) == 0


@pytest.mark.parametrize("h", [1e-4, 1e-8, 1e-10])  # below 1e-12 a float64 C equals gamma
def test_reweighting_of_a_nearly_flat_gate(h: float) -> None:
    """(18) is sqrt(H / (1 + gamma H)): small, and no rounding may make it nothing at all."""
    gamma = vector(0.5)
    for curvature in (vector(h), vector(h)[:, None]):
        variance = posterior_variance(gamma, curvature)
        found = reweighting(gamma, variance, torch.tensor([0]), 1)
        assert float(found) == pytest.approx(math.sqrt(h / (1 + 0.5 * h)), rel=1e-3)


def test_norms_of_groups() -> None:
    found = group_norm(vector(3, -1, 4), torch.tensor([1, 0, 1]), 3)
    assert found.tolist() == [1, 5, 0]


def test_switches() -> None:
    found = switches(vector(3, 0, 0), vector(2, 5, 0))
    assert found.tolist() == [1.5, 0, 0]
    assert float(switches(vector(1), vector(0))) > 1e300


def test_entropy_is_zero_at_its_threshold() -> None:
    assert pytest.approx(1 / (2 * math.pi * math.e)) == ENTROPY_THRESHOLD
    assert round(ENTROPY_THRESHOLD, 4) == 0.0585
    below, at, above = entropy(ENTROPY_THRESHOLD * vector(0.999, 1, 1.001)).tolist()
    assert below < 0 < above
    assert at == pytest.approx(0, abs=1e-12)
    assert float(entropy(vector(2.5))) == pytest.approx(math.log(2 * math.pi * math.e * 2.5) / 2)
    assert float(entropy(vector(0))) == -math.inf


# ------------------------------------------------------------------------------------ fixed point


@pytest.mark.parametrize("h", [0.5, 4.0, 100.0])
@pytest.mark.parametrize("optimum", [0.05, 0.4, 0.9, 3.0])
def test_the_fixed_point_of_one_gate(h: float, optimum: float) -> None:
    """Without dependency gamma = w*^2 - 1/H, or 0: signal above noise (Wipf and Nagarajan 2007)."""
    H, w0 = vector(h)[:, None], vector(1)
    model = PenalisedQuadratic.of(vector(h * (1 - optimum)), H, w0, torch.tensor([0]))
    gamma = vector(1)
    before = vector(2)
    while abs(float(gamma - before)) > 1e-9:
        before = gamma
        variance = posterior_variance(gamma, H)
        omega = reweighting(gamma, variance, torch.tensor([0]), 1)
        w = model.minimise(omega)
        gamma = switches(group_norm(w, torch.tensor([0]), 1), omega)
    expected = max(0.0, optimum**2 - 1 / h)
    assert float(gamma) == pytest.approx(expected, rel=1e-3, abs=1e-3)
