"""Weights that go from one run to another: of a search to what it found, and on into a training."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from bayesnas.compiler.emit.pytorch import emit_torch
from bayesnas.compiler.graph.cost import graph_cost
from bayesnas.compiler.pipeline import Compiled
from bayesnas.compiler.settings import SearchSettings
from bayesnas.compiler.slices.counts import Kept
from bayesnas.compiler.slices.groups import Slices
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError
from bayesnas.runtime.jobs.search.space import Space
from bayesnas.runtime.jobs.train import Start
from bayesnas.runtime.jobs.trained import (
    TrainedRun,
    deployed_state,
    input_record,
    own_weights,
    statistics_name,
)
from bayesnas.runtime.network.kernels import layout
from bayesnas.runtime.network.memory import TEST, AtOnce, Footprint
from bayesnas.runtime.network.modules import build
from bayesnas.runtime.network.training import evaluate
from bayesnas.runtime.runs.folder import Run
from bayesnas.runtime.runs.ownership import WEIGHTS
from bayesnas.runtime.runs.progress import say_note
from bayesnas.runtime.runs.seals import file_hash
from bayesnas.runtime.supernet.shared import shared_state
from bayesnas.runtime.supernet.supernet import Supernet
from bayesnas.runtime.tasks.bundle import tensors


def check_result(space: Space, settings: SearchSettings) -> None:
    """Refuse to keep weights of another network than the one that is wanted.

    Raises:
        DiagnosticError: D232.
    """
    if settings.result == "shared" and space.proxy is not None:
        what = "`result = shared` keeps the weights of the search, and those are of the proxy"
        remedy = "leave `--proxy` out, or `result`"
        raise DiagnosticError(Diagnostic("D232", what, help=remedy))


def write_shared(
    run: Run,
    net: Supernet,
    member: Collection[str],
    network: Compiled,
    channels: tuple[Slices, Kept] | None = None,
) -> Mapping[str, Any]:
    """Write the network's weights and source, and say how good it is on the test part.

    Args:
        run: of the search.
        net: its supernet, as the last round left it.
        member: the groups of gates that stay.
        network: the spec that was found.
        channels: the slices of the member, and those that the network has, if not all.

    Returns:
        What ``result.json`` says of it.
    """
    graph, origin, data = network.graph, network.loaded.source.name, net.data
    module, emitted = build(graph, origin, 0, layout=layout(graph, net.device))
    state = shared_state(net, member, graph, emitted, [*module.state_dict()], channels)
    module.load_state_dict(state)
    net.calibrate(module.to(net.device))
    at_once = AtOnce(Footprint.of(graph), net.settings.batch_size).forward(TEST)
    score = evaluate(module, data, data.test, at_once)
    run.save(WEIGHTS, deployed_state(module.state_dict(), data))
    kinds = (x.dtype for x in tensors(data.train.example))
    plain = emit_torch(graph, origin, statistics=statistics_name(kinds))
    run.write_text("network.py", plain.source)
    count = len(data.test)
    say_note(f"with the weights of the search: test {data.task.told(score)} of {count:,} examples")
    return {
        **graph_cost(graph).record(),
        **data.task.record(),
        "metric": data.task.metric,
        **data.task.entries("test", score),
        "test_examples": count,
        "class_name": plain.class_name,
        **input_record(data),
        **({"weights_hash": file_hash(run.out / WEIGHTS)} if run.writes else {}),
    }


def start_from(folder: Path, compiled: Compiled) -> Start:
    """What a training of this network begins with, to go on from the weights of a run.

    The statistics that inputs are standardised by are those of the new training's data.

    Raises:
        DiagnosticError: D618 (they are of another network), and what `TrainedRun.open` raises.
    """
    run = TrainedRun.open(folder)
    state, graph = own_weights(run), compiled.graph
    module, _ = build(graph, compiled.loaded.source.name, 0)
    if (reason := _misfit(state, module.state_dict(), graph.name)) is not None:
        message = f"the weights of the run in `{folder}` are of another network"
        remedy = "train the network of that run, with the same `--set`, or leave `--weights` out"
        raise DiagnosticError(Diagnostic("D618", message, notes=(reason,), help=remedy))
    return Start(state, {"weights": run.record["weights_hash"]}, {}, {})


def _misfit(given: Mapping[str, Tensor], wanted: Mapping[str, Tensor], network: str) -> str | None:
    """Where two states differ first; None if nowhere."""
    for name in (*wanted, *given):
        if name not in given:
            return f"`{network}` has `{name}`, the run has not"
        if name not in wanted:
            return f"the run has `{name}`, `{network}` has not"
        sizes = [" x ".join(map(str, state[name].shape)) for state in (given, wanted)]
        if sizes[0] != sizes[1]:
            return f"`{name}` is {sizes[0]} in the run, {sizes[1]} in `{network}`"
    return None
