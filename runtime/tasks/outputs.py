"""One output among several: what it learns, and what is drawn of its curvature."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from attrs import evolve, frozen
from torch import Tensor

from bayesnas.compiler.graph.model import Graph
from bayesnas.runtime.tasks.interface import Task
from bayesnas.runtime.tasks.parts import Factors
from bayesnas.runtime.tasks.registry import task_class


@frozen
class Output:
    """An output of a network, and what is learned of it.

    Args:
        port: its name.
        task: what is learned.
        weight: what its loss counts in the sum, above 0.
        size: numbers of one example of it.
        shape: of the target of one example, as the task takes it.
        dtype: type of its targets, as the task takes them.
    """

    port: str
    task: Task
    weight: float
    size: int
    shape: tuple[int, ...]
    dtype: torch.dtype

    @classmethod
    def of(cls, port: str, task: Task, weight: float, size: int, targets: Tensor) -> Output:
        """Of a port whose targets are like these, [N, ...]."""
        return cls(port, task, weight, size, tuple(targets.shape[1:]), targets.dtype)

    def record(self) -> dict[str, Any]:
        """Plain values for files."""
        about = {
            "metric": self.task.metric,
            "weight": self.weight,
            "size": self.size,
            "target": {"shape": list(self.shape), "dtype": str(self.dtype).split(".")[-1]},
        }
        return about | self.task.record()

    @classmethod
    def of_record(cls, port: str, record: Mapping[str, Any]) -> Output:
        """From what `record` gave."""
        task = task_class(record["metric"]).of_record(record)
        target = record["target"]
        dtype = getattr(torch, target["dtype"])
        return cls(port, task, record["weight"], record["size"], tuple(target["shape"]), dtype)


def alone(graph: Graph, port: str) -> Graph:
    """The graph with that output alone, as tasks of one output look at it."""
    [output] = [node for node in graph.root.outputs if graph.node(node).name == port]
    root = evolve(graph.root, outputs=(output,))
    return evolve(graph, instances={**graph.instances, "": root})


def drawn_of(
    output: Output, outputs: Tensor, seeds: Sequence[int], samples: int, device: torch.device
) -> Iterator[Tensor]:
    """Sampled directions [N, K] of one output, times the roots of their weights; then zeros."""
    each = [
        _one_by_one(
            output.task.sampled_factors(
                example[None], samples, torch.Generator(device).manual_seed(seed)
            )
        )
        for example, seed in zip(outputs, seeds, strict=True)
    ]
    for row in zip(*each, strict=True):
        yield math.sqrt(output.weight) * torch.cat(row)
    while True:  # one that draws fewer
        yield outputs.new_zeros(outputs.shape, dtype=torch.float64)


def _one_by_one(parts: Iterable[Factors]) -> Iterator[Tensor]:
    """The directions [N, K] of factors, times the roots of their weights."""
    for part in parts:
        scaled = part.weights.sqrt()[:, :, None] * part.directions
        yield from scaled.unbind(dim=1)
