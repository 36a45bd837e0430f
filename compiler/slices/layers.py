"""What becomes of each layer that has a width, when channels go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

from attrs import asdict, frozen

from bayesnas.compiler.graph.model import Graph, Stage
from bayesnas.compiler.graph.walks import primitives_of
from bayesnas.compiler.operations.primitives import PRIMITIVES
from bayesnas.compiler.slices.counts import Kept, kept_count
from bayesnas.compiler.slices.groups import Place, Slices, StageChannels, Tensor
from bayesnas.compiler.slices.ties import Channels


@frozen
class Layer:
    """What has become of a layer: channels that come in and go out, before and after.

    Its connections, from channel to channel, are those inside it as well, such as an attention's
    keys and values. Where weights are masked, how many it has left, and how many of those are not
    zero.
    """

    layer: str
    operation: str
    inputs: int
    inputs_kept: int
    channels: int
    channels_kept: int
    connections: int
    connections_kept: int
    weights: int | None = None
    nonzero: int | None = None

    @property
    def share(self) -> float:
        """Of its connections, what is left."""
        return self.connections_kept / max(1, self.connections)

    @property
    def thinned(self) -> bool:
        """Whether less is left of it than its channels in and out tell."""
        ends = self.inputs_kept * self.channels_kept
        return self.share * self.inputs * self.channels < ends * (1 - 1e-9)

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
    weights: dict[Place, list[Tensor]] = {}
    primitives = {name: [*primitives_of(edge.operation.stages)] for name, edge in edges.items()}
    for tensor in slices.tensors:
        name, number = tensor.place
        if _is_weight(primitives[name][number], tensor):
            weights.setdefault(tensor.place, []).append(tensor)

    def layer(place: Place, stage: StageChannels) -> Layer:
        # Without weights of its own, as those of a module that is used again, by its two ends.
        axes = [tensor.axes for tensor in weights.get(place, ())] or [(stage.source, stage.target)]
        counts = [
            (kept_count(stage.source, some), kept_count(stage.target, some)) for some in ({}, kept)
        ]
        (inputs, channels), (inputs_kept, channels_kept) = counts
        return Layer(
            paths[place],
            edges[place[0]].operation.label,
            inputs,
            inputs_kept,
            channels,
            channels_kept,
            *(sum(_connections(each, some) for each in axes) for some in ({}, kept)),
        )

    return {
        paths[place]: layer(place, stage)
        for place, stage in slices.stages.items()
        if stage.numbers or place in weights
    }


def _is_weight(stage: Stage, tensor: Tensor) -> bool:
    """Whether a tensor is what a layer computes its outputs with; scales and offsets are not."""
    assert stage.input_shape is not None, "asked before shape inference"
    assert stage.output_shape is not None, "asked before shape inference"
    flops = PRIMITIVES[stage.primitive].flops
    computes = flops(stage.input_shape, stage.output_shape, dict(stage.arguments)) > 0
    counted = len(tensor.axes) > 1 or computes
    return counted and tensor.name.rpartition(".")[2].startswith("weight")


def _connections(axes: Sequence[Channels], kept: Kept) -> int:
    """From channel to channel, in a weight tensor with these axes."""
    return prod(kept_count(axis, kept) for axis in axes if axis)
