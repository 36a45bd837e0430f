"""Which groups of gates go after an update: by entropy, by `retain`, and by what that leaves dead.

A group goes whole. However many gates an update would prune, an output never loses its last way
to the inputs: a removal that would do so is not made.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection

from torch import Tensor

from bayesnas.compiler.graph.model import Connection, Graph
from bayesnas.compiler.space.draws import no_member
from bayesnas.compiler.space.members import dead_groups, prune_to
from bayesnas.compiler.space.prices import Prices
from bayesnas.dsl.diagnostics import DiagnosticError
from bayesnas.runtime.strategies.bayesnas.posterior import GatePosterior
from bayesnas.runtime.strategies.bayesnas.updates import entropy
from bayesnas.runtime.strategies.interface import Removal
from bayesnas.runtime.supernet.gates import Gates


class Pruner:
    """Decides removals on one graph."""

    def __init__(
        self, graph: Graph, gates: Gates, fits: Callable[[Collection[str]], bool] = lambda _: True
    ) -> None:
        self.graph = graph
        self.groups = gates.groups
        self.fits = fits  # whether a budget can be met without these groups
        self.connections = [c for c in graph.all_connections() if c.searched]
        self.retained = {r.node: r.count for r in graph.retains}

    def decide(
        self,
        posterior: GatePosterior,
        saliencies: Tensor,
        removed: frozenset[str],
        fraction: float,
        progress: float,
    ) -> Removal:
        """What goes after an update.

        Args:
            posterior: after the update.
            saliencies: what removing each gate's group adds to the loss [G]; orders equal gammas.
            removed: groups that have gone before.
            fraction: largest share of the living groups that entropy may remove.
            progress: from 0 to 1; at 1 every `retain` is met, before that in proportion.
        """
        gone = set(removed)
        reasons: dict[str, str] = {}
        refused = [
            group
            for group in self._by_entropy(posterior, saliencies, gone, fraction)
            if not self._try(gone, {group}, "entropy", reasons)
        ]
        for connection in self._by_retain(posterior.gamma, gone, progress):
            self._try(gone, self._groups_in(connection) - gone, "retain", reasons)
        for group in dead_groups(self.graph, self.groups.keys() - gone):
            reasons[group] = "dead"
        return Removal(reasons, tuple(refused))

    def within(self, gamma: Tensor, removed: frozenset[str], prices: Prices) -> Removal:
        """Groups go until what is left keeps the budgets, of the least gamma for its price first.

        Args:
            gamma: of each gate [G].
            removed: groups that have gone before.
            prices: and the budgets.

        Raises:
            DiagnosticError: D604 (status 1) if no more may go, and the budgets are not kept.
        """
        gone, reasons = set(removed), dict[str, str]()

        def worth(group: str) -> float:
            price = max(prices.shares[group], default=0.0)
            return self._gamma(gamma, group) / price if price > 0 else math.inf

        for group in sorted(self.groups.keys() - gone, key=lambda g: (worth(g), g)):
            if prices.fit(frozenset(self.groups.keys() - gone)):
                break
            self._try(gone, {group}, "budget", reasons)
        if not prices.fit(frozenset(self.groups.keys() - gone)):
            raise no_member(prices)
        return Removal(reasons)

    def _try(self, gone: set[str], groups: set[str], reason: str, reasons: dict[str, str]) -> bool:
        """Remove groups unless that cuts an output off or breaks a budget; whether they went."""
        try:
            prune_to(self.graph, self.groups.keys() - gone - groups)
        except DiagnosticError:
            return False
        if not self.fits(gone | groups):
            return False
        gone |= groups
        reasons.update(dict.fromkeys(sorted(groups), reason))  # sets have another order each time
        return True

    def _gamma(self, gamma: Tensor, group: str) -> float:
        return float(gamma[self.groups[group][0]])

    def _by_entropy(
        self, posterior: GatePosterior, saliencies: Tensor, gone: set[str], fraction: float
    ) -> list[str]:
        """Groups of no positive entropy, the smallest gamma first, as many as may go."""
        bits = entropy(posterior.gamma)
        living = [g for g in self.groups if g not in gone]
        low = [g for g in living if self._gamma(bits, g) <= 0]
        low.sort(key=lambda g: (self._gamma(posterior.gamma, g), self._gamma(saliencies, g)))
        return low[: math.floor(fraction * len(living))]

    def _groups_in(self, connection: Connection) -> set[str]:
        return {edge.searched_gate.group for edge in connection.edges}

    def _by_retain(self, gamma: Tensor, gone: set[str], progress: float) -> list[Connection]:
        """Connections too many into retained nodes, those of the smallest summed gamma."""
        result = []
        for node, count in self.retained.items():
            arrivals = [c for c in self.connections if c.target == node]
            limit = count + math.ceil((len(arrivals) - count) * (1 - progress))
            living = [c for c in arrivals if self._groups_in(c) - gone]
            strength = {
                c.id: sum(self._gamma(gamma, g) for g in sorted(self._groups_in(c) - gone))
                for c in living
            }
            living.sort(key=lambda c: strength[c.id])
            result += living[: max(0, len(living) - limit)]
        return result
