"""Which weights of a trained run's network go, and what is left of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import torch
from attrs import evolve, frozen
from torch import Tensor, nn

from bayesnas.compiler.graph.cost import Cost
from bayesnas.compiler.graph.model import BudgetConstraint
from bayesnas.compiler.settings import TrainSettings
from bayesnas.compiler.slices.counts import Kept, kept_cost
from bayesnas.compiler.slices.groups import Slices, coupled_slices, sources_of
from bayesnas.compiler.slices.groups import Tensor as SlicedTensor
from bayesnas.runtime.data.dataset import Data, plain_batches
from bayesnas.runtime.data.examples import Examples
from bayesnas.runtime.jobs.compression.cut import Cut, Found, module_of
from bayesnas.runtime.jobs.compression.pacing import Clock
from bayesnas.runtime.jobs.trained import TrainedRun, own_weights
from bayesnas.runtime.network.modules import predict
from bayesnas.runtime.tasks.bundle import Inputs
from bayesnas.runtime.weights.choice import Limits, Ranking, Scores, free_strands, within
from bayesnas.runtime.weights.families import (
    STRUCTURED,
    Pieces,
    Prices,
    Weighing,
    masks,
    pieces_of,
)
from bayesnas.runtime.weights.importance import IMPORTANCES
from bayesnas.runtime.weights.priors.interface import Prior, Problem
from bayesnas.runtime.weights.priors.registry import PRIORS
from bayesnas.runtime.weights.priors.several import Several, parts_of
from bayesnas.runtime.weights.removal import (
    masked,
    narrow,
    sliced_tensors,
    state_paths,
)
from bayesnas.runtime.weights.subject import Rows, Subject
from bayesnas.runtime.weights.turns import TURNS, Trial

EXAMPLES = 1024  # of the training part, that gradients are taken on
CURVED = 192  # of them, anew for every update, that curvature is taken on
CURVED_AT_ONCE = 16
IN_TURNS = 512  # of them, that derivatives are taken on while channels go in turns


@frozen
class Judge:
    """What judges groups of weights, and what bounds its choice.

    Args:
        importance: a name of `IMPORTANCES` or `PRIORS`.
        limits: of channels.
        budgets: what the smaller network may cost.
        seed: of what is drawn.
        families: names of `FAMILIES`; those whose groups are removed come before those that are
            masked, and each saves the same share.
    """

    importance: str
    limits: Limits
    budgets: tuple[BudgetConstraint, ...]
    seed: int
    families: tuple[str, ...] = ("channel",)

    def due(self, number: int, whole: Cost) -> tuple[BudgetConstraint, ...]:
        """Budgets once so many of the families have had their turn."""

        def limit(budget: BudgetConstraint) -> int:
            cost: int = getattr(whole, budget.cost)
            share = min(1.0, budget.limit / max(1, cost))
            if number == len(self.families):
                return budget.limit
            return max(budget.limit, int(cost * share ** (number / len(self.families))))

        return tuple(evolve(budget, limit=limit(budget)) for budget in self.budgets)


class Removal:
    """Which weights of a run's network go, and what is left.

    Args:
        run: a training.
        judge: of its weights.
        data: what it has learned, on the device where channels are judged. Groups that are masked
            are judged on the CPU.
        clock: times of its operations, where a budget is of latency.
    """

    def __init__(
        self, run: TrainedRun, judge: Judge, data: Data, clock: Clock | None = None
    ) -> None:
        self.run, self.compiled, self.judge, self.data = run, run.compiled, judge, data
        self.clock = clock
        self.slices: Slices = clock.slices if clock else coupled_slices(self.compiled.graph)
        self.state = own_weights(run)
        self.strands = free_strands(self.compiled, self.slices, judge.limits.layers)
        self.whole = kept_cost(self.compiled.graph, self.slices, {})
        self.paths = state_paths(self.compiled)
        parameters = {n for n, _ in run.network.named_parameters()}
        self.weights = {name: w for name, w in self.state.items() if name in parameters}
        self.prices = Prices.of(self.compiled.graph, self.weights, self.paths)

    # ------------------------------------------------------------------------------- what goes

    def prior(self) -> Callable[[nn.Module, Data, TrainSettings], Prior]:
        """What makes the prior that a training judges its weights by."""
        return partial(_prior, self)

    def judged(self, prior: Prior | None = None, state: Mapping[str, Tensor] | None = None) -> Cut:
        """Remove what matters least, by the scores of a prior with the weights that it has left.

        Raises:
            DiagnosticError: D607 (a supernet), D609 (the budget cannot be met).
        """
        state = self.state if state is None else state
        parts = [None] * len(self.judge.families) if prior is None else parts_of(prior)
        found, stay = list[Found](), dict[str, Tensor]()
        kept: Kept = {}
        for number, (family, part) in enumerate(zip(self.judge.families, parts, strict=True)):
            due = self.judge.due(number + 1, self.whole)
            group = self._found(family, part, state, due)
            if isinstance(group.subject, Pieces):
                present = self._present(state, kept, stay)
                weighing = Weighing(group.subject, self._left(kept), present)
                group.stays = weighing.fitting(group.scores, due)
                for name, mask in masks(group.subject, group.stays).items():
                    stay[name] = mask * stay.get(name, 1.0)
            else:
                kept = self.kept(_without(group.scores, kept), due)
                group.stays = _rows(group.subject, kept)
            found.append(group)
        state = {name: w * stay[name] if name in stay else w for name, w in state.items()}
        narrowed = narrow(self.compiled, state, self.slices, kept)
        return Cut(self.compiled, self.slices, found, kept, narrowed, self.judge.limits.layers)

    def _found(
        self,
        family: str,
        prior: Prior | None,
        state: Mapping[str, Tensor],
        due: Sequence[BudgetConstraint],
    ) -> Found:
        if prior is not None:
            return Found(family, prior.subject, prior.scores(), dict(prior.columns()))
        subject, name = self._subject(state, family), self.judge.importance
        if name in TURNS:
            return Found(family, subject, TURNS[name](self._trial(subject, state, due)), {})
        return Found(family, subject, IMPORTANCES[name](subject), {})

    def _trial(
        self, subject: Subject, state: Mapping[str, Tensor], due: Sequence[BudgetConstraint]
    ) -> Trial:
        """A network whose channels go one after another, until it costs what is due."""
        part, cost = self._part(self.data).first(IN_TURNS), self.cost_of(subject)

        def leave(kept: Kept) -> None:
            left = masked(self.compiled, state, self.slices, kept)
            subject.module.load_state_dict(left)

        return Trial(
            subject,
            self.data.task,
            lambda: plain_batches(self.data, part, CURVED_AT_ONCE),
            lambda kept: self.excess(cost(kept)),
            min(budget.limit / max(1, self.whole.of(budget.cost)) for budget in due),
            self.judge.limits.least,
            leave,
        )

    def kept(self, scores: Scores, budgets: Sequence[BudgetConstraint]) -> Kept:
        """Channels that stay by these scores."""
        choose = partial(self._chosen, scores)
        return choose(budgets) if self.clock is None else self.clock.fitting(choose, budgets)

    def _chosen(self, scores: Scores, budgets: Sequence[BudgetConstraint]) -> Kept:
        """The same by the pace alone."""
        ranking = Ranking(scores, self.judge.limits)
        return within(self.compiled.graph, self.slices, ranking, budgets)

    def check(self) -> None:
        """Refuse a budget that cannot be met, before anything is judged.

        Raises:
            DiagnosticError: D609.
        """
        for number, family in enumerate(self.judge.families):
            due = self.judge.due(number + 1, self.whole)
            subject = self._subject(self.state, family)
            ones = {s: torch.ones(s.size) for s in subject.strands}
            if not isinstance(subject, Pieces):
                self._chosen(ones, due)
            elif len(self.judge.families) == 1:
                weighing = Weighing(subject, self.prices, self._present(self.state, {}, {}))
                weighing.fitting(ones, due)

    def _present(
        self, state: Mapping[str, Tensor], kept: Kept, stay: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Of each weight tensor, 1 where a weight is left."""
        whole = self._survivors(kept)
        return {
            name: whole[name] * (state[name] != 0) * stay.get(name, 1.0)
            for name in self.prices.uses
        }

    def _survivors(self, kept: Kept) -> dict[str, Tensor]:
        """Of all tensors, 1 where a number is in the network of these channels."""
        ones = {name: torch.ones_like(z, dtype=torch.float32) for name, z in self.state.items()}
        return masked(self.compiled, ones, self.slices, kept)

    def _left(self, kept: Kept) -> Prices:
        """Prices in the network of these channels."""
        whole, uses = self._survivors(kept), self.prices.uses
        rest = sum(int(whole[name].sum()) for name in self.weights if name not in uses)
        return Prices(rest, uses)

    def excess(self, cost: Cost) -> float:
        """What a network has still to save for one family, as a share of what it has to save."""
        budgets = self.judge.due(1, self.whole)

        def share(budget: BudgetConstraint) -> float:
            now: int = getattr(cost, budget.cost)
            first: int = getattr(self.whole, budget.cost)
            return (now - budget.limit) / max(1, first - budget.limit)

        return max(map(share, budgets), default=0.0)

    def cost_of(self, subject: Subject) -> Callable[[Kept], Cost]:
        """What a network of some groups of a subject costs."""
        if not isinstance(subject, Pieces):
            return lambda kept: kept_cost(self.compiled.graph, self.slices, kept)
        weighing = Weighing(subject, self.prices, self._present(self.state, {}, {}))
        return lambda kept: weighing.cost(_rows(subject, kept))

    def _subject(self, state: Mapping[str, Tensor], family: str) -> Subject:
        data = self.data if family in STRUCTURED else self.data.to(torch.device("cpu"))
        module = module_of(self.compiled, state, data.device)
        losses = partial(self._losses, module, data, self._part(data))
        generator = torch.Generator().manual_seed(self.judge.seed)
        return self.subject(module, generator, family, losses)

    def _part(self, data: Data) -> Examples:
        """The examples that gradients are taken on."""
        generator = torch.Generator().manual_seed(self.judge.seed)
        return data.train.sample(EXAMPLES, generator).at_hand()

    def subject(
        self,
        module: nn.Module,
        generator: torch.Generator,
        family: str,
        losses: Callable[[], Iterator[Tensor]] = lambda: iter(()),
    ) -> Subject:
        """A network of the run's with the groups of a family."""
        sliced = (*sliced_tensors(state_paths(self.compiled), self.slices),)
        readers = family != "filter"
        subject = Subject(module, sliced, self.strands, losses, generator, readers)
        if family in STRUCTURED:
            return subject
        return pieces_of(family, subject, self.prices.uses, self.judge.limits.layers)

    def _losses(self, module: nn.Module, data: Data, part: Examples) -> Iterator[Tensor]:
        for inputs, targets in plain_batches(data, part, self.run.batch_size):
            yield data.task.loss(predict(module, inputs), targets)


def _rows(subject: Subject, kept: Kept) -> Rows:
    """Which groups stay."""
    rows = {s: torch.zeros(s.size, dtype=torch.bool) for s in subject.strands}
    for strand, row in rows.items():
        row[[*kept.get(strand, range(strand.size))]] = True
    return rows


def _without(scores: Scores, kept: Kept) -> Scores:
    """Scores by which what has gone does not come back."""
    result = {}
    for strand, row in scores.items():
        stays = torch.zeros(strand.size, dtype=torch.bool)
        stays[[*kept.get(strand, range(strand.size))]] = True
        result[strand] = torch.where(stays, row.cpu(), -torch.inf)
    return result


def reads(tensor: SlicedTensor) -> bool:
    """Whether channels that come in lie along it."""
    return any(axis and k != tensor.maker for k, axis in enumerate(tensor.axes))


def _prior(removal: Removal, module: nn.Module, data: Data, settings: TrainSettings) -> Prior:
    """The prior under which a network of the removal's run is trained."""
    generator = torch.Generator().manual_seed(removal.judge.seed + 1)

    def batches() -> Iterator[tuple[Inputs, Tensor]]:
        return plain_batches(data, data.train.sample(CURVED, generator), CURVED_AT_ONCE)

    examples = len(data.train) - round(settings.holdout * len(data.train))
    batches_each = math.ceil(examples / settings.batch_size)
    paths = removal.paths
    reading = {t.place for t in removal.slices.tensors if reads(t)}

    def prior(family: str) -> Prior:
        subject = removal.subject(module, generator, family)
        cost = removal.cost_of(subject)
        problem = Problem(
            subject,
            data.task,
            batches,
            examples,
            settings.weight_decay,
            {paths[place]: removal.slices.stages[place].source for place in reading},
            settings.epochs * math.ceil(batches_each / settings.accumulate),
            lambda kept: removal.excess(cost(kept)),
            sources_of(removal.slices) if family in STRUCTURED else {},
        )
        return PRIORS[removal.judge.importance](problem)

    parts = [prior(family) for family in removal.judge.families]
    return parts[0] if len(parts) == 1 else Several(parts)
