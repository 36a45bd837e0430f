"""From a compiled network to a living module: the emitted source itself is what runs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from bayesnas.compiler.emit.pytorch import Emitted, emit_torch
from bayesnas.compiler.emit.schedule import schedule
from bayesnas.compiler.graph.model import Graph


def load_source(emitted: Emitted) -> nn.Module:
    """An instance of the network's class, made by running its emitted source.

    The source comes from our own emitter, which writes no name or text of a spec but identifiers.
    """
    namespace: dict[str, Any] = {"__name__": f"bayesnas_emitted.{emitted.class_name}"}
    exec(compile(emitted.source, f"<emitted {emitted.class_name}>", "exec"), namespace)
    module: nn.Module = namespace[emitted.class_name]()
    return module


def build(
    graph: Graph, origin: str, seed: int, scheduled: bool = True, statistics: str | None = None
) -> tuple[nn.Module, Emitted]:
    """The network with fresh weights; the same seed gives the same weights on every device.

    It is emitted by its schedule, or plainly: the same function of the same parameters. With
    ``statistics`` it standardises its inputs itself, as `emit_torch` says.
    """
    emitted = emit_torch(graph, origin, schedule(graph) if scheduled else None, statistics)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = load_source(emitted)
    # Depthwise and dilated convolutions are several times faster in this format on a CPU;
    # it concerns kernels of two dimensions alone.
    return module.to(memory_format=torch.channels_last), emitted


def set_pruned(module: nn.Module, emitted: Emitted, gates: Iterable[int]) -> None:
    """Leave these gates' candidates out of every following forward pass."""
    for gate in gates:
        path, candidate = emitted.gates[gate]
        edge: Any = module.get_submodule(path)
        edge.pruned.add(candidate)


def predict(module: nn.Module, inputs: Tensor, gates: Tensor | None = None) -> Tensor:
    """Outputs [N, K]; ``gates`` [G] or [N, G] where the network is a supernet."""
    result: Tensor = module(inputs) if gates is None else module(inputs, gates)
    return result
