"""A plain interpreter of graphs: what an emitted network must compute, node by node.

Weights come from `living.known_weight`, by kind and shape, so that no name of a module is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from living import known_weight
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from bayesnas.compiler.graph.model import AnyStage, Edge, Graph, ParallelStage


def run_graph(graph: Graph, inputs: Sequence[Tensor], gates: Tensor) -> list[Tensor]:
    """The network's outputs in evaluation mode; ``gates`` [G], or [N, G]."""
    values: dict[str, Tensor] = dict(zip(graph.root.inputs, inputs, strict=True))
    for identifier in graph.topological():
        if identifier not in values:
            values[identifier] = _node(graph, identifier, values, gates)
    return [values[output] for output in graph.root.outputs]


def _node(graph: Graph, identifier: str, values: Mapping[str, Tensor], gates: Tensor) -> Tensor:
    arrivals: dict[str, Tensor] = {}
    for edge in graph.incoming(identifier):
        arrived = _edge(edge, values[edge.source], gates)
        before = arrivals.get(edge.connection)
        arrivals[edge.connection] = arrived if before is None else before + arrived
    first, *rest = arrivals.values()
    match graph.node(identifier).merge:
        case "concat":
            return torch.cat([first, *rest], dim=1)
        case "product":
            for one in rest:
                first = first * one
        case "sum":
            for one in rest:
                first = first + one
    return first


def _edge(edge: Edge, z: Tensor, gates: Tensor) -> Tensor:
    result = run_stages(edge.operation.stages, z)
    if edge.gate is None:
        return result
    gate = gates[..., edge.gate.number].reshape(-1, *[1] * (result.dim() - 1))
    return gate * result


def run_stages(stages: Sequence[AnyStage], z: Tensor) -> Tensor:
    for stage in stages:
        if isinstance(stage, ParallelStage):
            total = run_stages(stage.branches[0], z)
            for branch in stage.branches[1:]:
                total = total + run_stages(branch, z)
            z = total
        else:
            z = OPERATIONS[stage.primitive](z, dict(stage.arguments))
    return z


def _conv(z: Tensor, a: Mapping[str, int], depthwise: bool = False) -> Tensor:
    channels, kernel, dilation = z.shape[1], a["kernel"], a["dilation"]
    groups = channels if depthwise else a["groups"]
    width = channels if depthwise else a["width"]
    rank = z.dim() - 2
    weight = known_weight("weight", (width, channels // groups, *[kernel] * rank))
    bias = known_weight("bias", (width,)) if a.get("bias") else None
    padding = dilation * (kernel - 1) // 2
    convolve = {1: F.conv1d, 2: F.conv2d}[rank]
    return convolve(z, weight, bias, a["stride"], padding, dilation, groups)


def _factorized_reduce(z: Tensor, a: Mapping[str, int]) -> Tensor:
    weight = known_weight("weight", (a["width"] // 2, z.shape[1], 1, 1))
    halves = F.conv2d(z, weight, stride=2), F.conv2d(z[:, :, 1:, 1:], weight, stride=2)
    return torch.cat(halves, dim=1)


def _norm(z: Tensor, a: Mapping[str, int]) -> Tensor:
    def by_channel(kind: str) -> Tensor:
        return known_weight(kind, (z.shape[1],)).view(-1, *[1] * (z.dim() - 2))

    z = (z - by_channel("running_mean")) / torch.sqrt(by_channel("running_var") + 1e-5)
    return z * by_channel("weight") + by_channel("bias") if a["affine"] else z


def _max_pool(z: Tensor, a: Mapping[str, int]) -> Tensor:
    return _windows(F.pad(z, _reach(z, a), value=-torch.inf), a).amax(dim=-1)


def _avg_pool(z: Tensor, a: Mapping[str, int]) -> Tensor:
    count = _windows(F.pad(torch.ones_like(z), _reach(z, a)), a).sum(dim=-1)
    return _windows(F.pad(z, _reach(z, a)), a).sum(dim=-1) / count


def _reach(z: Tensor, a: Mapping[str, int]) -> list[int]:
    """Half a kernel on both sides of each dimension but the channels; none of a kernel of 2."""
    return [(a["kernel"] - 1) // 2] * 2 * (z.dim() - 2)


def _windows(z: Tensor, a: Mapping[str, int]) -> Tensor:
    """[N, C, ..., numbers of a window]."""
    dimensions = z.dim()
    for dimension in range(2, dimensions):
        z = z.unfold(dimension, a["kernel"], a["stride"])
    return z.flatten(dimensions)


def _linear(z: Tensor, a: Mapping[str, int]) -> Tensor:
    result = z @ known_weight("weight", (a["width"], z.shape[1])).T
    return result + known_weight("bias", (a["width"],)) if a["bias"] else result


def _upsample(z: Tensor, a: Mapping[str, int]) -> Tensor:
    for dimension in range(2, z.dim()):
        z = z.repeat_interleave(a["factor"], dim=dimension)
    return z


def _pad_channels(z: Tensor, a: Mapping[str, int]) -> Tensor:
    zeros = z.new_zeros(len(z), a["width"] - z.shape[1], *z.shape[2:])
    return torch.cat([z, zeros], dim=1)


OPERATIONS: Mapping[str, Callable[[Tensor, Mapping[str, int]], Tensor]] = {
    "skip": lambda z, _: z,
    "conv": _conv,
    "depthwise_conv": lambda z, a: _conv(z, a, depthwise=True),
    "factorized_reduce": _factorized_reduce,
    "bn": _norm,
    "max_pool": _max_pool,
    "avg_pool": _avg_pool,
    "pad_channels": _pad_channels,
    "upsample": _upsample,
    "global_avg_pool": lambda z, _: z.flatten(2).mean(dim=2),
    "flatten": lambda z, _: z.reshape(len(z), -1),
    "linear": _linear,
    "dropout": lambda z, _: z,
    "relu": lambda z, _: z.clamp_min(0),
    "relu6": lambda z, _: z.clamp(0, 6),
    "leaky_relu": lambda z, _: torch.where(z > 0, z, 0.01 * z),
    "silu": lambda z, _: z / (1 + torch.exp(-z)),
    "hard_swish": lambda z, _: z * (z + 3).clamp(0, 6) / 6,
    "gelu": lambda z, _: z * 0.5 * (1 + torch.erf(z / 2**0.5)),
    "tanh": lambda z, _: torch.tanh(z),
    "sigmoid": lambda z, _: 1 / (1 + torch.exp(-z)),
}
