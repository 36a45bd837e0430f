"""What is drawn: members from the posterior of the gates, for the judge, and parts to train.

Posterior-guided NAS (Zhou et al., AAAI 2020) draws candidates from its approximate posterior and
keeps the best by shared weights; here the posterior is the one a search over gates ends with.
"""

from __future__ import annotations

from random import Random

import torch
from attrs import evolve
from torch import Tensor

from bayesnas.compiler.space.choices import Member, MemberSpace, dropped
from bayesnas.compiler.space.prices import Prices, best_member
from bayesnas.runtime.supernet.supernet import Supernet


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
        values = dict(zip(net.gates.groups, point, strict=True))
        member = best_member(space, values, prices)
        if member is not None:
            found[member] = None
    return list(found)


def thinned(space: MemberSpace, chance: float, random: Random) -> MemberSpace:
    """The space without random options; every connection keeps one option at least."""
    kept: set[str] = set()
    required = set(space.required)
    for connection in space.connections:
        nothing = [dropped(connection)] if space.droppable(connection) else []
        options = [*connection.options, *nothing]
        left = [o for o in options if random.random() >= chance] or [random.choice(options)]
        kept.update(set(left).intersection(connection.options))
        if nothing and nothing[0] not in left:
            required.add(connection.name)
    return evolve(space.restricted(kept), required=frozenset(required))
