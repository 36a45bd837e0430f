"""What a network takes here at fewer channels: its operations, measured at some widths.

Between those the time of an operation is a straight line. What is chosen by that is measured
itself, operation by operation, and chosen again where it is too slow or much too fast.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, Sequence
from math import sqrt
from typing import Final

import torch
from attrs import define, evolve, field

from bayesnas.compiler.graph.cost import cost_text, graph_cost
from bayesnas.compiler.graph.model import BudgetConstraint, Graph
from bayesnas.compiler.pipeline import Compiled
from bayesnas.compiler.slices.counts import Kept, axis_share, edge_share, kept_cost
from bayesnas.compiler.slices.groups import Slices, coupled_slices
from bayesnas.compiler.slices.narrowing import narrowed_graph
from bayesnas.compiler.slices.pace import Curve, Pace
from bayesnas.compiler.space.latencies import Latencies, Whole
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError
from bayesnas.runtime.jobs.costs.latency import measure_networks
from bayesnas.runtime.network.together.ranks import world
from bayesnas.runtime.weights.choice import free_strands, raised

SHARES: Final = (1.0, 0.75, 0.5, 0.375, 0.25, 0.125, 0.0)  # of the channels of all strands
TRIES: Final = 5  # choices that are measured
NEAR: Final = 0.95  # of a budget: what takes more of it is not chosen again
BEFORE: Final = "before"
AFTER: Final = "after"


@define
class Clock:
    """Times of a network's operations on a device, an example at a time.

    Args:
        compiled: the network, or a space.
        device: what runs.
        slices: of its graph, with the pace that was measured.
        table: all that was measured; it grows.
        layers: that stay as they are.
    """

    compiled: Compiled
    device: torch.device
    slices: Slices = field(repr=False)
    table: Latencies = field(repr=False)
    layers: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        compiled: Compiled,
        layers: Sequence[str],
        device: torch.device,
        table: Latencies | None = None,
    ) -> Clock:
        """Measure the operations of a network at some widths.

        Args:
            compiled: the network.
            layers: that stay as they are.
            device: what runs.
            table: what was measured before, if anything.

        Raises:
            DiagnosticError: D608 (no such layer), and what the modules of plugins raise.
        """
        graph = compiled.graph
        slices = coupled_slices(graph)
        strands = free_strands(compiled, slices, layers)
        widths = [{s: range(max(1, round(share * s.size))) for s in strands} for share in SHARES]
        graphs = {str(k): narrowed_graph(graph, slices, kept) for k, kept in enumerate(widths)}
        table = _measured(compiled, graphs, False, device, table)
        pace = _pace(slices, [*zip(graphs.values(), widths, strict=True)], table)
        return cls(compiled, device, evolve(slices, pace=pace), table, (*layers,))

    @property
    def pace(self) -> Pace:
        """What was measured, as curves."""
        assert self.slices.pace is not None, "made with one"
        return self.slices.pace

    def on(self, graph: Graph, slices: Slices) -> Clock:
        """The clock of a member.

        Args:
            graph: what is left of the space.
            slices: of that.
        """
        member = evolve(self.compiled, graph=graph)
        return evolve(self, compiled=member, slices=evolve(slices, pace=self.pace))

    def takes(self, kept: Kept) -> int:
        """What the operations of a narrower network take together, measured, nanoseconds."""
        graph = narrowed_graph(self.compiled.graph, self.slices, kept)
        self.table = _measured(self.compiled, {"": graph}, False, self.device, self.table)
        return graph_cost(self.table.priced(graph)).of("latency")

    def fitting(
        self,
        choose: Callable[[Sequence[BudgetConstraint]], Kept],
        budgets: Sequence[BudgetConstraint],
    ) -> Kept:
        """The most channels whose operations were measured to fit.

        Args:
            choose: the channels that stay under budgets, by the pace.
            budgets: with one of latency, perhaps among others.

        Raises:
            DiagnosticError: D609 (none was measured to fit), and what ``choose`` raises.
        """
        [timed] = [b for b in budgets if b.cost == "latency"]
        rest = [b for b in budgets if b.cost != "latency"]
        chosen: dict[int, Kept] = {}
        aim, fast, slow = timed.limit, 0, 0  # aims of which the last was fast enough, or too slow
        for _ in range(TRIES):
            kept = choose([evolve(timed, limit=aim), *rest])
            chosen[time := self.takes(kept)] = kept
            if NEAR * timed.limit <= time <= timed.limit:
                break
            fast, slow = (aim, slow) if time <= timed.limit else (fast, aim)
            if fast and slow:
                aim = max(1, round(sqrt(fast * slow)))
            else:  # less than what it was foretold to take, or the same would be chosen again
                aim = max(1, int((aim if fast else self._foretold(kept)) * timed.limit / time))
        fitting = [time for time in chosen if time <= timed.limit]
        if not fitting:
            raise _too_slow(timed, min(chosen), self.layers)
        return chosen[max(fitting)]

    def _foretold(self, kept: Kept) -> int:
        """What a narrower network takes by the pace, nanoseconds."""
        return kept_cost(self.compiled.graph, self.slices, kept).of("latency")

    def wholes(self, first: Graph, kept: Kept) -> tuple[Whole, ...]:
        """The network before and after, as sums of operations and measured whole.

        Args:
            first: the graph of the network before.
            kept: channels that stay of this one.
        """
        if not self.table.wholes:
            after = narrowed_graph(self.compiled.graph, self.slices, kept)
            graphs = {BEFORE: first, AFTER: after}
            self.table = _measured(self.compiled, graphs, True, self.device, self.table)
        return self.table.wholes


def _measured(
    compiled: Compiled,
    networks: Mapping[str, Graph],
    whole: bool,
    device: torch.device,
    table: Latencies | None,
) -> Latencies:
    """What `measure_networks` measures, once for all processes that work together."""
    ranks = world()
    if not ranks.writes:
        told: Latencies = pickle.loads(ranks.told(b""))  # by the first, which is trusted
        return told
    table = measure_networks(compiled, networks, whole, device, table)
    ranks.told(pickle.dumps(table))
    return table


def _pace(slices: Slices, widths: Sequence[tuple[Graph, Kept]], table: Latencies) -> Pace:
    """Curves through what was measured of the same network at several widths."""
    edges: dict[str, list[tuple[float, int]]] = {}
    arrivals: dict[str, list[tuple[float, int]]] = {}
    for graph, kept in widths:
        timing = table.timing(graph)
        for edge in graph.edges():
            point = edge_share(edge, slices, kept), timing.edges[edge.id]
            edges.setdefault(edge.id, []).append(point)
        for node, time in timing.arrivals.items():
            arrivals.setdefault(node, []).append((axis_share(slices.nodes[node], kept), time))
    return Pace(_curves(edges), _curves(arrivals), table.call.median)


def _curves(points: Mapping[str, Sequence[tuple[float, int]]]) -> dict[str, Curve]:
    return {name: Curve.of(rows) for name, rows in points.items()}


def _too_slow(budget: BudgetConstraint, least: int, layers: Sequence[str]) -> DiagnosticError:
    limit, found = (cost_text("latency", time) for time in (budget.limit, least))
    message = f"no removal of channels was measured to take at most {limit}"
    note = f"the fastest took {found}"
    said = Diagnostic("D609", message, notes=(note,), help=raised(layers))
    return DiagnosticError(said, status=1)
