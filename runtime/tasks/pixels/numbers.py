"""Dense regression: numbers for every place of an output [C, ...], each with Gaussian noise."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final

import numpy as np
import torch
from attrs import evolve, frozen
from torch import Tensor

from bayesnas.compiler.graph.model import Graph
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError
from bayesnas.runtime.tasks.parts import Array, Factors, Map, numbers_on, unit_factors, wrong
from bayesnas.runtime.tasks.pixels.classes import by
from bayesnas.runtime.tasks.pixels.places import AtPlaces
from bayesnas.runtime.tasks.scores import Score

_PERFECT: Final = 100.0  # decibels, at most


@frozen
class PixelRegression(AtPlaces):
    """C numbers at every place: targets are float32 [N, C, ...], NaN where they are not known.

    With z the targets brought to mean 0 and deviation 1 by the training part, and outputs o, both
    of K numbers per example, the loss of an example is the mean over them of

        (o - z)^2 / (2 sigma^2) + ln(sigma sqrt(2 pi)),

    its gradient (o - z) / (K sigma^2), and its curvature I / (K sigma^2); unknown ones count for 0.

    Args:
        size: of the map of places: (H, W), or (L,).
        mean: of each channel over the training part.
        deviation: likewise, above 0.
        peak: the range of the targets, which PSNR is measured by; 1 of bytes, taken as shares.
        sigma: of the noise, in deviations of the targets.
        of_bytes: whether the targets were bytes.
    """

    size: tuple[int, ...]
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    peak: float
    sigma: float = 1.0
    of_bytes: bool = False
    objective: ClassVar[str] = "regression"
    metric: ClassVar[str] = "psnr"
    unit: ClassVar[str] = " dB"
    answer_columns: ClassVar[tuple[str, str]] = ("channel", "mean")

    # ------------------------------------------------------------------------------- the data

    @classmethod
    def suits(cls, targets: Array) -> bool:
        """Floating-point maps, or pictures of several channels."""
        picture = targets.dtype == np.uint8 and targets.ndim == 4 and targets.shape[1] > 1
        return picture or (targets.ndim >= 3 and targets.dtype.kind == "f")

    def moved(self, targets: Tensor, move: Callable[[Tensor, float], Tensor]) -> Tensor:
        """Maps; what comes in is not known."""
        return move(targets, math.nan) if self.has_maps else targets

    @classmethod
    def of_targets(
        cls,
        targets: Array,
        place: str,
        names: Sequence[str] = (),  # noqa: ARG003
    ) -> PixelRegression:
        """Of maps that are not the same everywhere.

        Raises:
            DiagnosticError: D512 (type or shape), D514 (constant, or none known).
        """
        maps = _maps(targets, place)
        known = maps[np.isfinite(maps)]
        if known.size == 0 or known.min() == known.max():
            what = f"is {known[0]:g} everywhere" if known.size else "has no number"
            raise wrong(place, "D514", what, "predict something that varies")
        of_bytes = targets.dtype == np.uint8
        peak = 1.0 if of_bytes else float(known.max() - known.min())
        ones = (1.0,) * maps.shape[1]
        unfitted = cls(maps.shape[2:], (0.0,) * len(ones), ones, peak, of_bytes=of_bytes)
        return unfitted.fitted(torch.from_numpy(maps))

    def fitted(self, targets: Tensor) -> PixelRegression:
        """With mean and deviation of the channels of a training part."""
        flat = targets.to(torch.float64).transpose(0, 1).flatten(1)
        known = ~flat.isnan()
        count = known.sum(dim=1).clamp_min(1)
        mean = torch.where(known, flat, 0.0).sum(dim=1) / count
        square = torch.where(known, flat - mean[:, None], 0.0).square().sum(dim=1) / count
        deviation = torch.where(square > 0, square.sqrt(), 1.0)
        return evolve(self, mean=tuple(mean.tolist()), deviation=tuple(deviation.tolist()))

    def with_options(self, options: Mapping[str, float]) -> PixelRegression:
        """With ``sigma``."""
        return evolve(self, sigma=float(options.get("sigma", self.sigma)))

    def targets(self, targets: Array, place: str) -> Tensor:
        """Maps as float32 [N, C, ...].

        Raises:
            DiagnosticError: D512.
        """
        maps = _maps(targets, place)
        wanted = (len(self.mean), *self.size)
        if maps.shape[1:] != wanted:
            what = f"has maps {list(maps.shape[1:])}, those to learn from are {list(wanted)}"
            raise wrong(place, "D512", what, "save all maps in one shape")
        return torch.from_numpy(maps)

    # ------------------------------------------------------------------------------- the network

    def check(self, graph: Graph, data: str) -> None:
        """Refuse maps of another shape.

        Raises:
            DiagnosticError: D506.
        """
        node = graph.node(graph.root.outputs[0])
        own = (len(self.mean), *self.size)
        if node.shape == own:
            return
        remedy = f"declare the output as `{node.name}: {list(own)}`"
        if node.shape == (own[-1], *own[:-1]):
            remedy = "move the channels first: save `np.moveaxis(y, -1, 1)`"
        message = f"maps of `{data}` are {list(own)}, `{node.name}` is {list(node.shape or ())}"
        raise DiagnosticError(Diagnostic("D506", message, node.span, help=remedy))

    def told_of(self, graph: Graph) -> str:
        """That it is a regression, and of what."""
        output = graph.node(graph.root.outputs[0]).name
        channels = f"{len(self.mean)} numbers" if len(self.mean) > 1 else "a number"
        return f"`{output}` predicts {channels} at each of {by(self.size)} places (regression)"

    # ------------------------------------------------------------------------------- learning

    def _standardised(self, targets: Tensor) -> Tensor:
        """Float64 [N, K]; NaN where they are not known."""
        mean, deviation = (numbers_on(one, targets) for one in (self.mean, self.deviation))
        flat = targets.to(torch.float64).flatten(2)
        return ((flat - mean[:, None]) / deviation[:, None]).flatten(1)

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The negative log-likelihood in nats a number, of standardised targets."""
        z = self._standardised(targets).to(outputs.dtype)
        known = ~z.isnan()
        residual = torch.where(known, outputs - torch.where(known, z, 0.0), 0.0)
        offset = math.log(self.sigma * math.sqrt(2 * math.pi))
        return (residual.square() / (2 * self.sigma**2) + offset * known).mean(dim=1)

    def shares(self, targets: Tensor) -> Tensor | None:
        """0 where a number is not known."""
        known = ~targets.flatten(1).isnan()
        return None if bool(known.all()) else known.to(torch.float64)

    def score(self, predictions: Iterable[tuple[Tensor, Tensor]]) -> Score:
        """Its quality is the peak signal-to-noise ratio over all numbers, in decibels."""
        count, loss, known, square = 0, 0.0, 0, 0.0
        for outputs, targets in predictions:
            loss += float(self.losses(outputs, targets).sum())
            count += len(targets)
            errors = self._errors(outputs, targets)
            square += float(errors.square().nansum())
            known += int((~errors.isnan()).sum())
        mean = torch.tensor(square / max(known, 1), dtype=torch.float64)
        return Score(loss / max(count, 1), float(self._psnr(mean)))

    def qualities(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The peak signal-to-noise ratio, in decibels."""
        return self._psnr(self._errors(outputs, targets).square().nanmean(dim=(1, 2)))

    def _errors(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Float64 [N, C, P], in the units of the targets; NaN where these are not known."""
        error = outputs.to(torch.float64) - self._standardised(targets)
        error = error.reshape(len(error), len(self.mean), -1)
        return error * numbers_on(self.deviation, error)[:, None]

    def _psnr(self, square: Tensor) -> Tensor:
        """Of mean square errors, in decibels, at most `_PERFECT`."""
        least = self.peak**2 * 10 ** (-_PERFECT / 10)
        return 10 * (self.peak**2 / square.clamp_min(least)).log10()

    def answers(self, outputs: Tensor, top: int) -> list[list[tuple[str, float]]]:  # noqa: ARG002
        """The mean of each channel, in its own unit."""
        means = self._in_units(outputs).mean(dim=2)
        return [[(str(k), value) for k, value in enumerate(row)] for row in means.tolist()]

    def _in_units(self, outputs: Tensor) -> Tensor:
        """Float64 [N, C, P], in the units of the targets."""
        maps = outputs.detach().to(torch.float64).reshape(len(outputs), len(self.mean), -1)
        scale, shift = (numbers_on(one, maps)[:, None] for one in (self.deviation, self.mean))
        return maps * scale + shift

    def drawn(self, outputs: Tensor) -> list[Map]:
        """The numbers of each pixel."""
        values = self._in_units(outputs).reshape(len(outputs), -1, *self.size)
        return self._as_maps(values)

    def drawn_truth(self, targets: Tensor) -> list[Map]:
        """The number of each pixel, NaN where it is not known."""
        return self._as_maps(targets.to(torch.float64))

    def _as_maps(self, values: Tensor) -> list[Map]:
        """Of numbers [N, C, H, W] in the units of the targets."""
        return [Map(one, bytes=self.of_bytes) for one in values.cpu().numpy()]

    def number_text(self, name: str, number: float) -> str:  # noqa: ARG002
        """In six digits."""
        return f"{number:.6g}"

    @property
    def units(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Those of the channels."""
        return self.mean, self.deviation

    def slope(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """(o - z) / (K sigma^2); 0 where it is not known."""
        residual = outputs.detach().to(torch.float64) - self._standardised(targets)
        return residual.nan_to_num(nan=0.0) / (outputs.shape[1] * self.sigma**2)

    def factors(self, outputs: Tensor) -> Iterator[Factors]:
        """The unit vectors, by weight 1 / (K sigma^2)."""
        weights = torch.full_like(outputs, 1 / (outputs.shape[1] * self.sigma**2))
        return unit_factors(weights.detach().to(torch.float64))

    def sampled_factors(
        self, outputs: Tensor, samples: int, generator: torch.Generator
    ) -> Iterator[Factors]:
        """Vectors of random signs, one sample at a time."""
        count, size = outputs.shape
        u = torch.rand(count, samples, size, generator=generator, device=generator.device)
        weight = 1 / (samples * size * self.sigma**2)
        for drawn in u.unbind(dim=1):
            signs = torch.where(drawn < 0.5, -1.0, 1.0).to(outputs.device, torch.float64)
            yield Factors(signs.new_full((count, 1), weight), signs[:, None])

    def chance(self, targets: Tensor) -> Score:
        """The loss of the training part's mean, and the PSNR of the best constants."""
        zeros = torch.zeros(len(targets), targets[0].numel(), device=targets.device)
        flat = targets.to(torch.float64).transpose(0, 1).flatten(1)
        square = (flat - flat.nanmean(dim=1, keepdim=True)).square().nanmean()
        return Score(float(self.losses(zeros, targets).mean()), float(self._psnr(square)))

    # ------------------------------------------------------------------------------- what is kept

    @classmethod
    def fits(cls, record: Mapping[str, Any], graph: Graph) -> bool:
        """As many channels, and a map of the size."""
        channels = record.get("channels", [])
        usable = all(about["deviation"] > 0 for about in channels)
        shape = (len(channels), *record.get("map", []))
        return usable and shape == graph.node(graph.root.outputs[0]).shape

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> PixelRegression:
        """Of the size of the maps and the units of their channels."""
        channels = record["channels"]
        mean, deviation = (
            tuple(float(about[name]) for about in channels) for name in ("mean", "deviation")
        )
        peak, sigma = float(record["peak"]), float(record["sigma"])
        like_bytes = peak == 1 and all(0 <= one <= 1 for one in mean)  # as far as old runs tell
        of_bytes = bool(record.get("bytes", like_bytes))
        return cls(tuple(record["map"]), mean, deviation, peak, sigma, of_bytes)

    def record(self) -> dict[str, Any]:
        """The size of the maps, and what outputs are put back into the channels' unit by."""
        pairs = zip(self.mean, self.deviation, strict=True)
        return {
            "map": list(self.size),
            "channels": [{"mean": mean, "deviation": deviation} for mean, deviation in pairs],
            "peak": self.peak,
            "sigma": self.sigma,
            "bytes": self.of_bytes,
        }

    def check_record(self, record: Mapping[str, Any], data: str) -> None:
        """Refuse maps of another size.

        Raises:
            DiagnosticError: D506.
        """
        if record.get("map") != list(self.size) or "channels" not in record:
            message = f"maps of `{data}` are others than those of the training"
            remedy = "name data with maps of the same shape"
            raise DiagnosticError(Diagnostic("D506", message, help=remedy))


def _maps(array: Array, place: str) -> Array:
    """Maps as float32 [N, C, ...], bytes as shares of 255; [N, H, W] have a single channel."""
    if array.ndim < 3 or array.dtype.kind not in "biuf":
        what = f"is {list(array.shape)} of `{array.dtype}`, not numbers [N, C, H, W]"
        raise wrong(place, "D512", what, "save a map of numbers per example")
    if array.size == 0:
        raise wrong(place, "D512", f"is empty: {list(array.shape)}", "save some examples")
    numbers = array.astype(np.float32)
    if array.dtype == np.uint8:
        numbers /= 255
    if np.isinf(numbers).any():
        remedy = "write NaN where a number is not known"
        raise wrong(place, "D514", "has numbers that are infinite", remedy)
    return np.ascontiguousarray(numbers[:, None] if array.ndim == 3 else numbers)
