"""A trained network without some of its channels: smaller, or masked for comparison."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, TypeAlias

import torch
from attrs import field, frozen
from torch import Tensor

from bayesnas.compiler.emit.paths import module_paths
from bayesnas.compiler.emit.pytorch import emit_torch
from bayesnas.compiler.graph.model import Graph
from bayesnas.compiler.graph.walks import primitives_of
from bayesnas.compiler.pipeline import Compiled, compile_loaded
from bayesnas.compiler.slices.counts import Kept, kept_places
from bayesnas.compiler.slices.groups import Place, Slices
from bayesnas.compiler.slices.narrowing import narrowed_spec
from bayesnas.compiler.slices.survival import Places, surviving
from bayesnas.compiler.slices.ties import Channels
from bayesnas.dsl.diagnostics import Source
from bayesnas.dsl.loader import load_text
from bayesnas.dsl.printing.printer import print_spec

NAME: Final = "compressed.nas"
State: TypeAlias = Mapping[str, Tensor]


@frozen
class Narrowed:
    """A network without some of its channels.

    Args:
        text: its spec, with the widths it has.
        compiled: that, compiled.
        state: its parameters and buffers by name, ready for `load_state_dict`.
    """

    text: str
    compiled: Compiled
    state: dict[str, Tensor] = field(repr=False)


@frozen
class Sliced:
    """One tensor of a state: its name, what lies along its axes, and whose it is.

    Along the axis ``maker`` lie the channels that it makes, along others those that it reads.
    """

    name: str
    axes: tuple[Channels, ...]
    place: Place
    maker: int = 0


def state_paths(compiled: Compiled) -> Mapping[Place, str]:
    """Where in the emitted network each primitive is."""
    emitted = emit_torch(compiled.graph, compiled.loaded.source.name)
    return module_paths(compiled.graph, emitted.operations)


def sliced_tensors(compiled: Compiled, slices: Slices) -> Iterator[Sliced]:
    """The tensors of a network's state that hold something of a channel."""
    return sliced_at(state_paths(compiled), slices)


def sliced_at(paths: Mapping[Place, str], slices: Slices) -> Iterator[Sliced]:
    """The same of a network that is emitted otherwise, such as a supernet.

    Args:
        paths: where in the network each primitive is, by `module_paths`.
        slices: of its graph.
    """
    for tensor in slices.tensors:
        name = f"{paths[tensor.place]}.{tensor.name}"
        yield Sliced(name, tensor.axes, tensor.place, tensor.maker)


def surviving_at(
    paths: Mapping[Place, str], supernet: Graph, member: Graph
) -> dict[str, tuple[Places, ...]]:
    """Of a supernet's tensors by name, the places that a member has, as `surviving` says."""
    left = surviving(supernet, member)
    return {f"{paths[place]}.{name}": axes for (place, name), axes in left.items()}


def narrow(compiled: Compiled, state: State, slices: Slices, kept: Kept) -> Narrowed:
    """The network with the channels that stay.

    In evaluation mode it computes what the whole one computes once all slices that go are zero.

    Args:
        compiled: a network without searched edges.
        state: of the network that is emitted for it; buffers that it standardises its inputs by
            pass through.
        slices: of its graph.
        kept: channels that stay.

    Raises:
        DiagnosticError: D606 if a layer were left without channels, D607 if there are searched
            edges.
    """
    text = print_spec(narrowed_spec(compiled, slices, kept))
    smaller = compile_loaded(load_text(Source(NAME, text), Path()))  # it imports nothing
    names = renamed(compiled, smaller)
    cut = {one.name: one.axes for one in sliced_tensors(compiled, slices)}
    result = {
        _new_name(name, names): _cut(tensor, cut.get(name, ()), kept)
        for name, tensor in state.items()
    }
    return Narrowed(text, smaller, result)


def masked(compiled: Compiled, state: State, slices: Slices, kept: Kept) -> dict[str, Tensor]:
    """The state with zeros where channels go, in parameters and statistics alike."""
    result = dict(state)
    for sliced in sliced_tensors(compiled, slices):
        tensor = result[sliced.name].clone()
        for k, channels in enumerate(sliced.axes):
            if channels:
                tensor.movedim(k, 0)[gone_along(channels, kept).to(tensor.device)] = 0
        result[sliced.name] = tensor
    return result


def gone_along(channels: Channels, kept: Kept) -> Tensor:
    """Which places of an axis go [places], bool."""
    gone = torch.ones(sum(map(len, channels)), dtype=torch.bool)
    gone[kept_places(channels, kept)] = False
    return gone


def _cut(tensor: Tensor, axes: tuple[Channels, ...], kept: Kept) -> Tensor:
    for k, channels in enumerate(axes):
        if channels:
            places = torch.tensor(kept_places(channels, kept), device=tensor.device)
            tensor = tensor.index_select(k, places)
    return tensor.clone()


def renamed(before: Compiled, after: Compiled) -> dict[str, str]:
    """Where the module of each primitive was in a network, and where it is in a narrowed one."""
    old, new = _modules(before), _modules(after)
    result = {}
    for ends, modules in old.items():
        for (primitive, path), (same, other) in zip(modules, new[ends], strict=True):
            assert primitive == same, "the graph is another"
            result[path] = other
    return result


def _modules(compiled: Compiled) -> dict[tuple[str, str], list[tuple[str, str]]]:
    """By source and target, the primitives between them with their paths, in order."""
    paths = state_paths(compiled)
    result: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for edge in compiled.graph.edges():
        modules = result.setdefault((edge.source, edge.target), [])
        for number, stage in enumerate(primitives_of(edge.operation.stages)):
            if (edge.id, number) in paths:
                modules.append((stage.primitive, paths[edge.id, number]))
    return result


def _new_name(name: str, paths: Mapping[str, str]) -> str:
    """The name of a tensor where its module is now; what belongs to no primitive keeps its own."""
    path = name
    while path:
        path = path.rpartition(".")[0]
        if path in paths:
            return paths[path] + name[len(path) :]
    return name
