"""What is believed of members' losses after the training that is wanted.

The loss L of a member x, nats an example, is taken to be

    L(x) = f(x) - drift * capacity(x) + r(x) + doubt(x).

f is a linear function of the `Sources`, learned from the held-out losses of members that were
judged by shared weights; r is what f leaves of a member's judged loss. After a short search small
members look better than they will be: with every doubling of the images seen capacity gains, which
is ``drift``. ``doubt`` is what shared weights do not tell. Both have a size that is stated,
`DOUBLING`, `DOUBT` and `SPREAD`, the same for all spaces; docs/experiments.md says how they were
chosen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import torch
from attrs import frozen
from torch import Tensor

from bayesnas.compiler.space.choices import Member
from bayesnas.runtime.strategies.posterior.judgements import Judgements
from bayesnas.runtime.strategies.posterior.regression import Regression, regress
from bayesnas.runtime.strategies.posterior.sources import OPERATIONS, Sources

DOUBLING: Final = 0.05  # of the loss, that twice the capacity gains with twice the images
WIDEST: Final = 1.0  # doublings that a deviation of capacity counts at most
DOUBT: Final = 0.03  # of the loss, that shared weights do not tell
SPREAD: Final = 0.5  # deviations of the members' losses that they do not tell either
_SHARED: Final = 0.5  # of the variance of the doubt, what members of like operations have alike
_UNSURE: Final = 0.5  # deviation of the drift, as a share of it


@frozen(eq=False)
class Belief:
    """The posterior of the losses of some members [M], float64, nats an example.

    Args:
        members: [M].
        inputs: their scores [M, K].
        regression: of judged losses on scores.
        drift: what a deviation of capacity takes off the loss until the end of the training.
        residual: the mean of r [M], and ``residual_variance`` its variance [M].
        doubt: the deviation of what shared weights do not tell.
    """

    members: Sequence[Member]
    inputs: Tensor
    regression: Regression
    drift: float
    residual: Tensor
    residual_variance: Tensor
    doubt: float

    @classmethod
    def of(
        cls,
        sources: Sources,
        members: Sequence[Member],
        judged: Judgements,
        reference: int,
        doublings: float,
        regression: Regression | None = None,
    ) -> Belief:
        """From the losses of judged members on held-out examples.

        Args:
            sources: what is known besides.
            members: those to be believed of, judged ones among them.
            judged: two at least.
            reference: how many of ``members``, from the first on, are random ones.
            doublings: of the images seen, until the training that is wanted has ended.
            regression: of the same judgements, where it is known.
        """
        inputs = sources.scores(sources.rows(members))
        places = {member: n for n, member in enumerate(members)}
        rows = torch.tensor([places[member] for member in judged])
        losses, sampled = judged.losses, judged.variances
        if regression is None:
            regression = regress(inputs[rows], sources.blocks, losses)
        own = max(regression.noise - float(sampled.mean()), 0.0)  # variance of r
        share = own / (own + sampled) if own > 0 else torch.zeros_like(sampled)
        fitted = regression.mean(inputs)
        residual, variance = torch.zeros_like(fitted), torch.full_like(fitted, own)
        residual[rows] = share * (losses - fitted[rows])
        variance[rows] = share * sampled
        spread = math.sqrt(float(fitted[:reference].var()) + own)
        wider = float(sources.scales[0])  # doublings of capacity in one deviation
        wider = min(wider, WIDEST) if math.isfinite(wider) else 0.0
        drift = DOUBLING * max(0.0, doublings) * abs(regression.level) * wider
        doubt = math.hypot(DOUBT * regression.level, SPREAD * spread)
        return cls(members, inputs, regression, drift, residual, variance, doubt)

    @property
    def mean(self) -> Tensor:
        """Of each member's loss [M]."""
        return self.regression.mean(self.inputs) + self.residual - self.drift * self.inputs[:, 0]

    def judgements(self, count: int, generator: torch.Generator) -> Tensor:
        """Draws of the losses, as far as shared weights could tell them [count, M]."""
        drift = self.drift * (1 + _UNSURE * _normal(generator, count, 1))
        residual = self.residual + self.residual_variance.sqrt() * _normal(
            generator, count, len(self.members)
        )
        fitted = self.regression.draws(self.inputs, count, generator)
        return fitted + residual - drift * self.inputs[:, 0]

    def losses(self, count: int, generator: torch.Generator) -> Tensor:
        """Draws of the losses [count, M]."""
        groups = self.inputs[:, OPERATIONS:]
        alike = _normal(generator, count, groups.shape[1]) @ groups.T
        alone = _normal(generator, count, len(self.members))
        doubt = math.sqrt(_SHARED) * alike + math.sqrt(1 - _SHARED) * alone
        return self.judgements(count, generator) + self.doubt * doubt

    def values(self, sources: Sources, at: Tensor, coefficients: Tensor) -> Tensor:
        """What each group takes off the loss to first order round a point [R]: [R].

        ``coefficients`` [K] are the regression's, or drawn from it.
        """
        slopes = sources.slopes(at)
        return self.drift * slopes[:, 0] - slopes @ coefficients


def _normal(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64)
