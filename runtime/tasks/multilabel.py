"""Several labels per example, each by itself: there or not."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final

import numpy as np
import torch
from attrs import frozen
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from bayesnas.compiler.graph.model import Graph
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, quote
from bayesnas.runtime.tasks.interface import Task
from bayesnas.runtime.tasks.parts import (
    Array,
    Factors,
    column_names,
    likeliest,
    unit_factors,
    wrong,
)
from bayesnas.runtime.tasks.scores import Measures, Report, Score

_SAID: Final = 4  # labels of an example in words


@frozen
class Multilabel(Task):
    """Which of K labels an example has: targets are 0 and 1, float32 [N, K].

    With p the sigmoids of an example's outputs and y its labels, the loss is that of K independent
    Bernoulli variables, -sum_k ln(y[k] p[k] + (1 - y[k]) (1 - p[k])), its gradient in the outputs
    p - y, and its curvature diag p (1 - p).

    Args:
        labels: their names, in the order of the outputs.
    """

    labels: tuple[str, ...]
    objective: ClassVar[str] = "multilabel"
    metric: ClassVar[str] = "mAP"
    unit: ClassVar[str] = "%"
    scale: ClassVar[float] = 100.0
    answer_columns: ClassVar[tuple[str, str]] = ("label", "probability")

    # ------------------------------------------------------------------------------- the data

    @classmethod
    def suits(cls, targets: Array) -> bool:
        """Rows of 0 and 1 (those with a single 1 in each have been made classes before)."""
        if targets.ndim != 2 or targets.dtype.kind not in "biuf" or not targets.size:
            return False
        return bool(np.isin(targets, (0, 1)).all())

    @classmethod
    def of_targets(cls, targets: Array, place: str, names: Sequence[str] = ()) -> Multilabel:
        """Of labels each of which some examples have, and some have not.

        Raises:
            DiagnosticError: D512 (type or shape), D514 (not 0 and 1, or constant).
        """
        task = cls(tuple(names) or column_names(targets.shape[1]))
        marks = task.targets(targets, place)
        for name, share in zip(task.labels, marks.mean(dim=0).tolist(), strict=True):
            if share in (0, 1):
                what = f"has the label `{name}` in {'all' if share else 'no'} examples"
                raise wrong(place, "D514", what, "leave its column out")
        return task

    def targets(self, targets: Array, place: str) -> Tensor:
        """Labels as float32 [N, K]; numbers [N] are the one label of each example.

        Raises:
            DiagnosticError: D512 (type or shape), D514 (not 0 and 1).
        """
        count = len(self.labels)
        if targets.ndim == 1 and targets.dtype.kind in "iu" and targets.size:
            targets = targets[:, None] == np.arange(count)
        if targets.ndim != 2 or targets.shape[1] != count or targets.dtype.kind not in "biuf":
            what = f"is {list(targets.shape)} of `{targets.dtype}`, not [N, {count}] of 0 and 1"
            raise wrong(place, "D512", what, "save a column for each label")
        if targets.size == 0:
            raise wrong(place, "D512", f"is empty: {list(targets.shape)}", "save some examples")
        if not np.isin(targets, (0, 1)).all():
            remedy = "save 1 for a label, else 0"
            raise wrong(place, "D514", "has labels other than 0 and 1", remedy)
        return torch.from_numpy(np.ascontiguousarray(targets, dtype=np.float32))

    def strata(self, targets: Tensor) -> Array:
        """The rarest label of each example, from 1; 0 for examples without any."""
        marks = targets.cpu().numpy() > 0
        order = np.argsort(marks.sum(axis=0), kind="stable")
        return np.where(marks.any(axis=1), 1 + order[marks[:, order].argmax(axis=1)], 0)

    def truths(self, targets: Tensor) -> list[str]:
        """The names of the labels."""
        marked = (targets > 0).tolist()
        named = ([n for n, on in zip(self.labels, row, strict=True) if on] for row in marked)
        return [", ".join(names) or "no label" for names in named]

    def said(self, outputs: Tensor) -> list[str]:
        """The likeliest labels."""
        return [", ".join(self.answer_texts(row)) for row in self.answers(outputs, _SAID)]

    # ------------------------------------------------------------------------------- the network

    def check(self, graph: Graph, data: str) -> None:
        """Refuse a network of another number of outputs than labels.

        Raises:
            DiagnosticError: D506.
        """
        node = graph.node(graph.root.outputs[0])
        count, predicted = len(self.labels), (node.shape or ())[0]
        if count != predicted:
            raise DiagnosticError(
                Diagnostic(
                    "D506",
                    f"`{data}` has {count} labels, the network predicts {predicted}",
                    node.span,
                    help=f"declare the output as `{node.name}: [{count}]`, "
                    f"fed by `linear({count})`",
                )
            )

    def told_of(self, graph: Graph) -> str:
        """That labels do not exclude each other."""
        output = graph.node(graph.root.outputs[0]).name
        return f"`{output}` predicts each of {len(self.labels):,} labels by itself (several labels)"

    # ------------------------------------------------------------------------------- learning

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Binary cross-entropies, in nats, over the labels of an example."""
        targets = targets.to(outputs.dtype)
        return binary_cross_entropy_with_logits(outputs, targets, reduction="none").sum(dim=1)

    def score(self, predictions: Iterable[tuple[Tensor, Tensor]]) -> Score:
        """Its quality is mean average precision, over the labels that some examples have."""
        return self.report(predictions).score

    def report(self, predictions: Iterable[tuple[Tensor, Tensor]]) -> Report:
        """With examples, average precision, precision, recall and F1 (at one half) by label."""
        loss, parts = 0.0, []
        for outputs, targets in predictions:
            loss += float(self.losses(outputs, targets).sum())
            parts.append((outputs.detach().cpu().numpy(), targets.cpu().numpy() > 0))
        every, marks = (np.concatenate(several) for several in zip(*parts, strict=True))
        rows = {name: _measured(every[:, k], marks[:, k]) for k, name in enumerate(self.labels)}
        present = [row[1] for row in rows.values() if not math.isnan(row[1])]
        score = Score(loss / len(marks), sum(present) / max(len(present), 1))
        names = ("examples", "AP", "precision", "recall", "F1")
        return Report(score, measures=Measures("label", names, rows))

    def answers(self, outputs: Tensor, top: int) -> list[list[tuple[str, float]]]:
        """The labels of the highest probability."""
        return likeliest(_sigmoid(outputs), self.labels, top)

    def slope(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """p - y."""
        return _sigmoid(outputs) - targets

    def factors(self, outputs: Tensor) -> Iterator[Factors]:
        """The unit vectors, by weights p (1 - p)."""
        p = _sigmoid(outputs)
        return unit_factors(p * (1 - p))

    def sampled_factors(
        self, outputs: Tensor, samples: int, generator: torch.Generator
    ) -> Iterator[Factors]:
        """y - p by equal weights, for labels y drawn from p."""
        p = _sigmoid(outputs)[:, None]
        u = torch.rand(
            len(p), samples, p.shape[2], generator=generator, device=generator.device, dtype=p.dtype
        ).to(p.device)
        yield Factors(u.new_full(u.shape[:2], 1 / samples), (u < p).to(p.dtype) - p)

    def chance(self, targets: Tensor) -> Score:
        """The loss of equal chances for every label, and the mean share of examples with one."""
        shares = targets.to(torch.float64).mean(dim=0)
        present = shares[shares > 0]
        quality = float(present.mean()) if len(present) else 0.0
        return Score(len(self.labels) * math.log(2), quality)

    # ------------------------------------------------------------------------------- what is kept

    @classmethod
    def fits(cls, record: Mapping[str, Any], graph: Graph) -> bool:
        """As many labels as outputs."""
        return (len(record.get("labels", [])),) == graph.node(graph.root.outputs[0]).shape

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Multilabel:
        """Of the labels' names."""
        return cls(tuple(record["labels"]))

    def record(self) -> dict[str, Any]:
        """The labels' names."""
        return {"labels": list(self.labels)}

    def check_record(self, record: Mapping[str, Any], data: str) -> None:
        """Refuse other labels.

        Raises:
            DiagnosticError: D506.
        """
        labels = record.get("labels", [])
        if list(self.labels) != labels:
            what = "has other labels than the run was trained on"
            remedy = "name data with the same labels"
            raise wrong(
                f"`{data}`", "D506", what, remedy, f"trained on {quote(labels) or 'no labels'}"
            )


def _sigmoid(outputs: Tensor) -> Tensor:
    return outputs.detach().to(torch.float64).sigmoid()


def _measured(outputs: Array, marks: Array) -> tuple[float, ...]:
    """Examples, average precision, precision, recall and F1 of one label; NaN for none."""
    from sklearn.metrics import average_precision_score

    count, answered = int(marks.sum()), outputs > 0
    right = int((marks & answered).sum())
    average = float(average_precision_score(marks, outputs)) if count else math.nan
    shares = ((right, answered.sum()), (right, count), (2 * right, answered.sum() + count))
    return (count, average, *(part / whole if whole else math.nan for part, whole in shares))
