"""A network whose channels are scored, and sums over all that goes with each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

import torch
from attrs import field, frozen
from torch import Tensor, nn

from bayesnas.compiler.slices.counts import Kept
from bayesnas.compiler.slices.ties import Channels, Strand
from bayesnas.runtime.weights.removal import Sliced

Values: TypeAlias = Mapping[str, Tensor]  # by the names of parameters, each of that one's shape
Rows: TypeAlias = dict[Strand, Tensor]  # [channels] of each strand


@frozen
class Subject:
    """A network whose channels are scored.

    Args:
        module: the network; its mode and its weights are left as they are.
        sliced: its tensors that hold something of a channel.
        strands: whose channels are scored.
        readers: whether the group of a channel is all that reads it, or all that makes it.
        losses: mean losses of the module on batches that it has learned from; a new pass each time
            that it is called. Those who look at weights alone do not ask.
        generator: of what is drawn, on the CPU.
    """

    module: nn.Module = field(repr=False)
    sliced: tuple[Sliced, ...] = field(repr=False)
    strands: Sequence[Strand]
    losses: Callable[[], Iterable[Tensor]] = field(repr=False, default=tuple)
    generator: torch.Generator = field(factory=torch.Generator, repr=False)
    readers: bool = True

    @property
    def size(self) -> int:
        """How many channels it has, of all strands."""
        return sum(strand.size for strand in self.strands)

    def sums(self, values: Values) -> Rows:
        """Sums of values of some parameters over each group, [groups] a strand."""
        return group_sums(self, values, self.readers)

    def all_sums(self, values: Values) -> Rows:
        """The same over all that goes with a channel, what makes it and what reads it.

        A filter is what makes it alone.
        """
        return group_sums(self, values, None if self.readers else False)

    def spread(self, rows: Mapping[Strand, Tensor]) -> dict[str, Tensor]:
        """Of each parameter with groups, their numbers where they are, to broadcast."""
        return spread(self, rows)

    def compared(self, squares: Mapping[Strand, Tensor]) -> Rows:
        """Scores of groups of all strands by sums of squares: their roots over the strand's mean.

        All groups of a strand have as many weights, so that means of squares say the same.
        """
        return by_mean({strand: row.sqrt() for strand, row in squares.items()})

    def pull(self, alive: Tensor) -> dict[Strand, float]:
        """How hard groups of each strand are shrunk, those alive [C] given: all alike."""
        del alive
        return dict.fromkeys(self.strands, 1.0)

    def rows(self, value: float = 0.0) -> Rows:
        """A number for each channel, in the type and on the device of the weights."""
        some = next(self.module.parameters())
        return {s: torch.full((s.size,), value).to(some) for s in self.strands}

    def joined(self, rows: Mapping[Strand, Tensor]) -> Tensor:
        """The numbers of all channels [C], strand by strand."""
        return torch.cat([rows[s] for s in self.strands] or [torch.zeros(0)])

    def split(self, numbers: Tensor) -> Rows:
        """Numbers of all channels [..., C] by their strands, as views."""
        sizes = [s.size for s in self.strands]
        parts = torch.split(numbers, sizes, dim=-1) if self.strands else ()
        return dict(zip(self.strands, parts, strict=True))


def group_sums(subject: Subject, values: Values, readers: bool | None = None) -> Rows:
    """Sums of values over the slices of each channel, [channels] a strand.

    Args:
        subject: the network.
        values: of some of its parameters.
        readers: those that read the channel alone, those that make it alone; None is both.
    """
    result = subject.rows()
    for tensor in subject.sliced:
        if tensor.name not in values:
            continue
        for k, axis in enumerate(tensor.axes):
            if readers is None or (k != tensor.maker) == readers:
                _add(result, axis, values[tensor.name].movedim(k, 0))
    return result


def reading_sums(subject: Subject, values: Values) -> dict[str, Rows]:
    """Sums of values over the slices that read each channel, tensor by tensor, of its strands."""
    result: dict[str, Rows] = {}
    for tensor in subject.sliced:
        if tensor.name not in values:
            continue
        for k, axis in enumerate(tensor.axes):
            some = {run.strand for run in axis}.intersection(subject.strands)
            if some and k != tensor.maker:
                rows = result.setdefault(tensor.name, {})
                new = {s: values[tensor.name].new_zeros(s.size) for s in some - rows.keys()}
                _add(rows | new, axis, values[tensor.name].movedim(k, 0))
                rows |= new
    return result


def _add(result: dict[Strand, Tensor], axis: Channels, values: Tensor) -> None:
    places, start = values.reshape(len(values), -1).sum(1), 0
    for run in axis:
        if run.strand in result:
            row = places[start : start + len(run)].view(run.strand.size, run.stretch)
            result[run.strand] += row.sum(1)
        start += len(run)


def rows_of(strands: Iterable[Strand], kept: Kept) -> Rows:
    """Which channels of each strand stay, bool; all of one that ``kept`` does not name."""
    rows = {strand: torch.zeros(strand.size, dtype=torch.bool) for strand in strands}
    for strand, row in rows.items():
        row[[*kept.get(strand, range(strand.size))]] = True
    return rows


def kept_of(rows: Mapping[Strand, Tensor]) -> Kept:
    """The channels of each strand whose number is not zero."""
    return {strand: row.nonzero()[:, 0].tolist() for strand, row in rows.items()}


def by_mean(scores: Mapping[Strand, Tensor]) -> Rows:
    """In units of each strand's mean, so that layers of other scales compare."""
    return {s: row / row.mean().clamp(min=torch.finfo(row.dtype).tiny) for s, row in scores.items()}


@torch.no_grad()
def scale_groups(subject: Subject, factors: Mapping[Strand, Tensor]) -> None:
    """Multiply each group by its factor, in place."""
    weights = dict(subject.module.named_parameters())
    for name, values in subject.spread(factors).items():
        weights[name].mul_(values)


def spread(subject: Subject, rows: Mapping[Strand, Tensor]) -> dict[str, Tensor]:
    """Of each parameter in the groups of channels, their numbers where they lie, to broadcast."""
    weights, result = dict(subject.module.named_parameters()), {}
    for tensor in subject.sliced:
        for k, axis in enumerate(tensor.axes):
            if (
                (k != tensor.maker) == subject.readers
                and tensor.name in weights
                and any(run.strand in rows for run in axis)
            ):
                weight = weights[tensor.name]
                around = [1] * (weight.dim() - k - 1)
                result[tensor.name] = along(axis, rows, weight.detach()).view(-1, *around)
    return result


def along(axis: Channels, values: Mapping[Strand, Tensor], like: Tensor) -> Tensor:
    """The values of an axis' channels at each of its places, [..., places]; 1 where none is given.

    Args:
        axis: what lies along it.
        values: of strands, each [..., channels] with the same first dimensions.
        like: whose type and device they get.
    """
    first = next(iter(values.values())).shape[:-1]
    parts = [
        values[run.strand].to(like).repeat_interleave(run.stretch, dim=-1)
        if run.strand in values
        else like.new_ones(*first, len(run))
        for run in axis
    ]
    return torch.cat(parts, dim=-1)


def channels_last(layer: nn.Module) -> bool:
    """Whether a layer reads channels along the last axis of its input, not along the second.

    `matrix`, whose class is a linear layer as well, takes [N, C, L].
    """
    return type(layer) is nn.Linear
