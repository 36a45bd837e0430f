"""Data sets as tensors in memory: examples and targets, splits, batches, augmentation.

Inputs are [N, features], [N, channels, length] or [N, channels, height, width]; images are bytes.
Those of a network of several inputs are a `Bundle` of such tensors, and so are their statistics.
`Data.normalize` turns a batch into what networks see. The test part is for reporting alone:
searches and trainings split the training part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any

import torch
from attrs import evolve, field, frozen
from torch import Tensor

from bayesnas.runtime.data.augmentation import Extra, Movement, settled_augment
from bayesnas.runtime.data.registry import Ports, Standardise
from bayesnas.runtime.tasks.bundle import Bundle, Inputs, mapped, tensors
from bayesnas.runtime.tasks.interface import Task


@frozen
class Part:
    """Some examples: ``inputs`` [N, ...], bytes or floating point, ``targets`` [N, ...]."""

    inputs: Inputs = field(eq=False, repr=False)
    targets: Tensor = field(eq=False, repr=False)

    def __len__(self) -> int:
        return len(self.targets)

    def subset(self, indices: Tensor) -> Part:
        """The examples at these positions."""
        return Part(self.inputs[indices], self.targets[indices])

    def sample(self, count: int, generator: torch.Generator) -> Part:
        """Some examples in random order, or all where there are fewer."""
        order = torch.randperm(len(self), generator=generator)[:count]
        return self.subset(order.to(self.targets.device))

    def first(self, count: int) -> Part:
        """The first examples, or all where there are fewer."""
        return Part(self.inputs[:count], self.targets[:count])

    def to(self, device: torch.device) -> Part:
        """The same examples on another device."""
        return Part(self.inputs.to(device), self.targets.to(device))

    def fingerprint(self) -> str:
        """A hash of the examples and targets: the same for the same numbers in the same order."""
        digest = sha256()
        for tensor in (*tensors(self.inputs), self.targets):
            digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.cpu().contiguous().numpy().data)
        return digest.hexdigest()


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
    ``columns`` are how those of a table have become features, plain values for files.
    """

    name: str
    task: Task
    train: Part
    test: Part
    mean: Inputs = field(eq=False)
    std: Inputs = field(eq=False)
    augment: str = "shift_flip"
    note: str = ""
    reading: Reading | None = None
    undivided: bool = False
    columns: Sequence[Mapping[str, Any]] = ()

    @classmethod
    def of(
        cls,
        name: str,
        task: Task,
        train: Part,
        test: Part,
        augment: str = "shift_flip",
        note: str = "",
        reading: Reading | None = None,
    ) -> Data:
        """The data set of these parts, standardised by the training part alone."""
        mean, std = statistics(train.inputs)
        task = task.fitted(train.targets)
        return cls(name, task, train, test, mean, std, augment, note, reading)

    def noted(self, *notes: str) -> Data:
        """The same data with more that its user should know."""
        return evolve(self, note="; ".join(filter(None, (self.note, *notes))))

    @classmethod
    def to_judge(
        cls, name: str, task: Task, part: Part, note: str = "", reading: Reading | None = None
    ) -> Data:
        """Undivided examples, for a network that standardises them itself."""
        mean = mapped(_nothing, part.inputs)
        std = mapped(torch.ones_like, mean)
        return cls(name, task, part, part, mean, std, "none", note, reading, undivided=True)

    def augmentation(self, augment: str) -> str:
        """What an ``augment`` setting means for it.

        Raises:
            DiagnosticError: D515 (it shifts or mirrors what is no image, or what targets lie on).
        """
        shapes = [tuple(x.shape[1:]) for x in tensors(self.train.inputs)]
        auto = "none" if self.task.placed else self.augment
        return settled_augment(self.name, auto, augment, shapes, self.stays)

    @property
    def stays(self) -> bool:
        """Whether targets lie on images that they cannot move with: theirs are of another size."""
        sizes = {tuple(x.shape[2:]) for x in tensors(self.train.inputs) if x.dim() == 4}
        return self.task.placed and not self.task.map_sizes <= sizes

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
    return _laid_out((centred / std.view(-1, *around)).to(torch.float32))


def _nothing(inputs: Tensor) -> Tensor:
    """A mean of inputs [N, C, ...] that changes nothing: [C]."""
    return torch.zeros(inputs.shape[1], dtype=statistics_type(inputs.dtype))


def _laid_out(inputs: Tensor) -> Tensor:
    """Images as networks take them fastest: channels last in memory."""
    if inputs.dim() == 4:
        return inputs.contiguous(memory_format=torch.channels_last)
    return inputs


def numbers(inputs: Tensor) -> Tensor:
    """Bytes as shares of 255; other numbers as they are."""
    return inputs.to(torch.float32).div_(255) if inputs.dtype == torch.uint8 else inputs


def statistics(inputs: Inputs) -> tuple[Inputs, Inputs]:
    """Mean and deviation [C] of each channel or feature of inputs [N, C, ...].

    The deviation of a constant is 1, so that it stays a constant.
    """
    if not isinstance(inputs, Bundle):
        return _statistics(inputs)
    pairs = {port: _statistics(tensor) for port, tensor in inputs.ports.items()}
    mean, std = (Bundle({port: pair[k] for port, pair in pairs.items()}) for k in (0, 1))
    return mean, std


def _statistics(inputs: Tensor) -> tuple[Tensor, Tensor]:
    # Maps one channel at a time: all at once they are many times as large as their bytes.
    parts = torch.split(inputs, 1, dim=1) if inputs.dim() > 2 else [inputs]
    mean, std = (torch.cat(moments) for moments in zip(*map(_moments, parts), strict=True))
    kind = statistics_type(inputs.dtype)
    return mean.to(kind), std.to(kind)


def _moments(inputs: Tensor) -> tuple[Tensor, Tensor]:
    channels = numbers(inputs).transpose(0, 1).flatten(1)
    if inputs.dtype != torch.uint8:  # anything may stand there: large offsets, large numbers
        channels = channels.to(torch.float64)
    mean = channels.mean(dim=1)
    std = channels.std(dim=1, correction=min(1, channels.shape[1] - 1))
    std[channels.amax(dim=1) == channels.amin(dim=1)] = 1
    return mean, std


def statistics_type(inputs: torch.dtype) -> torch.dtype:
    """Of mean and deviation of inputs of that type: as fine as they are."""
    return inputs if inputs.is_floating_point else torch.float32


# ----------------------------------------------------------------------------------------- batches


class Batches:
    """Shuffled, augmented batches of normalised inputs and targets, pass after pass.

    The last batch of a pass is left out where it is a single example, which batch normalisation
    refuses. ``order`` is the state of the generator that the order of the present pass was drawn
    from: with it, an interrupted pass goes on in the same order, whatever else was drawn since.
    """

    def __init__(
        self,
        data: Data,
        part: Part,
        size: int,
        augment: str,
        generator: torch.Generator,
        extra: Extra | None = None,
    ) -> None:
        self.data, self.part, self.size, self.generator = data, part, size, generator
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
        before = torch.Generator()
        before.set_state(self.order)
        positions = self._shuffled(before)
        for number in range(taken, count):
            place = number % len(self)
            if place == 0:
                self.order = self.generator.get_state()
                positions = self._shuffled(self.generator)
            start = place * self.size
            chosen = self.part.subset(positions[start : start + self.size])
            movement = Movement(self.augment, self.extra.crop, self.generator)
            images = self.extra.recoloured(movement.images(chosen.inputs))
            targets = chosen.targets
            if not movement.still:
                targets = self.data.task.moved(targets, movement)
            yield self.extra.blanked(self.data.normalize(images)), targets

    def _shuffled(self, generator: torch.Generator) -> Tensor:
        order = torch.randperm(len(self.part), generator=generator)
        return order.to(self.part.targets.device)


def plain_batches(data: Data, part: Part, size: int) -> Iterator[tuple[Inputs, Tensor]]:
    """Batches in order, as they are."""
    for start in range(0, len(part), size):
        stop = start + size
        yield data.normalize(part.inputs[start:stop]), part.targets[start:stop]


def raw_batches(part: Part, size: int) -> Iterator[tuple[Inputs, Tensor]]:
    """Batches in order, for a network that standardises its inputs itself."""
    for start in range(0, len(part), size):
        stop = start + size
        yield mapped(_laid_out, part.inputs[start:stop]), part.targets[start:stop]


def sameness_note(inputs: Inputs) -> str:
    """A remark where the examples to train on are all the same."""
    same = len(inputs) > 1 and all(torch.equal(x[1:], x[:-1]) for x in tensors(inputs))
    return "all examples to train on are the same: nothing can be learned of them" if same else ""
