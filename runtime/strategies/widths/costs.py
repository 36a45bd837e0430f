"""What members of a space cost at fewer channels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from bayesnas.compiler.graph.cost import Cost, budgets_text, costs_text
from bayesnas.compiler.graph.model import BudgetConstraint, Graph
from bayesnas.compiler.slices.counts import Kept, kept_cost, kept_costs
from bayesnas.compiler.slices.groups import Slices
from bayesnas.compiler.slices.pace import Pace
from bayesnas.compiler.space.choices import Member, MemberSpace
from bayesnas.compiler.space.latencies import Latencies
from bayesnas.compiler.space.members import prune_to
from bayesnas.compiler.space.prices import Prices, best_member
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError


class Timer(Protocol):
    """What measures operations at the widths they have."""

    table: Latencies  # all that was measured

    @property
    def pace(self) -> Pace:
        """Of the supernet's operations."""

    def on(self, graph: Graph, slices: Slices) -> Timer:
        """That of a member."""

    def takes(self, kept: Kept) -> int:
        """What the operations of these channels take together, nanoseconds."""

    def fitting(
        self,
        choose: Callable[[Sequence[BudgetConstraint]], Kept],
        budgets: Sequence[BudgetConstraint],
    ) -> Kept:
        """The most channels whose operations were measured to fit; D609 where none do."""


def share_of(cost: Cost, budgets: Sequence[BudgetConstraint]) -> float:
    """Of the budget that it takes most of."""
    return max((cost.of(b.cost) / max(1, b.limit) for b in budgets), default=0.0)


def least_member(
    space: MemberSpace, prices: Prices, slices: Slices, budgets: Sequence[BudgetConstraint]
) -> tuple[Member, Cost] | None:
    """The member that takes the least of budgets at one channel everywhere, and what it costs.

    Args:
        space: of members.
        prices: of its candidates.
        slices: of the whole graph, with a pace where a budget is of latency.
        budgets: each counted by its share of the limit.
    """
    graph = prices.graph
    kept = {strand: [0] for strand in slices.removable}
    costs = kept_costs(graph, slices, kept)
    values = {
        group: -sum(share_of(costs[edge.id], budgets) for edge in edges)
        for group, edges in graph.groups().items()
    }
    member = best_member(space, values, prices.unlimited())
    return None if member is None else (member, kept_cost(prune_to(graph, member), slices, kept))


def too_small(budgets: Sequence[BudgetConstraint], least: Cost, status: int = 1) -> DiagnosticError:
    """D604: no member fits, however narrow; ``status`` 2 before any work."""
    notes = (
        f"budget: {budgets_text(budgets)}",
        f"a cheap member with one channel everywhere has {costs_text(least)}",
    )
    message = "no member of the space is inside the budget, however narrow"
    diagnostic = Diagnostic("D604", message, budgets[0].span, notes=notes, help="raise the budget")
    return DiagnosticError(diagnostic, status=status)
