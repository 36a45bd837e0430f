"""What may be left of a network: limits and budgets, and what that costs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial

import torch
from attrs import evolve, frozen
from torch import Tensor, nn

from bayesnas.compiler.graph.cost import Cost
from bayesnas.compiler.graph.model import BudgetConstraint
from bayesnas.compiler.pipeline import Compiled
from bayesnas.compiler.slices.counts import Kept, kept_cost
from bayesnas.compiler.slices.groups import Slices, coupled_slices
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, quote
from bayesnas.runtime.jobs.compression.cut import module_of
from bayesnas.runtime.jobs.compression.pacing import Clock
from bayesnas.runtime.weights.choice import Limits, Ranking, Scores, Share, free_strands, within
from bayesnas.runtime.weights.families import (
    STRUCTURED,
    Pieces,
    Prices,
    Weighing,
    masks,
    pieces_of,
)
from bayesnas.runtime.weights.removal import masked, sliced_tensors, state_paths
from bayesnas.runtime.weights.subject import Rows, Subject, rows_of
from bayesnas.runtime.weights.turns import over


@frozen
class Judge:
    """What judges groups of weights, and what bounds its choice.

    Args:
        importance: a name of `IMPORTANCES`, `PRIORS` or `TURNS`.
        limits: of channels.
        budgets: what the smaller network may cost.
        seed: of what is drawn.
        families: names of `FAMILIES`; those whose groups are removed come before those that are
            masked, and each saves the same share.
        draws: masks that are judged, where what was learned is a posterior over masks.
        lambda_w: how strong the penalty is, whatever is left; 0: as the budgets ask.
        curvature: how that in the weights is estimated, where the importance asks for it.
        trains: whether what is left learns on afterwards.
    """

    importance: str
    limits: Limits
    budgets: tuple[BudgetConstraint, ...]
    seed: int
    families: tuple[str, ...] = ("channel",)
    draws: int = 0
    lambda_w: float = 0.0
    curvature: str = "sampled"
    trains: bool = True


class Bounds:
    """What may be left of a network, and what that costs.

    Args:
        compiled: the network.
        judge: with limits and budgets.
        state: what it has learned, or begins with, by name.
        parameters: the names of those that are no buffers.
        clock: times of its operations, where a budget is of latency.
    """

    def __init__(
        self,
        compiled: Compiled,
        judge: Judge,
        state: Mapping[str, Tensor],
        parameters: Collection[str],
        clock: Clock | None = None,
    ) -> None:
        self.compiled, self.judge, self.state, self.clock = compiled, judge, state, clock
        self.slices: Slices = clock.slices if clock else coupled_slices(compiled.graph)
        self.strands = free_strands(compiled, self.slices, judge.limits.layers)
        self.whole = kept_cost(compiled.graph, self.slices, {})
        self.paths = state_paths(compiled)
        self.weights = {name: w for name, w in state.items() if name in parameters}
        self.prices = Prices.of(compiled.graph, self.weights, self.paths)

    def due(self, number: int, narrowest: bool = False) -> tuple[BudgetConstraint, ...]:
        """Budgets once so many of the families have had their turn.

        Until the last of them limits may leave more: the rest is for those that follow.

        Args:
            number: of families, 1 or more.
            narrowest: whether each is to go as far as the budgets ask, not by its share alone.
        """
        families = self.judge.families
        last = number == len(families)
        way = 1.0 if last or narrowest else number / len(families)
        due = _on_the_way(self.whole, self.judge.budgets, way)
        if last:
            return due
        return tuple(evolve(b, limit=max(b.limit, self._least_cost.of(b.cost))) for b in due)

    @cached_property
    def _least(self) -> Kept:
        """Channels that limits keep, whichever they are."""
        ones = {s: torch.ones(s.size) for s in self.strands}
        return Ranking(ones, self.judge.limits).kept(0)

    @cached_property
    def _least_cost(self) -> Cost:
        """What the network costs with these alone: asked for in steps of a training."""
        return kept_cost(self.compiled.graph, self.slices, self._least)

    def kept(
        self, scores: Scores, budgets: Sequence[BudgetConstraint], most: int | None = None
    ) -> Kept:
        """Channels that stay by these scores, with ``most`` no more than so many."""
        choose = partial(self._chosen, scores, most=most)
        return choose(budgets) if self.clock is None else self.clock.fitting(choose, budgets)

    def masks(
        self, samples: Iterable[Scores], budgets: Sequence[BudgetConstraint]
    ) -> Iterator[Kept]:
        """Hard masks; of one that is beyond the budgets the channels of the highest log odds."""
        for odds in samples:
            kept = sum(int((row > 0).sum()) for row in odds.values())
            yield self.kept(odds, budgets, kept)

    def _chosen(
        self, scores: Scores, budgets: Sequence[BudgetConstraint], most: int | None = None
    ) -> Kept:
        """The same by the pace alone."""
        ranking = Ranking(scores, self.judge.limits)
        return within(self.compiled.graph, self.slices, ranking, budgets, most)

    def check(self, budgets: Sequence[BudgetConstraint]) -> None:
        """Refuse a budget that cannot be met, before anything is judged, or trained.

        Where no weight may be masked, every budget is refused.

        Raises:
            DiagnosticError: D609 (status 2).
        """
        try:
            self._check(budgets)
        except DiagnosticError as error:
            raise DiagnosticError(*error.diagnostics) from None

    def _check(self, budgets: Sequence[BudgetConstraint]) -> None:
        """All that may go at its least, family by family."""
        module = module_of(self.compiled, self.state, torch.device("cpu"))
        kept: Kept = {}
        stay = dict[str, Tensor]()
        for number, family in enumerate(self.judge.families, 1):
            last = number == len(self.judge.families)
            subject = self.subject(module, torch.Generator(), family)
            ones = {s: torch.ones(s.size) for s in subject.strands}
            if isinstance(subject, Pieces):
                if not subject.strands:
                    raise DiagnosticError(self._nothing(family))
                weighing = self.weighing(subject, self.state, kept, stay)
                stays = weighing.fitting(ones, budgets, strict=last)
                stay = passed(subject, stays, stay)
            elif last:
                self._chosen(ones, budgets)
            else:
                kept = self._least

    def _nothing(self, family: str) -> Diagnostic:
        message = f"nothing of `{self.compiled.network.name}` may go, by the family `{family}`"
        layers = self.judge.limits.layers
        note = f"{quote(layers)} stay as they are" if layers else "it has no weights to mask"
        remedy = "keep fewer layers" if layers else "train another network"
        return Diagnostic("D609", message, notes=(note,), help=remedy)

    def weighing(
        self, pieces: Pieces, state: Mapping[str, Tensor], kept: Kept, stay: Mapping[str, Tensor]
    ) -> Weighing:
        """What groups cost once these channels and these weights alone are left."""
        return Weighing(pieces, self.left(kept), self._present(state, kept, stay))

    def _present(
        self, state: Mapping[str, Tensor], kept: Kept, stay: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Of each weight tensor, 1 where a weight is left."""
        whole = self.survivors(kept)
        return {
            name: whole[name] * (state[name] != 0) * stay.get(name, 1.0)
            for name in self.prices.uses
        }

    def survivors(self, kept: Kept) -> dict[str, Tensor]:
        """Of all tensors, 1 where a number is in the network of these channels."""
        ones = {name: torch.ones_like(z, dtype=torch.float32) for name, z in self.state.items()}
        return masked(self.compiled, ones, self.slices, kept)

    def left(self, kept: Kept) -> Prices:
        """Prices in the network of these channels."""
        whole, uses = self.survivors(kept), self.prices.uses
        counts = {name: int(whole[name].sum()) for name in self.weights}
        rest = sum(count for name, count in counts.items() if name not in uses)
        flops = kept_cost(self.compiled.graph, self.slices, kept).flops
        return Prices(rest, uses, flops - sum(uses[name] * counts[name] for name in uses))

    def excess(self, cost: Cost) -> float:
        """What a network has still to save for one family, as a share of what it has to save.

        Without budgets it is never small enough.
        """
        due = self.due(1)
        budgets = [b for b in due if self.whole.of(b.cost) > b.limit] or due

        def share(budget: BudgetConstraint) -> float:
            now, first = cost.of(budget.cost), self.whole.of(budget.cost)
            return (now - budget.limit) / max(1, first - budget.limit)

        return over(map(share, budgets)) if budgets else 1.0

    def cost_of(self, subject: Subject) -> Callable[[Kept], Cost]:
        """What a network of some groups of a subject costs."""
        if not isinstance(subject, Pieces):
            return lambda kept: kept_cost(self.compiled.graph, self.slices, kept)
        weighing = self.weighing(subject, self.state, {}, {})
        return lambda kept: weighing.cost(rows_of(subject.strands, kept))

    def subject(
        self,
        module: nn.Module,
        generator: torch.Generator,
        family: str,
        losses: Callable[[], Iterator[Tensor]] = lambda: iter(()),
    ) -> Subject:
        """A network of the run's with the groups of a family."""
        sliced = (*sliced_tensors(self.compiled, self.slices),)
        readers = family != "filter"
        subject = Subject(module, sliced, self.strands, losses, generator, readers)
        if family in STRUCTURED:
            return subject
        return pieces_of(family, subject, self.prices.uses, self.judge.limits.layers)


def passed(pieces: Pieces, stays: Rows, stay: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Masks of weights, 1 where they stay, with those of another family [groups] on top."""
    mine = masks(pieces, stays)
    return {**stay, **{name: mask * stay.get(name, 1.0) for name, mask in mine.items()}}


def step_budgets(
    whole: Cost, budgets: tuple[BudgetConstraint | Share, ...], steps: int
) -> list[tuple[BudgetConstraint, ...]]:
    """Of each removal: costs fall by the same share in every step, down to what is wanted."""
    last = [b.of(whole) if isinstance(b, Share) else b for b in budgets]
    return [_on_the_way(whole, last, step / steps) for step in range(1, steps + 1)]


def _on_the_way(
    whole: Cost, budgets: Sequence[BudgetConstraint], part: float
) -> tuple[BudgetConstraint, ...]:
    """Budgets at that part of the way, 1 at its end: costs fall by the same share all along."""

    def limit(budget: BudgetConstraint) -> int:
        cost = whole.of(budget.cost)
        share = min(1.0, budget.limit / max(1, cost))
        return max(budget.limit, int(cost * share**part))

    return tuple(evolve(budget, limit=limit(budget)) for budget in budgets)
