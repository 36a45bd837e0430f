"""What tasks have in common besides their interface: curvatures, maps, names and errors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from attrs import frozen
from torch import Tensor

from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError
from bayesnas.runtime.tasks.scores import Array as Array

# Directions that one vectorised backward pass takes. All ten of a usual data set at once take a
# tenth to a quarter less time than one by one, and a tenth more memory.
AT_ONCE = 16


def wrong(place: str, code: str, what: str, remedy: str, *notes: str) -> DiagnosticError:
    """What is wrong with an array or file, ``place`` as its user knows it."""
    return DiagnosticError(Diagnostic(code, f"{place} {what}", notes=notes, help=remedy))


@frozen
class Factors:
    """Part of the curvature of each example's loss in its outputs, or an estimate of it.

    The parts of an example add up to ``sum_k weights[n, k] directions[n, k] directions[n, k]^T``.

    Args:
        weights: [N, K'], at least 0, float64.
        directions: [N, K', K], float64.
    """

    weights: Tensor
    directions: Tensor


def unit_factors(weights: Tensor) -> Iterator[Factors]:
    """Of a diagonal curvature with these entries [N, K]: the unit vectors, in parts."""
    unit = torch.eye(weights.shape[1], dtype=weights.dtype, device=weights.device)
    parts = torch.split(weights, AT_ONCE, dim=1), torch.split(unit, AT_ONCE)
    for weight, directions in zip(*parts, strict=True):
        yield Factors(weight, directions.expand(len(weights), -1, -1))


def likeliest(shares: Tensor, names: Sequence[str], top: int) -> list[list[tuple[str, float]]]:
    """The largest shares [N, K] of each example with their names, at most ``top``."""
    values, indices = shares.topk(min(top, len(names)), dim=1)
    return [
        [(names[k], share) for share, k in zip(row, numbers, strict=True)]
        for row, numbers in zip(values.tolist(), indices.tolist(), strict=True)
    ]


def inverse_shares(counts: Tensor) -> tuple[float, ...]:
    """Weights by which all classes count alike, of mean 1; 1 for a class that does not come.

    Args:
        counts: how often each comes [K], whole numbers.
    """
    each = counts.tolist()
    present = sum(count > 0 for count in each)
    return tuple(sum(each) / (present * count) if count else 1.0 for count in each)


def numbers_on(values: Sequence[float], like: Tensor) -> Tensor:
    """The numbers as float64 [K] on the device of a tensor."""
    return torch.tensor(values, dtype=torch.float64, device=like.device)


def column_names(count: int, name: str = "y") -> tuple[str, ...]:
    """What the targets of an array of that name are called that has so many a row."""
    return (name,) if count == 1 else tuple(f"{name}{k}" for k in range(count))


@frozen(eq=False)
class Map:
    """What a network says of the places of an image.

    ``values`` are numbers of ``classes``, whole numbers [H, W]; or float64 [C, H, W] in the units
    of the targets. ``bytes`` says that these are shares of 255. Of targets, -1 and NaN stand where
    nothing is known.
    """

    values: Array
    classes: tuple[str, ...] = ()
    bytes: bool = False
