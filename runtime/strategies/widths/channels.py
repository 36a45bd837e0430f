"""The channels of a supernet: which are there.

A channel that has gone reads zero everywhere, and is held there: the weights are the state.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from attrs import evolve, frozen
from torch import Tensor

from bayesnas.compiler.emit.paths import module_paths
from bayesnas.compiler.graph.model import Graph
from bayesnas.compiler.slices.counts import Kept
from bayesnas.compiler.slices.groups import Slices, coupled_slices
from bayesnas.compiler.slices.pace import Pace
from bayesnas.compiler.slices.survival import Places
from bayesnas.compiler.slices.ties import Channels as Axis
from bayesnas.compiler.slices.ties import Run, Strand
from bayesnas.compiler.space.choices import Member
from bayesnas.compiler.space.members import prune_to
from bayesnas.runtime.supernet.supernet import Supernet
from bayesnas.runtime.weights.reconstruction import Reconstruction
from bayesnas.runtime.weights.removal import Sliced, sliced_at, surviving_at
from bayesnas.runtime.weights.subject import Rows, Subject, group_sums, kept_of, rows_of, spread


@frozen
class View:
    """What is left of a supernet, and the channels of that."""

    graph: Graph
    slices: Slices
    subject: Subject


class Channels:
    """Which channels a supernet has.

    Args:
        net: the supernet; what has gone is held at zero in its steps from now on.
        generator: of the subjects made of it.
        pace: of its operations, where a budget is of latency.
    """

    def __init__(self, net: Supernet, generator: torch.Generator, pace: Pace | None) -> None:
        self.net, self.generator, self.pace = net, generator, pace
        self.paths = module_paths(net.graph, net.emitted.operations)
        self.masks: dict[str, Tensor] = {}
        net.after_step = self.hold

    def view(self, groups: Member) -> View:
        """What is left of the supernet with these operations."""
        graph = prune_to(self.net.graph, groups)
        slices = self.slices(graph)
        weights = dict(self.net.module.named_parameters())
        places = surviving_at(self.paths, self.net.graph, graph)
        sliced = (
            _whole(one, weights[one.name].shape, places.get(one.name, ()))
            for one in sliced_at(self.paths, slices)
            if one.name in weights
        )
        tensors = tuple(one for one in sliced if one is not None)
        subject = Subject(self.net.module, tensors, slices.removable, generator=self.generator)
        return View(graph, slices, subject)

    def slices(self, graph: Graph) -> Slices:
        """What goes together in what is left."""
        return evolve(coupled_slices(graph), pace=self.pace)

    def alive(self, view: View) -> Rows:
        """Which channels are there: those that something but zero reads, or that nothing reads."""
        subject = view.subject
        weights = {name: w.detach() for name, w in self.net.module.named_parameters()}
        sizes = group_sums(subject, {name: w.abs() for name, w in weights.items()}, readers=True)
        counts = group_sums(
            subject, {name: torch.ones_like(w) for name, w in weights.items()}, readers=True
        )
        return {s: ((sizes[s] > 0) | (counts[s] == 0)).cpu() for s in subject.strands}

    def kept(self, view: View) -> Kept:
        """The channels that are there."""
        return kept_of(self.alive(view))

    def cut(self, view: View, kept: Kept, layers: Reconstruction | None = None) -> None:
        """Channels that do not stay read zero from now on, and others take over.

        Args:
            view: what is left.
            kept: channels that stay; what has gone is held at zero for good.
            layers: of the supernet as it is; without, nothing takes over.
        """
        if layers is not None:
            there = {s: [k for k in kept[s] if row[k]] for s, row in self.alive(view).items()}
            self.net.module.load_state_dict(layers.without(there))
        for name, mask in spread(view.subject, rows_of(view.subject.strands, kept)).items():
            self.masks[name] = mask * self.masks.get(name, 1.0)
        self.hold()

    @torch.no_grad()
    def hold(self) -> None:
        """What has gone reads zero."""
        weights = dict(self.net.module.named_parameters())
        for name, mask in self.masks.items():
            weights[name].mul_(mask)


def _whole(sliced: Sliced, shape: torch.Size, places: Sequence[Places]) -> Sliced | None:
    """A tensor of the supernet, of which a part is left: the rest are channels of no strand.

    What it makes is asked of nobody, since a gate stands where a channel is read: where other
    channels lie between those, they are of no strand either.

    Args:
        sliced: what lies along the axes of what is left.
        shape: of the tensor.
        places: along the axes, of what is left; nothing where all of it is.

    Returns:
        None if other channels lie between those of a run that it reads.
    """
    axes = list(sliced.axes)
    for k, (axis, size) in enumerate(zip(sliced.axes, shape, strict=False)):
        if axis and sum(map(len, axis)) != size:
            padded = _padded(axis, size, places[k]) if k < len(places) else None
            if padded is None and k != sliced.maker:
                return None
            axes[k] = padded or (Run(Strand(size)),)
    return evolve(sliced, axes=tuple(axes))


def _padded(axis: Axis, size: int, places: Places) -> Axis | None:
    """Runs at these places of an axis of so many, and runs of no strand between them."""
    runs, end, taken = list[Run](), 0, 0

    def fill(until: int, stretch: int) -> None:
        if until > end:
            even = stretch if (until - end) % stretch == 0 else 1
            runs.append(Run(Strand((until - end) // even), even))

    for run in axis:
        own = places[taken : taken + len(run)]
        if len(own) < len(run) or own[-1] - own[0] + 1 != len(run):
            return None
        fill(own[0], run.stretch)
        runs.append(run)
        end, taken = own[-1] + 1, taken + len(run)
    fill(size, axis[-1].stretch)
    return tuple(runs)
