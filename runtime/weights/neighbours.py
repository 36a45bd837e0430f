"""What makes what a group of weights reads, and what reads what it makes: the sums of (8).

gamma of a group follows from its own switch s, from those of what makes what it reads, and from
those of what reads what it makes (BayesNAS, Zhou et al., ICML 2019):

    gamma = (1 / s + 1 / sum of s before + 1 / sum of s behind)^-1       (8)

Groups of channels have their strands before and behind them, all channels of each. Groups within
single tensors have the groups that make or read the channels they lie on. There a depthwise
convolution is one more that makes its channel, though it stands behind the others, and the groups
of a grouped one share their channels.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from math import inf
from typing import Final, Protocol

import torch
from attrs import evolve, field, frozen
from torch import Tensor

from bayesnas.compiler.slices.ties import Strand
from bayesnas.runtime.weights.families import Pieces
from bayesnas.runtime.weights.subject import Subject

TINY: Final = 1e-12


class Neighbours(Protocol):
    """Of each group [C] the sums of s [C] over its neighbours; one of no group's has no end."""

    def before(self, s: Tensor) -> Tensor:
        """Over what makes what a group reads."""

    def behind(self, s: Tensor) -> Tensor:
        """Over what reads what a group makes."""


def both(s: Tensor, others: Tensor) -> Tensor:
    """AND of switches: the harmonic sum, 0 where one is off."""
    on = (s > TINY) & (others > TINY)
    return torch.where(on, 1 / (1 / s.clamp_min(TINY) + 1 / others.clamp_min(TINY)), 0)


@frozen
class StrandNeighbours:
    """Of channels.

    Args:
        subject: whose channels they are.
        sources: of each strand, those that make it; none, or one that is no subject's, is alive.
        unknown: strands of which nothing is known: they are alive as well.
    """

    subject: Subject
    sources: Mapping[Strand, Sequence[Strand]] = field(factory=dict)
    unknown: Collection[Strand] = ()

    def before(self, s: Tensor) -> Tensor:
        """Over all channels that a channel's filter reads."""
        return self._over(s, self.sources)

    def behind(self, s: Tensor) -> Tensor:
        """Over all channels that are made of a channel."""
        sinks: dict[Strand, list[Strand]] = {}
        for made, read in self.sources.items():
            for strand in read:
                sinks.setdefault(strand, []).append(made)
        return self._over(s, sinks)

    def _over(self, s: Tensor, others: Mapping[Strand, Sequence[Strand]]) -> Tensor:
        rows = self.subject.split(s)
        totals = {s: float(row.sum()) for s, row in rows.items() if s not in self.unknown}

        def total(strands: Sequence[Strand]) -> float:
            return sum(totals.get(strand, inf) for strand in strands) if strands else inf

        return self.subject.joined(
            {k: torch.full_like(row, total(others.get(k, ()))) for k, row in rows.items()}
        )


@frozen
class PieceNeighbours:
    """Of groups within single weight tensors.

    Channels are numbered through; the last number stands for all that no group lies on.

    Args:
        made: a group and a channel that it makes, [2, K], each pair once.
        read: a group and a channel that it reads, [2, K].
        given: channels [n + 1] that something besides these groups makes, bool.
        taken: channels [n + 1] that something besides these groups reads, bool.
    """

    made: Tensor
    read: Tensor
    given: Tensor
    taken: Tensor

    @classmethod
    def of(cls, pieces: Pieces) -> PieceNeighbours:
        """By the channels that the weights of a network lie on."""
        makers, readers = (evolve(pieces.channels, readers=r) for r in (False, True))
        made, given = _wires(pieces, makers)
        read, taken = _wires(pieces, readers)
        return cls(made, read, given, taken)

    def before(self, s: Tensor) -> Tensor:
        """Over the groups that make the channels that a group reads."""
        return _reached(s, self.made, self.given, self.read)

    def behind(self, s: Tensor) -> Tensor:
        """Over the groups that read the channels that a group makes."""
        return _reached(s, self.read, self.taken, self.made)


def neighbours_of(subject: Subject, sources: Mapping[Strand, Sequence[Strand]]) -> Neighbours:
    """Those of a subject's groups, in a network with such sources of strands."""
    if isinstance(subject, Pieces):
        return PieceNeighbours.of(subject)
    return StrandNeighbours(subject, sources)


def _wires(pieces: Pieces, channels: Subject) -> tuple[Tensor, Tensor]:
    """Groups and the channels they lie on [2, K], and the channels that others lie on [n + 1]."""
    size = channels.size
    # Counted from 2, since `spread` has 1 where there is none of these channels.
    numbers = channels.split(torch.arange(2, size + 2, dtype=torch.float64))
    lies = {
        name: torch.where(row > 1, row - 2, size).long().cpu()
        for name, row in channels.spread(numbers).items()
    }
    weights, pairs, start = dict(channels.module.named_parameters()), [], 0
    others, some = (torch.zeros(size + 1, dtype=torch.bool) for _ in range(2))
    for name, row in lies.items():
        if name not in pieces.numbers and weights[name].dim() > 1:
            others[row.flatten()] = True
    nowhere = torch.tensor(size)
    for name, (strand, groups) in pieces.numbers.items():
        keys = (groups + start) * (size + 1) + lies.get(name, nowhere)
        pairs.append(torch.unique(keys))
        start += strand.size
    keys = torch.cat(pairs or [torch.zeros(0, dtype=torch.int64)])
    found = torch.stack((keys // (size + 1), keys % (size + 1)))
    some[found[1]] = True
    some[size] = False
    return found, others | ~some


def _reached(s: Tensor, there: Tensor, others: Tensor, here: Tensor) -> Tensor:
    """Sums of s [C] over the groups at the other ends of the channels that each group lies on."""
    there, others, here = (x.to(s.device) for x in (there, others, here))
    sums = s.new_zeros(len(others)).index_add(0, there[1], s[there[0]])
    sums = torch.where(others, inf, sums)
    return torch.zeros_like(s).index_add(0, here[0], sums[here[1]])
