"""The equations of BayesNAS, each against plain numbers."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from bayesnas.runtime.strategies.bayesnas.penalised import PenalisedQuadratic, proximal_step
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


# ------------------------------------------------------------------------------------ proximal step


@pytest.mark.parametrize("point", [(3.0, 4.0), (0.3, -0.2), (-1.0, 0.0), (0.0, 0.0)])
@pytest.mark.parametrize("threshold", [0.0, 0.5, 2.0])
def test_the_proximal_step_is_an_argmin(point: tuple[float, float], threshold: float) -> None:
    """Of |z - w|^2 / 2 + t |z|, by brute force."""
    found = proximal_step(vector(*point), torch.tensor([0, 0]), vector(threshold)).tolist()

    def value(z: tuple[float, ...]) -> float:
        distance = sum((a - b) ** 2 for a, b in zip(z, point, strict=True))
        return distance / 2 + threshold * math.hypot(*z)

    grid = [k / 10 for k in range(-40, 41)]
    best = min(product(grid, grid), key=value)
    assert value(tuple(found)) <= value(best) + 1e-12
    assert found == pytest.approx(best, abs=0.1)


def test_the_proximal_step_lands_on_zero() -> None:
    found = proximal_step(vector(0.3, 0.4, 5), torch.tensor([0, 0, 1]), vector(0.51, 1))
    assert found.tolist() == [0, 0, 4]


# ------------------------------------------------------------------------------------ (16)


def objective(w: Tensor, g: Tensor, H: Tensor, w0: Tensor, groups: Tensor, omega: Tensor) -> float:
    step = w - w0
    penalty = sum(
        float(omega[k]) * math.sqrt(sum(float(x) ** 2 for x in w[groups == k]))
        for k in range(len(omega))
    )
    return float(g @ step + step @ H @ step / 2) + penalty


PROBLEMS = {
    "well conditioned": (psd(6, 0) + 6 * torch.eye(6).double(), 1.0),
    "ill conditioned": (torch.diag(torch.logspace(-2, 2, 6, dtype=torch.float64)), 1.0),
    "of low rank": (psd(6, 2, 2), 1.0),
    "flat": (torch.zeros(6, 6).double(), 1.0),
    "large": (1e6 * psd(6, 3), 1e6),
    "small": (1e-6 * psd(6, 4), 1e-6),
}
GROUPS = {
    "alone": torch.arange(6),
    "tied": torch.tensor([0, 1, 0, 1, 2, 2]),
    "one group": torch.zeros(6, dtype=torch.int64),
}


@pytest.mark.parametrize("groups", GROUPS.values(), ids=GROUPS)
@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("strength", [0.03, 0.5, 30])
def test_the_minimiser_is_optimal(name: str, groups: Tensor, strength: float) -> None:
    """KKT: the gradient balances the penalty of a group, or cannot move it from zero."""
    H, unit = PROBLEMS[name]
    generator = torch.Generator().manual_seed(7)
    w0 = torch.rand(6, generator=generator, dtype=torch.float64) + 0.5
    g = H @ torch.randn(6, generator=generator, dtype=torch.float64)
    count = int(groups.max()) + 1
    omega = unit * strength * torch.linspace(0.5, 2, count, dtype=torch.float64)
    w = PenalisedQuadratic.of(g, H, w0, groups).minimise(omega)
    slope = g + H @ (w - w0)
    scale = float(omega.max()) + float(H.abs().max())
    for k in range(count):
        mine, slack = groups == k, 0.02 * float(omega[k]) + 1e-5 * scale
        if float(w[mine].norm()) == 0:
            assert float(slope[mine].norm()) <= float(omega[k]) + slack
        else:
            balance = slope[mine] + omega[k] * w[mine] / w[mine].norm()
            assert float(balance.norm()) <= slack
    best = objective(w, g, H, w0, groups, omega)
    for size in (1e-3, 1e-1, 1):
        for _ in range(20):
            step = size * torch.randn(6, generator=generator, dtype=torch.float64)
            assert best <= objective(w + step, g, H, w0, groups, omega) + 1e-6 * scale
    assert best <= objective(torch.zeros_like(w), g, H, w0, groups, omega) + 1e-6 * scale


def test_a_heavy_penalty_gives_exact_zeros() -> None:
    model = PenalisedQuadratic.of(
        torch.zeros(6).double(), psd(6, 1), torch.ones(6).double(), GROUPS["tied"]
    )
    assert model.minimise(vector(1e3, 1e-6, 1e3)).tolist()[0::2][:2] == [0, 0]
    assert (model.minimise(vector(1e3, 1e3, 1e3)) == 0).all()


def test_no_penalty_gives_the_newton_step() -> None:
    H, g, w0 = psd(6, 5) + torch.eye(6).double(), torch.arange(6).double(), torch.ones(6).double()
    w = PenalisedQuadratic.of(g, H, w0, GROUPS["alone"]).minimise(torch.zeros(6).double())
    torch.testing.assert_close(w, w0 - torch.linalg.solve(H, g), rtol=1e-3, atol=1e-3)


def test_calls_do_not_depend_on_those_before() -> None:
    H, g, w0 = psd(6, 6) + torch.eye(6).double(), torch.arange(6).double(), torch.ones(6).double()
    warm = PenalisedQuadratic.of(g, H, w0, GROUPS["alone"])
    for strength in (5.0, 0.1, 50.0):
        warm.minimise(strength * torch.ones(6).double())
    cold = PenalisedQuadratic.of(g, H, w0, GROUPS["alone"])
    omega = 0.7 * torch.ones(6).double()
    torch.testing.assert_close(warm.minimise(omega), cold.minimise(omega), rtol=1e-4, atol=1e-4)


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
