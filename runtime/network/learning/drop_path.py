"""Drop path: in training, operations that others are added to are left out at random.

Larsson et al., FractalNet, ICLR 2017; as DARTS has it: a mask an example, with a chance that grows
linearly over the epochs, and never of an identity.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from bayesnas.compiler.emit.pytorch import Emitted
from bayesnas.compiler.graph.model import Edge, Graph
from bayesnas.runtime.network.together.synchronised import present


class DropPath:
    """Leaves out operations of a network while it is in training mode.

    Args:
        module: the network, as it was emitted.
        emitted: tells where each edge's module is.
        graph: of the network.
        highest: the chance at the end of the training.
    """

    def __init__(self, module: nn.Module, emitted: Emitted, graph: Graph, highest: float) -> None:
        self.highest, self.chance = highest, 0.0
        for edge in droppable(graph):
            layer = module.get_submodule(emitted.operations[edge.id])
            layer.register_forward_hook(self._drop)

    def at(self, progress: float) -> None:
        """Set the chance; ``progress`` is the share of all epochs that have ended."""
        self.chance = self.highest * progress

    def _drop(self, layer: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        if not layer.training or not self.chance:
            return output
        share = present(len(output))
        kept = output.new_empty(share.count, *[1] * (output.dim() - 1))
        return output * share.of(kept.bernoulli_(1 - self.chance)) / (1 - self.chance)


def droppable(graph: Graph) -> Iterator[Edge]:
    """Edges with an operation that arrive where another edge does, and are added to it."""
    for node in graph.nodes():
        arriving = graph.incoming(node.id)
        if len(arriving) > 1 and node.merge == "sum":
            yield from (e for e in arriving if e.gate is None and not e.operation.is_identity)
