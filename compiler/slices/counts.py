"""What stays of axes, primitives and whole networks when some channels go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from bayesnas.compiler.graph.cost import Cost, sum_of
from bayesnas.compiler.graph.model import Graph, Stage
from bayesnas.compiler.graph.scans import turns
from bayesnas.compiler.graph.sharing import owner_edges
from bayesnas.compiler.graph.walks import primitives_of
from bayesnas.compiler.operations.primitives import PRIMITIVES
from bayesnas.compiler.slices.groups import Slices, StageChannels
from bayesnas.compiler.slices.ties import Channels, Run, Strand

Kept: TypeAlias = Mapping[Strand, Sequence[int]]  # channels that stay; of other strands, all


def kept_count(channels: Channels, kept: Kept) -> int:
    """How many places of an axis stay."""
    return sum(len(_stay(run, kept)) * run.stretch for run in channels)


def kept_places(channels: Channels, kept: Kept) -> list[int]:
    """Which places of an axis stay, in order."""
    places: list[int] = []
    start = 0
    for run in channels:
        for k in _stay(run, kept):
            first = start + k * run.stretch
            places += range(first, first + run.stretch)
        start += len(run)
    return places


def _stay(run: Run, kept: Kept) -> Sequence[int]:
    return kept.get(run.strand, range(run.strand.size))


def kept_numbers(stage: Stage, channels: StageChannels, kept: Kept) -> dict[str, int]:
    """The arguments of a primitive once channels are gone."""
    counted = {name: kept_count(axis, kept) for name, axis in channels.numbers.items()}
    return {**dict(stage.arguments), **counted}


def kept_cost(graph: Graph, slices: Slices, kept: Kept) -> Cost:
    """What the network costs once channels are gone, without making it."""
    return sum_of(kept_costs(graph, slices, kept).values())


def kept_costs(graph: Graph, slices: Slices, kept: Kept) -> dict[str, Cost]:
    """What each edge adds to that, by id.

    Args:
        graph: the network, or some of its edges.
        slices: of the network.
        kept: channels that stay.
    """
    result = {}
    owners, times = owner_edges(graph), turns(graph)
    for edge in graph.edges():
        parameters = flops = 0
        for number, stage in enumerate(primitives_of(edge.operation.stages)):
            primitive, channels = PRIMITIVES[stage.primitive], slices.stages[edge.id, number]
            assert stage.input_shape is not None, "asked before shape inference"
            assert stage.output_shape is not None, "asked before shape inference"
            source = (kept_count(channels.source, kept), *stage.input_shape[1:])
            target = (kept_count(channels.target, kept), *stage.output_shape[1:])
            arguments = kept_numbers(stage, channels, kept)
            if owners[edge.id] == edge.id:
                parameters += primitive.weights(source, arguments)
            flops += primitive.flops(source, target, arguments) * times[edge.scope]
        result[edge.id] = Cost(parameters, flops)
    return result
