"""Axes of examples: how those of one's own arrays become what a network declares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Final, TypeAlias

from attrs import evolve, frozen
from torch import Tensor

from bayesnas.compiler.operations.primitives import Shape
from bayesnas.runtime.data.dataset import Data
from bayesnas.runtime.data.examples import Part
from bayesnas.runtime.tasks.bundle import bundled, by_port

_COLOURS: Final = (1, 3, 4)  # channels of pictures: grey, colour, colour and transparency
_NARROW: Final = 4  # sides of pictures are longer

Order: TypeAlias = tuple[int | None, ...]  # axes of examples from 0, None for a new one of size 1


@frozen
class Rearrangement:
    """What is done to the axes of examples, and how it is said."""

    order: Order
    said: str

    def of(self, inputs: Tensor) -> Tensor:
        """Inputs [N, ...] with their axes so; what is left out has size 1."""
        kept = [axis + 1 for axis in self.order if axis is not None]
        single = [axis for axis in range(1, inputs.dim()) if axis not in kept]
        result = inputs.permute(0, *kept, *single).flatten(len(kept))
        for place, axis in enumerate(self.order):
            if axis is None:
                result = result.unsqueeze(place + 1)
        return result.contiguous()


def rearrangement(own: Shape, wanted: Shape) -> Rearrangement | None:
    """How examples [own] become [wanted]; None where that is not needed, or not clear.

    The last axis may be the channels, there may be no axis of a single channel, and of a vector
    there may be some of size 1. An example that fits as it is stays so.
    """
    if own == wanted:
        return None
    axes = tuple(range(len(own)))
    if len(own) > 1 and (own[-1], *own[:-1]) == wanted:
        return Rearrangement(
            (axes[-1], *axes[:-1]), "the channels stand last, and are moved to the front"
        )
    if len(wanted) > 1 and (1, *own) == wanted:
        return Rearrangement((None, *axes), "each is taken as a single channel")
    if len(wanted) == 1 and tuple(size for size in own if size != 1) == wanted:
        kept = tuple(axis for axis in axes if own[axis] != 1)
        return Rearrangement(kept, "each is taken as a vector")
    return None


def rearranged(data: Data, wanted: Mapping[str, Shape]) -> Data:
    """The data with axes as a network declares them, where it is clear how; else as it is.

    Args:
        data: whose inputs are in the order of the network's.
        wanted: shapes of one example by the network's inputs.
    """
    train, test = by_port(data.train.inputs), by_port(data.test.inputs)
    notes = []
    moved = False
    for (port, tensor), shape in zip(train.items(), wanted.values(), strict=True):
        own = tuple(tensor.shape[1:])
        change = rearrangement(own, shape)
        about = f"`{port}` of `{data.name}` is" if port else f"examples of `{data.name}` are"
        about = f"{about} {list(own)}"
        if change is not None:
            train[port], test[port] = change.of(tensor), change.of(test[port])
            notes.append(f"{about} and the network takes {list(shape)}: {change.said}")
            moved = True
        elif own == shape and (doubt := _doubt(own)):
            notes.append(f"{about}: {doubt}")
    if not moved:
        return data.noted(*notes)
    parts = [
        Part(bundled(inputs), part.targets)
        for part, inputs in ((data.train, train), (data.test, test))
    ]
    mean, std = parts[0].statistics()
    return evolve(data, train=parts[0], test=parts[1], mean=mean, std=std).noted(*notes)


def _doubt(own: Shape) -> str:
    """A remark where channels seem to stand last, and the network declares them first."""
    if not _colours_last(own):
        return ""
    return (
        f"taken as {own[0]} channels of {own[1]} x {own[2]}, as the network declares them; where "
        f"the channels stand last, declare {[own[2], *own[:2]]}, and they are moved"
    )


def _colours_last(own: Sequence[int]) -> bool:
    return len(own) == 3 and own[2] in _COLOURS and min(own[:2]) > _NARROW


def remedy(port: str, own: Shape, wanted: Shape) -> str:
    """What to do about one's own arrays of examples [own] for a network that takes [wanted].

    Nothing that it says makes rows of channels or the other way round.
    """
    as_is = f"declare `{port}: {list(own)}`"
    if len(own) > 1 == len(wanted):
        flat = "save `x.reshape(len(x), -1)`"
        return flat if prod(own) == wanted[0] else f"{flat}, and declare `{port}: [{prod(own)}]`"
    if len(own) == 1 < len(wanted):
        return _of_vectors(port, own, wanted)
    if len(own) == 2:
        return _of_planes(port, own, wanted)
    if len(own) != 3:
        return as_is
    if _colours_last(own) and own[0] != wanted[0]:
        last = [own[2], own[0], own[1]]
        seems = "the channels stand last, it seems, and are moved to the front"
        return f"declare `{port}: {last}`: {seems}"
    if len(wanted) == 3 and wanted == (own[1], own[0], own[2]):
        return "move the channels first: save `np.moveaxis(x, 2, 1)`"
    if len(wanted) == 3 and own[0] == wanted[0] and own[1:] == wanted[:0:-1]:
        return f"{as_is}, or save `np.swapaxes(x, 2, 3)` if that is width before height"
    if own[0] in _COLOURS or own[0] < min(own[1:]):
        return as_is
    return (
        f"{as_is} if that is channels, height and width; where the channels stand last, "
        "save `np.moveaxis(x, -1, 1)`"
    )


def _of_vectors(port: str, own: Shape, wanted: Shape) -> str:
    as_is = f"declare `{port}: {list(own)}`"
    if prod(wanted) != own[0]:
        return f"{as_is}, or `{port}: [1, {own[0]}]` for a series of one channel"
    shape = ", ".join(map(str, wanted))
    if wanted[0] in (1, own[0]):
        return f"save `x.reshape(-1, {shape})`, or {as_is}"
    last = ", ".join(map(str, (*wanted[1:], wanted[0])))
    return (
        f"save `x.reshape(-1, {shape})` where each channel is whole, or `x.reshape(-1, {last})` "
        f"where channels alternate; or {as_is}"
    )


def _of_planes(port: str, own: Shape, wanted: Shape) -> str:
    first, last = own
    if len(wanted) == 3:
        return f"declare `{port}: [1, {first}, {last}]`: they are taken as a single channel"
    as_is, moved = f"`{port}: {list(own)}`", f"`{port}: {[last, first]}`"
    if len(wanted) == 2 and last == wanted[0] != first:
        return f"declare {moved}: the channels stand last, it seems, and are moved to the front"
    if len(wanted) == 2 and first == wanted[0] != last:
        return f"declare {as_is}"
    return (
        f"declare {as_is} if the first axis is the channels; if the last is, {moved}, "
        "and it is moved to the front"
    )
