"""Classification: a class per example, by the softmax of the outputs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final

import numpy as np
import torch
from attrs import evolve, frozen
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot, pad

from bayesnas.compiler.graph.model import Graph
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, quote
from bayesnas.runtime.tasks.interface import Task
from bayesnas.runtime.tasks.parts import (
    AT_ONCE,
    Array,
    Factors,
    inverse_shares,
    likeliest,
    numbers_on,
    wrong,
)
from bayesnas.runtime.tasks.scores import Confusion, Report, Score

TOP: Final = "top5_accuracy"
_TOP: Final = 5
_MANY: Final = 100  # classes, from which it is told


@frozen
class Classification(Task):
    """One of some classes an example: targets are their numbers, int64 [N].

    With p the softmax of an example's outputs and y its class, the loss is -ln p[y], its gradient
    in the outputs p - e_y, and its curvature

        diag p - p p^T = sum_y p[y] (e_y - p) (e_y - p)^T.

    For two classes a single output will do: it is that of the second, and that of the first is 0.

    Args:
        classes: their names, in the order of the outputs.
        class_weights: what an example of each counts; None: 1 each.
        smoothing: share of a label that is spread over all classes (Szegedy et al., 2016).
    """

    classes: tuple[str, ...]
    class_weights: tuple[float, ...] | None = None
    smoothing: float = 0.0
    objective: ClassVar[str] = "classification"
    metric: ClassVar[str] = "accuracy"
    unit: ClassVar[str] = "%"
    scale: ClassVar[float] = 100.0
    answer_columns: ClassVar[tuple[str, str]] = ("class", "probability")

    @classmethod
    def suits(cls, targets: Array) -> bool:
        """Whole numbers or texts, one per example."""
        if targets.ndim != 1 or targets.dtype.kind not in "biufU":
            return False
        if targets.dtype.kind == "U":
            return True
        return bool((targets == np.floor(targets)).all())

    @classmethod
    def of_targets(
        cls,
        targets: Array,
        place: str,
        names: Sequence[str] = (),  # noqa: ARG003
    ) -> Classification:
        """As many classes as the highest label says, each with examples; named by their numbers.

        Texts are classes in their order.

        Raises:
            DiagnosticError: D512, D514.
        """
        if targets.ndim == 1 and targets.dtype.kind == "U":
            return cls(_text_classes(targets, place))
        present = np.unique(_labels(targets, place))
        highest = int(present[-1])
        if len(present) == 1:
            raise wrong(place, "D514", f"has a single class, {highest}", "save two classes or more")
        if len(present) != highest + 1:
            gap = next(k for k in range(highest) if k == len(present) or int(present[k]) != k)
            what = f"has labels up to {highest} and none that is {gap}"
            raise wrong(place, "D514", what, "number the classes 0, 1, 2, ... without gaps")
        return cls(tuple(str(k) for k in range(highest + 1)))

    def targets(self, targets: Array, place: str) -> Tensor:
        """Labels as int64 [N].

        Raises:
            DiagnosticError: D512, D514.
        """
        if targets.ndim == 1 and targets.dtype.kind == "U":
            return torch.from_numpy(_text_numbers(targets, self.classes, place))
        labels = _labels(targets, place)
        if (label := int(labels.max())) >= len(self.classes):
            what = f"has the label {label}, those to learn from go up to {len(self.classes) - 1}"
            raise wrong(place, "D514", what, "give both the same classes")
        return torch.from_numpy(labels)

    def targets_by_name(self, targets: Array, place: str) -> Tensor:
        """Labels as int64 [N]: texts, or numbers where these are what the classes are called.

        Raises:
            DiagnosticError: D506, D512, D514.
        """
        texts = targets.ndim == 1 and targets.size > 0 and targets.dtype.kind == "U"
        found, where = np.unique(targets if texts else _labels(targets, place), return_inverse=True)
        names = [str(label) for label in found]
        if unknown := [name for name in names if name not in self.classes]:
            raise self._unknown(place, unknown)
        numbers = np.array([self.classes.index(name) for name in names], dtype=np.int64)
        return torch.from_numpy(numbers[where.reshape(-1)])

    def _unknown(self, place: str, names: Sequence[str]) -> DiagnosticError:
        several = "classes" if len(names) > 1 else "a class"
        return wrong(
            place,
            "D506",
            f"has {several} that the run was not trained on: {quote(names)}",
            "call the classes as in the training, and leave examples of others out",
            f"trained on {quote(self.classes)}",
        )

    def with_options(self, options: Mapping[str, float]) -> Classification:
        """With ``smoothing``."""
        return evolve(self, smoothing=float(options.get("smoothing", self.smoothing)))

    def strata(self, targets: Tensor) -> Array:
        """The classes."""
        return targets.cpu().numpy()

    @property
    def strata_names(self) -> tuple[str, ...]:
        """The classes' names."""
        return self.classes

    def truths(self, targets: Tensor) -> list[str]:
        """The name of the class."""
        return [self.classes[k] for k in targets.tolist()]

    def smoothed(self, share: float) -> Classification:
        """Unless it is already."""
        return self if self.smoothing else evolve(self, smoothing=share)

    def balanced(self, targets: Tensor) -> Classification:
        """With weights in inverse proportion to how often a class comes."""
        counts = torch.bincount(targets, minlength=len(self.classes))
        return evolve(self, class_weights=inverse_shares(counts))

    def weights(self, targets: Tensor) -> Tensor | None:
        """Those of the classes."""
        if self.class_weights is None:
            return None
        return numbers_on(self.class_weights, targets)[targets]

    def check(self, graph: Graph, data: str) -> None:
        """Refuse a network of another number of outputs than classes.

        Raises:
            DiagnosticError: D506.
        """
        node = graph.node(graph.root.outputs[0])
        count, predicted = len(self.classes), (node.shape or ())[0]
        if count != predicted and not self._by_one(predicted):
            remedy = f"declare the output as `{node.name}: [{count}]`, fed by `linear({count})`"
            if predicted == 1:
                remedy += "; where they are numbers to predict, save floating-point numbers"
            raise DiagnosticError(
                Diagnostic(
                    "D506",
                    f"`{data}` has {count} classes, the network predicts {predicted}",
                    node.span,
                    help=remedy,
                )
            )

    def _by_one(self, outputs: int) -> bool:
        """Whether so many outputs tell two classes by one number."""
        return outputs == 1 and len(self.classes) == 2

    def told_of(self, graph: Graph) -> str:
        """That one output tells two classes, where it does."""
        node = graph.node(graph.root.outputs[0])
        if node.shape != (1,):
            return ""
        return f"`{node.name}` is one number for two classes: the log odds of `{self.classes[1]}`"

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy, in nats; that of the smoothed label where that is asked for."""
        smoothing = self.smoothing
        logits = _of_classes(outputs)
        return cross_entropy(logits, targets, reduction="none", label_smoothing=smoothing)

    def score(self, predictions: Iterable[tuple[Tensor, Tensor]]) -> Score:
        """Its quality is the share of examples whose largest output is their class."""
        loss = right = among = 0.0
        count = 0
        for outputs, targets in predictions:
            loss += float(self.losses(outputs, targets).sum())
            right += float((_of_classes(outputs).argmax(dim=1) == targets).sum())
            if self.more_metrics:
                among += float((outputs.topk(_TOP).indices == targets[:, None]).sum())
            count += len(targets)
        more = dict.fromkeys(self.more_metrics, among / max(count, 1))
        return Score(loss / max(count, 1), right / max(count, 1), more)

    @property
    def more_metrics(self) -> tuple[str, ...]:
        """How often the class is among the five of the largest outputs, of many classes."""
        return (TOP,) if len(self.classes) >= _MANY else ()

    def told(self, score: Score) -> str:
        """With the top-5 accuracy."""
        more = [f"top-{_TOP} {self.quality_text(score.more[name])}" for name in self.more_metrics]
        return ", ".join([super().told(score), *more])

    def report(self, predictions: Iterable[tuple[Tensor, Tensor]]) -> Report:
        """Its confusion matrix is by the largest output, as the score is."""
        counts = np.zeros((len(self.classes), len(self.classes)), dtype=np.int64)

        def counted() -> Iterator[tuple[Tensor, Tensor]]:
            for outputs, targets in predictions:
                answers = _of_classes(outputs).argmax(dim=1).cpu().numpy()
                np.add.at(counts, (targets.cpu().numpy(), answers), 1)
                yield outputs, targets

        return Report(self.score(counted()), Confusion(self.classes, counts))

    def answers(self, outputs: Tensor, top: int) -> list[list[tuple[str, float]]]:
        """The classes of the highest probability."""
        return likeliest(_softmax(outputs), self.classes, top)

    def slope(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """p - e_y, with the smoothed label for e_y where that is asked for."""
        p = _softmax(outputs)
        label = one_hot(targets, p.shape[1])
        if self.smoothing:
            label = (1 - self.smoothing) * label.to(p.dtype) + self.smoothing / p.shape[1]
        return (p - label)[:, -outputs.shape[1] :]

    def factors(self, outputs: Tensor) -> Iterator[Factors]:
        """e_y - p by weight p[y], for every class y."""
        p = _softmax(outputs)
        every = torch.arange(p.shape[1], device=p.device).expand_as(p)
        return _factors(p, every, p, outputs.shape[1])

    def sampled_factors(
        self, outputs: Tensor, samples: int, generator: torch.Generator
    ) -> Iterator[Factors]:
        """e_y - p by equal weights, for classes y drawn from p."""
        p = _softmax(outputs)
        u = torch.rand(
            len(p), samples, generator=generator, device=generator.device, dtype=p.dtype
        ).to(p.device)
        # By hand: torch.multinomial's draws depend on how many examples it is given at once.
        drawn = torch.searchsorted(p.cumsum(dim=1), u, right=True).clamp_max(p.shape[1] - 1)
        return _factors(p, drawn, torch.full_like(u, 1 / samples), outputs.shape[1])

    def chance(self, targets: Tensor) -> Score:
        """The loss of equal chances for all classes, and the share of the largest class."""
        largest = int(torch.bincount(targets).max())
        return Score(math.log(len(self.classes)), largest / len(targets))

    def standard_error(self, quality: float, count: int) -> float:
        """That of a share of independent examples."""
        return math.sqrt(quality * (1 - quality) / count)

    @classmethod
    def fits(cls, record: Mapping[str, Any], graph: Graph) -> bool:
        """As many classes as outputs, or two by one."""
        count = len(record.get("classes", []))
        shape = graph.node(graph.root.outputs[0]).shape
        return shape == (count,) or (shape == (1,) and count == 2)

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Classification:
        """Of the classes' names."""
        return cls(tuple(record["classes"]), smoothing=float(record.get("smoothing", 0)))

    def record(self) -> dict[str, Any]:
        """The classes' names, and the smoothing if there is any."""
        smoothing = {"smoothing": self.smoothing} if self.smoothing else {}
        return {"classes": list(self.classes), **smoothing}

    def check_record(self, record: Mapping[str, Any], data: str) -> None:
        """Refuse other classes.

        Raises:
            DiagnosticError: D506.
        """
        classes = record.get("classes", [])
        if self.record()["classes"] != classes:
            what = "has other classes than the run was trained on"
            remedy = "evaluate on data with the same class folders"
            raise wrong(f"`{data}`", "D506", what, remedy, f"trained on {quote(classes)}")


def _text_classes(labels: Array, place: str) -> tuple[str, ...]:
    """The different texts, in order: two at least."""
    if labels.size == 0:
        raise wrong(place, "D512", "is empty: [0]", "save some examples")
    if (empty := np.flatnonzero(np.char.strip(labels) == "")).size:
        what = f"has no label in example {empty[0]} (counted from 0)"
        raise wrong(place, "D514", what, "label all examples, or leave those out")
    classes = [str(name) for name in np.unique(labels)]
    if len(classes) == 1:
        raise wrong(
            place, "D514", f"has a single class, `{classes[0]}`", "save two classes or more"
        )
    return tuple(classes)


def _text_numbers(labels: Array, classes: tuple[str, ...], place: str) -> Array:
    """The numbers of texts among classes, int64."""
    number_of = {name: number for number, name in enumerate(classes)}
    numbers = np.array([number_of.get(str(label), -1) for label in labels], dtype=np.int64)
    if (unknown := np.flatnonzero(numbers < 0)).size:
        what = f"has the label `{labels[unknown[0]]}`, which those to learn from have not"
        raise wrong(place, "D514", what, "give both the same classes")
    if numbers.size == 0:
        raise wrong(place, "D512", "is empty: [0]", "save some examples")
    return numbers


def _labels(array: Array, place: str) -> Array:
    """Labels as int64."""
    if array.ndim != 1:
        remedy = "save one whole number per example, the number of its class"
        raise wrong(place, "D512", f"is {list(array.shape)}, not [N]", remedy)
    if array.size == 0:
        raise wrong(place, "D512", "is empty: [0]", "save some examples")
    remedy = "number the classes from 0"
    if array.dtype.kind not in "biuf":
        raise wrong(place, "D514", f"holds `{array.dtype}`, not numbers of classes", remedy)
    if array.dtype.kind == "f" and not (np.isfinite(array) & (array == np.floor(array))).all():
        raise wrong(place, "D514", "holds labels that are not whole numbers", remedy)
    if array.min() < 0:
        raise wrong(place, "D514", f"has the label {int(array.min())}", remedy)
    if (highest := int(array.max())) > np.iinfo(np.int64).max:
        raise wrong(place, "D514", f"has the label {highest}", remedy)
    return np.ascontiguousarray(array.astype(np.int64))


def _of_classes(outputs: Tensor) -> Tensor:
    """An output a class: a single one is that of the second of two."""
    return pad(outputs, (1, 0)) if outputs.shape[1] == 1 else outputs


def _softmax(outputs: Tensor) -> Tensor:
    return _of_classes(outputs.detach().to(torch.float64)).softmax(dim=1)


def _factors(p: Tensor, classes: Tensor, weights: Tensor, outputs: int) -> Iterator[Factors]:
    """e_y - p by weight, in the last outputs, for classes y [N, K'] and weights [N, K']."""
    parts = (torch.split(x, AT_ONCE, dim=1) for x in (classes, weights))
    for chosen, weight in zip(*parts, strict=True):
        yield Factors(weight, (one_hot(chosen, p.shape[1]) - p[:, None])[:, :, -outputs:])
