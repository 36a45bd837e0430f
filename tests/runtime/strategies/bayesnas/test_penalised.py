"""The minimiser of (16) against its optimality conditions and a plain method, on any H."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor

from bayesnas.runtime.strategies.bayesnas.penalised import (
    TOLERANCE,
    PenalisedQuadratic,
    proximal_step,
)


def vector(*numbers: float) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


def psd(count: int, seed: int, rank: int | None = None) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(rank or count, count, generator=generator, dtype=torch.float64)
    return root.T @ root


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


# ------------------------------------------------------------------------------------ any H


def problem(
    count: int, rank: int, spread: float, size: int, strength: float, seed: int
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """g, H, w0, groups and omega, with a minimum: g lies where H is not flat.

    Gates differ in scale by up to 10^(2 spread), penalties by 100; groups have ``size`` gates.
    """
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    root = torch.randn(rank, count, generator=generator, dtype=torch.float64)
    root = root * 10 ** (spread * (2 * uniform(count) - 1))
    H = root.T @ root / rank
    groups = torch.arange(count) // size
    omega = strength * H.diagonal().max().sqrt() * 10 ** (2 * uniform(int(groups[-1]) + 1) - 1)
    return H @ (2 * uniform(count) - 1), H, uniform(count) + 0.5, groups, omega


def missed(w: Tensor, g: Tensor, H: Tensor, w0: Tensor, groups: Tensor, omega: Tensor) -> float:
    """The largest distance from 0 to the subgradient of a group, over the terms in it."""
    slope = H @ (w - w0) + g
    terms = H.abs() @ (w - w0).abs() + H.abs() @ w0.abs() + g.abs()
    worst = 0.0
    for k in range(len(omega)):
        mine = groups == k
        norm = float(w[mine].norm())
        if norm == 0:
            distance = max(0.0, float(slope[mine].norm() - omega[k]))
        else:
            distance = float((slope[mine] + omega[k] * w[mine] / norm).norm())
        worst = max(worst, distance / float(terms[mine].norm()))
    return worst


@given(
    st.integers(1, 20),
    st.integers(1, 30),
    st.sampled_from([0.0, 2.0, 4.0]),
    st.integers(1, 3),
    st.sampled_from([1e-4, 1e-2, 0.3, 10.0]),
    st.integers(0, 10**6),
)
@example(3, 1, 4.0, 3, 1e-4, 2)
@example(30, 10, 4.0, 3, 1e-4, 1)
@example(135, 45, 2.0, 1, 1e-4, 0)
@example(135, 405, 4.0, 3, 1e-4, 2)
def test_the_optimality_conditions_hold_on_any_curvature(
    count: int, rank: int, spread: float, size: int, strength: float, seed: int
) -> None:
    """Well scaled or not, of full rank or singular: 0 lies in the subgradient of every group."""
    if size > 1:
        spread = min(spread, 2.0)  # beyond, a group's own H has more scales than a float64 digits
    g, H, w0, groups, omega = problem(count, rank, spread, size, strength, seed)
    model = PenalisedQuadratic.of(g, H, w0, groups)
    for factor in (1.0, 0.1, 3.0):
        w = model.minimise(factor * omega)
        assert missed(w, g, H, w0, groups, factor * omega) < 10 * TOLERANCE
    assert model.residual == 0


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("seed", range(5))
def test_a_plain_method_ends_there_too(size: int, seed: int) -> None:
    """Proximal gradient steps of the length 1 / |H| in float64 (ISTA), until they stand still."""
    g, H, w0, groups, omega = problem(6, 12, 0, size, 0.1, seed)
    length = float(torch.linalg.eigvalsh(H)[-1])
    w = w0
    for _ in range(20_000):
        before, w = w, proximal_step(w - (g + H @ (w - w0)) / length, groups, omega / length)
        if (w - before).abs().max() < 1e-15:
            break
    found = PenalisedQuadratic.of(g, H, w0, groups).minimise(omega)
    torch.testing.assert_close(found, w, rtol=1e-6, atol=1e-7)
    assert torch.equal(found == 0, w == 0)


def test_nearly_equal_operations_are_no_trouble() -> None:
    """Three substitutes on an edge, on which steps of the data's own size take for ever."""
    H = torch.ones(3, 3).double() + 1e-9 * torch.eye(3).double()
    w0, groups, omega = torch.ones(3).double(), torch.arange(3), vector(1e-6, 2e-6, 3e-6)
    g = H @ vector(0.5, -0.3, 0.1)
    model = PenalisedQuadratic.of(g, H, w0, groups)
    assert missed(model.minimise(omega), g, H, w0, groups, omega) < 10 * TOLERANCE
    assert model.residual == 0


@pytest.mark.parametrize("omega", [0.0, 0.5])
def test_a_model_without_a_minimum_says_so(omega: float) -> None:
    """The loss falls along the second gate for ever: w is a number, and the residual says it."""
    H = torch.diag(vector(2, 0, 1))
    model = PenalisedQuadratic.of(vector(0.5, -1, 0.5), H, torch.ones(3).double(), torch.arange(3))
    w = model.minimise(omega * torch.ones(3).double())
    assert torch.isfinite(w).all()
    assert 1 < float(w[1]) <= 1001  # where a curvature of 1/1000 ends
    assert model.residual > 0.1


def test_a_curvature_that_is_not_semidefinite_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """As a Hessian may be; what rounding makes of a singular one is no news."""
    start, g = torch.ones(2).double(), vector(0.5, 0.5)
    for least, said in ((-0.5, True), (-1e-13, False)):
        model = PenalisedQuadratic.of(g, torch.diag(vector(1, least)), start, torch.tensor([0, 0]))
        assert torch.isfinite(model.minimise(vector(1))).all()
        assert ("negative eigenvalues, down to -5.0e-01" in capsys.readouterr().err) == said
