"""What a search is given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from attrs import evolve, frozen

from bayesnas.compiler.graph.cost import unmet_budgets
from bayesnas.compiler.graph.model import BudgetConstraint
from bayesnas.compiler.pipeline import Compiled
from bayesnas.compiler.settings import SearchSettings, searches_widths
from bayesnas.compiler.slices.groups import coupled_slices
from bayesnas.compiler.space.choices import member_space
from bayesnas.compiler.space.draws import no_member
from bayesnas.compiler.space.latencies import Latencies, check_priced
from bayesnas.compiler.space.latency_file import latencies_json, read_latencies
from bayesnas.compiler.space.prices import Prices, best_member
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, check_idle
from bayesnas.runtime.jobs.compression.pacing import Clock
from bayesnas.runtime.runs.ownership import LATENCIES
from bayesnas.runtime.runs.seals import text_hash
from bayesnas.runtime.strategies.widths.costs import least_member, too_small


@frozen
class Space:
    """What a search is given: the network that is wanted, and perhaps a smaller one to search in.

    ``proxy`` has the same choices at other numbers (width, cells); the supernet is made of it.
    ``budgets`` stand over those of the spec that count the same; ``latencies`` is the table that
    the network is priced by, where a budget is of time, and ``clock`` has what was measured for it
    where widths are searched, which no table is of.
    """

    wanted: Compiled
    proxy: Compiled | None = None
    budgets: tuple[BudgetConstraint, ...] = ()
    latencies: Latencies | None = None
    clock: Clock | None = None

    @property
    def searched(self) -> Compiled:
        """What the supernet is made of."""
        return self.proxy or self.wanted

    @property
    def limits(self) -> tuple[BudgetConstraint, ...]:
        """The budgets that hold."""
        return self.wanted.budgeted(self.budgets).graph.budgets

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
        table = self.latencies if self.clock is None else self.clock.table
        return "" if table is None else latencies_json(table)

    def check(self, widths: bool) -> None:
        """Refuse what cannot be searched.

        Args:
            widths: whether widths are searched too: then operations are measured later.

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
        if not widths:
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


def priced(
    space: Space, settings: SearchSettings, device: torch.device, resumed: Path | None = None
) -> tuple[Space, Prices]:
    """What candidates cost, measured first where widths are searched under a budget of latency.

    Args:
        space: what is searched.
        settings: of the search.
        device: where operations are measured.
        resumed: the folder of the search that is gone on with; what was measured for it counts.

    Raises:
        DiagnosticError: where widths are searched, D423 (a proxy or a table) and D232 (a budget of
            latency, and several operations may stay); D604 (budgets that nothing meets).
    """
    if searches_widths(settings):
        space = _timed(space, settings, device, resumed)
    prices = Prices.of(space.wanted.graph, space.limits)
    members = member_space(space.wanted.graph)
    if not searches_widths(settings):
        if best_member(members, {}, prices) is None:
            raise no_member(prices, status=2)
        return space, prices
    slices = space.clock.slices if space.clock else coupled_slices(space.wanted.graph)
    least = least_member(members, prices, slices, prices.budgets)
    assert least is not None, "a space without members has been refused"
    if unmet_budgets(least[1], prices.budgets):
        raise too_small(prices.budgets, least[1], status=2)
    return space, prices


def _timed(
    space: Space, settings: SearchSettings, device: torch.device, resumed: Path | None
) -> Space:
    """The space with a clock, where a budget is of latency.

    Raises:
        DiagnosticError: D232, D423.
    """
    where = "where widths are searched"
    if space.proxy:
        remedy = "leave it out: the channels of a smaller network are not those of the one wanted"
        check_idle(["--proxy"], where, remedy)
    if space.latencies:
        remedy = "leave it out: operations are measured here, at several widths"
        check_idle(["--latencies"], where, remedy)
    if all(budget.cost != "latency" for budget in space.limits):
        return space
    if settings.discretize == "no":
        message = "no width makes all operations of a space fast, and `discretize = no` keeps them"
        remedy = "leave `discretize` out, or bound `flops` or `parameters`"
        raise DiagnosticError(Diagnostic("D232", message, help=remedy))
    begun = None if resumed is None else resumed / LATENCIES
    table = read_latencies(begun) if begun is not None and begun.is_file() else None
    clock = Clock.of(space.wanted, (), device, table)
    graph = clock.table.priced(space.wanted.graph)
    return evolve(space, wanted=evolve(space.wanted, graph=graph), clock=clock)
