"""What a search is given."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from bayesnas.compiler.graph.model import BudgetConstraint
from bayesnas.compiler.pipeline import Compiled
from bayesnas.compiler.space.choices import member_space
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError


@frozen
class Space:
    """What a search is given: the network that is wanted, and perhaps a smaller one to search in.

    ``proxy`` has the same choices at other numbers (width, cells); the supernet is made of it.
    ``budgets`` stand over those of the spec that count the same.
    """

    wanted: Compiled
    proxy: Compiled | None = None
    budgets: tuple[BudgetConstraint, ...] = ()

    @property
    def searched(self) -> Compiled:
        """What the supernet is made of."""
        return self.proxy or self.wanted

    @property
    def limits(self) -> tuple[BudgetConstraint, ...]:
        """The budgets that hold."""
        named = {budget.cost for budget in self.budgets}
        return (*self.budgets, *(b for b in self.wanted.graph.budgets if b.cost not in named))

    def record(self) -> dict[str, Any]:
        """What makes a search besides the wanted network, as files have it."""
        return {
            "proxy": dict(self.proxy.values) if self.proxy else None,
            "budgets": {budget.cost: budget.limit for budget in self.limits},
        }

    def check(self) -> None:
        """Refuse what cannot be searched.

        Raises:
            DiagnosticError: D431 (nothing to search), D435 (the proxy has other choices).
        """
        network = self.wanted.network
        if not self.wanted.graph.searched():
            raise DiagnosticError(
                Diagnostic(
                    "D431",
                    f"`{network.name}` has no searched edges",
                    network.span,
                    help="write `~>` where operations shall be chosen, or use `bayesnas train`",
                )
            )
        if self.proxy and member_space(self.proxy.graph) != member_space(self.wanted.graph):
            raise DiagnosticError(
                Diagnostic(
                    "D435",
                    f"the proxy of `{network.name}` has other choices than the network itself",
                    network.span,
                    help="let `--proxy` change widths, sizes and tied cells alone",
                )
            )
