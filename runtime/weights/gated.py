"""Channels as gates of weight 1, by the updates of BayesNAS (Zhou et al., ICML 2019).

A gate r on a channel, where it is read, scales all weights that read it: a group of weights whose
own scale plays no part, so that channels of all layers and operations have one unit, and (8) can
add them. With g and H the derivatives of the mean loss in r at 1, over lambda_w,

    r = argmin g (r - 1) + H (r - 1)^2 / 2 + omega |r|         (16)
    C = (1 / gamma + H)^-1                                     (17)
    omega = sqrt(1 / gamma - C / gamma^2)                      (18)
    s = |r| / omega                                            (19)
    gamma = (1 / s + 1 / sum of s over what makes it)^-1       (8)

where what makes a channel are the channels that its filter reads. What reads it stands in H: a
channel that only dead ones are made of has none.
"""

from __future__ import annotations

from typing import Final

import torch
from attrs import frozen
from torch import Tensor

from bayesnas.runtime.weights.neighbours import TINY, Neighbours, both

ITERATIONS: Final = 50
TOLERANCE: Final = 1e-3


@frozen
class Belief:
    """What is believed of channels [C], float64: ``solved`` is r, ``error`` its deviation."""

    solved: Tensor
    gamma: Tensor
    error: Tensor


def solved_gates(gradient: Tensor, H: Tensor, omega: Tensor) -> Tensor:
    """(16) in single gates at 1: the minimiser, 0 or more; 0 where the data say nothing."""
    safe = H.clamp_min(TINY)
    return torch.where(H > TINY, (1 - (gradient + omega) / safe).clamp_min(0), 0)


def believed(
    derivatives: tuple[Tensor, Tensor],
    alive: Tensor,
    neighbours: Neighbours,
    lambda_w: float,
) -> Belief:
    """(16) to (19) and (8) iterated to their fixed point.

    Args:
        derivatives: g and H of the mean loss in their gates [C].
        alive: which are there [C].
        neighbours: of these channels.
        lambda_w: above 0; the likelihood counts as 1 / lambda_w examples.
    """
    g, H = (d / lambda_w for d in derivatives)
    living = alive.to(H)
    gamma, r, C = living, living, living
    for _ in range(ITERATIONS):
        before = gamma
        C = gamma / (1 + gamma * H)
        omega = (H / (1 + gamma * H)).sqrt()
        r = solved_gates(g, H, omega) * living
        s = r / omega.clamp_min(TINY)
        gamma = both(s, neighbours.before(s))
        if bool(torch.isclose(gamma, before, rtol=TOLERANCE, atol=TOLERANCE).all()):
            break
    return Belief(r, gamma, C.sqrt())
