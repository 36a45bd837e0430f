"""Which channels stay, by a score of each: as many as a budget allows, within limits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import inf
from typing import Final, TypeAlias

from attrs import frozen
from torch import Tensor

from bayesnas.compiler.graph.cost import Cost, cost_text, unmet_budgets
from bayesnas.compiler.graph.model import BudgetConstraint, CostName, Graph
from bayesnas.compiler.pipeline import Compiled
from bayesnas.compiler.slices.counts import Kept, kept_cost
from bayesnas.compiler.slices.groups import Slices
from bayesnas.compiler.slices.ties import Strand
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, quote, suggest
from bayesnas.runtime.weights.removal import state_paths

NARROWER: Final = "train a narrower network"
Scores: TypeAlias = Mapping[Strand, Tensor]  # [channels] of each strand that may lose some


@frozen
class Share:
    """A budget as percent, above 0 and up to 100, of what a network costs."""

    cost: CostName
    percent: float

    def of(self, whole: Cost) -> BudgetConstraint:
        """The budget of a network that costs ``whole`` before."""
        return BudgetConstraint(self.cost, max(1, int(whole.of(self.cost) * self.percent / 100)))


@frozen
class Limits:
    """What is kept whatever the scores say.

    Args:
        least: channels of a strand, 1 or more; all where it has fewer.
        round_to: a strand keeps a multiple of so many channels, 1 or more, or all of them.
        layers: modules of the emitted network, by their paths, whose slices all stay.
    """

    least: int = 1
    round_to: int = 1
    layers: tuple[str, ...] = ()


def free_strands(compiled: Compiled, slices: Slices, layers: Iterable[str]) -> list[Strand]:
    """The strands that may lose channels while these layers stay as they are.

    Raises:
        DiagnosticError: D608 (the network has no such layer).
    """
    paths = state_paths(compiled)
    fixed: set[Strand] = set()
    for layer in layers:
        places = {p for p, path in paths.items() if path == layer or path.startswith(f"{layer}.")}
        if not places:
            raise DiagnosticError(_no_layer(layer, paths.values()))
        for tensor in slices.tensors:
            if tensor.place in places:
                fixed |= {run.strand for axis in tensor.axes for run in axis}
    return [strand for strand in slices.removable if strand not in fixed]


def _no_layer(layer: str, paths: Iterable[str]) -> Diagnostic:
    names = [path.rpartition(".")[0] or path for path in paths]
    remedy = suggest(layer, names, "`--emit slices` names them, such as `stem`")
    return Diagnostic("D608", f"the network has no layer `{layer}`", help=remedy)


class Ranking:
    """Channels by their scores, the highest first; equal ones as they lie.

    Args:
        scores: of every channel that may go; those of -inf have gone before, and never stay.
        limits: what stays besides.
    """

    def __init__(self, scores: Scores, limits: Limits) -> None:
        self.limits = limits
        rows = {strand: row.tolist() for strand, row in scores.items()}
        self.channels = sorted(
            ((s, k) for s, row in rows.items() for k in range(len(row)) if row[k] > -inf),
            key=lambda channel: -rows[channel[0]][channel[1]],
        )
        self.orders: dict[Strand, list[int]] = {strand: [] for strand in rows}
        for strand, k in self.channels:
            self.orders[strand].append(k)

    def kept(self, count: int) -> Kept:
        """The ``count`` best channels of all strands together, and what limits add to them."""
        return self.best(self.counts(count))

    def counts(self, count: int) -> dict[Strand, int]:
        """How many of the ``count`` best channels each strand has."""
        result = dict.fromkeys(self.orders, 0)
        for strand, _ in self.channels[:count]:
            result[strand] += 1
        return result

    def best(self, counts: Mapping[Strand, int]) -> Kept:
        """So many of the best channels of each strand, and what limits add to them."""
        return {
            strand: sorted(order[: self._rounded(counts[strand], len(order))])
            for strand, order in self.orders.items()
        }

    def _rounded(self, wanted: int, size: int) -> int:
        wanted = max(wanted, self.limits.least)
        return min(-(-wanted // self.limits.round_to) * self.limits.round_to, size)


def within(
    graph: Graph,
    slices: Slices,
    ranking: Ranking,
    budgets: Sequence[BudgetConstraint],
    most: int | None = None,
) -> Kept:
    """As many channels of a ranking as fit the budgets, which the network then costs exactly.

    Where the next one no longer fits, those that cost less may. With ``most`` no more than so many
    of the best, and what limits add to them.

    Raises:
        DiagnosticError: D609 (status 1) if the limits do not let it become as small.
    """
    for budget in unmet_budgets(kept_cost(graph, slices, ranking.kept(0)), budgets):
        raise DiagnosticError(_unmet(graph, slices, ranking, budget), status=1)
    return fitting(graph, slices, ranking, budgets, most)


def fitting(
    graph: Graph,
    slices: Slices,
    ranking: Ranking,
    budgets: Sequence[BudgetConstraint],
    most: int | None = None,
) -> Kept:
    """What `within` gives where it is certain that the budgets can be met."""

    def fits(counts: Mapping[Strand, int]) -> bool:
        return not unmet_budgets(kept_cost(graph, slices, ranking.best(counts)), budgets)

    count = len(ranking.channels)
    enough, beyond = 0, 1 + (count if most is None else min(most, count))
    rest = ranking.channels[: beyond - 1]
    while beyond - enough > 1:  # what is kept costs more, the more of it there is
        middle = (enough + beyond) // 2
        if fits(ranking.counts(middle)):
            enough = middle
        else:
            beyond = middle
    return ranking.best(_filled(ranking.counts(enough), rest[enough:], fits))


def _filled(
    counts: Mapping[Strand, int],
    rest: Iterable[tuple[Strand, int]],
    fits: Callable[[Mapping[Strand, int]], bool],
) -> Mapping[Strand, int]:
    """What fits, with those of the rest, in order, that fit as well: cheaper ones than the next."""
    full = set[Strand]()
    for strand, _ in rest:
        if strand in full:
            continue
        more = {**counts, strand: counts[strand] + 1}
        if fits(more):
            counts = more
        else:
            full.add(strand)
    return counts


def _unmet(graph: Graph, slices: Slices, ranking: Ranking, budget: BudgetConstraint) -> Diagnostic:
    least = kept_cost(graph, slices, ranking.kept(0)).of(budget.cost)
    limits = ranking.limits
    channels = "channel" if limits.least == 1 else "channels"
    stay = f" and {quote(limits.layers)} as they are" if limits.layers else ""
    note = (
        f"with {limits.least} {channels} of each strand, in steps of {limits.round_to}{stay}, "
        f"it {'takes' if budget.cost == 'latency' else 'has'} {cost_text(budget.cost, least)}"
    )
    limit = cost_text(budget.cost, budget.limit)
    what = {"latency": "", "flops": " FLOPs"}.get(budget.cost, f" {budget.cost}")
    message = f"no removal of channels leaves at most {limit}{what}"
    binding = {"`--least`": limits.least > 1, "`--round-to`": limits.round_to > 1}
    ways = [f"lower {name}" for name, binds in binding.items() if binds]
    if not ranking.channels:
        note, ways = "none of its channels may go", [] if limits.layers else [NARROWER]
    return Diagnostic("D609", message, notes=(note,), help=raised(limits.layers, ways))


def raised(layers: Sequence[str], ways: Iterable[str] = ()) -> str:
    """The remedy for a budget that cannot be met.

    Args:
        layers: that were to stay as they are.
        ways: what else would help.
    """
    fewer = ["keep fewer layers"] if layers else []
    return ", or ".join(["raise the budget", *ways, *fewer])
