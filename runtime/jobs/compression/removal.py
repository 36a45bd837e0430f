"""Which weights of a trained run's network go, and what is left of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import torch
from attrs import frozen
from torch import Tensor, nn

from bayesnas.compiler.graph.cost import Cost
from bayesnas.compiler.graph.model import BudgetConstraint
from bayesnas.compiler.settings import TrainSettings
from bayesnas.compiler.slices.counts import Kept, kept_cost
from bayesnas.compiler.slices.groups import sources_of
from bayesnas.dsl.diagnostics import DiagnosticError, quote
from bayesnas.runtime.data.dataset import Data, plain_batches
from bayesnas.runtime.data.examples import Examples
from bayesnas.runtime.jobs.compression.bounds import Bounds, Judge, passed
from bayesnas.runtime.jobs.compression.cut import Cut, Found, module_of
from bayesnas.runtime.jobs.compression.pacing import Clock
from bayesnas.runtime.jobs.trained import TrainedRun, own_weights
from bayesnas.runtime.network.modules import predict
from bayesnas.runtime.network.normalisation import renew
from bayesnas.runtime.network.training import evaluate
from bayesnas.runtime.runs.progress import say_note
from bayesnas.runtime.tasks.bundle import Inputs
from bayesnas.runtime.weights.choice import Scores
from bayesnas.runtime.weights.families import STRUCTURED, Pieces
from bayesnas.runtime.weights.importance import IMPORTANCES
from bayesnas.runtime.weights.neighbours import neighbours_of
from bayesnas.runtime.weights.priors.interface import Prior, Problem, inputs_of
from bayesnas.runtime.weights.priors.registry import PRIORS
from bayesnas.runtime.weights.priors.several import Several, parts_of
from bayesnas.runtime.weights.reconstruction import Reconstruction, unread
from bayesnas.runtime.weights.removal import masked, narrow, sliced_tensors
from bayesnas.runtime.weights.subject import Rows, Subject, rows_of
from bayesnas.runtime.weights.turns import TURNS, Trial

EXAMPLES = 1024  # of the training part, that gradients are taken on
CURVED = 128  # of them, anew for every update, that curvature is taken on
CURVED_AT_ONCE = 16
IN_TURNS = 512  # of them, that derivatives are taken on while channels go in turns
IN_TURNS_AT_ONCE = 4  # a row of the curvature each


@frozen
class Mask:
    """A mask of channels that was drawn: its loss on held-out examples, its cost, what it keeps."""

    loss: float
    cost: Cost
    kept: Kept


class Removal:
    """Which weights of a run's network go, and what is left.

    Args:
        bounds: of the network that the run has trained.
        data: what it has learned, on the device where channels are judged. Groups that are masked
            are judged on the CPU.
        batch_size: examples a step of its training.
    """

    def __init__(self, bounds: Bounds, data: Data, batch_size: int) -> None:
        self.bounds, self.judge, self.data = bounds, bounds.judge, data
        self.compiled, self.slices = bounds.compiled, bounds.slices
        self.batch_size = batch_size

    @classmethod
    def of(cls, run: TrainedRun, judge: Judge, data: Data, clock: Clock | None = None) -> Removal:
        """Of a run, with times of its operations where a budget is of latency.

        Raises:
            DiagnosticError: D608 (no such layer).
        """
        parameters = {name for name, _ in run.network.named_parameters()}
        bounds = Bounds(run.compiled, judge, own_weights(run), parameters, clock)
        return cls(bounds, data, run.batch_size)

    # ------------------------------------------------------------------------------- what goes

    def prior(self) -> Callable[[nn.Module, Data, TrainSettings], Prior]:
        """What makes the prior that a training judges its weights by."""
        return partial(_prior, self)

    def judged(
        self,
        prior: Prior | None = None,
        state: Mapping[str, Tensor] | None = None,
        parts: tuple[Examples, Examples | None] | None = None,
    ) -> Cut:
        """Remove what matters least, by the scores of a prior with the weights that it has left.

        Args:
            prior: under which the network was trained.
            state: the weights that this has left.
            parts: the examples that trained it, and those held out, which judge drawn masks.

        Raises:
            DiagnosticError: D607 (a supernet), D609 (the budget cannot be met).
        """
        state = self.bounds.state if state is None else state
        priors = [None] * len(self.judge.families) if prior is None else parts_of(prior)
        families = self.judge.families
        found = [self._found(f, part, state) for f, part in zip(families, priors, strict=True)]
        try:
            kept, stay = self._stays(found, priors, state)
        except DiagnosticError:
            if len(families) == 1 or families[-1] in STRUCTURED:
                raise
            # The last masks do not get so far where others have left so much.
            kept, stay = self._stays(found, priors, state, narrowest=True)
        judged = list[Mask]()
        if priors[0] is not None and parts is not None:
            samples = priors[0].samples(self.judge.draws)
            drawn = self.bounds.masks(samples, self.bounds.due(1))
            judged = self.masks_judged([kept, *drawn], state, *parts)
            kept = judged[0].kept if judged else kept
        for group in found:
            if not isinstance(group.subject, Pieces):
                group.stays = rows_of(group.subject.strands, kept)
        state = self._taken_over(state, kept, stay)
        narrowed = narrow(self.compiled, state, self.slices, kept)
        told = [(mask.loss, mask.cost) for mask in judged]
        keep = self.judge.limits.layers
        cut = Cut(self.compiled, self.slices, found, kept, narrowed, keep, told)
        self._say_emptied(cut)
        return cut

    def _say_emptied(self, cut: Cut) -> None:
        """A note where a layer has no weight left: what it makes tells nothing of its input."""
        state, judge = cut.narrowed.state, self.judge
        emptied = [name for name in cut.weights if not bool(state[name].any())]
        ways = ["raise the budget"] if judge.budgets else []
        ways += ["lower `lambda_w`"] if judge.lambda_w else []
        ways += ["name fewer families"] if len(judge.families) > 1 else []
        if emptied:
            layers = dict.fromkeys(name.rpartition(".")[0] for name in emptied)
            remedy = ", or ".join(ways)
            say_note(f"no weight of {quote([*layers], 'and')} is left that is not zero: {remedy}")

    def _stays(
        self,
        found: Sequence[Found],
        priors: Sequence[Prior | None],
        state: Mapping[str, Tensor],
        narrowest: bool = False,
    ) -> tuple[Kept, Mapping[str, Tensor]]:
        """Channels that stay, and of weights that are masked 1 where they stay, by all families.

        Args:
            found: of each family; those that are masked are told which groups stay.
            priors: of each, if it was trained under one.
            state: the weights that there are.
            narrowest: whether each family goes as far as the budgets ask, not by its share alone.

        Raises:
            DiagnosticError: D609 (the budget cannot be met).
        """
        kept: Kept = {}
        stay = dict[str, Tensor]()
        lost = self._lost(priors)
        for number, (group, part) in enumerate(zip(found, priors, strict=True), 1):
            due = self.bounds.due(number, narrowest)
            if isinstance(group.subject, Pieces):
                weighing = self.bounds.weighing(group.subject, state, kept, stay)
                strict = number == len(found)
                group.stays = weighing.fitting(group.scores, due, strict)
                stay = passed(group.subject, group.stays, stay)
            else:
                kept = self._kept(_without(group.scores, kept), part, lost, due)
        return kept, stay

    def _lost(self, priors: Sequence[Prior | None]) -> Rows:
        """Which channels no room in a budget brings back, bool, of strands that have some.

        What reads a channel learns again, if anything does; a filter at zero has no gradient behind
        an activation. Without a budget there is no room, and what any prior has made zero goes.
        """
        lost: Rows = {}
        again = bool(self.judge.budgets) and self.judge.trains
        for part in priors:
            if part is None or isinstance(part.subject, Pieces):
                continue
            if not (again and part.subject.readers):
                for strand, row in part.zeros().items():
                    lost[strand] = lost[strand] | row.cpu() if strand in lost else row.cpu()
        return lost

    def _kept(
        self, scores: Scores, part: Prior | None, lost: Rows, due: Sequence[BudgetConstraint]
    ) -> Kept:
        """Channels that stay by these scores; without a budget, what the prior leaves."""
        odds = None if due or part is None else part.likeliest()
        if odds is not None:
            return next(self.bounds.masks([odds], due))
        return self.bounds.kept(_last(scores, lost), due, _others(scores, lost))

    def _taken_over(
        self, state: Mapping[str, Tensor], kept: Kept, stay: Mapping[str, Tensor]
    ) -> Mapping[str, Tensor]:
        """The state once what stays has taken over what goes, with normalisation for it.

        Where all that goes is zero already, it is as it was.

        Args:
            state: of the whole network.
            kept: channels that stay.
            stay: of weights that are masked, 1 where they stay.
        """
        sliced, part = (*sliced_tensors(self.compiled, self.slices),), self._part(self.data)

        # What was zero before is not counted in masked groups, and stays zero.
        there = {name: mask * (state[name] != 0) for name, mask in stay.items()}
        same = all(torch.equal(mask != 0, state[name] != 0) for name, mask in there.items())
        if same and unread(state, sliced, kept):
            return state
        module = module_of(self.compiled, state, self.data.device)
        taken = Reconstruction.of(module, sliced, self._inputs(part)).without(kept)
        taken |= {name: taken[name] * mask.to(taken[name]) for name, mask in there.items()}
        self._leave(module, taken, part, kept)
        return {name: w.to(state[name]) for name, w in module.state_dict().items()}

    def masks_judged(
        self,
        masks: Sequence[Kept],
        state: Mapping[str, Tensor],
        fit: Examples,
        held: Examples | None,
    ) -> list[Mask]:
        """Different masks by their loss on held-out examples, the least first; none without those.

        Weights are shared; in each what stays takes over, and normalisation is estimated for it.
        """
        different = {tuple(map(tuple, mask.values())): mask for mask in masks}.values()
        if len(different) == 1 or held is None or not len(held):
            return []
        module = module_of(self.compiled, state, self.data.device)
        part, sliced = fit.first(IN_TURNS), sliced_tensors(self.compiled, self.slices)
        whole = Reconstruction.of(module, sliced, self._inputs(part))

        def loss(kept: Kept) -> float:
            self._leave(module, whole.without(kept), part, kept)
            return evaluate(module, self.data, held, self.batch_size).loss

        graph = self.compiled.graph
        judged = [Mask(loss(kept), kept_cost(graph, self.slices, kept), kept) for kept in different]
        return sorted(judged, key=lambda mask: (math.isnan(mask.loss), mask.loss))

    def _found(self, family: str, prior: Prior | None, state: Mapping[str, Tensor]) -> Found:
        if prior is not None:
            return Found(family, prior.subject, prior.scores(), dict(prior.columns()))
        subject, name = self._subject(state, family), self.judge.importance
        if name in TURNS:
            return Found(family, subject, TURNS[name](self._trial(subject)), {})
        return Found(family, subject, IMPORTANCES[name](subject), {})

    def _trial(self, subject: Subject) -> Trial:
        """A network whose channels go one after another, until it costs what is due."""
        part, cost = self._part(self.data).first(IN_TURNS), self.bounds.cost_of(subject)
        module, due = subject.module, self.bounds.due(1)
        whole = Reconstruction.of(module, subject.sliced, self._inputs(part))
        return Trial(
            subject,
            self.data.task,
            lambda: plain_batches(self.data, part, IN_TURNS_AT_ONCE),
            lambda: self._inputs(part),
            lambda kept: self.bounds.excess(cost(kept)),
            min(budget.limit / max(1, self.bounds.whole.of(budget.cost)) for budget in due),
            self.judge.limits.least,
            lambda kept: self._leave(module, whole.without(kept), part, kept),
        )

    def _leave(
        self, module: nn.Module, state: Mapping[str, Tensor], part: Examples, kept: Kept
    ) -> None:
        """Give a network these channels alone, with normalisation by some examples."""
        module.load_state_dict(masked(self.compiled, state, self.slices, kept))
        renew(module, self._inputs(part), partial(predict, module), drops=False)

    def _inputs(self, part: Examples) -> Iterator[Inputs]:
        """Of some examples, in batches."""
        return (inputs for inputs, _ in plain_batches(self.data, part, self.batch_size))

    def _subject(self, state: Mapping[str, Tensor], family: str) -> Subject:
        data = self.data if family in STRUCTURED else self.data.to(torch.device("cpu"))
        module = module_of(self.compiled, state, data.device)
        losses = partial(self._losses, module, data, self._part(data))
        generator = torch.Generator().manual_seed(self.judge.seed)
        return self.bounds.subject(module, generator, family, losses)

    def _part(self, data: Data) -> Examples:
        """The examples that gradients are taken on."""
        generator = torch.Generator().manual_seed(self.judge.seed)
        return data.train.sample(EXAMPLES, generator).at_hand()

    def _losses(self, module: nn.Module, data: Data, part: Examples) -> Iterator[Tensor]:
        for inputs, targets in plain_batches(data, part, self.batch_size):
            yield data.task.loss(predict(module, inputs), targets)


def _without(scores: Scores, kept: Kept) -> Scores:
    """Scores by which what has gone does not come back."""
    stays = rows_of(scores, kept)
    return {s: torch.where(stays[s], row.cpu(), -torch.inf) for s, row in scores.items()}


def _last(scores: Scores, lost: Rows) -> Scores:
    """Scores by which those stay only where limits ask for them, behind all others."""
    top = max((float(row.max()) for row in scores.values() if len(row)), default=0.0)
    return {
        s: torch.where(lost[s], row - 1 - top, row) if s in lost else row
        for s, row in scores.items()
    }


def _others(scores: Scores, lost: Rows) -> int | None:
    """How many channels neither went before nor are lost; None where none can be lost."""
    if not lost:
        return None
    return sum(int(((row > -torch.inf) & ~lost[s]).sum()) for s, row in scores.items())


def _prior(removal: Removal, module: nn.Module, data: Data, settings: TrainSettings) -> Prior:
    """The prior under which a network of the removal's run is trained."""
    generator = torch.Generator().manual_seed(removal.judge.seed + 1)

    def batches() -> Iterator[tuple[Inputs, Tensor]]:
        return plain_batches(data, data.train.sample(CURVED, generator), CURVED_AT_ONCE)

    examples = len(data.train) - round(settings.holdout * len(data.train))
    batches_each = math.ceil(examples / settings.batch_size)
    bounds, paths = removal.bounds, removal.bounds.paths

    def prior(family: str) -> Prior:
        subject = bounds.subject(module, generator, family)
        cost = bounds.cost_of(subject)
        problem = Problem(
            subject,
            data.task,
            batches,
            examples,
            settings.weight_decay,
            inputs_of(subject, removal.slices, paths),
            settings.epochs * math.ceil(batches_each / settings.accumulate),
            lambda kept: bounds.excess(cost(kept)),
            neighbours_of(subject, sources_of(removal.slices)),
            removal.judge.lambda_w,
            removal.judge.curvature,
        )
        return PRIORS[removal.judge.importance](problem)

    parts = [prior(family) for family in removal.judge.families]
    return parts[0] if len(parts) == 1 else Several(parts)
