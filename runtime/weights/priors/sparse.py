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
from bayesnas.runtime.runs.reading import COUNT, NUMBER, Schema, between, like, open_record
from bayesnas.runtime.weights.choice import Scores
from bayesnas.runtime.weights.priors.interface import Prior, Problem
from bayesnas.runtime.weights.subject import Rows, by_mean, kept_of, scale_groups

STRONGEST: Final = 1e6  # times as strong as at first, a penalty may become
COURSE: Final = 0.7  # of a training, after which the network is to be as small as is wanted
SWING: Final = 0.2  # of a training, in which a penalty can become its strongest
UPDATES: Final = 20  # of its weights, in a whole training
START: Final = 0.003  # of `group_lasso`, in nats an example for each strand of mean norms
TINY: Final = 1e-12
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

    Its strength grows while more is left than on an even course, and falls while less is, so that
    weights can follow; no step takes many groups. Steps are taken in units
    of a strand's mean square norm at first: relative shrinkage is what compares between layers,
    whose own scales a normalisation takes out again.
    """

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.norms = self._norms()
        self.first = self.norms.clone()
        self.lived = torch.zeros_like(self.norms)  # the share of the training before a group was 0
        self.omega = torch.zeros_like(self.norms)
        self.strength = problem.lambda_w * problem.examples or 1.0
        self.excess, self.steps = 1.0, 0

    @property
    def done(self) -> bool:
        """Whether the network is as small as is wanted."""
        return self.excess <= 0

    def _norms(self) -> Tensor:
        """||w_g|| of all channels [C]."""
        with torch.no_grad():
            weights = dict(self.subject.module.named_parameters())
            squares = self.subject.sums({n: w.square() for n, w in weights.items()})
            return self.subject.joined(squares).sqrt()

    @abstractmethod
    def weights(self) -> Tensor:
        """What ||w_g|| is multiplied by in the mean loss [C] at strength 1, by the weights now."""

    def stepped(self, rate: float) -> None:
        """The proximal step, if the network is not small enough; what is at zero stays there."""
        if not self.done and self.steps % max(1, self.problem.steps // UPDATES) == 0:
            self.omega = self.weights()
        self.steps += 1
        norms = self._norms()
        alive = (self.norms > 0).to(norms)
        factors = alive if self.done else alive * self._shrunk(alive * norms, rate)
        scale_groups(self.subject, self.subject.split(factors))
        self.norms = norms * factors
        self.lived[self.norms > 0] = self.steps / self.problem.steps
        if not self.done:
            if bool((alive * (self.norms == 0)).any()):
                self.excess = self.problem.excess(self._alive())
            self._steer()

    def _steer(self) -> None:
        """Keep to the course, unless the strength was said."""
        if self.problem.lambda_w:
            return
        share = self.steps / self.problem.steps
        behind = self.excess > 1 - share / COURSE
        swing = STRONGEST ** (1 / max(1.0, SWING * self.problem.steps))
        self.strength *= swing if behind else 1 / swing
        self.strength = min(max(self.strength, 1.0), STRONGEST)

    def _shrunk(self, norms: Tensor, rate: float) -> Tensor:
        """Factors of the groups: thresholds are in units of the strand's mean square at first."""
        split, first = self.subject.split, self.subject.split(self.first)
        pull = self.subject.pull(norms > 0)
        units = {s: (pull[s] * row.square().mean()).expand_as(row) for s, row in first.items()}
        thresholds = rate * self.strength * self.omega * self.subject.joined(units)
        most = 1 + 2 * len(norms) // self.problem.steps  # groups that may go at once
        ratios = (thresholds / norms.clamp_min(TINY))[norms > 0].sort(descending=True).values
        if len(ratios) > most and float(ratios[most]) >= 1:
            thresholds = thresholds * 0.9 / ratios[most]
        rows = split(thresholds)
        factors = {s: shrunk(row, rows[s]) for s, row in split(norms).items()}
        return self.subject.joined(factors)

    def zeros(self) -> Rows:
        """Those without a norm."""
        return self.subject.split(self.norms == 0)

    def _alive(self) -> Kept:
        return kept_of(self.subject.split(self.norms))

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
        return {name: getattr(self, name) for name in (*_NUMBERS, "strength", "excess", "steps")}

    def state_schema(self) -> Schema:
        """What `state` gives."""
        numbers = dict.fromkeys(_NUMBERS, like(self.norms))
        strength = NUMBER if self.problem.lambda_w else between(1, STRONGEST, "number")
        return open_record({**numbers, "strength": strength, "excess": NUMBER, "steps": COUNT})

    def restore(self, state: Mapping[str, Any]) -> None:
        """Back to what `state` gave."""
        for name in (*_NUMBERS, "strength", "excess", "steps"):
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
        return START / self.subject.joined(means)

    def worth(self) -> Tensor:
        """Norms in units of their strand's mean."""
        return self.subject.joined(by_mean(self.subject.split(self.norms)))
