"""The curvature of a softmax at every place: of a class a pixel, of a token a position."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from bayesnas.runtime.tasks.interface import AT_ONCE, Factors


def place_factors(p: Tensor, channels: int) -> Iterator[Factors]:
    """e_y - p at a place by weight p[y] / P, for every class y and place.

    Args:
        p: probabilities of C classes at P places, float64 [N, C, P].
        channels: of the outputs, which are those of the last classes.
    """
    count, classes, places = p.shape
    every = torch.arange(classes * places, device=p.device)
    for chosen in torch.split(every, AT_ONCE):
        y, place = chosen // places, chosen % places
        at = p[:, :, place].permute(2, 0, 1)  # [K', N, C]
        directions = p.new_zeros(count, len(chosen), classes, places)
        numbers = torch.arange(len(chosen), device=p.device)
        directions[:, numbers, :, place] = one_hot(y, classes)[:, None] - at
        yield Factors(p[:, y, place] / places, of_channels(directions, channels))


def sampled_place_factors(
    p: Tensor, channels: int, samples: int, generator: torch.Generator
) -> Iterator[Factors]:
    """e_y - p at all places at once, for classes y drawn from p, one sample at a time."""
    count, classes, places = p.shape
    u = torch.rand(
        count, samples, places, generator=generator, device=generator.device, dtype=p.dtype
    ).to(p.device)
    below, weight = p.cumsum(dim=1), p.new_full((count, 1), 1 / (samples * places))
    for drawn in u.unbind(dim=1):
        y = (below <= drawn[:, None]).sum(dim=1).clamp_max(classes - 1)
        directions = one_hot(y, classes).transpose(1, 2) - p
        yield Factors(weight, of_channels(directions, channels)[:, None])


def of_channels(maps: Tensor, channels: int) -> Tensor:
    """Of maps of all classes [..., C, P] what outputs have of so many channels [..., K]."""
    return maps[..., -channels:, :].flatten(-2)
