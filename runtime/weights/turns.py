"""`evidence`: channels go one after another, the least loss for what is saved first.

A gate of value 1 on each channel, where it is read, scales all that reads it. With g the gradient
of the mean loss in the gates and H its Gauss-Newton matrix, the loss rises without channels S by

    sum_(c in S) (H_cc / 2 - g_c) + sum_(c < d in S) H_cd

so that of channels that stand for each other one can go cheaply, not both. H is estimated as V^T V,
a row of V for each small batch, with signs drawn at random (`curvature.py`), and never written out:
with few rows the sums of many channels are noise, and those go whose noise is lowest.
Derivatives hold near where they are taken: they are taken anew, normalisations' statistics too,
each time that costs have fallen by three tenths. The next to go adds least for what it saves.
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
from bayesnas.runtime.weights.curvature import gate_slopes
from bayesnas.runtime.weights.subject import Subject

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
        excess: of a network of these channels alone: 1 if nothing is saved of what has to be, 0 or
            less if it is as small as is wanted.
        share: of all costs, what is wanted.
        least: channels that every strand keeps.
        leave: gives the network zeros for all but these channels, and normalisations anew.
    """

    subject: Subject
    task: Task
    batches: Callable[[], Iterable[tuple[Inputs, Tensor]]] = field(repr=False)
    excess: Callable[[Kept], float] = field(repr=False)
    share: float
    least: int
    leave: Callable[[Kept], None] = field(repr=False)


def evidence(trial: Trial) -> Scores:
    """By how much the mean loss is predicted to have risen once a channel goes, in nats.

    Those that stay come after all others, by their own.
    """
    turns, subject = Turns(trial), trial.subject

    def slopes() -> tuple[Tensor, Tensor]:
        return gate_slopes(subject, trial.task, trial.batches())

    for due in dues(trial.share):
        turns.until(due, *slopes())
        trial.leave(turns.kept())
    return subject.split(turns.scores(*slopes()))


def dues(share: float) -> list[float]:
    """What may be in excess after each step: costs fall by equal shares, to ``share`` at last."""
    if share >= 1:
        return []
    share = max(share, LEAST_SHARE)
    count = ceil(STEPS * log2(1 / share))
    return [(share ** (k / count) - share) / (1 - share) for k in range(1, count + 1)]


class Turns:
    """Which channels are there [C], and by what loss each of the others went."""

    def __init__(self, trial: Trial) -> None:
        self.trial = trial
        self.strands = trial.subject.strands
        self.sizes = [strand.size for strand in self.strands]
        self.counts = list(self.sizes)  # that each strand has
        self.alive = torch.ones(sum(self.sizes), dtype=torch.bool)
        self.went = torch.zeros(sum(self.sizes), dtype=torch.float64)
        sizes = torch.tensor(self.sizes, dtype=torch.int64)  # of none, too
        self.own = torch.repeat_interleave(torch.arange(len(self.sizes)), sizes)
        self.risen = 0.0

    def kept(self) -> Kept:
        """The channels that are there."""
        rows = self.trial.subject.split(self.alive)
        return {strand: row.nonzero()[:, 0].tolist() for strand, row in rows.items()}

    def until(self, due: float, g: Tensor, V: Tensor) -> None:
        """Take channels out until no more is in excess than is due, or none may go.

        Args:
            due: the excess.
            g: of the mean loss in the gates [C].
            V: rows whose products sum to the Gauss-Newton matrix [B, C].
        """
        alone, gone = V.square().sum(0) / 2 - g, V.new_zeros(len(V))
        excess = self._excess(self.counts)
        while excess > due:
            savings, before = self._savings(excess), excess
            while due < excess and excess >= before - FRESH:
                rises = (alone + gone @ V).clamp_min(TINY)
                channel = self._next(rises, savings)
                if channel is None:
                    return
                self._take(channel, float(rises[channel]))
                gone = gone + V[:, channel]
                excess = self._excess(self.counts)

    def _next(self, rises: Tensor, savings: list[float]) -> int | None:
        """The channel whose going costs least, if any may go."""
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

    def scores(self, g: Tensor, V: Tensor) -> Tensor:
        """By the loss of what went, those that stay after all others, by their own rises [C]."""
        own = (V.square().sum(0) / 2 - g).clamp_min(TINY)
        return torch.where(self.alive, self.risen + own, self.went)


TURNS: Final[Mapping[str, Callable[[Trial], Scores]]] = {"evidence": evidence}
