"""Posterior sampling: members drawn from the posterior of the gates, for the judge.

Posterior-guided NAS (Zhou et al., AAAI 2020) draws candidates from its approximate posterior and
keeps the best by shared weights; here the posterior is the one a search over gates ends with.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bayesnas.compiler.prices import Prices, best_member
from bayesnas.compiler.space import Member, MemberSpace
from bayesnas.runtime.supernet import Supernet


def draw_members(
    space: MemberSpace, prices: Prices, mean: Tensor, root: Tensor, net: Supernet, draws: int
) -> list[Member]:
    """Members inside the budgets, each drawn one once, the one at the mean first.

    A draw of the gates from N(mean, root root^T) becomes the member of the largest sum of gates.

    Args:
        space: what may be drawn.
        prices: what it costs.
        mean: of the posterior, by group [R].
        root: of its covariance [R, K].
        net: numbers the groups; its generator draws.
        draws: how many draws.
    """
    noise = torch.randn(draws, root.shape[1], generator=net.generator, dtype=torch.float64)
    points = torch.cat([mean[None], mean + noise @ root.T])
    found: dict[Member, None] = {}
    for point in points.tolist():
        values = dict(zip(net.groups, point, strict=True))
        member = best_member(space, values, prices)
        if member is not None:
            found[member] = None
    return list(found)
