"""Dense prediction: a class for every place of an output [C, ...], by the softmax of its channels.

Places are the pixels of an output [C, H, W], or the positions of a series [C, L]. The loss of an
example is the mean over its places, so that images of any size are learned at the same rate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from attrs import evolve, frozen
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot, pad

from bayesnas.compiler.graph.model import Graph
from bayesnas.compiler.operations.primitives import Shape
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError
from bayesnas.runtime.tasks.interface import Reduction
from bayesnas.runtime.tasks.parts import (
    Array,
    Factors,
    Map,
    inverse_shares,
    likeliest,
    numbers_on,
    wrong,
)
from bayesnas.runtime.tasks.pixels.places import (
    AtPlaces,
    of_channels,
    place_factors,
    sampled_place_factors,
)
from bayesnas.runtime.tasks.scores import Confusion, Report, Score

IGNORED = 255  # the label of places that count for nothing


@frozen
class PixelClassification(AtPlaces):
    """One of C classes at each of P places: targets are their numbers, int64 [N, ...].

    Outputs [N, C P] have the places of the first class first. With p the softmax over the classes
    at a place and y the class there, the loss of an example is -1/P sum ln p[y] over the places
    that are not ignored, and its curvature has a block (diag p - p p^T) / P for each of them.

    Args:
        classes: their names, in the order of the channels.
        size: of the map of places: (H, W), or (L,).
        ignored: label of places that count for nothing.
        class_weights: what a place of each class counts; None: 1 each.
        smoothing: share of a label that is spread over all classes.
        single: whether one channel tells two classes: it is that of the second.
    """

    classes: tuple[str, ...]
    size: tuple[int, ...]
    ignored: int = IGNORED
    class_weights: tuple[float, ...] | None = None
    smoothing: float = 0.0
    single: bool = False
    objective: ClassVar[str] = "classification"
    metric: ClassVar[str] = "mean_iou"
    unit: ClassVar[str] = "%"
    scale: ClassVar[float] = 100.0
    answer_columns: ClassVar[tuple[str, str]] = ("class", "share")

    # ------------------------------------------------------------------------------- the data

    @classmethod
    def suits(cls, targets: Array) -> bool:
        """Whole numbers [N, H, W], or with a channel of their own."""
        single = targets.ndim == 3 or (targets.ndim == 4 and targets.shape[1] == 1)
        return single and targets.dtype.kind in "biu"

    @classmethod
    def seen(cls, targets: Array, options: Mapping[str, float]) -> Array:
        """Masks with the label that is ignored as `IGNORED`."""
        label = options.get("ignored", IGNORED)
        return targets if label == IGNORED else np.where(targets == label, IGNORED, targets)

    def moved(self, targets: Tensor, move: Callable[[Tensor, float], Tensor]) -> Tensor:
        """Masks; what comes in counts for nothing."""
        return move(targets[:, None], self.ignored)[:, 0] if self.has_maps else targets

    @classmethod
    def of_targets(
        cls,
        targets: Array,
        place: str,
        names: Sequence[str] = (),  # noqa: ARG003
    ) -> PixelClassification:
        """As many classes as the highest label says, named by their numbers.

        Raises:
            DiagnosticError: D512, D514.
        """
        masks = _masks(targets, place)
        known = masks[masks != IGNORED]
        if known.size == 0 or known.min() == known.max():
            label = f", {known[0]}" if known.size else ""
            remedy = "save masks of two classes or more"
            raise wrong(place, "D514", f"has a single class{label}", remedy)
        count = int(known.max()) + 1
        return cls(tuple(str(k) for k in range(count)), masks.shape[1:])

    def of_output(self, shape: Shape) -> PixelClassification:
        """With a class for each channel, where the masks show fewer."""
        classes = tuple(str(k) for k in range(max(shape[0], len(self.classes))))
        return evolve(self, classes=classes, single=shape[0] == 1 and len(classes) == 2)

    def with_options(self, options: Mapping[str, float]) -> PixelClassification:
        """With ``smoothing``, and the label that is ``ignored``."""
        return evolve(
            self,
            smoothing=float(options.get("smoothing", self.smoothing)),
            ignored=int(options.get("ignored", self.ignored)),
        )

    def targets(self, targets: Array, place: str) -> Tensor:
        """Masks as int64 [N, ...].

        Raises:
            DiagnosticError: D512, D514.
        """
        masks = _masks(targets, place)
        if masks.shape[1:] != self.size:
            what = f"has masks of {by(masks.shape[1:])}, those to learn from are {by(self.size)}"
            raise wrong(place, "D512", what, "save all masks in one size")
        bad = (masks >= len(self.classes)) & (masks != self.ignored)
        if bad.any():
            what = f"has the label {int(masks[bad].max())}, the classes go up to "
            remedy = f"number the classes from 0, and what counts for nothing {self.ignored}"
            raise wrong(place, "D514", f"{what}{len(self.classes) - 1}", remedy)
        return torch.from_numpy(masks)

    def smoothed(self, share: float) -> PixelClassification:
        """Unless it is already."""
        return self if self.smoothing else evolve(self, smoothing=share)

    def balanced(self, targets: Tensor) -> PixelClassification:
        """With weights in inverse proportion to how often a class comes among the places."""
        known = targets[targets != self.ignored].flatten()
        counts = torch.bincount(known, minlength=len(self.classes))
        return evolve(self, class_weights=inverse_shares(counts))

    # ------------------------------------------------------------------------------- the network

    def check(self, graph: Graph, data: str) -> None:
        """Refuse maps of another size than the masks, or of too few channels.

        Raises:
            DiagnosticError: D506.
        """
        node = graph.node(graph.root.outputs[0])
        channels, *size = node.shape or (0,)
        if tuple(size) == self.size and channels == self.channels:
            return
        if tuple(size) != self.size:
            message = f"masks of `{data}` are {by(self.size)}, `{node.name}` is {by(tuple(size))}"
            remedy = "save masks of that size, or let the network end in theirs"
        else:
            count = len(self.classes)
            message = f"masks of `{data}` have {count} classes, `{node.name}` has {channels}"
            wanted = ", ".join(map(str, (count, *size)))
            remedy = f"declare the output as `{node.name}: [{wanted}]`, or mark what is no class "
            remedy += f"with {self.ignored}; of numbers, say `learn {{ {node.name} = regression }}`"
        raise DiagnosticError(Diagnostic("D506", message, node.span, help=remedy))

    @property
    def channels(self) -> int:
        """Of the output."""
        return 1 if self.single else len(self.classes)

    # ------------------------------------------------------------------------------- learning

    def _maps(self, outputs: Tensor) -> Tensor:
        """[N, C, P] of outputs [N, C P]; a single channel is that of the second of two classes."""
        maps = outputs.reshape(len(outputs), self.channels, -1)
        return pad(maps, (0, 0, 1, 0)) if self.single else maps

    def _flat(self, targets: Tensor) -> Tensor:
        """[N, P] of targets, -1 where they are ignored."""
        flat = targets.flatten(1)
        return torch.where(flat == self.ignored, -1, flat)

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy in nats a place, smoothed where that is asked for."""
        return self._places(outputs, targets).mean(dim=1)

    def _places(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy at each place [N, P]; 0 where it is ignored."""
        return cross_entropy(
            self._maps(outputs),
            self._flat(targets),
            reduction="none",
            ignore_index=-1,
            label_smoothing=self.smoothing,
        )

    def loss(self, outputs: Tensor, targets: Tensor, reduction: Reduction = "mean") -> Tensor:
        """With the weights of the classes."""
        places = self._places(outputs, targets)
        if self.class_weights is not None:
            places = self._weights(targets).to(places.dtype) * places
        losses = places.mean(dim=1)
        return losses.mean() if reduction == "mean" else losses.sum()

    def _weights(self, targets: Tensor) -> Tensor:
        """What each place counts, float64 [N, P]: 0 where it is ignored."""
        flat = self._flat(targets)
        by_class = numbers_on(self.class_weights or (1.0,) * len(self.classes), flat)
        return torch.where(flat < 0, 0.0, by_class[flat.clamp_min(0)])

    def shares(self, targets: Tensor) -> Tensor | None:
        """What a place counts, for all its channels."""
        if self.class_weights is None and not bool((targets == self.ignored).any()):
            return None
        return self._weights(targets).repeat(1, self.channels)

    def score(self, predictions: Iterable[tuple[Tensor, Tensor]]) -> Score:
        """Its quality is the mean over classes of intersection over union, of all places."""
        return self.report(predictions).score

    def report(self, predictions: Iterable[tuple[Tensor, Tensor]]) -> Report:
        """Its confusion matrix counts places."""
        count, loss, size = 0, 0.0, len(self.classes)
        counts = np.zeros((size, size), dtype=np.int64)
        for outputs, targets in predictions:
            loss += float(self.losses(outputs, targets).sum())
            count += len(targets)
            truth, answers = self._flat(targets), self._maps(outputs).argmax(dim=1)
            pairs = (size * truth + answers)[truth >= 0]
            counts += torch.bincount(pairs, minlength=size * size).cpu().numpy().reshape(size, size)
        confusion = Confusion(self.classes, counts)
        return Report(Score(loss / max(count, 1), mean_iou(confusion)), confusion)

    def qualities(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The mean over classes of intersection over union."""
        count, size = len(targets), len(self.classes)
        truth, answers = self._flat(targets), self._maps(outputs).argmax(dim=1)
        first, known = size * torch.arange(count, device=truth.device)[:, None], truth >= 0

        def counted(marks: Tensor, where: Tensor) -> Tensor:
            """How often each class comes among some places [N, P] of each example [N, C]."""
            each = torch.bincount((first + marks)[where], minlength=count * size)
            return each.reshape(count, size)

        right = counted(truth, known & (truth == answers))
        union = counted(truth, known) + counted(answers, known) - right
        return (right.to(torch.float64) / union).nanmean(dim=1)

    def answers(self, outputs: Tensor, top: int) -> list[list[tuple[str, float]]]:
        """The classes that take the largest shares of the places."""
        maps = self._maps(outputs).argmax(dim=1)
        shares = one_hot(maps, len(self.classes)).to(torch.float64).mean(dim=1)
        return [
            [(name, share) for name, share in row if share > 0]
            for row in likeliest(shares, self.classes, top)
        ]

    def drawn(self, outputs: Tensor) -> list[Map]:
        """The likeliest class of each pixel."""
        chosen = self._maps(outputs).argmax(dim=1).reshape(-1, *self.size)
        return [Map(one, self.classes) for one in chosen.cpu().numpy()]

    def drawn_truth(self, targets: Tensor) -> list[Map]:
        """The class of each pixel, -1 where it is ignored."""
        marks = self._flat(targets).reshape(-1, *self.size)
        return [Map(one, self.classes) for one in marks.cpu().numpy()]

    def _softmax(self, outputs: Tensor) -> Tensor:
        return self._maps(outputs.detach().to(torch.float64)).softmax(dim=1)

    def slope(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """(p - q) / P at each place, q the smoothed label; 0 where it is ignored."""
        p, flat = self._softmax(outputs), self._flat(targets)
        known = (flat >= 0)[:, None]
        label = one_hot(flat.clamp_min(0), len(self.classes)).transpose(1, 2)
        label = (1 - self.smoothing) * label.to(p.dtype) + self.smoothing / len(self.classes)
        return of_channels((p - label) * known / p.shape[2], self.channels)

    def factors(self, outputs: Tensor) -> Iterator[Factors]:
        """e_y - p at a place by weight p[y] / P, for every class y and place."""
        return place_factors(self._softmax(outputs), self.channels)

    def sampled_factors(
        self, outputs: Tensor, samples: int, generator: torch.Generator
    ) -> Iterator[Factors]:
        """e_y - p at all places at once, for classes y drawn from p."""
        p = self._softmax(outputs)
        return sampled_place_factors(p, self.channels, samples, generator)

    def chance(self, targets: Tensor) -> Score:
        """The loss of equal chances for all classes, and the score of the most frequent one."""
        known = targets[targets != self.ignored].flatten()
        counts = torch.bincount(known, minlength=len(self.classes))
        share = len(known) / max(targets.numel(), 1)
        largest = float(counts.max()) / max(len(known), 1)
        present = max(int((counts > 0).sum()), 1)
        return Score(share * math.log(len(self.classes)), largest / present)

    # ------------------------------------------------------------------------------- what is kept

    @classmethod
    def fits(cls, record: Mapping[str, Any], graph: Graph) -> bool:
        """A channel a class, and the size of the masks."""
        channels = 1 if record.get("single") else len(record.get("classes", []))
        shape = (channels, *record.get("map", []))
        return shape == graph.node(graph.root.outputs[0]).shape

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> PixelClassification:
        """Of the classes' names and the size of the masks."""
        smoothing = float(record.get("smoothing", 0))
        size = tuple(record["map"])
        return cls(
            tuple(record["classes"]),
            size,
            record["ignored"],
            smoothing=smoothing,
            single=record.get("single", False),
        )

    def record(self) -> dict[str, Any]:
        """The classes' names, the size of the masks, the label that is ignored."""
        smoothing = {"smoothing": self.smoothing} if self.smoothing else {}
        about = {"map": list(self.size), "ignored": self.ignored, "single": self.single}
        return {"classes": list(self.classes), **about, **smoothing}

    def check_record(self, record: Mapping[str, Any], data: str) -> None:
        """Refuse masks of another size.

        Raises:
            DiagnosticError: D506.
        """
        if record.get("map") != list(self.size):
            message = f"masks of `{data}` are of another size than those of the training"
            remedy = f"save masks of {by(tuple(record.get('map', [])))}"
            raise DiagnosticError(Diagnostic("D506", message, help=remedy))


def mean_iou(confusion: Confusion) -> float:
    """Mean of intersection over union, of the classes that come or are answered; 0 without any."""
    counts = confusion.counts
    right = counts.diagonal()
    union = counts.sum(axis=0) + counts.sum(axis=1) - right
    present = union > 0
    return float((right[present] / union[present]).mean()) if present.any() else 0.0


def _masks(array: Array, place: str) -> Array:
    """Masks as int64 [N, ...], a channel of their own taken off."""
    if array.ndim == 4 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim < 2:
        remedy = "save a mask per example: the number of the class at each pixel"
        raise wrong(place, "D512", f"is {list(array.shape)}, not [N, H, W]", remedy)
    if array.size == 0:
        raise wrong(place, "D512", f"is empty: {list(array.shape)}", "save some examples")
    remedy = "number the classes from 0"
    if array.dtype.kind not in "biuf" or (array.dtype.kind == "f" and (array % 1 != 0).any()):
        raise wrong(place, "D514", "holds labels that are not whole numbers", remedy)
    if array.min() < 0:
        raise wrong(place, "D514", f"has the label {int(array.min())}", remedy)
    return np.ascontiguousarray(array.astype(np.int64))


def by(size: tuple[int, ...]) -> str:
    """``64 x 48``."""
    return " x ".join(map(str, size))
