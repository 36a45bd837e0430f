"""How the channels of a primitive hang together: which slices of its tensors make or read which.

A *strand* is a row of channels, each of which stays or goes with all that belongs to it. A
primitive names the strands it has, and says what of them lies along its input, its output and each
axis of its tensors. That one declaration is all that the compiler knows of it when it removes
channels; a primitive without one keeps all that it reads and makes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

from attrs import evolve, field, frozen


@frozen
class Piece:
    """A strand by name, along an axis: each of its channels covers ``stretch`` places in a row."""

    strand: str
    stretch: int = 1


Axis: TypeAlias = tuple[Piece, ...]  # pieces side by side; none where no channels lie along it

CHANNELS: Final[Axis] = (Piece("channels"),)
IN: Final[Axis] = (Piece("in"),)
OUT: Final[Axis] = (Piece("out"),)


@frozen
class Coupling:
    """The strands of a primitive at certain numbers.

    Args:
        sizes: how many channels each strand has.
        source: what lies along the channels that come in.
        target: what lies along those that go out.
        tensors: what lies along each axis of its parameters and buffers, by their names in the
            module; what is left out holds nothing of a channel.
        numbers: its arguments that count channels, and what they count.
        fixed: strands of which none may go, and why.
        turned: tensors that make channels along their second axis and read along their first.
    """

    sizes: Mapping[str, int]
    source: Axis
    target: Axis
    tensors: Mapping[str, tuple[Axis, ...]] = field(factory=dict)
    numbers: Mapping[str, Axis] = field(factory=dict)
    fixed: Mapping[str, str] = field(factory=dict)
    turned: frozenset[str] = frozenset()


def channelwise(channels: int, *tensors: str) -> Coupling:
    """Each channel by itself; the channels lie along the first axis of the tensors."""
    return Coupling({"channels": channels}, CHANNELS, CHANNELS, dict.fromkeys(tensors, (CHANNELS,)))


def dense(channels: int, width: int, bias: bool) -> Coupling:
    """All channels to each of ``width``: ``weight`` is [width, channels, ...]."""
    tensors: dict[str, tuple[Axis, ...]] = {"weight": (OUT, IN)}
    if bias:
        tensors["bias"] = (OUT,)
    return Coupling({"in": channels, "out": width}, IN, OUT, tensors, {"width": OUT})


def grouped(channels: int, width: int, groups: int, bias: bool) -> Coupling:
    """Groups of channels, each to its own part of ``width``.

    ``weight`` is [width, channels of a group, ...].
    Groups of one channel go as a whole. Of larger ones the same places go in each, as a
    convolution has groups of one size.
    """
    if groups == 1:
        return dense(channels, width, bias)
    source: Axis
    target: Axis
    read: Axis
    of_one, made = channels // groups, width // groups
    if of_one == 1:
        source, target, read = IN, (Piece("in", made),), ()
        sizes, numbers = {"in": groups}, {"width": target, "groups": IN}
    else:
        source, target, read = IN * groups, OUT * groups, IN
        sizes, numbers = {"in": of_one, "out": made}, {"width": target}
    tensors: dict[str, tuple[Axis, ...]] = {"weight": (target, read)}
    if bias:
        tensors["bias"] = (target,)
    return Coupling(sizes, source, target, tensors, numbers)


def halves(channels: int, width: int) -> Coupling:
    """Two layers, ``even`` and ``odd``, make a half of ``width`` each: halves of one size.

    So the same places go in both.
    """
    tensors = {f"{half}.weight": (OUT, IN) for half in ("even", "odd")}
    both = OUT * 2
    return Coupling({"in": channels, "out": width // 2}, IN, both, tensors, {"width": both})


def attending(channels: int, a: Mapping[str, int]) -> Coupling:
    """Self-attention: heads of one size, so that the same places go in each.

    What queries and keys are compared in stays: a place of theirs is read by no weight.
    """
    keys, values = (Piece("keys"),), (Piece("values"),) * a["heads"]
    sizes = {"in": channels, "out": a["width"], "keys": a["keys"]}
    made: dict[str, Axis] = {"queries": keys, "keys": keys, "values": values}
    tensors: dict[str, tuple[Axis, ...]] = {f"{n}.weight": (made[n], IN) for n in made}
    tensors["out.weight"] = (OUT, values)
    if a["bias"]:
        tensors |= {f"{name}.bias": (axis,) for name, axis in (*made.items(), ("out", OUT))}
    return Coupling(
        {**sizes, "values": a["values"] // a["heads"]},
        IN,
        OUT,
        tensors,
        {"width": OUT, "keys": keys, "values": values},
        {"keys": "queries are compared with keys in them"},
    )


def embedded(length: int, width: int) -> Coupling:
    """Channels for each of so many words; ``weight`` is [words, width]."""
    return Coupling(
        {"words": length, "out": width},
        (Piece("words"),),
        OUT,
        {"weight": ((), OUT)},
        {"width": OUT},
        {"words": "they are places of a text"},
        frozenset({"weight"}),
    )


def padded(channels: int, width: int) -> Coupling:
    """Channels of zeros after those that come in."""
    both = (*CHANNELS, Piece("zeros"))
    sizes = {"channels": channels, "zeros": width - channels}
    return Coupling(sizes, CHANNELS, both, numbers={"width": both})


def flattened(channels: int, positions: int) -> Coupling:
    """Each channel becomes as many features in a row as it has positions."""
    return Coupling({"channels": channels}, CHANNELS, (Piece("channels", positions),))


def mixed(name: str, channels: int, *tensors: str) -> Coupling:
    """Like `channelwise`, but what is made of a channel depends on the others."""
    return evolve(channelwise(channels, *tensors), fixed={"channels": f"`{name}` mixes them all"})


def transposed(channels: int, width: int, bias: bool) -> Coupling:
    """Like `dense`, with a ``weight`` of [channels, width, ...]."""
    coupling = dense(channels, width, bias)
    tensors = {**coupling.tensors, "weight": (IN, OUT)}
    return evolve(coupling, tensors=tensors, turned=frozenset({"weight"}))


def chunked(channels: int, parts: int) -> Coupling:
    """One of equal parts: they stay equal, so the same places go in each."""
    part = (Piece("part"),)
    return Coupling({"part": channels // parts}, part * parts, part)


def shuffled(channels: int, groups: int) -> Coupling:
    """Groups of channels side by side become places of groups: the same places go in each."""
    sizes = {"places": channels // groups}
    return Coupling(sizes, (Piece("places"),) * groups, (Piece("places", groups),))
