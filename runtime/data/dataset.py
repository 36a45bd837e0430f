"""Data sets: examples and targets, standardised, augmented, in batches.

`Data.normalize` turns a batch into what networks see. The test part is for reporting alone:
searches and trainings split the training part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from attrs import evolve, field, frozen
from torch import Tensor

from bayesnas.runtime.data.augmentation.extra import Extra
from bayesnas.runtime.data.augmentation.movement import Cuts, Movement, settled_augment
from bayesnas.runtime.data.examples import CHUNK, Examples, Need, nothing, numbers
from bayesnas.runtime.data.registry import Ports, Standardise
from bayesnas.runtime.tasks.bundle import Inputs, mapped, tensors
from bayesnas.runtime.tasks.interface import Task


@frozen
class Reading:
    """How arrays of one's own are yet to be read, once a network tells its input.

    ``whole`` says that their type is one of whole numbers, which may be quantities or names;
    ``again`` makes the data anew of the same arrays, for a network of known ports.
    """

    whole: bool
    standardise: Standardise = "auto"
    again: Callable[[Ports], Data] | None = field(default=None, eq=False, repr=False)


@frozen
class Data:
    """A data set, and what is learned of it.

    ``mean`` and ``std`` are of the training part's channels or features, of bytes as shares of 255.
    ``augment`` is what ``augment = auto`` means for it; ``note`` is what its user should know.
    ``undivided`` examples are only to be judged: ``train`` and ``test`` are all there are.
    ``reading`` is there until axes and numbers are read for a network (`load_data`).
    ``columns`` are how those of a table have become inputs, by port, plain values for files.
    ``refitted`` says that some images lie in memory at the network's size, which is not that of
    their files.
    """

    name: str
    task: Task
    train: Examples
    test: Examples
    mean: Inputs = field(eq=False)
    std: Inputs = field(eq=False)
    augment: str = "shift_flip"
    note: str = ""
    reading: Reading | None = None
    undivided: bool = False
    columns: Mapping[str, Sequence[Mapping[str, Any]]] = field(factory=dict)
    refitted: bool = False

    @classmethod
    def of(
        cls,
        name: str,
        task: Task,
        train: Examples,
        test: Examples,
        augment: str = "shift_flip",
        note: str = "",
        reading: Reading | None = None,
    ) -> Data:
        """The data set of these parts, standardised by the training part alone."""
        mean, std = train.statistics()
        task = task.fitted(train.targets)
        return cls(name, task, train, test, mean, std, augment, note, reading)

    def noted(self, *notes: str) -> Data:
        """The same data with more that its user should know."""
        return evolve(self, note="; ".join(filter(None, (self.note, *notes))))

    @classmethod
    def to_judge(
        cls, name: str, task: Task, part: Examples, note: str = "", reading: Reading | None = None
    ) -> Data:
        """Undivided examples, for a network that standardises them itself."""
        mean, std = nothing(part.example)
        return cls(name, task, part, part, mean, std, "none", note, reading, undivided=True)

    def augmentation(self, augment: str) -> str:
        """What an ``augment`` setting means for it.

        Raises:
            DiagnosticError: D515 (it shifts or mirrors what is no image, or what targets lie on).
        """
        shapes = [tuple(x.shape[1:]) for x in tensors(self.train.example)]
        auto = "none" if self.task.placed else self.augment
        return settled_augment(self.name, auto, augment, shapes, self.stays)

    @property
    def stays(self) -> bool:
        """Whether targets lie on images that they cannot move with: theirs are of another size."""
        sizes = {tuple(x.shape[2:]) for x in tensors(self.train.example) if x.dim() == 4}
        return self.task.placed and not self.task.map_sizes <= sizes

    @property
    def device(self) -> torch.device:
        """Where its examples are."""
        return self.train.targets.device

    def to(self, device: torch.device) -> Data:
        """The same data on another device."""
        return evolve(
            self,
            train=self.train.to(device),
            test=self.test.to(device),
            mean=self.mean.to(device),
            std=self.std.to(device),
        )

    def normalize(self, inputs: Inputs) -> Inputs:
        """Inputs [N, C, ...] to float32 of mean 0 and deviation 1 in each channel or feature."""
        return mapped(_normalized, inputs, self.mean, self.std)


def _normalized(inputs: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    around = [1] * (inputs.dim() - 2)
    centred = numbers(inputs) - mean.view(-1, *around)
    return _laid((centred / std.view(-1, *around)).to(torch.float32))


def laid_out(inputs: Inputs) -> Inputs:
    """Inputs for a network that standardises them itself, in memory as it takes them fastest."""
    return mapped(_laid, inputs)


def _laid(inputs: Tensor) -> Tensor:
    """Images channels last."""
    if inputs.dim() == 4:
        return inputs.contiguous(memory_format=torch.channels_last)
    return inputs


# ----------------------------------------------------------------------------------------- batches


def all_rows(count: int) -> slice:
    """Of a batch of so many examples."""
    return slice(count)


class Batches:
    """Shuffled, augmented batches of normalised inputs and targets, pass after pass.

    The last batch of a pass is left out where it is a single example, which batch normalisation
    refuses. ``order`` is the state of the generator that the order of the present pass was drawn
    from: with it, an interrupted pass goes on in the same order, whatever else was drawn since.
    ``rows`` tells of a batch of so many examples those that are needed here; what it gives in place
    of the others does not matter.
    """

    def __init__(
        self,
        data: Data,
        part: Examples,
        size: int,
        augment: str,
        generator: torch.Generator,
        extra: Extra | None = None,
        rows: Callable[[int], slice] = all_rows,
    ) -> None:
        self.data, self.part, self.generator, self.rows = data, part, generator, rows
        self.size = min(size, max(1, len(part)))
        self.augment = data.augment if augment == "auto" else augment
        self.extra = Extra() if extra is None else extra
        self.order = generator.get_state()

    def __len__(self) -> int:
        """How many one pass has."""
        whole, rest = divmod(len(self.part), self.size)
        return whole + (rest > 1 or (rest == 1 and len(self.part) == 1))

    def __iter__(self) -> Iterator[tuple[Inputs, Tensor]]:
        """One pass."""
        return self.series(len(self))

    def examples(self, taken: int) -> int:
        """How many examples the first ``taken`` batches of a pass have."""
        return min(taken * self.size, len(self.part))

    def series(self, count: int, taken: int = 0) -> Iterator[tuple[Inputs, Tensor]]:
        """This many batches from a new pass on, less the first ``taken``, which were had before.

        Where some were, ``order`` and the generator are those that they left.
        """
        positions = self._shuffled(self._before()) if taken % len(self) else None
        while taken < count:
            first = taken % len(self)
            if first == 0 or positions is None:
                self.order = self.generator.get_state()
                positions = self._shuffled(self.generator)
            last = min(len(self), first + count - taken)
            places = [slice(n * self.size, (n + 1) * self.size) for n in range(first, last)]
            groups = [positions[some] for some in places]
            whole = self._seeds()
            seeds = [whole[some] for some in places]
            rows = [self.rows(len(some)) for some in groups]
            need = Need(rows, self.extra, seeds)
            # No name for what a stream reads ahead: an error here would keep it (see `Stream`).
            for (inputs, targets), own in zip(self.part.batches(groups, need), seeds, strict=True):
                yield self._learned(inputs, targets, own)
            taken += len(groups)

    def _learned(self, inputs: Inputs, targets: Tensor, seeds: Tensor) -> tuple[Inputs, Tensor]:
        """What a network sees of some examples in training, and what it learns of them."""
        cuts = None if self.extra.crop == 1 else Cuts(self.extra.crop, seeds)
        movement = Movement(self.augment, self.generator, cuts)
        images = movement.images(inputs)
        if not movement.still:
            targets = self.data.task.moved(targets, movement)
        return self.extra.blanked(self.data.normalize(images)), targets

    def _seeds(self) -> Tensor:
        """Of each place in the present pass, int64 [N]: what is drawn for one example alone."""
        first = torch.randint(2**62, (), generator=self._before())
        return first + torch.arange(len(self.part))

    def _before(self) -> torch.Generator:
        """The generator as it was when the order of the present pass was drawn."""
        before = torch.Generator()
        before.set_state(self.order)
        return before

    def _shuffled(self, generator: torch.Generator) -> Tensor:
        order = torch.randperm(len(self.part), generator=generator)
        return order.to(self.part.targets.device)


class Streams(Batches):
    """Batches of windows of a text: each row goes on where it ended in the batch before.

    The text is parted into as many stretches of equal length as a batch has rows; of what is left
    over, less than a batch, nothing is learned.
    """

    def __len__(self) -> int:
        """How many one pass has."""
        return len(self.part) // self.size

    def _shuffled(self, generator: torch.Generator) -> Tensor:  # noqa: ARG002
        order = torch.cat(stretches(self.size * len(self), self.size))
        return order.to(self.part.targets.device)


def stretches(count: int, rows: int) -> list[Tensor]:
    """Positions of ``count`` windows in batches of up to ``rows``: each row reads on in the text.

    The text is parted into so many stretches of equal length, the first ones a window longer where
    it does not divide; the last batch has these alone.
    """
    length, more = divmod(count, rows)
    starts = torch.arange(rows) * length + torch.arange(rows).clamp_max(more)
    whole = [starts + k for k in range(length)]
    return [*whole, starts[:more] + length] if more else whole


def plain_batches(data: Data, part: Examples, size: int) -> Iterator[tuple[Inputs, Tensor]]:
    """Batches in order, as they are."""
    for inputs, targets in part.in_order(size):
        yield data.normalize(inputs), targets


def raw_batches(part: Examples, size: int) -> Iterator[tuple[Inputs, Tensor]]:
    """Batches in order, for a network that standardises its inputs itself."""
    for inputs, targets in part.in_order(size):
        yield laid_out(inputs), targets


def sameness_note(part: Examples) -> str:
    """A remark where the examples to train on are all the same."""
    first = tensors(part.example)
    same = len(part) > 1 and all(
        torch.equal(x, one.expand_as(x))
        for inputs, _ in part.in_order(CHUNK)
        for x, one in zip(tensors(inputs), first, strict=True)
    )
    return "all examples to train on are the same: nothing can be learned of them" if same else ""
