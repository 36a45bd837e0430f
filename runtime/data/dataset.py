"""Data sets as tensors in memory: examples and targets, splits, batches, augmentation.

Inputs are [N, features], [N, channels, length] or [N, channels, height, width]; images are bytes.
Those of a network of several inputs are a `Bundle` of such tensors, and so are their statistics.
`Data.normalize` turns a batch into what networks see. The test part is for reporting alone:
searches and trainings split the training part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final

import torch
from attrs import evolve, field, frozen
from torch import Tensor

from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError
from bayesnas.runtime.data.registry import Ports, Standardise
from bayesnas.runtime.tasks.bundle import Bundle, Inputs, mapped, tensors
from bayesnas.runtime.tasks.interface import Task

_AUGMENTATIONS: Final = {
    "shift": "images are moved by up to an eighth",
    "shift_flip": "images are moved by up to an eighth and mirrored",
}


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
        self, data: Data, part: Part, size: int, augment: str, generator: torch.Generator
    ) -> None:
        self.data, self.part, self.size, self.generator = data, part, size, generator
        self.augment = data.augment if augment == "auto" else augment
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
            inputs = augmented(chosen.inputs, self.augment, self.generator)
            yield self.data.normalize(inputs), chosen.targets

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


def augmentation(data: Data, augment: str) -> str:
    """What an ``augment`` setting means for a data set.

    Raises:
        DiagnosticError: D515 (it shifts or mirrors what is no image).
    """
    if augment == "auto":
        return data.augment
    if augment == "none":
        return augment
    shapes = [list(tensor.shape[1:]) for tensor in tensors(data.train.inputs)]
    if not any(len(shape) == 3 for shape in shapes):
        what = f"examples of `{data.name}` are {' and '.join(map(str, shapes))}"
        raise _unmoved(augment, what)
    if data.task.placed:
        raise _unmoved(augment, f"what `{data.name}` says of places in them would stay")
    return augment


def _unmoved(augment: str, what: str) -> DiagnosticError:
    remedy = "leave `augment` out, or write `augment = none`"
    message = f"`augment = {augment}` shifts images, {what}"
    return DiagnosticError(Diagnostic("D515", message, help=remedy))


def augmentation_note(given: str, augment: str) -> str:
    """What is done to images unasked: ``augment`` is what the setting ``given`` came to mean."""
    if given != "auto" or augment == "none":
        return ""
    return f"augment = {augment}, unless told otherwise: {_AUGMENTATIONS[augment]}"


def sameness_note(inputs: Inputs) -> str:
    """A remark where the examples to train on are all the same."""
    same = len(inputs) > 1 and all(torch.equal(x[1:], x[:-1]) for x in tensors(inputs))
    return "all examples to train on are the same: nothing can be learned of them" if same else ""


def augmented(inputs: Inputs, kind: str, generator: torch.Generator) -> Inputs:
    """Images [N, C, H, W] shifted by up to an eighth, mirrored where ``kind`` says so.

    What is no image stays as it is; images of one size that belong together move together.
    """
    if kind == "none":
        return inputs
    moves: dict[tuple[int, ...], tuple[Tensor, Tensor]] = {}

    def moved(images: Tensor) -> Tensor:
        if images.dim() != 4:
            return images
        size = images.shape[2:]
        if size not in moves:
            moves[size] = _moves(images, kind, generator)
        return _moved(images, *moves[size])

    return mapped(moved, inputs)


def _moves(images: Tensor, kind: str, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Which rows [N, H] and columns [N, W] of padded images each is made of."""
    count, _, height, width = images.shape
    device = images.device
    down, right = (
        torch.randint(0, 2 * r + 1, (count, 1), generator=generator).to(device)
        for r in _reach(images)
    )
    rows = down + torch.arange(height, device=device)
    columns = right + torch.arange(width, device=device)
    if kind == "shift_flip":
        mirrored = torch.rand(count, 1, generator=generator).to(device) < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
    return rows, columns


def _reach(images: Tensor) -> tuple[int, int]:
    """How far images are shifted at most, down and right."""
    return max(1, images.shape[2] // 8), max(1, images.shape[3] // 8)


def _moved(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    down, right = _reach(images)
    padded = torch.nn.functional.pad(images, (right, right, down, down))
    examples = torch.arange(len(images), device=images.device)[:, None, None]
    # Advanced indices around the slice put the channels last.
    chosen = padded[examples, :, rows[:, :, None], columns[:, None, :]]
    return chosen.permute(0, 3, 1, 2)
