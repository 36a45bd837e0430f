"""What a search is given."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from bayesnas.compiler.graph.model import BudgetConstraint
from bayesnas.compiler.pipeline import Compiled
from bayesnas.compiler.settings import SearchSettings, searches_widths
from bayesnas.compiler.space.choices import member_space
from bayesnas.compiler.space.latencies import Latencies, check_priced
from bayesnas.compiler.space.latency_file import latencies_json
from bayesnas.compiler.space.prices import Prices, best_member
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, check_idle
from bayesnas.runtime.runs.seals import text_hash
from bayesnas.runtime.strategies.interface import no_member
from bayesnas.runtime.strategies.widths import least_cost, too_small
from bayesnas.runtime.weights.choice import missed_by


@frozen
class Space:
    """What a search is given: the network that is wanted, and perhaps a smaller one to search in.

    ``proxy`` has the same choices at other numbers (width, cells); the supernet is made of it.
    ``budgets`` stand over those of the spec that count the same; ``latencies`` is the table that
    the network is priced by, where a budget is of time.
    """

    wanted: Compiled
    proxy: Compiled | None = None
    budgets: tuple[BudgetConstraint, ...] = ()
    latencies: Latencies | None = None

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
            "latencies_hash": None if self.latencies is None else text_hash(self.latencies_text),
        }

    @property
    def latencies_text(self) -> str:
        """The table of latencies as a file holds it; nothing where there is none."""
        return "" if self.latencies is None else latencies_json(self.latencies)

    def check(self) -> None:
        """Refuse what cannot be searched.

        Raises:
            DiagnosticError: D431 (nothing to search), D435 (the proxy has other choices), D611 (a
                budget of time, and no latencies).
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
        check_priced(self.wanted.graph, self.limits)
        if self.proxy and member_space(self.proxy.graph) != member_space(self.wanted.graph):
            raise DiagnosticError(
                Diagnostic(
                    "D435",
                    f"the proxy of `{network.name}` has other choices than the network itself",
                    network.span,
                    help="let `--proxy` change widths, sizes and tied cells alone",
                )
            )


def check_result(space: Space, settings: SearchSettings) -> None:
    """Refuse to keep weights of another network than the one that is wanted.

    Raises:
        DiagnosticError: D232.
    """
    if settings.result == "shared" and space.proxy is not None:
        what = "`result = shared` keeps the weights of the search, and those are of the proxy"
        remedy = "leave `--proxy` out, or `result`"
        raise DiagnosticError(Diagnostic("D232", what, help=remedy))


def check_budgets(space: Space, prices: Prices, settings: SearchSettings) -> None:
    """Refuse budgets that nothing meets, and what widths are not searched in.

    Raises:
        DiagnosticError: D418 (of latency), D423 (a proxy), D604.
    """
    members = member_space(space.wanted.graph)
    if not searches_widths(settings):
        if best_member(members, {}, prices) is None:
            raise no_member(prices, status=2)
        return
    if space.proxy:
        remedy = "leave it out: the channels of a smaller network are not those of the one wanted"
        check_idle(["--proxy"], "where widths are searched", remedy)
    if any(budget.cost == "latency" for budget in prices.budgets):
        message = "no budget of latency where widths are searched"
        remedy = (
            "bound `flops` or `parameters`, and what is found by `compress --budget latency=2ms`"
        )
        raise DiagnosticError(Diagnostic("D418", message, help=remedy))
    least = least_cost(members, prices, space.wanted.graph)
    if missed_by(least, prices.budgets):
        raise too_small(prices.budgets, least, status=2)
