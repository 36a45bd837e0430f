"""What becomes of each layer that has a width, when channels go."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import asdict, frozen

from bayesnas.compiler.graph.model import Graph
from bayesnas.compiler.slices.counts import Kept, kept_count
from bayesnas.compiler.slices.groups import Place, Slices


@frozen
class Layer:
    """What has become of a layer: channels that come in and go out, before and after.

    Where weights are masked, how many it has left, and how many of those are not zero.
    """

    layer: str
    operation: str
    inputs: int
    inputs_kept: int
    channels: int
    channels_kept: int
    weights: int | None = None
    nonzero: int | None = None

    @property
    def share(self) -> float:
        """Of its connections from channel to channel, what is left."""
        return self.inputs_kept * self.channels_kept / max(1, self.inputs * self.channels)

    @property
    def density(self) -> float:
        """Of the weights that it has left, the share that is not zero."""
        if self.weights is None or self.nonzero is None:
            return 1.0
        return self.nonzero / max(1, self.weights)

    def record(self) -> dict[str, str | int | float]:
        """A row of ``layers.jsonl``."""
        plain = asdict(self, filter=lambda _, value: value is not None)
        return plain | {"share": round(self.share, 4)}


def layers_of(
    graph: Graph, slices: Slices, kept: Kept, paths: Mapping[Place, str]
) -> dict[str, Layer]:
    """The layers of a network by their paths.

    Args:
        graph: the network.
        slices: of it.
        kept: channels that stay.
        paths: of its primitives' modules.
    """
    edges = {edge.id: edge for edge in graph.edges()}
    return {
        paths[place]: Layer(
            paths[place],
            edges[place[0]].operation.label,
            sum(map(len, stage.source)),
            kept_count(stage.source, kept),
            sum(map(len, stage.target)),
            kept_count(stage.target, kept),
        )
        for place, stage in slices.stages.items()
        if stage.numbers
    }
