"""`evidence`: channels go one after another, the least loss for what is saved first.

A gate of value 1 on each channel, where it is read, scales all that reads it. With H the
Gauss-Newton matrix of the mean loss in the gates, the loss rises by H_cc / 2 without channel c, if
nothing takes over: gradients are taken to be zero, since training has ended. What is read of it and
others do foretell is taken over (`reconstruction.py`), so that the rise is

    H_cc / 2 * s_c,   s_c: the share of what its readers miss that others cannot take over,

of what is left at the time (`surgery.py`): of channels that stand for each other one can go
cheaply, not both. Derivatives hold near where they are taken: they are taken anew, once what stays
has taken over and normalisations' statistics are those of it, each time that costs have fallen by
three tenths. The next to go adds least for what it saves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import ceil, inf, log2
from typing import Final

import torch
from attrs import field, frozen
from torch import Tensor

from bayesnas.compiler.slices.counts import Kept
from bayesnas.runtime.tasks.bundle import Inputs
from bayesnas.runtime.tasks.interface import Task
from bayesnas.runtime.weights.choice import Scores
from bayesnas.runtime.weights.curvature import of_readers
from bayesnas.runtime.weights.subject import Subject
from bayesnas.runtime.weights.surgery import Surgery

STEPS: Final = 2  # times that derivatives are taken while costs are halved
FRESH: Final = 0.03  # of what is saved, after which prices are taken anew
LEAST_SHARE: Final = 2.0**-10  # of all costs: steps towards less, or nothing, are as those to it
TINY: Final = 1e-12


@frozen
class Trial:
    """A network whose channels go one after another.

    Args:
        subject: the network, in evaluation mode, and its channels.
        task: what it learns.
        batches: small ones that it has learned from, the same each time.
        inputs: of the same examples, in larger batches.
        excess: of a network of these channels alone: 1 if nothing is saved of what has to be, 0 or
            less if it is as small as is wanted.
        share: of all costs, what is wanted.
        least: channels that every strand keeps.
        leave: gives the network zeros for all but these channels, which take over, and
            normalisations anew.
    """

    subject: Subject
    task: Task
    batches: Callable[[], Iterable[tuple[Inputs, Tensor]]] = field(repr=False)
    inputs: Callable[[], Iterable[Inputs]] = field(repr=False)
    excess: Callable[[Kept], float] = field(repr=False)
    share: float
    least: int
    leave: Callable[[Kept], None] = field(repr=False)


def evidence(trial: Trial) -> Scores:
    """By how much the mean loss is predicted to have risen once a channel goes, in nats.

    All go, but for the least that every strand keeps; these come last, by their own.
    """
    turns = Turns(trial)
    for due in dues(trial.share):
        turns.until(due, turns.rises())
        trial.leave(turns.kept())
    rises = turns.rises()
    turns.until(-inf, rises)  # those that stay, in case that more has to go than was due
    return trial.subject.split(turns.scores(rises))


def dues(share: float) -> list[float]:
    """What may be in excess after each step: costs fall by equal shares, to ``share`` at last."""
    if share >= 1:
        return []
    share = max(share, LEAST_SHARE)
    count = ceil(STEPS * log2(1 / share))
    return [(share ** (k / count) - share) / (1 - share) for k in range(1, count + 1)]


@frozen
class Rises:
    """By how much the mean loss is predicted to rise without each channel that is left.

    Args:
        curvature: of the mean loss in the gates, H_cc [C].
        surgery: on the network as it is.
    """

    curvature: Tensor
    surgery: Surgery

    @classmethod
    def of(cls, trial: Trial, gone: Iterable[int]) -> Rises:
        """Of the network as it is, without the channels that have gone."""
        total, parts = of_readers(trial.subject, trial.task, trial.batches())
        surgery = Surgery(trial.subject, parts, trial.inputs())
        surgery.remove(gone)
        return cls(total, surgery)

    def now(self) -> Tensor:
        """In nats [C]."""
        return (self.curvature / 2 * self.surgery.shares()).clamp_min(TINY)


class Turns:
    """Which channels are there [C], and by what loss each of the others went."""

    def __init__(self, trial: Trial) -> None:
        self.trial = trial
        self.strands = trial.subject.strands
        self.sizes = [strand.size for strand in self.strands]
        self.counts = list(self.sizes)  # that each strand has
        self.alive = torch.ones(trial.subject.size, dtype=torch.bool)
        self.went = torch.zeros(trial.subject.size, dtype=torch.float64)
        sizes = torch.tensor(self.sizes, dtype=torch.int64)  # of none, too
        self.own = torch.repeat_interleave(torch.arange(len(self.sizes)), sizes)
        self.risen = 0.0

    def kept(self) -> Kept:
        """The channels that are there."""
        rows = self.trial.subject.split(self.alive)
        return {strand: row.nonzero()[:, 0].tolist() for strand, row in rows.items()}

    def rises(self) -> Rises:
        """Of what is there."""
        return Rises.of(self.trial, (~self.alive).nonzero()[:, 0].tolist())

    def until(self, due: float, rises: Rises) -> None:
        """Take channels out until no more is in excess than is due, or none may go."""
        excess = self._excess(self.counts)
        while excess > due:
            savings, before = self._savings(excess), excess
            while due < excess and excess >= before - FRESH:
                now = rises.now()
                channel = self._next(now, savings)
                if channel is None:
                    return
                self._take(channel, float(now[channel]))
                rises.surgery.remove([channel])
                excess = self._excess(self.counts)

    def _next(self, rises: Tensor, savings: list[float]) -> int | None:
        """The channel whose going costs least, if any may go."""
        if not self.alive.any():
            return None
        prices = [
            1 / saving if count > min(self.trial.least, size) else inf
            for size, count, saving in zip(self.sizes, self.counts, savings, strict=True)
        ]
        worth = rises * torch.tensor(prices, dtype=rises.dtype)[self.own]
        worth = torch.where(self.alive, worth, inf)
        channel = int(worth.argmin())
        return channel if float(worth[channel]) < inf else None

    def _take(self, channel: int, rise: float) -> None:
        self.risen += rise
        self.alive[channel], self.went[channel] = False, self.risen
        self.counts[int(self.own[channel])] -= 1

    def _excess(self, counts: list[int]) -> float:
        return self.trial.excess({s: range(n) for s, n in zip(self.strands, counts, strict=True)})

    def _savings(self, excess: float) -> list[float]:
        """What a channel of each strand saves, of all that has to be; a strand's last one none."""

        def without(k: int) -> list[int]:
            return [n - (i == k and n > 1) for i, n in enumerate(self.counts)]

        return [max(excess - self._excess(without(k)), TINY) for k in range(len(self.counts))]

    def scores(self, rises: Rises) -> Tensor:
        """By the loss of what went, those that stay after all others, by their own rises [C]."""
        return torch.where(self.alive, self.risen + rises.now(), self.went)


TURNS: Final[Mapping[str, Callable[[Trial], Scores]]] = {"evidence": evidence}
