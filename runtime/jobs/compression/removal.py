"""Which channels of a trained run's network go, and what is left of it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial

import torch
from attrs import evolve, field, frozen
from torch import Tensor, nn

from bayesnas.compiler.graph.cost import graph_cost
from bayesnas.compiler.graph.model import BudgetConstraint
from bayesnas.compiler.pipeline import Compiled
from bayesnas.compiler.settings import TrainSettings
from bayesnas.compiler.slices.counts import Kept, kept_cost
from bayesnas.compiler.slices.groups import Slices, coupled_slices
from bayesnas.compiler.slices.groups import Tensor as SlicedTensor
from bayesnas.compiler.slices.layers import Layer, layers_of
from bayesnas.compiler.slices.ties import Strand
from bayesnas.runtime.data.dataset import Data, Part, plain_batches
from bayesnas.runtime.jobs.trained import MEAN, STD, TrainedRun
from bayesnas.runtime.network.kernels import layout
from bayesnas.runtime.network.modules import build, predict
from bayesnas.runtime.network.training import evaluate
from bayesnas.runtime.tasks.bundle import Inputs
from bayesnas.runtime.tasks.interface import Score
from bayesnas.runtime.weights.choice import Limits, Ranking, Scores, free_strands, within
from bayesnas.runtime.weights.importance import IMPORTANCES
from bayesnas.runtime.weights.priors.interface import Prior, Problem
from bayesnas.runtime.weights.priors.registry import PRIORS
from bayesnas.runtime.weights.removal import Narrowed, narrow, renamed, sliced_tensors, state_paths
from bayesnas.runtime.weights.subject import Rows, Subject

EXAMPLES = 1024  # of the training part, that gradients are taken on
CURVED = 192  # of them, anew for every update, that curvature is taken on
CURVED_AT_ONCE = 16


def own_weights(run: TrainedRun) -> dict[str, Tensor]:
    """What a run's network has learned, without what it standardises its inputs by."""
    state = run.network.state_dict()
    return {name: t for name, t in state.items() if not name.startswith((MEAN, STD))}


@frozen
class Judge:
    """What judges channels: a name of `IMPORTANCES` or `PRIORS`, and what bounds its choice."""

    importance: str
    limits: Limits
    budgets: tuple[BudgetConstraint, ...]
    seed: int


class Removal:
    """Which channels of a run's network go, and what is left.

    It works on the CPU, where the same weights and examples give the same channels.

    Args:
        run: a training.
        judge: of its channels.
        data: what it has learned.
    """

    def __init__(self, run: TrainedRun, judge: Judge, data: Data) -> None:
        self.run, self.compiled, self.judge, self.data = run, run.compiled, judge, data
        self.slices: Slices = coupled_slices(self.compiled.graph)
        self.state = own_weights(run)
        self.strands = free_strands(self.compiled, self.slices, judge.limits.layers)
        self.columns: Mapping[str, Rows] = {}

    # ------------------------------------------------------------------------------- what goes

    def prior(self) -> Callable[[nn.Module, Data, TrainSettings], Prior]:
        """What makes the prior that a training judges channels by."""
        return partial(_prior, self)

    def judged(self, prior: Prior | None = None, state: Mapping[str, Tensor] | None = None) -> Cut:
        """Remove what matters least, by the scores of a prior with the weights that it has left.

        Raises:
            DiagnosticError: D607 (a supernet), D609 (the budget cannot be met).
        """
        state = self.state if state is None else state
        if prior is None:
            scores, columns = IMPORTANCES[self.judge.importance](self._subject(state)), {}
        else:
            scores, columns = prior.scores(), dict(prior.columns())
        kept = self.kept(scores)
        narrowed = narrow(self.compiled, state, self.slices, kept)
        return Cut(self, scores, columns, kept, narrowed)

    def kept(self, scores: Scores) -> Kept:
        """Channels that stay by these scores."""
        ranking = Ranking(scores, self.judge.limits)
        return within(self.compiled.graph, self.slices, ranking, self.judge.budgets)

    def strands_alike(self) -> Scores:
        """Scores that tell no channel from another."""
        return {strand: torch.ones(strand.size) for strand in self.strands}

    def excess(self, kept: Kept) -> float:
        """What a network of these channels has still to save, as a share of what all have to."""
        cost = kept_cost(self.compiled.graph, self.slices, kept)
        whole = graph_cost(self.compiled.graph)

        def share(budget: BudgetConstraint) -> float:
            now: int = getattr(cost, budget.cost)
            first: int = getattr(whole, budget.cost)
            return (now - budget.limit) / max(1, first - budget.limit)

        return max(map(share, self.judge.budgets), default=0.0)

    def _subject(self, state: Mapping[str, Tensor]) -> Subject:
        module = _module(self.compiled, state)
        generator = torch.Generator().manual_seed(self.judge.seed)
        part = self.data.train.sample(EXAMPLES, generator)
        return self.subject(module, generator, partial(self._losses, module, part))

    def subject(
        self,
        module: nn.Module,
        generator: torch.Generator,
        losses: Callable[[], Iterator[Tensor]] = lambda: iter(()),
    ) -> Subject:
        """A network of the run's with the channels that may go."""
        sliced = (*sliced_tensors(self.compiled, self.slices),)
        return Subject(module, sliced, self.strands, losses, generator)

    def _losses(self, module: nn.Module, part: Part) -> Iterator[Tensor]:
        for inputs, targets in plain_batches(self.data, part, self.run.batch_size):
            yield self.data.task.loss(predict(module, inputs), targets)


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
    paths = state_paths(removal.compiled)
    reading = {t.place for t in removal.slices.tensors if reads(t)}
    problem = Problem(
        removal.subject(module, generator),
        data.task,
        batches,
        examples,
        settings.weight_decay,
        {paths[place]: removal.slices.stages[place].source for place in reading},
        settings.epochs * math.ceil(batches_each / settings.accumulate),
        removal.excess,
    )
    return PRIORS[removal.judge.importance](problem)


@frozen
class Cut:
    """A removal that is decided.

    Args:
        removal: what it is of.
        scores: of the channels that may go.
        columns: what else was found of them.
        kept: those that stay.
        narrowed: what is left.
    """

    removal: Removal = field(repr=False)
    scores: Scores = field(repr=False)
    columns: Mapping[str, Rows] = field(repr=False)
    kept: Kept = field(repr=False)
    narrowed: Narrowed

    def score(self) -> Score:
        """How good the smaller network is on the test part, before it is trained on."""
        module = _module(self.narrowed.compiled, self.narrowed.state)
        data = self.removal.data
        return evaluate(module, data, data.test, self.removal.run.at_once)

    def layers(self, before: Mapping[str, Layer] | None = None) -> dict[str, Layer]:
        """What becomes of each layer that has a width, by its path in the smaller network.

        ``before`` is that of the removal before this one, whose names and counts go on.
        """
        removal, before = self.removal, before or {}
        paths = state_paths(removal.compiled)
        names = renamed(removal.compiled, self.narrowed.compiled)
        layers = {}
        for path, now in layers_of(
            removal.compiled.graph, removal.slices, self.kept, paths
        ).items():
            first = before.get(path, now)
            layers[names[path]] = evolve(
                first, inputs_kept=now.inputs_kept, channels_kept=now.channels_kept
            )
        return layers

    def layers_kept(self) -> tuple[str, ...]:
        """The layers of the limits, by the names of their primitives in the smaller network."""
        names = renamed(self.removal.compiled, self.narrowed.compiled)
        kept = self.removal.judge.limits.layers
        return tuple(
            new
            for old, new in names.items()
            if any(old == layer or old.startswith(f"{layer}.") for layer in kept)
        )

    def rows(self) -> str:
        """``slices.jsonl``: each channel that may go, its score, and whether it stays."""
        numbers = {strand: n for n, strand in enumerate(self.removal.slices.strands)}
        return "".join(
            json.dumps(
                {
                    "strand": numbers[strand],
                    "channel": k,
                    "score": score,
                    "kept": k in stay,
                    **{name: float(rows[strand][k]) for name, rows in self.columns.items()},
                }
            )
            + "\n"
            for strand, row in self.scores.items()
            for stay in [_members(self.kept, strand)]
            for k, score in enumerate(row.tolist())
        )


def _members(kept: Kept, strand: Strand) -> frozenset[int]:
    return frozenset(kept.get(strand, range(strand.size)))


def _module(compiled: Compiled, state: Mapping[str, Tensor]) -> nn.Module:
    """A network with these weights, in evaluation mode."""
    name = compiled.loaded.source.name
    module, _ = build(compiled.graph, name, 0, layout=layout(compiled.graph, torch.device("cpu")))
    module.load_state_dict(state)
    return module.eval()
