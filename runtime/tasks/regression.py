"""Regression: numbers per example, each with Gaussian noise."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final

import numpy as np
import torch
from attrs import evolve, frozen
from torch import Tensor

from bayesnas.compiler.graph.model import Graph
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, quote
from bayesnas.runtime.tasks.interface import Task
from bayesnas.runtime.tasks.parts import (
    Array,
    Factors,
    column_names,
    numbers_on,
    unit_factors,
    wrong,
)
from bayesnas.runtime.tasks.scores import Measures, Report, Score

LARGEST: Final = 1e100  # a target, in its unit, and least of what it varies by: squares are finite
_STRATA: Final = 10  # parts of equal size by the first target
_LEAST: Final = 1e-3  # of a sigma that is estimated, in deviations of the targets
_IN_A_STRATUM: Final = 5  # examples at least
_SHOWN: Final = 4  # numbers of an example in words


@frozen
class Regression(Task):
    """K numbers per example: targets are float64 [N, K], as the data say them.

    With z the targets brought to mean 0 and deviation 1 by the training part, and outputs o, the
    likelihood of an example is that of (9), N(z; o, sigma^2 I): its loss is

        |o - z|^2 / (2 sigma^2) + K ln(sigma sqrt(2 pi)),

    its gradient in the outputs (o - z) / sigma^2, and its curvature I / sigma^2.

    Args:
        names: of the targets, in the order of the outputs.
        mean: of each target over the training part, in its own unit.
        deviation: likewise, above 0.
        sigma: of the noise, in deviations of the targets; 1 is that of an answer that explains
            nothing.
        estimated: whether `informed` is to set it.
    """

    names: tuple[str, ...]
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    sigma: float = 1.0
    estimated: bool = False
    objective: ClassVar[str] = "regression"
    metric: ClassVar[str] = "R2"
    digits: ClassVar[int] = 4
    answer_columns: ClassVar[tuple[str, str]] = ("target", "value")

    # ------------------------------------------------------------------------------- the data

    @classmethod
    def suits(cls, targets: Array) -> bool:
        """Floating-point numbers [N] or [N, K], unless they number classes from 0 without gaps."""
        if targets.dtype.kind != "f" or targets.ndim not in (1, 2) or not targets.size:
            return False
        if targets.ndim == 2 and np.isin(targets, (0, 1)).all():
            return False
        present = np.unique(targets)
        return not np.array_equal(present, np.arange(len(present)))

    @classmethod
    def of_targets(cls, targets: Array, place: str, names: Sequence[str] = ()) -> Regression:
        """Of numbers none of which is the same in all examples.

        Raises:
            DiagnosticError: D512 (type or shape), D514 (not finite, or constant).
        """
        values = _numbers(targets, place)
        for column in values.T:
            if (column == column[0]).all():
                what = f"is {column[0]:g} in all examples"
                remedy = "predict something that varies, and leave this out"
                raise wrong(place, "D514", what, remedy)
            if (most := np.ptp(column)) < 1 / LARGEST:
                what = f"varies by {most:g} at most, which is too little to compute with"
                raise wrong(place, "D514", what, "predict it in a smaller unit")
        called = tuple(names) or column_names(values.shape[1])
        unfitted = cls(called, (0.0,) * len(called), (1.0,) * len(called))
        return unfitted.fitted(torch.from_numpy(values))

    def fitted(self, targets: Tensor) -> Regression:
        """With mean and deviation of the targets of a training part."""
        mean, deviation = targets.mean(dim=0), targets.std(dim=0, correction=0)
        deviation = torch.where(deviation > 0, deviation, 1.0)
        return evolve(self, mean=tuple(mean.tolist()), deviation=tuple(deviation.tolist()))

    def targets(self, targets: Array, place: str) -> Tensor:
        """Numbers as float64 [N, K].

        Raises:
            DiagnosticError: D512 (type or shape), D514 (not finite).
        """
        values = _numbers(targets, place)
        if values.shape[1] != len(self.names):
            what = f"has {values.shape[1]} numbers per example, `y` has {len(self.names)}"
            raise wrong(place, "D512", what, "save the same targets for all parts")
        return torch.from_numpy(values)

    def with_options(self, options: Mapping[str, float]) -> Regression:
        """With ``sigma``; 0 is one that is estimated, and 1 until then."""
        sigma = float(options.get("sigma", self.sigma))
        return evolve(self, sigma=sigma or 1.0, estimated=sigma == 0)

    @property
    def estimating(self) -> bool:
        """Whether it is `estimated`."""
        return self.estimated

    def informed(self, score: Score) -> Regression:
        """With the sigma that makes the examples of the score most likely: its residuals' root
        mean square, which the mean loss tells."""
        if not self.estimated:
            return self
        offset = math.log(self.sigma * math.sqrt(2 * math.pi))
        square = 2 * self.sigma**2 * (score.loss / len(self.names) - offset)
        return evolve(self, sigma=max(_LEAST, math.sqrt(max(square, 0.0))))

    @property
    def pace(self) -> float:
        """sigma^2, where it is estimated: a gradient is 1 / sigma^2 times that of squares."""
        return self.sigma**2 if self.estimated else 1.0

    def strata(self, targets: Tensor) -> Array:
        """Tenths of the examples by the first target, fewer where there are few examples."""
        count = len(targets)
        strata = max(1, min(_STRATA, count // _IN_A_STRATUM))
        ranks = np.empty(count, dtype=np.int64)
        ranks[np.argsort(targets[:, 0].cpu().numpy(), kind="stable")] = np.arange(count)
        return ranks * strata // max(count, 1)

    # ------------------------------------------------------------------------------- the network

    def check(self, graph: Graph, data: str) -> None:
        """Refuse a network of another number of outputs than targets.

        Raises:
            DiagnosticError: D506.
        """
        node = graph.node(graph.root.outputs[0])
        count, predicted = len(self.names), (node.shape or ())[0]
        if count == predicted:
            return
        several = f"{count} numbers" if count > 1 else "a number"
        if any(objective.port == node.name for objective in graph.objectives):
            note = f"`{node.name}` learns a regression, as its objective says"
            otherwise = "or give it another objective"
        else:
            note = "its targets are floating-point numbers, which are taken for a regression"
            otherwise = "where they are classes, save whole numbers from 0 or texts"
        raise DiagnosticError(
            Diagnostic(
                "D506",
                f"`{data}` has {several} to predict per example, the network predicts {predicted}",
                node.span,
                notes=(note,),
                help=f"declare the output as `{node.name}: [{count}]`, fed by `linear({count})`; "
                f"{otherwise}",
            )
        )

    def told_of(self, graph: Graph) -> str:
        """That it is a regression, and of what."""
        output = graph.node(graph.root.outputs[0]).name
        numbers = "numbers" if len(self.names) > 1 else "a number"
        return f"`{output}` predicts {quote(self.names)} as {numbers} (regression)"

    # ------------------------------------------------------------------------------- learning

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The negative log-likelihood of (9), in nats, of standardised targets."""
        residual = outputs - self._standardised(targets).to(outputs.dtype)
        offset = len(self.names) * math.log(self.sigma * math.sqrt(2 * math.pi))
        return residual.square().sum(dim=1) / (2 * self.sigma**2) + offset

    def score(self, predictions: Iterable[tuple[Tensor, Tensor]]) -> Score:
        """Its quality is R2: the share of the targets' variance that is explained, their mean."""
        return self.report(predictions).score

    def report(self, predictions: Iterable[tuple[Tensor, Tensor]]) -> Report:
        """With R2, root mean square error and mean absolute error of each target in its unit."""
        loss, parts = 0.0, []
        for outputs, targets in predictions:
            loss += float(self.losses(outputs, targets).sum())
            parts.append((outputs.detach().to("cpu", torch.float64), targets.cpu()))
        outputs, targets = (torch.cat(several) for several in zip(*parts, strict=True))
        residual = (outputs - self._standardised(targets)) * numbers_on(self.deviation, outputs)
        square = residual.square().mean(dim=0)
        variance = targets.var(dim=0, correction=0)
        # A part in which a target is constant has no variance to explain.
        varies = (targets != targets[:1]).any(dim=0)  # a variance may be rounding alone
        explained = torch.where(varies, 1 - square / variance.clamp_min(1e-300), 0.0)
        columns = (explained, square.sqrt(), residual.abs().mean(dim=0))
        rows = dict(zip(self.names, torch.stack(columns, dim=1).tolist(), strict=True))
        score = Score(loss / len(targets), float(explained.mean()))
        return Report(score, measures=Measures("target", ("R2", "RMSE", "MAE"), rows))

    def truths(self, targets: Tensor) -> list[str]:
        """The first numbers."""
        rows = targets.reshape(len(targets), -1)[:, :_SHOWN].tolist()
        return [self._joined(zip(self.names, row, strict=False)) for row in rows]

    def said(self, outputs: Tensor) -> list[str]:
        """The first numbers, without their names."""
        return [self._joined(row[:_SHOWN]) for row in self.answers(outputs, _SHOWN)]

    def _joined(self, row: Iterable[tuple[str, float]]) -> str:
        return ", ".join(self.number_text(name, value, least=4) for name, value in row)

    def answers(self, outputs: Tensor, top: int) -> list[list[tuple[str, float]]]:  # noqa: ARG002
        """All targets, in their own units."""
        outputs = outputs.detach().to(torch.float64)
        values = outputs * numbers_on(self.deviation, outputs) + numbers_on(self.mean, outputs)
        return [list(zip(self.names, row, strict=True)) for row in values.tolist()]

    @property
    def units(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Those of the targets."""
        return self.mean, self.deviation

    def number_text(self, name: str, number: float, least: int = 6) -> str:
        """In so many digits, or as many as tell a thousandth of the target's deviation."""
        deviation = self.deviation[self.names.index(name)]
        size = math.log10(max(abs(number), deviation) / deviation)
        return f"{number:.{min(17, max(least, 4 + math.ceil(size)))}g}"

    def slope(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """(o - z) / sigma^2."""
        outputs = outputs.detach().to(torch.float64)
        return (outputs - self._standardised(targets)) / self.sigma**2

    def factors(self, outputs: Tensor) -> Iterator[Factors]:
        """The unit vectors, by weight 1 / sigma^2."""
        outputs = outputs.detach().to(torch.float64)
        return unit_factors(torch.full_like(outputs, self.sigma**-2))

    def sampled_factors(
        self, outputs: Tensor, samples: int, generator: torch.Generator
    ) -> Iterator[Factors]:
        """Vectors of random signs, by weight 1 / (S sigma^2): their mean square is I / sigma^2.

        Signs instead of normal noise: their squares do not vary, and they are drawn one by one.
        """
        count, size = outputs.shape
        u = torch.rand(
            count, samples, size, generator=generator, device=generator.device, dtype=torch.float64
        )
        signs = torch.where(u < 0.5, -1.0, 1.0).to(outputs.device, torch.float64)
        weight = 1 / (samples * self.sigma**2)
        yield Factors(signs.new_full((count, samples), weight), signs)

    def chance(self, targets: Tensor) -> Score:
        """The loss of the training part's mean, and the R2 of the best constant."""
        zeros = torch.zeros(len(targets), len(self.names), device=targets.device)
        return Score(float(self.losses(zeros, targets).mean()), 0.0)

    def standard_error(self, quality: float, count: int) -> float:
        """That of a squared correlation (delta method), and 1/N, what it is by chance alone."""
        share = min(max(quality, 0.0), 1.0)
        return 2 * math.sqrt(share / count) * (1 - share) + 1 / count

    # ------------------------------------------------------------------------------- what is kept

    @classmethod
    def fits(cls, record: Mapping[str, Any], graph: Graph) -> bool:
        """As many targets as outputs."""
        targets = record.get("targets", {})
        usable = all(about["deviation"] > 0 for about in targets.values())
        return usable and (len(targets),) == graph.node(graph.root.outputs[0]).shape

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Regression:
        """Of the targets' names and units."""
        targets = record["targets"]
        mean = tuple(float(about["mean"]) for about in targets.values())
        deviation = tuple(float(about["deviation"]) for about in targets.values())
        return cls(tuple(targets), mean, deviation, float(record.get("sigma", 1.0)))

    def record(self) -> dict[str, Any]:
        """Each target's mean and deviation, by which outputs are put back into its unit."""
        return {
            "targets": {
                name: {"mean": mean, "deviation": deviation}
                for name, mean, deviation in zip(self.names, self.mean, self.deviation, strict=True)
            },
            "sigma": self.sigma,
        }

    def check_record(self, record: Mapping[str, Any], data: str) -> None:
        """Refuse other targets.

        Raises:
            DiagnosticError: D506.
        """
        names = list(record.get("targets", {}))
        if list(self.names) != names:
            what = "has other targets than the run was trained on"
            remedy = "name data with the same targets"
            raise wrong(
                f"`{data}`", "D506", what, remedy, f"trained on {quote(names) or 'classes'}"
            )

    def _standardised(self, targets: Tensor) -> Tensor:
        return (targets - numbers_on(self.mean, targets)) / numbers_on(self.deviation, targets)


def _numbers(array: Array, place: str) -> Array:
    """Numbers as float64 [N, K]."""
    if array.ndim not in (1, 2) or array.dtype.kind not in "biuf":
        what = f"is {list(array.shape)} of `{array.dtype}`, not numbers [N] or [N, targets]"
        raise wrong(place, "D512", what, "save one number per example, or a row of them")
    if array.size == 0:
        raise wrong(place, "D512", f"is empty: {list(array.shape)}", "save some examples")
    values = np.ascontiguousarray(array.reshape(len(array), -1), dtype=np.float64)
    if (bad := np.flatnonzero(~np.isfinite(values).all(axis=1))).size:
        what = f"has a number that is not finite in example {bad[0]} (counted from 0)"
        raise wrong(place, "D514", what, "leave out examples whose target is not known")
    if (bad := np.flatnonzero((np.abs(values) > LARGEST).any(axis=1))).size:
        row = values[bad[0]]
        where = f"in example {bad[0]} (counted from 0)"
        what = f"has {row[np.abs(row).argmax()]:g} {where}, which is too large"
        raise wrong(place, "D514", what, "predict it in a larger unit")
    return values
