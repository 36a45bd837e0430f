"""Examples and their targets: what trainings, searches and judgements need of a data set.

`Examples` is that interface. A `Part` has them in memory; a `Stream` (of `folder:`) reads them when
they are needed. Both give the same numbers to the bit, so nothing else asks which one it has.

Inputs are [N, features], [N, channels, length] or [N, channels, height, width]; images are bytes.
Those of a network of several inputs are a `Bundle` of such tensors, and so are their statistics.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from hashlib import sha256
from typing import Final

import torch
from attrs import field, frozen
from torch import Tensor

from bayesnas.runtime.data.augmentation.extra import Extra
from bayesnas.runtime.tasks.bundle import Inputs, bundled, by_port, mapped, tensors

CHUNK: Final = 256  # examples whose moments are taken at once


@frozen
class Need:
    """What is needed of some batches.

    Args:
        rows: of each batch; what others have does not matter.
        extra: what is done to each image by itself.
        seeds: of each batch, by which that is drawn, int64 [M]; none where nothing is drawn.
    """

    rows: Sequence[slice]
    extra: Extra = field(factory=Extra)
    seeds: Sequence[Tensor] = ()


class Examples(ABC):
    """Some examples of a data set. Their targets are always in memory."""

    @property
    @abstractmethod
    def targets(self) -> Tensor:
        """[N, ...]."""

    @property
    @abstractmethod
    def inputs(self) -> Inputs:
        """[N, ...], bytes or floating point; those of a stream are read, so ask it for few."""

    @abstractmethod
    def subset(self, positions: Tensor) -> Examples:
        """The examples at these positions [M]."""

    @abstractmethod
    def batches(
        self, positions: Sequence[Tensor], need: Need | None = None
    ) -> Iterator[tuple[Inputs, Tensor]]:
        """Inputs and targets batch by batch: those at the positions [M] of each.

        A stream reads ahead of what is taken, and changes images where it decodes them: cuts are
        of whole images then, not of those that were brought to the network's size.
        """

    @abstractmethod
    def changed(self, change: Callable[[Inputs], Inputs]) -> Examples:
        """The same examples with their inputs changed; a stream changes each batch by itself."""

    @abstractmethod
    def retargeted(self, targets: Tensor) -> Examples:
        """The same inputs with other targets [N, ...]."""

    @abstractmethod
    def to(self, device: torch.device) -> Examples:
        """The same examples on another device."""

    @abstractmethod
    def at_hand(self) -> Examples:
        """The same, in memory where they take a small share of it: to be looked at repeatedly."""

    @abstractmethod
    def statistics(self) -> tuple[Inputs, Inputs]:
        """Mean and deviation [C] of each channel or feature, of bytes as shares of 255.

        The deviation of a constant is 1, so that it stays a constant.
        """

    @abstractmethod
    def fingerprint(self) -> str:
        """A hash of inputs and targets: the same for the same numbers in the same order."""

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def example(self) -> Inputs:
        """The first example [1, ...]: it tells shape and type of all."""
        return self.first(1).inputs

    def sample(self, count: int, generator: torch.Generator) -> Examples:
        """Some examples in random order, or all where there are fewer."""
        order = torch.randperm(len(self), generator=generator)[:count]
        return self.subset(order.to(self.targets.device))

    def first(self, count: int) -> Examples:
        """The first examples, or all where there are fewer."""
        return self.subset(torch.arange(min(count, len(self)), device=self.targets.device))

    def in_order(
        self, size: int, rows: Callable[[int], slice] | None = None
    ) -> Iterator[tuple[Inputs, Tensor]]:
        """Inputs and targets in batches of that size, the last one of what is left.

        ``rows`` tells which rows are needed of a batch of so many examples; None: all.
        """
        places = torch.arange(len(self), device=self.targets.device)
        groups = torch.split(places, size) if len(self) else ()
        return self.batches(groups, Need([rows(len(some)) for some in groups]) if rows else None)


@frozen
class Part(Examples):
    """Examples in memory: ``inputs`` [N, ...], bytes or floating point, ``targets`` [N, ...]."""

    inputs: Inputs = field(eq=False, repr=False)
    targets: Tensor = field(eq=False, repr=False)

    def subset(self, positions: Tensor) -> Part:
        """The examples at these positions [M]."""
        return Part(self.inputs[positions], self.targets[positions])

    def first(self, count: int) -> Part:
        """The first examples, or all where there are fewer."""
        return Part(self.inputs[:count], self.targets[:count])

    def batches(
        self, positions: Sequence[Tensor], need: Need | None = None
    ) -> Iterator[tuple[Inputs, Tensor]]:
        """Inputs and targets batch by batch: those at the positions [M] of each."""
        for number, chosen in enumerate(positions):
            inputs = self.inputs[chosen]
            if need is not None and need.extra.alone:
                rows = need.rows[number]
                changed = need.extra.of_images(inputs[rows], need.seeds[number][rows])
                inputs = mapped(partial(_put, rows), inputs, changed)
            yield inputs, self.targets[chosen]

    def in_order(
        self,
        size: int,
        rows: Callable[[int], slice] | None = None,  # noqa: ARG002
    ) -> Iterator[tuple[Inputs, Tensor]]:
        """Inputs and targets in batches of that size, not copied."""
        for start in range(0, len(self), size):
            yield self.inputs[start : start + size], self.targets[start : start + size]

    def changed(self, change: Callable[[Inputs], Inputs]) -> Part:
        """The same examples with their inputs changed."""
        return Part(change(self.inputs), self.targets)

    def retargeted(self, targets: Tensor) -> Part:
        """The same inputs with other targets [N, ...]."""
        return Part(self.inputs, targets)

    def to(self, device: torch.device) -> Part:
        """The same examples on another device."""
        return Part(self.inputs.to(device), self.targets.to(device))

    def at_hand(self) -> Part:
        """They are."""
        return self

    def statistics(self) -> tuple[Inputs, Inputs]:
        """Mean and deviation [C] of each channel or feature; see `Examples`."""
        return statistics(self.inputs)

    def fingerprint(self) -> str:
        """A hash of inputs and targets: the same for the same numbers in the same order."""
        digest = sha256()
        for tensor in (*tensors(self.inputs), self.targets):
            digest.update(form(tensor.dtype, tuple(tensor.shape)))
            digest.update(raw(tensor))
        return digest.hexdigest()


def _put(rows: slice, whole: Tensor, some: Tensor) -> Tensor:
    whole[rows] = some
    return whole


def form(dtype: torch.dtype, shape: tuple[int, ...]) -> bytes:
    """What a fingerprint says of a tensor before its numbers."""
    return f"{dtype} {shape}".encode()


def raw(tensor: Tensor) -> memoryview:
    """A tensor's numbers as they lie in memory."""
    return tensor.cpu().contiguous().numpy().data


# -------------------------------------------------------------------------------------- statistics


def numbers(inputs: Tensor) -> Tensor:
    """Bytes as shares of 255; other numbers as they are."""
    return inputs.to(torch.float32).div_(255) if inputs.dtype == torch.uint8 else inputs


def statistics_type(inputs: torch.dtype) -> torch.dtype:
    """Of mean and deviation of inputs of that type: as fine as they are."""
    return inputs if inputs.is_floating_point else torch.float32


def statistics(inputs: Inputs) -> tuple[Inputs, Inputs]:
    """Mean and deviation [C] of each channel or feature of inputs [N, C, ...]; see `Examples`."""
    pairs = {port: moments(torch.split(x, CHUNK)) for port, x in by_port(inputs).items()}
    mean, std = (bundled({port: pair[k] for port, pair in pairs.items()}) for k in (0, 1))
    return mean, std


def moments(chunks: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each channel over all chunks [M, C, ...], as `statistics` has them.

    Those of bytes are exact. Of other numbers the last bits depend on how examples are dealt into
    chunks.
    """
    gathered: _OfBytes | _OfNumbers | None = None
    for chunk in chunks:
        found = _OfBytes.of(chunk) if chunk.dtype == torch.uint8 else _OfNumbers.of(chunk)
        gathered = found if gathered is None else gathered.joined(found)  # type: ignore[arg-type]
    if gathered is None:
        raise ValueError("no examples have no statistics")
    mean, std = gathered.result()
    std[gathered.least == gathered.most] = 1
    kind = statistics_type(chunk.dtype)
    return mean.to(kind), std.to(kind)


@frozen
class _OfBytes:
    """Sums of bytes and of their squares, least and largest, int64 [C]; ``count`` a channel."""

    count: int
    sums: Tensor
    squares: Tensor
    least: Tensor
    most: Tensor

    @classmethod
    def of(cls, inputs: Tensor) -> _OfBytes:
        """Of inputs [M, C, ...]."""
        if inputs.dim() == 2:
            whole = inputs.to(torch.int64)
            ends = whole.amin(dim=0), whole.amax(dim=0)
            return cls(len(whole), whole.sum(dim=0), whole.square().sum(dim=0), *ends)
        counts = torch.stack([torch.bincount(x.flatten(), minlength=256) for x in inputs.unbind(1)])
        value = torch.arange(256, device=inputs.device)
        least = torch.where(counts > 0, value, 255).amin(dim=1)
        most = torch.where(counts > 0, value, 0).amax(dim=1)
        sums, squares = (counts * value).sum(dim=1), (counts * value * value).sum(dim=1)
        return cls(inputs[:, 0].numel(), sums, squares, least, most)

    def joined(self, other: _OfBytes) -> _OfBytes:
        """Of both."""
        least, most = self.least.minimum(other.least), self.most.maximum(other.most)
        sums, squares = self.sums + other.sums, self.squares + other.squares
        return _OfBytes(self.count + other.count, sums, squares, least, most)

    def result(self) -> tuple[Tensor, Tensor]:
        """Mean and deviation of the shares of 255, float64 [C]."""
        n, device = self.count, self.sums.device
        pairs = zip(self.sums.tolist(), self.squares.tolist(), strict=True)
        about = [(n * squares - sums * sums) / (n * max(1, n - 1)) for sums, squares in pairs]
        std = torch.tensor(about, dtype=torch.float64, device=device).sqrt() / 255
        return self.sums.to(torch.float64) / (255 * n), std


@frozen
class _OfNumbers:
    """Means of numbers, squares about them, least and largest, float64 [C]; ``count`` a channel."""

    count: int
    mean: Tensor
    squares: Tensor
    least: Tensor
    most: Tensor

    @classmethod
    def of(cls, inputs: Tensor) -> _OfNumbers:
        """Of inputs [M, C, ...]."""
        # Maps one channel at a time: all at once they are many times as large as the inputs.
        channels = torch.split(inputs, 1, dim=1) if inputs.dim() > 2 else [inputs]
        parts = (torch.cat(part) for part in zip(*map(_moments, channels), strict=True))
        return cls(inputs[:, 0].numel(), *parts)

    def joined(self, other: _OfNumbers) -> _OfNumbers:
        """Of both (Chan, Golub, LeVeque, 1979)."""
        count = self.count + other.count
        apart = other.mean - self.mean
        mean = self.mean + apart * (other.count / count)
        squares = self.squares + other.squares + apart**2 * (self.count * other.count / count)
        least, most = self.least.minimum(other.least), self.most.maximum(other.most)
        return _OfNumbers(count, mean, squares, least, most)

    def result(self) -> tuple[Tensor, Tensor]:
        """Mean and deviation, float64 [C]."""
        return self.mean, (self.squares / max(1, self.count - 1)).sqrt()


def _moments(inputs: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Mean, squares about it, least and largest number of each channel, float64 [C]."""
    channels = inputs.transpose(0, 1).flatten(1).to(torch.float64)
    mean = channels.mean(dim=1)
    squares = (channels - mean[:, None]).square_().sum(dim=1)
    return mean, squares, channels.amin(dim=1), channels.amax(dim=1)


def nothing(inputs: Inputs) -> tuple[Inputs, Inputs]:
    """A mean and deviation [C] of inputs [N, C, ...] that change nothing."""
    mean = mapped(lambda x: torch.zeros(x.shape[1], dtype=statistics_type(x.dtype)), inputs)
    return mean, mapped(torch.ones_like, mean)
