"""Priors that make groups of weights exactly zero: `group_lasso`, and `bayesnas` in its own file.

The objective is the mean loss + sum_g omega_g ||w_g||_2 (21). Steps on the loss are followed by the
proximal step of the penalty, which lands on zero where steps on its gradient would oscillate.
Once what is left is as small as is wanted the penalty ends, and the groups at zero stay there.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor

from bayesnas.compiler.slices.counts import Kept
from bayesnas.runtime.runs.reading import COUNT, FLAG, Schema, like, open_record
from bayesnas.runtime.weights.choice import Scores
from bayesnas.runtime.weights.priors.interface import Prior, Problem
from bayesnas.runtime.weights.subject import Rows, by_mean, group_sums, scale_readers

EVERY: Final = 10  # steps, after which it is looked whether the network is small enough
STRONGEST: Final = 1e6  # times as strong as at first, a penalty may become
UPDATES: Final = 20  # of its weights, in a whole training
START: Final = 0.003  # of `group_lasso`, in nats an example for each strand of mean norms
_NUMBERS: Final = ("norms", "first", "lived", "omega")


def shrunk(norms: Tensor, thresholds: Tensor) -> Tensor:
    """What the proximal step multiplies the groups of one strand by [C], their whole norm kept.

    The step of thresholds_g ||w_g|| leaves max(0, 1 - thresholds_g / norms_g); then all get one
    factor. Where a normalisation follows, it takes that factor out again, and without it the
    penalty would draw the whole layer to zero along what the loss does not see. No threshold
    exceeds half the largest norm, so that something is left.
    """
    tiny = torch.finfo(norms.dtype).tiny
    thresholds = torch.minimum(thresholds, norms.max() / 2)
    factors = (1 - thresholds / norms.clamp_min(tiny)).clamp_min(0)
    before, after = norms.square().sum(), (factors * norms).square().sum()
    return factors * (before / after.clamp_min(tiny)).sqrt()


class Sparse(Prior):
    """A weighted group norm, by proximal steps, until the network is small enough.

    Its factor grows from 1 to `STRONGEST` over the training, if it has to. Steps are taken in units
    of a strand's mean square norm at first: relative shrinkage is what compares between layers,
    whose own scales a normalisation takes out again.
    """

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.norms = self._norms()
        self.first = self.norms.clone()
        self.lived = torch.zeros_like(self.norms)  # the share of the training before a group was 0
        self.omega = torch.zeros_like(self.norms)
        self.done, self.steps = False, 0

    @property
    def strength(self) -> float:
        """By what the penalty is multiplied now."""
        return float(STRONGEST ** (self.steps / self.problem.steps))

    def _norms(self) -> Tensor:
        """||w_g|| of all channels [C]."""
        with torch.no_grad():
            weights = dict(self.subject.module.named_parameters())
            squares = group_sums(self.subject, {n: w.square() for n, w in weights.items()}, True)
            return self.subject.joined(squares).sqrt()

    @abstractmethod
    def weights(self) -> Tensor:
        """What ||w_g|| is multiplied by in the mean loss [C], at the weights there are."""

    def stepped(self, rate: float) -> None:
        """The proximal step; once the network is small enough, what is at zero back to it."""
        if not self.done and self.steps % max(1, self.problem.steps // UPDATES) == 0:
            self.omega = self.weights()
        self.steps += 1
        norms = self._norms()
        factors = (self.norms > 0).to(norms) if self.done else self._shrunk(norms, rate)
        scale_readers(self.subject, self.subject.split(factors))
        self.norms = norms * factors
        self.lived[self.norms > 0] = self.steps / self.problem.steps
        if not self.done and self.steps % EVERY == 0:
            self.done = self.problem.enough(self._alive())

    def _shrunk(self, norms: Tensor, rate: float) -> Tensor:
        """Factors of the groups: thresholds are in units of the strand's mean square at first."""
        split, first = self.subject.split, self.subject.split(self.first)
        rows, thresholds = split(norms), split(rate * self.omega)
        factors = {
            s: shrunk(row, thresholds[s] * first[s].square().mean()) for s, row in rows.items()
        }
        return self.subject.joined(factors)

    def _alive(self) -> Kept:
        rows = self.subject.split(self.norms)
        return {s: row.nonzero()[:, 0].tolist() for s, row in rows.items()}

    def scores(self) -> Scores:
        """Those that live by `worth`, above those that went, the last first."""
        worth = self.worth()
        top = worth.max().clamp_min(torch.finfo(worth.dtype).tiny) if len(worth) else worth.sum()
        return self.subject.split(torch.where(self.norms > 0, 1 + worth / top, self.lived))

    @abstractmethod
    def worth(self) -> Tensor:
        """How much each living channel matters [C], 0 or more."""

    def columns(self) -> Mapping[str, Rows]:
        """Norms before and after, and the weight of the penalty."""
        split = self.subject.split
        return {
            "norm_before": split(self.first),
            "norm": split(self.norms),
            "omega": split(self.omega),
        }

    def state(self) -> dict[str, Any]:
        """Norms, weights, and how far it is."""
        return {name: getattr(self, name) for name in (*_NUMBERS, "done", "steps")}

    def state_schema(self) -> Schema:
        """What `state` gives."""
        numbers = dict.fromkeys(_NUMBERS, like(self.norms))
        return open_record({**numbers, "done": FLAG, "steps": COUNT})

    def restore(self, state: Mapping[str, Any]) -> None:
        """Back to what `state` gave."""
        for name in (*_NUMBERS, "done", "steps"):
            setattr(self, name, state[name])


class GroupLasso(Sparse):
    """`group_lasso`: the same relative shrinkage for all groups (Yuan and Lin, 2006).

    omega is one over the mean norm of the strand's groups, so that the scale of a layer, which a
    normalisation behind it takes out again, plays no part.
    """

    def weights(self) -> Tensor:
        """omega by the strands' mean norms."""
        rows = self.subject.split(self.first)
        means = {s: row.mean().clamp_min(1e-12).expand_as(row) for s, row in rows.items()}
        return self.strength * START / self.subject.joined(means)

    def worth(self) -> Tensor:
        """Norms in units of their strand's mean."""
        return self.subject.joined(by_mean(self.subject.split(self.norms)))
