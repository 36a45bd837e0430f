"""The interface of all learning tasks: what a network's outputs are compared with, and how.

Convention: `outputs` [N, K] are what a network returns for N examples, `targets` [N, ...] what the
data say of them. The loss of an example is a negative log-likelihood, in nats. An example of weight
w counts as w examples in all that is learned, and as one in scores.

Outputs of more dimensions come flattened, those of several ports side by side (`predict`). A task
is of one port; `Several` joins those of all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal, Protocol, TypeAlias

import torch
from attrs import evolve
from torch import Tensor
from typing_extensions import Self

from bayesnas.compiler.graph.model import Graph
from bayesnas.compiler.operations.primitives import Shape
from bayesnas.dsl.diagnostics import check_idle
from bayesnas.runtime.tasks.parts import Array, Factors, Map
from bayesnas.runtime.tasks.scores import Report, Score

Units: TypeAlias = tuple[tuple[float, ...], tuple[float, ...]]  # mean, deviation by channel
Reduction: TypeAlias = Literal["mean", "sum"]


class Losing(Protocol):
    """What has a loss: a task, or one with more to it."""

    def loss(self, outputs: Tensor, targets: Tensor, reduction: Reduction = "mean") -> Tensor:
        """The sum of the examples' losses, or that over their number: a scalar."""
        ...


class Task(ABC):
    """What is learned of the targets of a data set; frozen, and equal where it is the same."""

    objective: ClassVar[str]  # what specs call it: a word of `compiler/objectives.py`
    metric: ClassVar[str]  # what `Score.quality` is, in a word
    unit: ClassVar[str] = ""  # behind its number, which is shown times `scale`
    scale: ClassVar[float] = 1.0
    digits: ClassVar[int] = 2  # of that number, behind the point
    answer_columns: ClassVar[tuple[str, str]]  # what a name and a number of `answers` are

    # ------------------------------------------------------------------------------- the data

    @classmethod
    @abstractmethod
    def suits(cls, targets: Array) -> bool:
        """Whether the numbers of a training part look like targets of this task."""

    @classmethod
    def suits_output(cls, shape: Shape) -> bool:
        """Whether an output of this shape, that of one example, can learn the task."""
        return len(shape) == 1

    @classmethod
    def seen(cls, targets: Array, options: Mapping[str, float]) -> Array:  # noqa: ARG003
        """Targets of a training part as `of_targets` takes them, by options of the objective."""
        return targets

    @property
    def placed(self) -> bool:
        """Whether targets tell of places in the inputs, which then may not be moved alone."""
        return False

    @property
    def map_sizes(self) -> set[tuple[int, ...]]:
        """Sizes (H, W) of the targets that lie on images, which move with those of their size."""
        return set()

    def moved(
        self,
        targets: Tensor,
        move: Callable[[Tensor, float], Tensor],  # noqa: ARG002
    ) -> Tensor:
        """Targets [N, ...], those that lie on images moved as these were.

        ``move`` takes maps [N, C, H, W], and what comes in at the border.
        """
        return targets

    def of_output(self, shape: Shape) -> Self:  # noqa: ARG002
        """The same for a network's output of this shape, where the targets leave that open."""
        return self

    @property
    def learned(self) -> str | Mapping[str, str]:
        """What is learned, for files: an objective, or one by the port of each output."""
        return self.objective

    def with_options(self, options: Mapping[str, float]) -> Self:
        """The same with options of its objective, by `compiler/objectives.py`."""
        assert not options, f"`{self.objective}` has no options"
        return self

    @classmethod
    @abstractmethod
    def of_targets(cls, targets: Array, place: str, names: Sequence[str] = ()) -> Self:
        """The task of these targets of a training part.

        Args:
            targets: one per example, or a row of them.
            place: names them in diagnostics.
            names: of the targets of a row, where the data has names.

        Raises:
            DiagnosticError: D512 (type or shape), D514 (values).
        """

    def fitted(self, targets: Tensor) -> Self:  # noqa: ARG002
        """The same with what is taken from the targets of the training part alone."""
        return self

    @abstractmethod
    def targets(self, targets: Array, place: str) -> Tensor:
        """Targets of any part, as losses take them.

        Raises:
            DiagnosticError: D512 (type or shape), D514 (values).
        """

    def targets_by_name(self, targets: Array, place: str) -> Tensor:
        """Targets of data that has no training part: classes are told by what they are called.

        Raises:
            DiagnosticError: D506 (unknown classes), D512 (type or shape), D514 (values).
        """
        return self.targets(targets, place)

    @abstractmethod
    def strata(self, targets: Tensor) -> Array:
        """Numbers from 0, int64 [N]: what is held out has the same share of each."""

    @property
    def strata_names(self) -> tuple[str, ...]:
        """What the strata are called, by their numbers; none where they have no names."""
        return ()

    def balanced(self, targets: Tensor) -> Self:  # noqa: ARG002
        """The same with weights by which all strata of a training part count alike.

        Those of the examples of ``targets`` have the mean 1.

        Raises:
            DiagnosticError: D423 (the task has no classes).
        """
        remedy = "leave it out: it is for one class per example"
        check_idle(["class_weights = balanced"], f"where {self.metric} is learned", remedy)
        return self

    def smoothed(self, share: float) -> Self:  # noqa: ARG002
        """The same with labels that are spread over all classes by that share.

        What has no classes, and labels smoothed already, stay as they are.
        """
        return self

    def weights(self, targets: Tensor) -> Tensor | None:  # noqa: ARG002
        """What each example counts, float64 [N] on the device of its target; None: 1 each."""
        return None

    def shares(self, targets: Tensor) -> Tensor | None:  # noqa: ARG002
        """What each output of an example counts besides, float64 [N, K]; None: 1 each.

        It is 0 where nothing is known of what an output should be, and multiplies slopes.
        """
        return None

    # ------------------------------------------------------------------------------- the network

    @abstractmethod
    def check(self, graph: Graph, data: str) -> None:
        """Refuse a network whose outputs do not fit the targets of the data set called ``data``.

        Raises:
            DiagnosticError: D506.
        """

    def causal(self, graph: Graph) -> bool:  # noqa: ARG002
        """Whether no output may depend on inputs at later places."""
        return False

    def told_of(self, graph: Graph) -> str:  # noqa: ARG002
        """A note on what is learned of a network's outputs, where that is not plain."""
        return ""

    # ------------------------------------------------------------------------------- learning

    @abstractmethod
    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss of each example [N], without its weight, differentiable in the outputs."""

    def loss(self, outputs: Tensor, targets: Tensor, reduction: Reduction = "mean") -> Tensor:
        """The sum of the examples' losses by weight, or that over their number: a scalar."""
        losses = self.losses(outputs, targets)
        if (weights := self.weights(targets)) is not None:
            losses = weights.to(losses.dtype) * losses
        return losses.mean() if reduction == "mean" else losses.sum()

    @abstractmethod
    def score(self, predictions: Iterable[tuple[Tensor, Tensor]]) -> Score:
        """Of outputs and targets, batch by batch; one example at least."""

    def report(self, predictions: Iterable[tuple[Tensor, Tensor]]) -> Report:
        """The same and more, in one pass."""
        return Report(self.score(predictions))

    @abstractmethod
    def answers(self, outputs: Tensor, top: int) -> list[list[tuple[str, float]]]:
        """What a network says of each example, for people: names and numbers, at most ``top``.

        The likeliest comes first. ``answer_columns`` says what they are.
        """

    def maps(self, outputs: Tensor) -> list[dict[str, Map]]:
        """What a network says of the places of each example, by the port of an output.

        The name is empty where there is one output. Tasks of no images have no maps.
        """
        return [{} for _ in outputs]

    def true_maps(self, targets: Tensor) -> list[dict[str, Map]]:
        """The same of the targets [N, ...] of examples."""
        return [{} for _ in targets]

    def truths(self, targets: Tensor) -> list[str]:
        """What is true of each example, for people; nothing where no few words say it."""
        return ["" for _ in targets]

    def said(self, outputs: Tensor) -> list[str]:
        """What a network says of each example in a line, to stand beside `truths`."""
        return [", ".join(self.answer_texts(row)) for row in self.answers(outputs, 1)]

    @property
    def has_maps(self) -> bool:
        """Whether it has `maps`."""
        return False

    def answer_texts(self, answers: Sequence[tuple[str, float]]) -> list[str]:
        """The `answers` of an example for people: ``cat 97.31%``."""
        return [f"{name} {self.number_text(name, number)}" for name, number in answers]

    def number_text(self, name: str, number: float) -> str:  # noqa: ARG002
        """The number of the answer of that name, for people."""
        return f"{100 * number:.2f}%"

    @property
    def estimating(self) -> bool:
        """Whether `informed` makes another of it: a noise is to be estimated."""
        return False

    def informed(self, score: Score) -> Self:  # noqa: ARG002
        """The same with what a score tells of the noise, where that is to be estimated."""
        return self

    @property
    def pace(self) -> float:
        """By what a learning rate is multiplied, so that steps stay what they are by squares."""
        return 1.0

    @property
    def units(self) -> Units | None:
        """By which outputs are put back into those of the targets; None: they have none."""
        return None

    @abstractmethod
    def slope(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The gradient of each example's loss in its outputs, without weight, float64 [N, K]."""

    @abstractmethod
    def factors(self, outputs: Tensor) -> Iterator[Factors]:
        """The curvature of each example's loss in its outputs, in parts of `AT_ONCE` directions.

        That of a likelihood of the exponential family in its natural parameters, which is the
        Fisher information, positive semidefinite and the same for all targets.
        """

    @abstractmethod
    def sampled_factors(
        self, outputs: Tensor, samples: int, generator: torch.Generator
    ) -> Iterator[Factors]:
        """An unbiased estimate of `factors`, ``samples`` directions an example.

        What is drawn depends on the generator and the order of the examples, not on the device of
        the outputs.
        """

    def weighed(self, targets: Tensor, parts: Iterable[Factors]) -> Iterator[Factors]:
        """Factors of each example's loss, times what the example and each output of it count."""
        weights, shares = self.weights(targets), self.shares(targets)
        for part in parts:
            if weights is not None:
                part = evolve(part, weights=weights[:, None] * part.weights)
            if shares is not None:
                part = evolve(part, directions=shares.sqrt()[:, None] * part.directions)
            yield part

    @classmethod
    def quality_text(cls, quality: float) -> str:
        """`Score.quality` for people, with its unit."""
        return f"{cls.scale * quality:.{cls.digits}f}{cls.unit}"

    @classmethod
    def filed(cls, quality: float) -> float:
        """`Score.quality` as files have it, and back: what is better when less, as it is."""
        return -quality if cls.scale < 0 else quality

    @classmethod
    def error_text(cls, error: float) -> str:
        """About how much a quality may be off, in words."""
        return f"{cls.scale * error:.0f} points" if cls.scale > 1 else f"{error:.1g}"

    def told(self, score: Score) -> str:
        """The metric and its value: ``accuracy 95.12%``."""
        return f"{self.metric} {self.quality_text(score.quality)}"

    @classmethod
    def entry_names(cls, part: str) -> tuple[str, str]:
        """What files call the loss and the quality of a part: ``test_loss``, ``test_accuracy``."""
        return f"{part}_loss", f"{part}_{cls.metric}"

    def entries(self, part: str, score: Score) -> dict[str, float]:
        """A score for files: ``holdout_loss`` and ``holdout_accuracy`` of the part ``holdout``."""
        more = {f"{part}_{name}": score.more[name] for name in self.more_metrics}
        numbers = (score.loss, self.filed(score.quality))
        return {**dict(zip(self.entry_names(part), numbers, strict=True)), **more}

    @property
    def more_metrics(self) -> tuple[str, ...]:
        """Names of `Score.more`, which files have behind that of a part."""
        return ()

    def columns(self, part: str) -> tuple[str, ...]:
        """The names of `entries`."""
        return (*self.entry_names(part), *(f"{part}_{name}" for name in self.more_metrics))

    def score_of(self, part: str, entries: Mapping[str, float]) -> Score:
        """The score that `entries` has written of a part."""
        loss, quality = (entries[name] for name in self.entry_names(part))
        more = {name: entries[f"{part}_{name}"] for name in self.more_metrics}
        return Score(loss, self.filed(quality), more)

    def chance(self, targets: Tensor) -> Score | None:  # noqa: ARG002
        """What needs no learning: the loss of no preference, the metric of the best constant.

        None where nothing such is known.
        """
        return None

    def standard_error(self, quality: float, count: int) -> float | None:  # noqa: ARG002
        """How far chance alone moves a quality measured on so many examples; None: unknown."""
        return None

    # ------------------------------------------------------------------------------- what is kept

    @classmethod
    def fits(cls, record: Mapping[str, Any], graph: Graph) -> bool:  # noqa: ARG003
        """Whether a network can have learned what `record` says, as far as this task knows."""
        return True

    @classmethod
    @abstractmethod
    def of_record(cls, record: Mapping[str, Any]) -> Self:
        """The task that `record` described; one for which `fits` holds."""

    @abstractmethod
    def record(self) -> dict[str, Any]:
        """What the file of a trained network says of its task, plain values."""

    @abstractmethod
    def check_record(self, record: Mapping[str, Any], data: str) -> None:
        """Refuse the data set called ``data`` where its task is not the one recorded.

        Raises:
            DiagnosticError: D506.
        """
