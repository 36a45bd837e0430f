"""What stays of axes, primitives and whole networks when some channels go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import sqrt
from typing import TypeAlias

from attrs import evolve

from bayesnas.compiler.graph.cost import Cost, sum_of
from bayesnas.compiler.graph.model import Edge, Graph, Stage
from bayesnas.compiler.graph.scans import turns
from bayesnas.compiler.graph.sharing import owner_edges
from bayesnas.compiler.graph.walks import primitives_of
from bayesnas.compiler.operations.primitives import PRIMITIVES
from bayesnas.compiler.slices.groups import Slices, StageChannels
from bayesnas.compiler.slices.pace import Pace
from bayesnas.compiler.slices.ties import Channels, Run, Strand

Kept: TypeAlias = Mapping[Strand, Sequence[int]]  # channels that stay; of other strands, all


def kept_count(channels: Channels, kept: Kept) -> int:
    """How many places of an axis stay."""
    return sum(len(_stay(run, kept)) * run.stretch for run in channels)


def kept_places(channels: Channels, kept: Kept) -> list[int]:
    """Which places of an axis stay, in order."""
    return places_of((run.strand.size, run.stretch, _stay(run, kept)) for run in channels)


def places_of(pieces: Iterable[tuple[int, int, Sequence[int]]]) -> list[int]:
    """Places of channels along an axis whose pieces lie side by side.

    Args:
        pieces: how many channels each has, how many places a channel covers, which are meant.
    """
    places: list[int] = []
    start = 0
    for size, stretch, channels in pieces:
        for k in channels:
            first = start + k * stretch
            places += range(first, first + stretch)
        start += size * stretch
    return places


def _stay(run: Run, kept: Kept) -> Sequence[int]:
    return kept.get(run.strand, range(run.strand.size))


def kept_numbers(stage: Stage, channels: StageChannels, kept: Kept) -> dict[str, int]:
    """The arguments of a primitive once channels are gone."""
    counted = {name: kept_count(axis, kept) for name, axis in channels.numbers.items()}
    return {**dict(stage.arguments), **counted}


def kept_stage(stage: Stage, channels: StageChannels, kept: Kept) -> Stage:
    """A primitive with the numbers and shapes that it has once channels are gone."""
    assert stage.input_shape is not None, "asked before shape inference"
    assert stage.output_shape is not None, "asked before shape inference"
    return evolve(
        stage,
        arguments=tuple(kept_numbers(stage, channels, kept).items()),
        input_shape=(kept_count(channels.source, kept), *stage.input_shape[1:]),
        output_shape=(kept_count(channels.target, kept), *stage.output_shape[1:]),
    )


def kept_cost(graph: Graph, slices: Slices, kept: Kept) -> Cost:
    """What the network costs once channels are gone, without making it.

    With a latency where the slices have a `Pace`.
    """
    cost = sum_of(kept_costs(graph, slices, kept).values())
    if slices.pace is None:
        return cost
    times, scopes = turns(graph), {edge.target: edge.scope for edge in graph.edges()}
    first = sum(
        _arrival(slices.pace, node, slices, kept) * times[scope] for node, scope in scopes.items()
    )
    return evolve(cost, latency=round(cost.of("latency") + slices.pace.call - first))


def _edge_latency(pace: Pace, edge: Edge, slices: Slices, kept: Kept) -> float:
    """Of an operation once, and of its arrival at a node where others arrive as well."""
    curve = pace.edges.get(edge.id)
    own = curve.at(edge_share(edge, slices, kept)) if curve else 0.0
    return own + _arrival(pace, edge.target, slices, kept)


def _arrival(pace: Pace, node: str, slices: Slices, kept: Kept) -> float:
    curve = pace.arrivals.get(node)
    return curve.at(axis_share(slices.nodes[node], kept)) if curve else 0.0


def edge_share(edge: Edge, slices: Slices, kept: Kept) -> float:
    """How wide an operation still is: its primitives' mean of what comes in and what goes out."""
    shares = [
        sqrt(axis_share(channels.source, kept) * axis_share(channels.target, kept))
        for number, _ in enumerate(primitives_of(edge.operation.stages))
        for channels in [slices.stages[edge.id, number]]
    ]
    return sum(shares) / len(shares)


def axis_share(channels: Channels, kept: Kept) -> float:
    """Of the places of an axis, what stays."""
    return kept_count(channels, kept) / max(1, sum(map(len, channels)))


def kept_costs(graph: Graph, slices: Slices, kept: Kept) -> dict[str, Cost]:
    """What each edge adds to that, by id; of a merge, each pays for an arrival.

    Args:
        graph: the network, or some of its edges.
        slices: of the network.
        kept: channels that stay.
    """
    result = {}
    owners, times, pace = owner_edges(graph), turns(graph), slices.pace
    for edge in graph.edges():
        parameters = flops = 0
        for number, stage in enumerate(primitives_of(edge.operation.stages)):
            primitive, channels = PRIMITIVES[stage.primitive], slices.stages[edge.id, number]
            left = kept_stage(stage, channels, kept)
            source, target, arguments = left.input_shape, left.output_shape, dict(left.arguments)
            assert source is not None
            assert target is not None
            if owners[edge.id] == edge.id:
                parameters += primitive.weights(source, arguments)
            flops += primitive.flops(source, target, arguments) * times[edge.scope]
        latency = None
        if pace is not None:
            latency = round(_edge_latency(pace, edge, slices, kept) * times[edge.scope])
        result[edge.id] = Cost(parameters, flops, latency)
    return result
