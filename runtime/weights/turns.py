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
from attrs import evolve, field, frozen
from torch import Tensor

from bayesnas.compiler.slices.counts import Kept
from bayesnas.runtime.tasks.bundle import Inputs
from bayesnas.runtime.tasks.interface import Task
from bayesnas.runtime.weights.choice import Scores
from bayesnas.runtime.weights.curvature import of_readers
from bayesnas.runtime.weights.reconstruction import Reconstruction
from bayesnas.runtime.weights.subject import Subject, kept_of
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

    def rises(self, alive: Tensor) -> Rises:
        """Of the network as it is, whose channels [C] are there or have gone."""
        layers = Reconstruction.of(self.subject.module, self.subject.sliced, self.inputs())
        return Rises.of(self.subject, self.task, self.batches(), layers, alive)


def evidence(trial: Trial) -> Scores:
    """By how much the mean loss is predicted to have risen once a channel goes, in nats.

    All go, but for the least that every strand keeps; these come last, by their own.
    """
    turns = Turns(trial.subject, trial.excess, trial.least)
    for due in dues(trial.share):
        turns.until(due, trial.rises(turns.alive))
        trial.leave(turns.kept())
    rises = trial.rises(turns.alive)
    turns.until(-inf, rises)  # those that stay, in case that more has to go than was due
    return trial.subject.split(turns.scores(rises))


def over(shares: Iterable[float]) -> float:
    """By how much budgets are exceeded, in one number: 0 or less where all are met.

    The mean of what is above each, so that what saves any of several saves something.
    """
    each = [*shares]
    above = sum(share for share in each if share > 0)
    return above / len(each) if above else max(each)


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
        unknown: channels of strands that nothing in the subject reads [C], bool: each counts as the
            mean of the others that are left.
        alive: which channels have not gone [C], bool.
    """

    curvature: Tensor
    surgery: Surgery
    unknown: Tensor
    alive: Tensor

    @classmethod
    def of(
        cls,
        subject: Subject,
        task: Task,
        batches: Iterable[tuple[Inputs, Tensor]],
        layers: Reconstruction,
        alive: Tensor,
        gates: Tensor | None = None,
    ) -> Rises:
        """Of a network as it is.

        Args:
            subject: the network and its channels.
            task: what it learns.
            batches: small ones that it has learned from.
            layers: its own.
            alive: which channels have not gone [C], bool.
            gates: of its operations [G], if it is a supernet.
        """
        total, parts = of_readers(subject, task, batches, gates)
        surgery = Surgery(subject, parts, layers)
        surgery.remove((~alive).nonzero()[:, 0].tolist())
        read = {strand for rows in parts.values() for strand in rows}
        unknown = {s: torch.full((s.size,), s not in read) for s in subject.strands}
        return cls(total, surgery, subject.joined(unknown).bool(), alive.clone())

    def copy(self) -> Rises:
        """Ones that go on by themselves: what goes of them stays in these."""
        return evolve(self, surgery=self.surgery.copy(), alive=self.alive.clone())

    def now(self) -> Tensor:
        """In nats [C]."""
        rises = (self.curvature / 2 * self.surgery.shares()).clamp_min(TINY)
        known = self.alive & ~self.unknown
        if not known.any() or not self.unknown.any():
            return rises
        return torch.where(self.unknown, rises[known].mean(), rises)

    def remove(self, channel: int) -> None:
        """Go on without a channel, by its number among those of all strands."""
        self.alive[channel] = False
        self.surgery.remove([channel])


class Turns:
    """Which channels are there [C], and by what loss each of the others went.

    Args:
        subject: whose channels they are.
        excess: of a network of these channels alone, as a share of something: 0 or less if it is as
            small as is wanted.
        least: channels that every strand keeps.
        alive: which channels are there at first [C], bool; all of them if None.
    """

    def __init__(
        self,
        subject: Subject,
        excess: Callable[[Kept], float],
        least: int = 1,
        alive: Tensor | None = None,
    ) -> None:
        self.subject, self.excess, self.least = subject, excess, least
        self.strands = subject.strands
        self.sizes = [strand.size for strand in self.strands]
        self.alive = torch.ones(subject.size, dtype=torch.bool) if alive is None else alive.clone()
        self.counts = [int(row.sum()) for row in subject.split(self.alive).values()]  # of each
        self.went = torch.zeros(subject.size, dtype=torch.float64)
        sizes = torch.tensor(self.sizes, dtype=torch.int64)  # of none, too
        self.own = torch.repeat_interleave(torch.arange(len(self.sizes)), sizes)
        self.risen = 0.0

    def kept(self) -> Kept:
        """The channels that are there."""
        return kept_of(self.subject.split(self.alive))

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
                rises.remove(channel)
                excess = self._excess(self.counts)

    def _next(self, rises: Tensor, savings: list[float]) -> int | None:
        """The channel whose going costs least, if any may go."""
        if not self.alive.any():
            return None
        prices = [
            1 / saving if saving > 0 and count > min(self.least, size) else inf
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
        return self.excess({s: range(n) for s, n in zip(self.strands, counts, strict=True)})

    def _savings(self, excess: float) -> list[float]:
        """What a channel of each strand saves of what is in excess; a strand's last one nothing.

        Where one alone saves nothing, as of latency between widths, it is the mean of all but one.
        Channels that save nothing at all do not go.
        """

        def saving(k: int, fewer: int) -> float:
            counts = [n - fewer * (i == k) for i, n in enumerate(self.counts)]
            return (excess - self._excess(counts)) / fewer

        def each(k: int) -> float:
            more = self.counts[k] - 1
            return saving(k, 1) or saving(k, more) if more > 0 else 0.0

        return [*map(each, range(len(self.counts)))]

    def scores(self, rises: Rises) -> Tensor:
        """By the loss of what went, those that stay after all others, by their own rises [C]."""
        return torch.where(self.alive, self.risen + rises.now(), self.went)


TURNS: Final[Mapping[str, Callable[[Trial], Scores]]] = {"evidence": evidence}
