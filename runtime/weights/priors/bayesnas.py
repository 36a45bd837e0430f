"""The prior `bayesnas`: automatic relevance of channels, by updates (17) to (20) of BayesNAS.

Zhou, Yang, Wang, Pan, ICML 2019, section 5.1. The weights w_i that read a channel are a group g
with the prior N(0, gamma_g). With H_i the curvature of the negative log posterior in w_i,

    C_i = (1 / gamma_g + H_i)^-1                               (17)
    omega_g = sqrt(sum_i (1 / gamma_g - C_i / gamma_g^2))      (18), (21)
    gamma_g = ||w_g|| / omega_g                                (19), (20)

and weights descend the mean loss + sum_g omega_g ||w_g||. Given w and H the equations have one
solution, which is found at once; (18) is sqrt(sum_i H_i / (1 + gamma H_i)), which has no difference
of large numbers. omega_g ||w_g|| is how many of the weights the data determine (MacKay 1992).

What is done otherwise, since the appendix of the paper is not to be had:

- The likelihood is that of all N examples, or of 1 / lambda_w if that is said: H_i is so many times
  the curvature of the mean loss. A penalty that grows by its course is no weaker likelihood: there
  omega_g nears sqrt(sum_i H_i), and what the data need most would go first.
- Weight decay is a prior as well, lambda of (16), and its curvature N lambda belongs to H_i: else a
  group that the data do not feel has H = 0, so omega = 0 and gamma without bound, and what is
  useless would never go.
- omega is in units of its strand's mean: the evidence says which channels of a strand go, and all
  strands are shrunk alike. By their determined weights, strands that much is read from would be
  removed to the last channel.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import torch
from attrs import frozen
from torch import Tensor

from bayesnas.runtime.runs.reading import TORCH_STATE, Schema, like, open_record
from bayesnas.runtime.runs.reading import both as all_of
from bayesnas.runtime.weights.curvature import ESTIMATORS
from bayesnas.runtime.weights.neighbours import both
from bayesnas.runtime.weights.priors.interface import Problem
from bayesnas.runtime.weights.priors.sparse import TINY, GroupLasso
from bayesnas.runtime.weights.subject import Rows, Subject

ROUNDS: Final = 60  # of the fixed point, which halves the logarithm of its error or better


def posterior_variance(gamma: Tensor, H: Tensor) -> Tensor:
    """C of (17): of each weight, by its prior variance and the curvature."""
    return 1 / (1 / gamma + H)


def summand(gamma: Tensor, H: Tensor) -> Tensor:
    """1/gamma - C/gamma^2 of one weight, as it stands in (18)."""
    return H / (1 + gamma * H)


@frozen
class Relevance:
    """What the updates say of groups [C]: prior variances with error bars, determined weights."""

    gamma: Tensor
    error: Tensor
    determined: Tensor


def relevance(subject: Subject, H: Mapping[str, Tensor]) -> Relevance:
    """The solution of (17) to (20) at the weights of a network.

    Args:
        subject: the network.
        H: curvature of the negative log posterior in each weight, above 0, by name.
    """
    weights = {name: w.detach() for name, w in subject.module.named_parameters()}

    def total(values: Mapping[str, Tensor]) -> Tensor:
        return subject.joined(subject.sums(values))

    def at_weights(gamma: Tensor) -> Mapping[str, Tensor]:
        return subject.spread(subject.split(gamma))

    norms = total({name: w.square() for name, w in weights.items()}).sqrt()
    gamma, omega = torch.ones_like(norms), norms
    for _ in range(ROUNDS):
        omega = total({name: summand(g, H[name]) for name, g in at_weights(gamma).items()}).sqrt()
        after = (norms / omega.clamp_min(TINY)).clamp_min(TINY)
        if bool(torch.isclose(gamma, after, rtol=1e-3, atol=0).all()):
            break
        gamma = (gamma * after).sqrt()
    variances = {
        name: posterior_variance(g, H[name]) * weights[name].square()
        for name, g in at_weights(gamma).items()
    }
    error = total(variances).sqrt() / (norms * omega).clamp_min(TINY)
    alive = (norms > 0).to(norms)
    return Relevance(alive * gamma, alive * error, norms * omega)


class BayesNas(GroupLasso):
    """Prior variances of channels by evidence, and the penalty that follows from them."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.gamma = torch.zeros_like(self.norms)
        self.error = torch.zeros_like(self.norms)

    def weights(self) -> Tensor:
        """An update: curvature, then gamma and omega that agree; omega by its strand's mean."""
        subject, lambda_w = self.subject, self.problem.lambda_w
        n = 1 / lambda_w if lambda_w else self.problem.examples
        estimate = ESTIMATORS[self.problem.curvature]
        curvature = estimate(
            subject.module, self.problem.task, self.problem.batches(), subject.generator
        )
        H = {name: n * (h + self.problem.decay) for name, h in curvature.items()}
        found = relevance(subject, H)
        self.gamma, self.error = found.gamma, found.error
        alive = (self.norms > 0).to(self.norms)
        omega = subject.split(alive * found.determined / self.norms.clamp_min(TINY))
        counts = {s: row.sum() for s, row in subject.split(alive).items()}
        means = {
            s: (row.sum() / counts[s].clamp_min(1)).clamp_min(TINY) for s, row in omega.items()
        }
        return super().weights() * subject.joined({s: r / means[s] for s, r in omega.items()})

    def worth(self) -> Tensor:
        """gamma by (8), of a group and its neighbours before and behind it, in one unit.

        That is the mean of the strand's living groups: scales of layers are arbitrary.
        """
        rows, neighbours = self.subject.split(self.gamma), self.problem.neighbours
        s = self.subject.joined(
            {k: r / r[r > 0].mean() if (r > 0).any() else r for k, r in rows.items()}
        )
        return both(both(s, neighbours.before(s)), neighbours.behind(s))

    def columns(self) -> Mapping[str, Rows]:
        """gamma with its error bar as well; both 0 of what has gone since the last update."""
        split, alive = self.subject.split, self.norms > 0
        own = {"gamma": split(alive * self.gamma), "gamma_error": split(alive * self.error)}
        return {**super().columns(), **own}

    def state(self) -> dict[str, Any]:
        """With gamma and what draws the curvature."""
        own = {"gamma": self.gamma, "error": self.error}
        return super().state() | own | {"generator": self.subject.generator.get_state()}

    def state_schema(self) -> Schema:
        """With what `state` adds."""
        row = like(self.gamma)
        own = open_record({"gamma": row, "error": row, "generator": TORCH_STATE})
        return all_of(super().state_schema(), own)

    def restore(self, state: Mapping[str, Any]) -> None:
        """Back to what `state` gave."""
        super().restore(state)
        self.gamma, self.error = state["gamma"], state["error"]
        self.subject.generator.set_state(state["generator"].cpu())
