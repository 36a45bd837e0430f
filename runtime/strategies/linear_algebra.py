"""Factorisations that fail by name: what could not be factorised, and how much of it is bad.

The callers are pure functions, which do not know at which step of a search they are; the search
does (`named_failures`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import torch
from torch import Tensor

from bayesnas.runtime.network.training import diverged
from bayesnas.runtime.runs.progress import say_note

JITTER: Final = 1e-12  # of the largest diagonal entry: a few hundred roundings


class NumericalError(ArithmeticError):
    """A matrix that no factorisation takes; the message names it and says why."""


def cholesky(matrix: Tensor, what: str) -> Tensor:
    """The lower factor of a positive definite matrix [K, K]; ``what`` names it.

    Where rounding alone has made it indefinite, a multiple of the identity is added, and said.

    Raises:
        NumericalError: it is not finite, or not positive definite.
    """
    lower: Tensor
    lower, failed = torch.linalg.cholesky_ex(matrix)
    if not int(failed) and bool(torch.isfinite(lower).all()):
        return lower
    check_finite(matrix, what)
    jitter = JITTER * len(matrix) * float(matrix.diagonal().abs().max())
    eye = torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
    lower, failed = torch.linalg.cholesky_ex(matrix + jitter * eye)
    if int(failed):
        least = float(eigh(matrix, what)[0][0])
        raise NumericalError(f"{what} has the eigenvalue {least:.3g}, and none may be negative")
    say_note(f"{what} is positive definite only with {jitter:.3g} added to its diagonal")
    return lower


def eigh(matrix: Tensor, what: str) -> tuple[Tensor, Tensor]:
    """Eigenvalues [K], the least first, and eigenvectors [K, K] of a symmetric matrix.

    Raises:
        NumericalError: it is not finite, or its eigenvalues were not found.
    """
    check_finite(matrix, what)
    try:
        values, vectors = torch.linalg.eigh(matrix)
    except RuntimeError:  # LinAlgError is one
        raise NumericalError(f"the eigenvalues of {what} were not found") from None
    return values, vectors


def check_finite(matrix: Tensor, what: str) -> None:
    """Refuse entries that are not finite.

    Raises:
        NumericalError: there are some.
    """
    if bad := int((~torch.isfinite(matrix)).sum()):
        raise NumericalError(
            f"{what} has {bad:,} of {matrix.numel():,} entries that are not finite"
        )


@contextmanager
def named_failures(place: str) -> Iterator[None]:
    """What fails in here is a diagnostic; ``place`` says at which step.

    Raises:
        DiagnosticError: D602 (status 1).
    """
    try:
        yield
    except NumericalError as error:
        raise diverged(f"{error}, in {place}") from None
