"""Auxiliary outputs in a training: what they add to its loss, and the network without them."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import torch
from attrs import frozen
from torch import Tensor, nn

from bayesnas.compiler.emit.pytorch import Emitted
from bayesnas.compiler.graph.model import Graph
from bayesnas.compiler.objectives import Objective
from bayesnas.runtime.network.modules import outputs_of
from bayesnas.runtime.tasks.interface import Losing, Reduction, Task
from bayesnas.runtime.tasks.several import Several


@frozen
class Auxiliary:
    """The outputs of a network that is trained, and which of them are there for training alone.

    Args:
        columns: of each output among all outputs side by side, by its port, in order.
        objectives: of the auxiliary ones.
    """

    columns: Mapping[str, slice]
    objectives: tuple[Objective, ...]

    @classmethod
    def of(cls, graph: Graph) -> Auxiliary:
        """Of a network with its auxiliary outputs, whose shapes are known."""
        columns, start = {}, 0
        for port in map(graph.node, graph.root.outputs):
            stop = start + prod(port.shape or ())
            columns[port.name] = slice(start, stop)
            start = stop
        return cls(columns, tuple(o for o in graph.objectives if o.auxiliary))

    @property
    def lasting(self) -> tuple[int, ...]:
        """The numbers of the other outputs, in order."""
        auxiliary = {o.port for o in self.objectives}
        return tuple(k for k, port in enumerate(self.columns) if port not in auxiliary)

    def joined(self, task: Task) -> Losing:
        """What all outputs learn side by side, where the others learn ``task``."""
        return _Joined(self, task) if self.objectives else task

    def judged(self, module: nn.Module) -> nn.Module:
        """The network as it is judged and used: without them."""
        return _Lasting(module, self.lasting) if self.objectives else module


@frozen
class _Joined:
    """A task, and auxiliary outputs beside it."""

    auxiliary: Auxiliary
    task: Task

    def loss(self, outputs: Tensor, targets: Tensor, reduction: Reduction = "mean") -> Tensor:
        """That of the task, and of each auxiliary output by its weight, of all outputs [N, K]."""
        columns = self.auxiliary.columns
        parts = [outputs[:, part] for part in columns.values()]
        lasting = torch.cat([parts[k] for k in self.auxiliary.lasting], dim=1)
        loss = self.task.loss(lasting, targets, reduction)
        for objective in self.auxiliary.objectives:
            learned, part = self.task, targets
            if isinstance(self.task, Several):
                learned, part = self.task.part(objective.of, targets)
            own = outputs[:, columns[objective.port]]
            loss = loss + objective.weight * learned.loss(own, part, reduction)
        return loss


class _Lasting(nn.Module):
    """A network that gives some of its outputs."""

    def __init__(self, network: nn.Module, outputs: tuple[int, ...]) -> None:
        super().__init__()
        self.network, self.outputs = network, outputs

    def forward(self, *inputs: Tensor) -> Any:
        """Those outputs: a tensor, or a tuple of several."""
        parts = outputs_of(self.network(*inputs))
        kept = tuple(parts[k] for k in self.outputs)
        return kept[0] if len(kept) == 1 else kept


def lasting_state(
    state: Mapping[str, Tensor], trained: Emitted, graph: Graph, emitted: Emitted
) -> dict[str, Tensor]:
    """The state of the network without auxiliary outputs.

    Args:
        state: of the network that was trained.
        trained: its source.
        graph: of the network without them.
        emitted: the source of that.
    """
    edges = [edge.id for edge in graph.edges() if edge.id in emitted.operations]
    paths = {trained.operations[edge]: emitted.operations[edge] for edge in edges}
    kept = {}
    for name, tensor in state.items():
        parts = name.split(".")
        for count in range(len(parts), 0, -1):
            path = ".".join(parts[:count])
            if path in paths:
                kept[".".join((paths[path], *parts[count:]))] = tensor
                break
    return kept
