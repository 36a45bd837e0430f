"""How much memory work on a network takes, and how many examples at once each pass may take.

Nothing here runs: all is told from the shapes of the graph, before any work. Tests and `python -m
benchmarks.memory` compare it with what is measured.
"""

from __future__ import annotations

from typing import Final

import torch
from attrs import frozen

from bayesnas.compiler.graph.cost import graph_cost
from bayesnas.compiler.graph.model import Graph
from bayesnas.runtime.network.tensors import NUMBER, Tensors
from bayesnas.runtime.tasks.parts import AT_ONCE

DERIVATIVE: Final = 128  # examples at once that a derivative in the gates takes at most
JUDGEMENT: Final = 256  # that recalibration and judgement of members take at most
TEST: Final = 500  # that a test takes at most

ROOM: Final = 2**30  # bytes that a derivative may take on a GPU, whatever a step takes

_IMAGES: Final = 4  # copies of an example, from bytes to what the network sees
_PASSING: Final = 3  # the largest tensors that come and go beside what is kept
_GATE_BYTES: Final = 28  # of each example's derivative in a gate: float32, then float64 thrice
_TWICE: Final = 3  # times a derivative that one of second order takes
_SHARE: Final = 0.85  # of a training step that other passes may take, since all is an estimate


@frozen
class Footprint:
    """Bytes that work on a network holds.

    Args:
        weights: parameters, their gradients and the optimizer's momentum.
        step: an example of a training step.
        derivative: an example of a backward pass to its own gates.
        direction: an example more, for each direction that is pulled back at once.
        forward: an example of a pass without gradients.
    """

    weights: int
    step: int
    derivative: int
    direction: int
    forward: int

    @classmethod
    def of(cls, graph: Graph, recompute: bool = False) -> Footprint:
        """Of a network whose shapes are known, as its schedule runs it."""
        tensors = Tensors.of(graph)
        images = _IMAGES * sum(tensors.sizes[tensors.nodes[port]] for port in graph.root.inputs)
        largest = tensors.largest()
        gates = _GATE_BYTES * len(graph.searched())
        return cls(
            weights=3 * NUMBER * graph_cost(graph).parameters,
            step=images + tensors.kept(recompute) + _PASSING * largest,
            derivative=images + sum(tensors.derivative.values()) + _PASSING * largest + gates,
            direction=(_PASSING + 1) * largest + gates,
            forward=images + tensors.live(),
        )

    def step_bytes(self, batch_size: int) -> int:
        """Of a training step, weights and all."""
        return self.weights + batch_size * self.step

    def fitting(self, free: int) -> int:
        """The largest batch whose training step fits into so many bytes; 0 where none does."""
        return max(0, (free - self.weights) // self.step)


@frozen
class AtOnce:
    """How many examples each pass takes at once: no more bytes than a training step.

    One at least, whatever it takes. How many they are changes no mean over examples but its
    rounding.

    Args:
        footprint: of the network.
        batch_size: of a training step.
        room: bytes that a derivative may take besides, if a step takes less.
    """

    footprint: Footprint
    batch_size: int
    room: int = 0

    @classmethod
    def on(cls, device: torch.device, footprint: Footprint, batch_size: int) -> AtOnce:
        """With `ROOM` on a GPU, which is done with few examples before the next are launched."""
        return cls(footprint, batch_size, ROOM if device.type == "cuda" else 0)

    def forward(self, most: int) -> int:
        """Of a pass without gradients."""
        return _fitting(self._step, self.footprint.forward, most)

    def derivative(self) -> int:
        """Of the gradient in the gates."""
        room = max(self._step, self.room)
        return _fitting(room, self.footprint.derivative, DERIVATIVE)

    def curvature(self, estimator: str, outputs: int) -> int:
        """Of a curvature in the gates, by its estimator's name, for so many outputs."""
        each = self.footprint.derivative
        if estimator.startswith("ggn"):
            each += min(outputs, AT_ONCE) * self.footprint.direction
        if estimator == "hessian":
            each *= _TWICE
        return _fitting(max(self._step, self.room), each, DERIVATIVE)

    @property
    def _step(self) -> int:
        return self.footprint.step * self.batch_size


def _fitting(room: int, each: int, most: int) -> int:
    return max(1, min(most, int(_SHARE * room) // each))
