"""Strands of channels and what ties them: union-find over whole rows of channels.

The channels of a tensor are runs of strands side by side. To tie two tensors is to split strands
where the runs of the other one end, and to make one of two that face each other; it takes time in
the number of runs, whatever the number of channels.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from math import lcm
from typing import TypeAlias

from attrs import define, field, frozen


@define(eq=False)
class Strand:
    """A row of channels while ties are found.

    ``fixed`` says why none may go; ``members`` is how many strands it stands for. ``runs`` is what
    it has become, once it is tied or split.
    """

    size: int
    fixed: str = ""
    members: int = 1
    runs: Channels | None = field(default=None, repr=False)


@frozen
class Run:
    """A strand along an axis: each of its channels covers ``stretch`` places in a row."""

    strand: Strand
    stretch: int = 1

    def __len__(self) -> int:
        return self.strand.size * self.stretch


Channels: TypeAlias = tuple[Run, ...]


def resolved(channels: Iterable[Run]) -> Channels:
    """The same places as runs of strands that stand for themselves; empty ones are left out."""
    result: list[Run] = []
    for run in channels:
        strand = run.strand
        if strand.runs is None:
            result += [run] if strand.size else []
            continue
        strand.runs = _walked(strand.runs)
        result += [Run(inner.strand, inner.stretch * run.stretch) for inner in strand.runs]
    return tuple(result)


def _walked(channels: Channels) -> Channels:
    """Without recursion: what is tied again and again lies deep."""
    result, waiting = [], [*reversed(channels)]
    while waiting:
        run = waiting.pop()
        if run.strand.runs is None:
            result.append(run)
        else:
            waiting += [
                Run(inner.strand, inner.stretch * run.stretch)
                for inner in reversed(run.strand.runs)
            ]
    return tuple(result)


def fix(channels: Iterable[Run], reason: str) -> None:
    """None of these channels may go."""
    for run in resolved(channels):
        run.strand.fixed = run.strand.fixed or reason


def tie(one: Channels, other: Channels) -> None:
    """The channels of two tensors, as many in both, go together place by place."""
    sides = deque(resolved(one)), deque(resolved(other))
    while sides[0] and sides[1]:
        first, second = _head(sides[0]), _head(sides[1])
        if first.strand is second.strand and first.stretch != second.stretch:
            fix((first, second, *sides[0], *sides[1]), "channels meet others of their own tensor")
            return
        if len(first) != len(second):
            longer, side = (first, sides[0]) if len(first) > len(second) else (second, sides[1])
            length = min(len(first), len(second))
            if length % longer.stretch:  # a run ends within what one channel covers
                reason = "channels of several sizes meet in one place"
                fix((first, second, *sides[0], *sides[1]), reason)
                return
            start, rest = _split(longer, length // longer.stretch)
            side.appendleft(rest)
            first, second = (start, second) if longer is first else (first, start)
        _unite(first, second)


def _head(side: deque[Run]) -> Run:
    """The next run, as what ties have made of it in between."""
    side.extendleft(reversed(resolved([side.popleft()])))
    return side.popleft()


def _split(run: Run, count: int) -> Channels:
    """The run as two, the first of so many channels."""
    strand = run.strand
    parts = (Strand(count, strand.fixed), Strand(strand.size - count, strand.fixed))
    for part in parts:
        part.members = strand.members
    strand.runs = tuple(map(Run, parts))
    start, rest = (Run(part, run.stretch) for part in parts)
    return start, rest


def _unite(one: Run, other: Run) -> None:
    """Two runs of one length become one strand."""
    if one.strand is other.strand:
        return
    if one.strand.members < other.strand.members:
        one, other = other, one
    width = lcm(one.stretch, other.stretch)
    strand = one.strand if width == one.stretch else other.strand
    if width not in (one.stretch, other.stretch):
        strand = Strand(len(one) // width)
    strand.fixed = one.strand.fixed or other.strand.fixed
    strand.members = one.strand.members + other.strand.members
    for run in (one, other):
        if run.strand is not strand:
            run.strand.runs = (Run(strand, width // run.stretch),)
