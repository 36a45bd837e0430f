"""Factorisations are those of torch where it has them, and fail by name where it has none."""

from __future__ import annotations

import pytest
import torch

from bayesnas.dsl.diagnostics import DiagnosticError
from bayesnas.runtime.strategies.bayesnas.updates import posterior_variance
from bayesnas.runtime.strategies.evidence import laplace
from bayesnas.runtime.strategies.linear_algebra import (
    NumericalError,
    cholesky,
    eigh,
    named_failures,
)
from bayesnas.runtime.strategies.posterior.effects import effects


def spectrum(*values: float) -> torch.Tensor:
    """A symmetric matrix of these eigenvalues."""
    generator = torch.Generator().manual_seed(0)
    square = torch.randn(len(values), len(values), generator=generator, dtype=torch.float64)
    axes, _ = torch.linalg.qr(square)
    return axes * torch.tensor(values, dtype=torch.float64) @ axes.T


def with_nan(count: int) -> torch.Tensor:
    matrix = torch.eye(count, dtype=torch.float64)
    matrix[0, 1] = matrix[1, 0] = torch.nan
    return matrix


def test_what_is_positive_is_factorised_silently(capsys: pytest.CaptureFixture[str]) -> None:
    matrix = spectrum(1e-8, 1, 1e6)
    assert torch.equal(cholesky(matrix, "it"), torch.linalg.cholesky(matrix))
    assert capsys.readouterr().err == ""


def test_jitter_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """Rounding alone has made it indefinite: the factor is near, and a note says what was added."""
    matrix = spectrum(-1e-13, 1, 3)
    lower = cholesky(matrix, "the matrix")
    torch.testing.assert_close(lower @ lower.T, matrix, rtol=1e-9, atol=1e-9)
    assert "the matrix is positive definite only with" in capsys.readouterr().err


def test_what_is_not_positive_is_named() -> None:
    with pytest.raises(NumericalError, match=r"the matrix has the eigenvalue -0\.5"):
        cholesky(spectrum(-0.5, 1, 3), "the matrix")


@pytest.mark.parametrize("factorise", [cholesky, eigh])
def test_what_is_not_finite_is_counted(factorise: object) -> None:
    assert callable(factorise)
    with pytest.raises(NumericalError, match="the matrix has 2 of 9 entries that are not finite"):
        factorise(with_nan(3), "the matrix")


def test_every_caller_names_its_matrix() -> None:
    """The posteriors of `bayesnas`, `evidence` and `posterior`."""
    ones, H = torch.ones(3, dtype=torch.float64), with_nan(3)
    with pytest.raises(NumericalError, match="posterior precision"):
        posterior_variance(ones, H)
    with pytest.raises(NumericalError, match="posterior precision"):
        laplace(ones, torch.eye(3, dtype=torch.float64), ones, H, 10)
    with pytest.raises(NumericalError, match="prior covariance"):
        laplace(ones, H, ones, torch.eye(3, dtype=torch.float64), 10)
    with pytest.raises(NumericalError, match="members"):
        effects(H, ones)


def test_a_failure_is_a_diagnostic_of_its_place() -> None:
    with pytest.raises(DiagnosticError) as caught, named_failures("step 7"):
        eigh(with_nan(2), "the matrix")
    [found] = caught.value.diagnostics
    message = "the matrix has 2 of 4 entries that are not finite, in step 7"
    assert (found.code, found.message, caught.value.status) == ("D602", message, 1)
    assert found.help is not None
    assert "learning_rate" in found.help
