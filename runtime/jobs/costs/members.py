"""Members of a space as networks, to be tried before anything is searched."""

from __future__ import annotations

from pathlib import Path

from bayesnas.compiler.artifacts.derive import derive_spec
from bayesnas.compiler.graph.cost import graph_cost
from bayesnas.compiler.pipeline import Compiled, compile_loaded
from bayesnas.compiler.space.choices import Member, member_space
from bayesnas.compiler.space.members import group_costs, prune_to
from bayesnas.compiler.space.prices import Prices, best_member
from bayesnas.dsl.diagnostics import Source
from bayesnas.dsl.loader import load_text
from bayesnas.dsl.printing.printer import print_spec


def biggest(prices: Prices) -> Member | None:
    """The member of most FLOPs inside the budgets; None if none was found.

    Of operations that cost the same it takes later ones, by which more of the others live.
    """
    costs = group_costs(prices.graph, "flops")
    ties = 1 / (1 + len(costs)) ** 2
    values = {group: cost + k * ties for k, (group, cost) in enumerate(costs.items())}
    return best_member(member_space(prices.graph), values, prices)


def latency_of(space: Compiled, member: Member) -> int | None:
    """What a member takes by the table that its space is priced by, nanoseconds; None without."""
    if space.graph.timing is None:
        return None
    return graph_cost(prune_to(space.graph, member)).latency


def network_of(space: Compiled, member: Member) -> Compiled:
    """A member as the network that `train` would train."""
    text = print_spec(derive_spec(space, prune_to(space.graph, member)))
    folder = Path(space.loaded.source.name).parent  # of what it imports
    loaded = load_text(Source("member", text), folder)
    return compile_loaded(loaded).learning(space.graph.objectives)
