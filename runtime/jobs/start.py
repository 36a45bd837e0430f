"""What a training goes on from: the weights of another run, or what a compression has left."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from attrs import field, frozen
from torch import Tensor, nn

from bayesnas.compiler.pipeline import Compiled
from bayesnas.compiler.settings import TrainSettings
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError
from bayesnas.runtime.data.dataset import Data
from bayesnas.runtime.jobs.trained import TrainedRun, own_weights
from bayesnas.runtime.network.modules import build
from bayesnas.runtime.weights.priors.interface import Prior


@frozen
class Start:
    """What a training goes on from, instead of fresh weights.

    Args:
        state: parameters and buffers by name.
        made: how they came about, for ``settings.json``: a run is resumed only with the same.
        told: what ``result.json`` says of it.
        prior: makes what the channels of the network are held to while they are judged.
        trains: False where the weights are the result as they are.
    """

    state: Mapping[str, Tensor] = field(repr=False)
    made: Mapping[str, Any]
    told: Mapping[str, Any]
    prior: Callable[[nn.Module, Data, TrainSettings], Prior] | None = None
    trains: bool = True


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
    return Start(state, {"weights": run.record["weights_hash"]}, {})


def _misfit(given: Mapping[str, Tensor], wanted: Mapping[str, Tensor], network: str) -> str | None:
    """Where two states differ first; None if nowhere."""
    for name in (*wanted, *given):
        if name not in given:
            return f"`{network}` has `{name}`, the run does not"
        if name not in wanted:
            return f"the run has `{name}`, `{network}` does not"
        sizes = [" x ".join(map(str, state[name].shape)) for state in (given, wanted)]
        if sizes[0] != sizes[1]:
            return f"`{name}` is {sizes[0]} in the run, {sizes[1]} in `{network}`"
    return None
