"""A trained network made smaller: channels are removed, and what is left is trained on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from attrs import asdict, evolve, field, frozen
from torch import Tensor, nn

from bayesnas.compiler.graph.cost import Cost, graph_cost
from bayesnas.compiler.graph.model import BudgetConstraint
from bayesnas.compiler.pipeline import Compiled
from bayesnas.compiler.settings import TrainSettings, make_settings
from bayesnas.compiler.slices.counts import Kept, kept_count
from bayesnas.compiler.slices.groups import Slices, coupled_slices
from bayesnas.runtime.data.dataset import Data, Part, plain_batches
from bayesnas.runtime.data.loading import load_data
from bayesnas.runtime.jobs.failures import plugins_named
from bayesnas.runtime.jobs.train import Start, TrainResult, train
from bayesnas.runtime.jobs.trained import MEAN, STD, TrainedRun
from bayesnas.runtime.network.kernels import layout
from bayesnas.runtime.network.modules import build, predict
from bayesnas.runtime.network.training import evaluate
from bayesnas.runtime.runs.folder import RunOptions
from bayesnas.runtime.runs.ownership import COMPRESSED, check_out
from bayesnas.runtime.tasks.interface import Score
from bayesnas.runtime.weights.choice import Limits, Ranking, Share, free_strands, within
from bayesnas.runtime.weights.importance import IMPORTANCES, Subject
from bayesnas.runtime.weights.removal import Narrowed, narrow, sliced_tensors, state_paths

EXAMPLES: Final = 1024  # of the training part, that gradients are taken on


@frozen
class Compression:
    """What is asked of a compression.

    Args:
        budgets: what the smaller network may cost, as amounts or as shares.
        importance: a name of `IMPORTANCES`.
        limits: what stays whatever the scores say.
    """

    budgets: tuple[BudgetConstraint | Share, ...]
    importance: str = "magnitude"
    limits: Limits = field(factory=Limits)


@frozen
class Layer:
    """What has become of a layer: channels that come in and go out, before and after."""

    layer: str
    operation: str
    inputs: int
    inputs_kept: int
    channels: int
    channels_kept: int


@frozen
class CompressResult:
    """A compression: costs, layers, and scores on the test part.

    ``removed`` is the score before what is left was trained on, ``trained`` what that ended with.
    """

    before: Cost
    after: Cost
    layers: tuple[Layer, ...]
    removed: Score
    trained: TrainResult


@plugins_named()
def compress(
    folder: Path, wanted: Compression, values: Mapping[str, Any], options: RunOptions
) -> CompressResult:
    """Make the network of a finished training smaller, and train it on in a run of its own.

    The new run is a training like others: evaluated, exported, resumed, compressed again.

    Args:
        folder: of the run.
        wanted: how small, and by what.
        values: settings of the training on, over those of the run.
        options: of the new run; without data, those of the run are taken.

    Raises:
        DiagnosticError: D413, D414 (the new run's folder), D415, D416 (no trained run), D423, D506
            (data or its options), D607 (a supernet), D608 (no such layer), D609 (the budget cannot
            be met), and what `train` raises.
    """
    check_out(options.out, options.resume, options.force, [folder])
    run = TrainedRun.open(folder)
    data, options = _with_data(run, options)
    removal = _Removal(run, wanted, data, options.seed)
    removed = removal.score()
    before, after = (graph_cost(c.graph) for c in (run.compiled, removal.narrowed.compiled))
    settings = make_settings(TrainSettings, {**run.settings.get("settings", {}), **values})
    layers = removal.layers()
    scores = data.task.entries("test", removed)
    told = {
        "before": asdict(before) | {name: run.record[name] for name in scores},
        "removed": asdict(after) | scores,
    }
    start = Start(
        removal.narrowed.state,
        {"compression": _record(run, wanted)},
        {
            COMPRESSED: removal.narrowed.text,
            "layers.jsonl": "".join(json.dumps(asdict(layer)) + "\n" for layer in layers),
        },
        {"compression": told},
    )
    trained = train(removal.narrowed.compiled, settings, options, start)
    return CompressResult(before, after, layers, removed, trained)


def _with_data(run: TrainedRun, options: RunOptions) -> tuple[Data, RunOptions]:
    """The data, and the options that name it: the run's own, read as it was, where none is named.

    Raises:
        DiagnosticError: D423 (an option does nothing), D506 (other classes), and what `load_data`
            raises.
    """
    if options.data:
        data = load_data(options.data, run.compiled.graph, options.data_options)
        data.task.check_record(run.record, data.name)
        return data, options
    data = run.own_data(options.data_options)
    name, reading = run.own_reading(options.data_options)
    return data, evolve(options, data=name, data_options=reading)


def _record(run: TrainedRun, wanted: Compression) -> dict[str, Any]:
    return {
        "weights_hash": run.record["weights_hash"],
        "budgets": [asdict(budget) for budget in _budgets(run.compiled, wanted)],
        "importance": wanted.importance,
        "limits": {**asdict(wanted.limits), "layers": list(wanted.limits.layers)},
    }


def _budgets(compiled: Compiled, wanted: Compression) -> list[BudgetConstraint]:
    whole = graph_cost(compiled.graph)
    return [b.of(whole) if isinstance(b, Share) else b for b in wanted.budgets]


class _Removal:
    """Which channels of a run's network go, and what is left.

    It works on the CPU, where the same weights and examples give the same channels.
    """

    def __init__(self, run: TrainedRun, wanted: Compression, data: Data, seed: int) -> None:
        self.compiled, self.data = run.compiled, data
        self.slices: Slices = coupled_slices(self.compiled.graph)
        state = {n: t for n, t in run.network.state_dict().items() if not n.startswith((MEAN, STD))}
        strands = free_strands(self.compiled, self.slices, wanted.limits.layers)
        self.at_once = run.at_once
        module = _module(self.compiled, state)
        part = data.train.sample(EXAMPLES, torch.Generator().manual_seed(seed))
        subject = Subject(
            module,
            (*sliced_tensors(self.compiled, self.slices),),
            strands,
            lambda: self._losses(module, part, run.batch_size),
        )
        ranking = Ranking(IMPORTANCES[wanted.importance](subject), wanted.limits)
        budgets = _budgets(self.compiled, wanted)
        self.kept: Kept = within(self.compiled, self.slices, ranking, budgets)
        self.narrowed: Narrowed = narrow(self.compiled, state, self.slices, self.kept)

    def _losses(self, module: nn.Module, part: Part, size: int) -> Iterator[Tensor]:
        for inputs, targets in plain_batches(self.data, part, size):
            yield self.data.task.loss(predict(module, inputs), targets)

    def score(self) -> Score:
        """How good the smaller network is on the test part, before it is trained on."""
        module = _module(self.narrowed.compiled, self.narrowed.state)
        return evaluate(module, self.data, self.data.test, self.at_once)

    def layers(self) -> tuple[Layer, ...]:
        """What becomes of each layer that has a width."""
        paths = state_paths(self.compiled)
        edges = {edge.id: edge for edge in self.compiled.graph.edges()}
        return tuple(
            Layer(
                paths[place],
                edges[place[0]].operation.label,
                sum(map(len, stage.source)),
                kept_count(stage.source, self.kept),
                sum(map(len, stage.target)),
                kept_count(stage.target, self.kept),
            )
            for place, stage in self.slices.stages.items()
            if stage.numbers
        )


def _module(compiled: Compiled, state: Mapping[str, Tensor]) -> nn.Module:
    """A network with these weights, in evaluation mode."""
    name = compiled.loaded.source.name
    module, _ = build(compiled.graph, name, 0, layout=layout(compiled.graph, torch.device("cpu")))
    module.load_state_dict(state)
    return module.eval()
