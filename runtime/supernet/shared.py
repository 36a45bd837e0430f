"""The weights that a found network shares with the supernet it was found in."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TypeAlias

import torch
from torch import Tensor

from bayesnas.compiler.emit.paths import module_paths
from bayesnas.compiler.emit.pytorch import Emitted
from bayesnas.compiler.graph.model import Graph
from bayesnas.compiler.slices.counts import Kept, kept_places
from bayesnas.compiler.slices.groups import Slices
from bayesnas.compiler.slices.survival import Places
from bayesnas.compiler.space.members import prune_to
from bayesnas.runtime.supernet.supernet import Supernet
from bayesnas.runtime.weights.removal import sliced_at, surviving_at

Ends: TypeAlias = tuple[str, str]


def shared_state(
    net: Supernet,
    member: Collection[str],
    graph: Graph,
    emitted: Emitted,
    names: Collection[str],
    channels: tuple[Slices, Kept] | None = None,
) -> dict[str, Tensor]:
    """Parameters and statistics of a network that is a member of a supernet.

    Statistics of normalisation are those of the supernet, which fit no member: `calibrate` the
    network. Operations between the same two nodes come in the same order in both, and so do the
    tensors of an operation.

    Args:
        net: the supernet, trained.
        member: the groups of its gates that stay.
        graph: of the network, compiled from its spec.
        emitted: its source.
        names: of its state.
        channels: the slices of the member, and those that the network has, if not all.
    """
    places = _places(net, member, channels)
    whole = {name: tensor.detach().clone() for name, tensor in net.module.state_dict().items()}
    given = _tensors(_paths_in_supernet(net, member), whole)
    wanted = _tensors(_paths(graph, emitted), names)
    state = {}
    for ends, new in wanted.items():
        for name, old in zip(new, given[ends], strict=True):
            assert name.rpartition(".")[2] == old.rpartition(".")[2], "the network is another"
            state[name] = _cut(whole[old], places.get(old, ()))
    return state


def _places(
    net: Supernet, member: Collection[str], channels: tuple[Slices, Kept] | None
) -> dict[str, tuple[Places, ...]]:
    """Of tensors of the supernet, what a member has along each axis; nothing is all of it."""
    paths = module_paths(net.graph, net.emitted.operations)
    result = surviving_at(paths, net.graph, prune_to(net.graph, member))
    if channels is None:
        return result
    slices, kept = channels
    for sliced in sliced_at(paths, slices):
        stay = [kept_places(axis, kept) for axis in sliced.axes]
        if before := result.get(sliced.name):
            stay = [
                [whole[k] for k in own] if axis else [*whole]
                for axis, whole, own in zip(sliced.axes, before, stay, strict=True)
            ]
        result[sliced.name] = (*stay,)
    return result


def _cut(tensor: Tensor, places: tuple[Places, ...]) -> Tensor:
    for axis, stay in enumerate(places):
        if stay and len(stay) < tensor.shape[axis]:
            tensor = tensor.index_select(axis, torch.tensor(stay, device=tensor.device))
    return tensor


def _paths_in_supernet(net: Supernet, member: Collection[str]) -> dict[Ends, list[str]]:
    """Where the modules of operations are, by the nodes that these are between."""
    paths: dict[Ends, list[str]] = {}
    for connection in net.graph.all_connections():
        at = paths.setdefault((connection.source, connection.target), [])
        for edge in connection.edges:
            if edge.gate is None:
                at += [net.emitted.operations[edge.id]] if edge.id in net.emitted.operations else []
            elif edge.gate.group in member:
                path, candidate = net.emitted.gates[edge.gate.number]
                at.append(f"{path}.candidates.{candidate}")
    return paths


def _paths(graph: Graph, emitted: Emitted) -> dict[Ends, list[str]]:
    """The same of a network without searched edges."""
    paths: dict[Ends, list[str]] = {}
    for edge in graph.edges():
        if edge.id in emitted.operations:
            paths.setdefault((edge.source, edge.target), []).append(emitted.operations[edge.id])
    return paths


def _tensors(paths: Mapping[Ends, list[str]], names: Collection[str]) -> dict[Ends, list[str]]:
    """The names of a state under these paths, in its order."""
    return {
        ends: [name for path in under for name in names if name.startswith(f"{path}.")]
        for ends, under in paths.items()
    }
