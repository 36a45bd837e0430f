"""What is drawn: members from the posterior of the gates, for the judge, and parts to train.

Posterior-guided NAS (Zhou et al., AAAI 2020) draws candidates from its approximate posterior and
keeps the best by shared weights; here the posterior is the one a search over gates ends with.
"""

from __future__ import annotations

from random import Random

import torch
from attrs import evolve

from bayesnas.compiler.space.choices import Member, MemberSpace, dropped
from bayesnas.compiler.space.prices import Prices, best_member
from bayesnas.runtime.strategies.gaussian import Gaussian
from bayesnas.runtime.supernet.supernet import Supernet


def draw_members(
    space: MemberSpace, prices: Prices, posterior: Gaussian, net: Supernet, draws: int
) -> list[Member]:
    """Members inside the budgets, each network that is drawn once, the one at the mean first.

    A draw becomes the member of the largest sum of it.

    Args:
        space: what may be drawn.
        prices: what it costs.
        posterior: of what each group is worth [R], in any unit.
        net: numbers the groups; its generator draws.
        draws: how many draws.
    """
    points = torch.cat([posterior.mean[None], posterior.sample(net.generator, draws)])
    drawn = (best_member(space, net.gates.named(point), prices) for point in points)
    return prices.life.different(member for member in drawn if member is not None)


def thinned(space: MemberSpace, chance: float, random: Random) -> MemberSpace:
    """The space without random options; every connection keeps one option at least."""
    kept: set[str] = set()
    required = set(space.required)
    for connection in space.connections:
        nothing = [dropped(connection)] if space.droppable(connection) else []
        options = [*connection.options, *nothing]
        kept_options = [o for o in options if random.random() >= chance] or [random.choice(options)]
        kept.update(set(kept_options).intersection(connection.options))
        if nothing and nothing[0] not in kept_options:
            required.add(connection.name)
    return evolve(space.restricted(kept), required=frozenset(required))
