"""A plain interpreter of graphs: what an emitted network must compute, node by node.

Weights come from `living.known_weight`, by kind and shape, so that no name of a module is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product

import torch
from living import known_weight
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from bayesnas.compiler.graph.model import AnyStage, Edge, Graph, Instance, ParallelStage
from bayesnas.compiler.passes.inference import topological_of


def run_graph(graph: Graph, inputs: Sequence[Tensor], gates: Tensor) -> list[Tensor]:
    """The network's outputs in evaluation mode; ``gates`` [G], or [N, G]."""
    values: dict[str, Tensor] = dict(zip(graph.root.inputs, inputs, strict=True))
    _run(graph, topological_of(graph), values, gates, "")
    return [values[output] for output in graph.root.outputs]


def _run(
    graph: Graph, order: Sequence[str], values: dict[str, Tensor], gates: Tensor, inside: str
) -> None:
    """Values of the nodes in `order`, all inside one scan or the network, with those given."""
    for identifier in order:
        if identifier in values:
            continue
        scan = _scan_of(graph, graph.node(identifier).scope, inside)
        if scan is None or identifier in scan.inputs:
            values[identifier] = _node(graph, identifier, values, gates)
        elif identifier in scan.outputs:
            values |= _scanned(graph, scan, order, values, gates)


def _scan_of(graph: Graph, path: str | None, inside: str) -> Instance | None:
    """The outermost scan that a scope lies in, seen from inside another."""
    found = None
    while path is not None and path != inside:
        if graph.instances[path].states is not None:
            found = graph.instances[path]
        path = graph.instances[path].parent
    return found


def _scanned(
    graph: Graph,
    scan: Instance,
    order: Sequence[str],
    values: Mapping[str, Tensor],
    gates: Tensor,
) -> dict[str, Tensor]:
    """The outputs of a scan, position by position, as series [N, C, L]."""
    states = dict(scan.states or ())
    given = {port: values[port] for port in scan.inputs}
    series = {port: z for port, z in given.items() if z.dim() == 3}
    nodes = [n for n in order if _scan_of(graph, graph.node(n).scope, "") is not None]
    nodes = [n for n in nodes if f"{graph.node(n).scope}.".startswith(f"{scan.path}.")]
    made: dict[str, list[Tensor]] = {port: [] for port in scan.outputs}
    for t in range(next(iter(series.values())).shape[2]):
        local = given | {port: z[:, :, t] for port, z in series.items()}
        _run(graph, nodes, local, gates, scan.path)
        for port, several in made.items():
            several.append(local[port])
        given |= {start: local[end] for start, end in states.items()}
    return {port: torch.stack(several, dim=2) for port, several in made.items()}


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
                first = torch.einsum(
                    f"{_axes(first)},{_axes(one)}->{_axes(first, one)}", first, one
                )
        case "sum":
            for one in rest:
                first = first + one
    return first


def _axes(*factors: Tensor) -> str:
    """Examples, channels and positions of the largest."""
    return "ncij"[: max(factor.dim() for factor in factors)]


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
    sides = (kernel, a["kernel_width"])[:rank]
    patches = kernel % 2 == 0 and not a["causal"]
    weight = known_weight("weight", (width, channels // groups, *sides))
    bias = known_weight("bias", (width,)) if a["bias"] else None
    convolve = {1: F.conv1d, 2: F.conv2d}[rank]
    padding: list[int] = []
    for side in reversed(sides):
        reach = 0 if patches else dilation * (side - 1)
        padding += [reach, 0] if a["causal"] else [reach // 2, reach // 2]
    return convolve(F.pad(z, padding), weight, bias, a["stride"], 0, dilation, groups)


def _transposed(z: Tensor, a: Mapping[str, int]) -> Tensor:
    """The transpose of the convolution whose windows begin at multiples of the stride."""
    kernel, stride, rank = a["kernel"], a["stride"], z.dim() - 2
    weight = known_weight("weight", (z.shape[1], a["width"], *[kernel] * rank))
    whole = z.new_zeros(len(z), a["width"], *(size * stride + kernel for size in z.shape[2:]))
    for place in product(*map(range, z.shape[2:])):
        window = (..., *(slice(k * stride, k * stride + kernel) for k in place))
        whole[window] += torch.einsum("nc,cw...->nw...", z[(..., *place)], weight)
    first = (kernel - stride + 1) // 2
    inside = (..., *(slice(first, first + size * stride) for size in z.shape[2:]))
    bias = known_weight("bias", (a["width"],)) if a["bias"] else whole.new_zeros(a["width"])
    return whole[inside] + bias.view(-1, *[1] * rank)


def _factorized_reduce(z: Tensor, a: Mapping[str, int]) -> Tensor:
    weight = known_weight("weight", (a["width"] // 2, z.shape[1], 1, 1))
    halves = F.conv2d(z, weight, stride=2), F.conv2d(F.pad(z, [-1, 1, -1, 1]), weight, stride=2)
    return torch.cat(halves, dim=1)


def _norm(z: Tensor, a: Mapping[str, int]) -> Tensor:
    z = (z - _by_channel("running_mean", z)) / torch.sqrt(_by_channel("running_var", z) + 1e-5)
    return z * _by_channel("weight", z) + _by_channel("bias", z) if a["affine"] else z


def _by_channel(kind: str, z: Tensor) -> Tensor:
    return known_weight(kind, (z.shape[1],)).view(-1, *[1] * (z.dim() - 2))


def _centred(z: Tensor, a: Mapping[str, int], groups: int, over: tuple[int, ...]) -> Tensor:
    """Mean 0 and variance 1 over these axes of [N, groups, channels of a group, ...]."""
    parts = z.unflatten(1, (groups, -1))
    away = parts - parts.mean(dim=over, keepdim=True)
    result = (away / (away**2).mean(dim=over, keepdim=True).add(1e-5).sqrt()).flatten(1, 2)
    return result * _by_channel("weight", z) + _by_channel("bias", z) if a["affine"] else result


def _group_norm(z: Tensor, a: Mapping[str, int]) -> Tensor:
    return _centred(z, a, a["groups"], tuple(range(2, z.dim() + 1)))


def _attention(z: Tensor, a: Mapping[str, int]) -> Tensor:
    """Position by position, head by head."""
    tokens = z.flatten(2)

    def projected(x: Tensor, width: int) -> Tensor:
        result = torch.einsum("wc,nct->nwt", known_weight("weight", (width, x.shape[1])), x)
        return result + known_weight("bias", (width,))[:, None] if a["bias"] else result

    q = k = projected(tokens, a["keys"]).unflatten(1, (a["heads"], -1))
    v = projected(tokens, a["values"]).unflatten(1, (a["heads"], -1))
    answers = []
    for t in range(tokens.shape[2]):
        seen = slice(0, t + 1) if a["causal"] else slice(None)
        asked = torch.einsum("nhd,nhdt->nht", q[..., t], k[..., seen]) / q.shape[2] ** 0.5
        answers.append(torch.einsum("nht,nhdt->nhd", asked.softmax(dim=2), v[..., seen]))
    merged = torch.stack(answers, dim=3).flatten(1, 2)
    return projected(merged, a["width"]).unflatten(2, z.shape[2:])


def _highway(z: Tensor, a: Mapping[str, int]) -> Tensor:
    state, gate, new = z.unflatten(1, (3, -1)).unbind(1)
    replaced = (new, torch.tanh(new), new.clamp_min(0), torch.sigmoid(new))[a["activation"]]
    opened = torch.sigmoid(gate)
    return (1 - opened) * state + opened * replaced


def _words(a: Mapping[str, int]) -> Tensor:
    return known_weight("weight", (a["words"], a["width"]))


def _resize(z: Tensor, a: Mapping[str, int]) -> Tensor:
    for dimension, size in zip(range(2, z.dim()), (a["size"], a["size_width"]), strict=False):
        z = z.movedim(dimension, -1) @ _interpolation(z.shape[dimension], size, a["smooth"]).T
        z = z.movedim(-1, dimension)
    return z


def _interpolation(before: int, after: int, smooth: int) -> Tensor:
    """[after, before]: of what each position is made; positions are the middles of their cells."""
    weights = torch.zeros(after, before, dtype=torch.float64)
    for k in range(after):
        if not smooth:
            weights[k, k * before // after] = 1
            continue
        place = max(0.0, (k + 0.5) * before / after - 0.5)
        low = min(int(place), before - 1)
        weights[k, low] += 1 - (place - low)
        weights[k, min(low + 1, before - 1)] += place - low
    return weights


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


def _unembedding(z: Tensor, a: Mapping[str, int]) -> Tensor:
    """By the vectors of `_words`."""
    scores = torch.einsum("nc...,wc->nw...", z, _words({**a, "width": z.shape[1]}))
    if a["bias"]:
        scores = scores + known_weight("bias", (a["words"],)).view(-1, *[1] * (z.dim() - 2))
    return scores


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
    "transposed_conv": _transposed,
    "layer_norm": lambda z, a: _centred(z, a, 1, (2,)),
    "group_norm": _group_norm,
    "layer_scale": lambda z, _: z * _by_channel("weight", z),
    "attention": _attention,
    "position": lambda z, a: z + known_weight("weight", (z.shape[1], a["length"])).view(z[0].shape),
    "embedding": lambda z, a: torch.stack([_words(a)[row.long()].T for row in z]),
    "unembedding": _unembedding,
    "pick": lambda z, a: z[..., a["index"]],
    "series": lambda z, a: torch.stack(z.chunk(a["length"], dim=1), dim=2),
    "matrix": lambda z, a: torch.einsum(
        "nc...,wc->nw...", z, known_weight("weight", (a["width"], z.shape[1]))
    ),
    "zeros": lambda z, a: 0 * z.flatten(1)[:, :1].expand(-1, a["width"]),
    "complement": lambda z, _: 1 - z,
    "highway": _highway,
    "resize": _resize,
    "chunk": lambda z, a: z.unflatten(1, (a["parts"], -1))[:, a["index"]],
    "channel_shuffle": lambda z, a: z.unflatten(1, (a["groups"], -1)).transpose(1, 2).flatten(1, 2),
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
