"""Which groups of gates go after an update: by entropy, by `retain`, and by what that leaves dead.

A group goes whole. However many gates an update would prune, an output never loses its last way
to the inputs: a removal that would do so is not made.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable

from torch import Tensor

from bayesnas.compiler.graph.model import Connection, Graph
from bayesnas.compiler.graph.prune import prune_graph
from bayesnas.compiler.passes.shapes import infer_shapes
from bayesnas.dsl.diagnostics import DiagnosticError
from bayesnas.runtime.strategies.bayesnas.posterior import Posterior
from bayesnas.runtime.strategies.bayesnas.updates import entropy
from bayesnas.runtime.strategies.interface import Removal


class Pruner:
    """Decides removals on one graph; `alive_graph` is what is left of it."""

    def __init__(
        self, graph: Graph, fits: Callable[[Collection[str]], bool] = lambda _: True
    ) -> None:
        self.graph = graph
        self.fits = fits  # whether a budget can be met without these groups
        self.groups = graph.groups()
        self.group_of = {e.id: g for g, members in self.groups.items() for e in members}
        self.connections = {c.id: c for c in graph.all_connections() if c.searched}
        # Where arrivals are concatenated, a removal changes channels, and a promise may break.
        self.concats = any(node.merge == "concat" for node in graph.nodes())
        self.retained = {r.node: r.count for r in graph.retains}

    def alive_graph(self, removed: Iterable[str]) -> Graph:
        """The graph without the removed groups and what they leave dead.

        Raises:
            DiagnosticError: D601 if nothing would be left, D3xx if what is left does not fit.
        """
        edges = [e.id for group in removed for e in self.groups[group]]
        left = prune_graph(self.graph, edges)
        return infer_shapes(left) if self.concats else left

    def decide(
        self,
        posterior: Posterior,
        changes: Tensor,
        removed: frozenset[str],
        fraction: float,
        progress: float,
    ) -> Removal:
        """What goes after an update.

        Args:
            posterior: after the update.
            changes: what removing each gate's group changes in the loss [G]; orders equal gammas.
            removed: groups that have gone before.
            fraction: largest share of the living groups that entropy may remove.
            progress: from 0 to 1; at 1 every `retain` is met, before that in proportion.
        """
        gone = set(removed)
        reasons: dict[str, str] = {}
        refused = [
            group
            for group in self._by_entropy(posterior, changes, gone, fraction)
            if not self._try(gone, {group}, "entropy", reasons)
        ]
        for connection in self._by_retain(posterior.gamma, gone, progress):
            self._try(gone, self._groups_in(connection) - gone, "retain", reasons)
        for group in self.dead(gone):
            gone.add(group)
            reasons[group] = "dead"
        return Removal(reasons, tuple(refused))

    def _try(self, gone: set[str], groups: set[str], reason: str, reasons: dict[str, str]) -> bool:
        """Remove groups unless that cuts an output off or breaks a budget; whether they went."""
        try:
            self.alive_graph(gone | groups)
        except DiagnosticError:
            return False
        if not self.fits(gone | groups):
            return False
        gone |= groups
        reasons.update(dict.fromkeys(groups, reason))
        return True

    def _gamma(self, gamma: Tensor, group: str) -> float:
        gate = self.groups[group][0].gate
        assert gate is not None
        return float(gamma[gate])

    def _by_entropy(
        self, posterior: Posterior, changes: Tensor, gone: set[str], fraction: float
    ) -> list[str]:
        """Groups of no positive entropy, the smallest gamma first, as many as may go."""
        bits = entropy(posterior.gamma)
        living = [g for g in self.groups if g not in gone]
        low = [g for g in living if self._gamma(bits, g) <= 0]
        low.sort(key=lambda g: (self._gamma(posterior.gamma, g), self._gamma(changes, g)))
        return low[: math.floor(fraction * len(living))]

    def _groups_in(self, connection: Connection) -> set[str]:
        return {self.group_of[edge.id] for edge in connection.edges}

    def _by_retain(self, gamma: Tensor, gone: set[str], progress: float) -> list[Connection]:
        """Connections too many into retained nodes, those of the smallest summed gamma."""
        result = []
        for node, count in self.retained.items():
            arrivals = [c for c in self.connections.values() if c.target == node]
            limit = count + math.ceil((len(arrivals) - count) * (1 - progress))
            living = [c for c in arrivals if self._groups_in(c) - gone]
            strength = {
                c.id: sum(self._gamma(gamma, g) for g in self._groups_in(c) - gone) for c in living
            }
            living.sort(key=lambda c: strength[c.id])
            result += living[: max(0, len(living) - limit)]
        return result

    def dead(self, gone: Collection[str]) -> list[str]:
        """Living groups of which no gate lies on a way from an input to an output any more."""
        left = {edge.id for edge in self.alive_graph(gone).searched()}
        return [
            group
            for group, members in self.groups.items()
            if group not in gone and not any(edge.id in left for edge in members)
        ]
