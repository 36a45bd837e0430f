"""How much the channels of a network matter, by its weights and its gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, TypeAlias

import torch
from attrs import field, frozen
from torch import Tensor, nn

from bayesnas.compiler.slices.ties import Channels, Strand
from bayesnas.runtime.weights.choice import Scores
from bayesnas.runtime.weights.removal import Sliced

Values: TypeAlias = Mapping[str, Tensor]  # by the names of parameters, each of that one's shape


@frozen
class Subject:
    """A network whose channels are scored.

    Args:
        module: the network; its mode and its weights are left as they are.
        sliced: its tensors that hold something of a channel.
        strands: whose channels are scored.
        losses: mean losses of the module on batches that it has learned from; a new pass each time
            that it is called. Those who look at weights alone do not ask.
    """

    module: nn.Module = field(repr=False)
    sliced: tuple[Sliced, ...] = field(repr=False)
    strands: Sequence[Strand]
    losses: Callable[[], Iterable[Tensor]] = field(repr=False, default=tuple)


def magnitude(subject: Subject) -> Scores:
    """Root mean square of all that goes with a channel, in units of its strand's mean."""
    with torch.no_grad():
        weights = dict(subject.module.named_parameters())
        squares = group_sums(subject, {name: w.detach() ** 2 for name, w in weights.items()})
        counts = group_sums(subject, {name: torch.ones_like(w) for name, w in weights.items()})
    return _by_mean({s: (squares[s] / counts[s].clamp(min=1)).sqrt() for s in subject.strands})


def taylor(subject: Subject) -> Scores:
    """What the loss changes by to first order without a channel, in units of its strand's mean.

    The channel is taken out where it is read, as by a gate (Molchanov et al. 2019); of the changes
    on several batches it is the root of the sum of squares.
    """
    weights = dict(subject.module.named_parameters())
    totals: dict[Strand, Tensor] = {}
    for loss in subject.losses():
        grads = torch.autograd.grad(loss, [*weights.values()], allow_unused=True)
        with torch.no_grad():
            pairs = zip(weights.items(), grads, strict=True)
            products = {name: w * grad for (name, w), grad in pairs if grad is not None}
            for strand, row in group_sums(subject, products, readers=True).items():
                totals[strand] = totals.get(strand, torch.zeros_like(row)) + row**2
    return _by_mean({strand: row.sqrt() for strand, row in totals.items()})


def _by_mean(scores: Scores) -> Scores:
    """In units of each strand's mean, so that layers of other scales compare."""
    return {s: row / row.mean().clamp(min=torch.finfo(row.dtype).tiny) for s, row in scores.items()}


IMPORTANCES: Final[Mapping[str, Callable[[Subject], Scores]]] = {
    "magnitude": magnitude,
    "taylor": taylor,
}


def group_sums(
    subject: Subject, values: Values, readers: bool | None = None
) -> dict[Strand, Tensor]:
    """Sums of values over the slices of each channel, [channels] a strand.

    Args:
        subject: the network.
        values: of some of its parameters.
        readers: those that read the channel alone, those that make it alone; None is both.
    """
    some = next(subject.module.parameters())
    result = {s: torch.zeros(s.size, dtype=some.dtype, device=some.device) for s in subject.strands}
    for tensor in subject.sliced:
        if tensor.name not in values:
            continue
        for k, axis in enumerate(tensor.axes):
            if readers is None or (k != tensor.maker) == readers:
                _add(result, axis, values[tensor.name].movedim(k, 0))
    return result


def _add(result: dict[Strand, Tensor], axis: Channels, values: Tensor) -> None:
    places, start = values.reshape(len(values), -1).sum(1), 0
    for run in axis:
        if run.strand in result:
            row = places[start : start + len(run)].view(run.strand.size, run.stretch)
            result[run.strand] += row.sum(1)
        start += len(run)
