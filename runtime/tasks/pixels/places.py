"""Dense prediction: what its tasks share, and the curvature of a softmax at every place."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from bayesnas.compiler.operations.primitives import Shape
from bayesnas.runtime.tasks.interface import Task
from bayesnas.runtime.tasks.parts import AT_ONCE, Array, Factors, Map


class AtPlaces(Task):
    """Something at every place of an output [C, ...]; ``size`` is that of the map of places."""

    size: tuple[int, ...]

    @classmethod
    def suits_output(cls, shape: Shape) -> bool:
        """Maps, or a series."""
        return len(shape) > 1

    @property
    def placed(self) -> bool:
        """A map lies on its image."""
        return True

    @property
    def map_sizes(self) -> set[tuple[int, ...]]:
        """That of the targets."""
        return {self.size}

    def strata(self, targets: Tensor) -> Array:
        """All the same: an image has several of what is learned."""
        return np.zeros(len(targets), dtype=np.int64)

    @abstractmethod
    def qualities(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The quality of each example by itself, float64 [N]; NaN where nothing is known of it."""

    @property
    def has_maps(self) -> bool:
        """Of images, not of series."""
        return len(self.size) == 2

    def maps(self, outputs: Tensor) -> list[dict[str, Map]]:
        """Those of each example, where there are some."""
        if not self.has_maps:
            return super().maps(outputs)
        return [{"": one} for one in self.drawn(outputs)]

    def true_maps(self, targets: Tensor) -> list[dict[str, Map]]:
        """Those of each example, where there are some."""
        if not self.has_maps:
            return super().true_maps(targets)
        return [{"": one} for one in self.drawn_truth(targets)]

    @abstractmethod
    def drawn(self, outputs: Tensor) -> list[Map]:
        """The map of each example, of images."""

    @abstractmethod
    def drawn_truth(self, targets: Tensor) -> list[Map]:
        """The map of each example's targets, of images."""


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
