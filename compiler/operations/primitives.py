"""The operations the language is built from: shape, cost and PyTorch source of each.

Shapes leave out the batch: ``(channels, height, width)`` or ``(channels, length)`` for a map,
``(features,)`` for a vector. The *rank* is the number of dimensions a kernel moves along: 2, 1, 0.
Costs follow the field's convention: FLOPs are multiply-accumulates of convolutions and linear
layers; normalisation, pooling and activations count as zero.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import gcd, prod
from typing import Final, TypeAlias

from attrs import field, frozen

from bayesnas.compiler.operations import layers
from bayesnas.compiler.operations.layers import Choice, Layer

Shape: TypeAlias = tuple[int, ...]
Arguments: TypeAlias = Mapping[str, int]

SAME: Final = -1  # default of `width`: as many channels as come in


class ShapeError(Exception):
    """A primitive refuses its input: what is wrong and the remedy."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


class UnevenError(ShapeError):
    """A primitive halves the resolution, and that is odd; ``instead`` is one that takes any."""

    def __init__(self, message: str, instead: tuple[str, Arguments]) -> None:
        super().__init__(message, "choose a size that halves evenly")
        self.instead = instead


@frozen
class Domain:
    """The whole numbers that a parameter takes: from ``least`` to ``most``, None for no end."""

    least: int | None = 1
    most: int | None = None

    def remedy(self, value: int) -> str:
        """What to write in place of the value; empty where it lies in the domain."""
        if self.least is not None and value < self.least:
            return f"write {self.least} or more"
        if self.most is not None and value > self.most:
            return f"write {self.most} or less"
        return ""


POSITIVE: Final = Domain()
FLAG: Final = Domain(0, 1)
PERCENT: Final = Domain(0, 100)


@frozen
class Primitive:
    """One primitive operation.

    Args:
        name: as written in specs.
        parameters: names with defaults; None where a value is required, `SAME` for the input's
            channels.
        shape: the output's shape, or `ShapeError`.
        layer: PyTorch source of the module.
        weights: how many trainable numbers it has.
        flops: multiply-accumulates for one example.
        module: name of the Python module that the source imports; empty for our own.
        summary: one line for the reference.
        domains: of the parameters that take other numbers than `POSITIVE`.
        expands: its ``expand`` multiplies its ``width``.
        special: the layer that takes the place of ``layer`` for certain numbers.
        pure: same tensor in, same tensor out: no parameters, no chance, nothing remembered. It may
            run once for several readers.
        normalises: batch normalisation, whose scale can take up a gate.
        overwritable: keeps nothing of its output for the backward pass, so that what follows may
            write over it.
        in_place: the layer that writes over its input.
        fast: the layer that takes the place of ``layer`` in scheduled networks.
    """

    name: str
    parameters: Mapping[str, int | None]
    shape: Callable[[Shape, Arguments], Shape]
    layer: Layer
    weights: Callable[[Shape, Arguments], int] = lambda _shape, _arguments: 0
    flops: Callable[[Shape, Shape, Arguments], int] = lambda _source, _target, _arguments: 0
    module: str = ""
    summary: str = field(default="", kw_only=True)
    domains: Mapping[str, Domain] = field(factory=dict, kw_only=True)
    expands: bool = field(default=False, kw_only=True)
    special: Choice = field(default=lambda _numbers, _rank: None, kw_only=True)
    pure: bool = field(default=False, kw_only=True)
    normalises: bool = field(default=False, kw_only=True)
    overwritable: bool = field(default=False, kw_only=True)
    in_place: Layer | None = field(default=None, kw_only=True)
    fast: Choice = field(default=lambda _numbers, _rank: None, kw_only=True)

    def plain_layer(self, numbers: Arguments, rank: int) -> Layer:
        """What writes the source for these numbers; where it differs, no source is shared."""
        return self.special(numbers, rank) or self.layer


def rank(shape: Shape) -> int:
    """How many dimensions a kernel moves along: 0 for a vector, 1 or 2 for a map."""
    return len(shape) - 1


def complete(primitive: Primitive, shape: Shape, arguments: Arguments) -> dict[str, int]:
    """All arguments in the primitive's order, `SAME` replaced by the input's channels.

    An `expand` is multiplied into the width and is 1 from then on.

    Raises:
        ShapeError: an argument lies outside its domain.
    """
    result = {}
    for name, default in primitive.parameters.items():
        value = arguments.get(name, default)
        assert value is not None, f"{primitive.name} without {name}: resolve lets none pass"
        result[name] = shape[0] if value == SAME and name == "width" else value
    for name, value in result.items():
        if remedy := primitive.domains.get(name, POSITIVE).remedy(value):
            raise ShapeError(f"`{name}` of `{primitive.name}` is {value}", remedy)
    if primitive.expands:
        result["width"] *= result["expand"]
        result["expand"] = 1
    return result


# ----------------------------------------------------------------------------------- shape rules


def _map(name: str, shape: Shape, arguments: Arguments) -> Shape:
    if rank(shape) == 0:
        width = arguments.get("width")
        raise ShapeError(
            f"`{name}` needs a map [channels, length] or [channels, height, width], "
            f"got {list(shape)}",
            (f"write `linear({width})` for a vector" if width else "leave it out for a vector")
            + ", or apply it before `global_avg_pool` or `flatten`",
        )
    return shape


def _strided(name: str, shape: Shape, arguments: Arguments) -> Shape:
    channels, *sizes = _map(name, shape, arguments)
    kernel = arguments["kernel"]
    if kernel % 2 == 0:
        halves = "pool" in name and not any(size % 2 for size in sizes)
        raise ShapeError(
            f"the kernel of `{name}` is {kernel}, an even number",
            f"write `kernel = {kernel + 1}`: padding keeps the resolution for odd ones alone"
            + (", or `kernel = 2, stride = 2`" if halves else ""),
        )
    return channels, *(-(-size // arguments["stride"]) for size in sizes)


def _pooled(name: str, shape: Shape, arguments: Arguments) -> Shape:
    """Like `_strided`; windows of 2 may also stand side by side, without padding."""
    if (arguments["kernel"], arguments["stride"]) != (2, 2):
        return _strided(name, shape, arguments)
    channels, *sizes = _map(name, shape, arguments)
    if any(size % 2 for size in sizes):
        raise UnevenError(
            f"windows of 2 do not cover {' x '.join(map(str, sizes))} evenly",
            (name, {"kernel": 3, "stride": 2}),
        )
    return channels, *(size // 2 for size in sizes)


def _conv_shape(shape: Shape, arguments: Arguments) -> Shape:
    channels, *sizes = _strided("conv", shape, arguments)
    groups, width = arguments["groups"], arguments["width"]
    if channels % groups or width % groups:
        raise ShapeError(
            f"{groups} groups divide {channels} -> {width} channels unevenly",
            f"write `groups = {gcd(channels, width, groups)}`: it divides both",
        )
    return width, *sizes


def _factorized_shape(shape: Shape, arguments: Arguments) -> Shape:
    if rank(_map("factorized_reduce", shape, arguments)) != 2:
        raise ShapeError(
            f"`factorized_reduce` needs a map [channels, height, width], got {list(shape)}",
            f"write `conv(1, {arguments['width']}, stride = 2)`",
        )
    _, height, width = shape
    if height % 2 or width % 2:
        raise UnevenError(
            f"`factorized_reduce` halves the resolution, but {height} x {width} is odd",
            ("conv", {"kernel": 1, "width": arguments["width"], "stride": 2}),
        )
    if arguments["width"] % 2:
        raise ShapeError(
            f"`factorized_reduce` needs an even width, got {arguments['width']}",
            f"write a width of {arguments['width'] + 1}",
        )
    return arguments["width"], height // 2, width // 2


def _padded_shape(shape: Shape, arguments: Arguments) -> Shape:
    channels, *sizes = _map("pad_channels", shape, arguments)
    if arguments["width"] < channels:
        raise ShapeError(
            f"`pad_channels` cannot shrink {channels} channels to {arguments['width']}",
            f"write a width of {channels} or more, or `conv(1, {arguments['width']})`",
        )
    return arguments["width"], *sizes


def _upsample_shape(shape: Shape, arguments: Arguments) -> Shape:
    channels, *sizes = _map("upsample", shape, arguments)
    return channels, *(size * arguments["factor"] for size in sizes)


def _linear_shape(shape: Shape, arguments: Arguments) -> Shape:
    if rank(shape) != 0:
        raise ShapeError(
            f"`linear` needs a vector [features], got {list(shape)}",
            "put `global_avg_pool` or `flatten` before it",
        )
    return (arguments["width"],)


def _same_shape(shape: Shape, _arguments: Arguments) -> Shape:
    return shape


# ------------------------------------------------------------------------------- the primitives


def _activation(name: str, source: str, in_place: Layer | None = None) -> Primitive:
    return Primitive(
        name,
        {},
        _same_shape,
        layers.fixed(source),
        summary=f"`{source}`",
        pure=True,
        in_place=in_place,
    )


def _conv_weights(shape: Shape, a: Arguments) -> int:
    weights: int = a["kernel"] ** rank(shape) * shape[0] // a["groups"] * a["width"]
    return weights + a["bias"] * a["width"]


_ALL = (
    Primitive(
        "skip",
        {},
        _same_shape,
        layers.IDENTITY,
        summary="passes its input on",
    ),
    Primitive(
        "conv",
        {
            "kernel": None,
            "width": SAME,
            "stride": 1,
            "dilation": 1,
            "groups": 1,
            "bias": 0,
            "expand": 1,
        },
        _conv_shape,
        layers.CONV,
        _conv_weights,
        lambda s, t, a: a["kernel"] ** rank(s) * s[0] // a["groups"] * prod(t),
        summary="convolution; padding keeps the resolution (divided by the stride, rounded up)",
        domains={"bias": FLAG},
        expands=True,
        special=layers.subsampled,
        overwritable=True,
    ),
    Primitive(
        "depthwise_conv",
        {"kernel": None, "stride": 1, "dilation": 1},
        lambda s, a: _strided("depthwise_conv", s, a),
        layers.DEPTHWISE,
        lambda s, a: a["kernel"] ** rank(s) * s[0],
        lambda s, t, a: a["kernel"] ** rank(s) * prod(t),
        summary="convolution of each channel by itself, without bias",
        overwritable=True,
        fast=layers.wide_depthwise,
    ),
    Primitive(
        "factorized_reduce",
        {"width": SAME},
        _factorized_shape,
        layers.FACTORIZED_REDUCE,
        lambda s, a: s[0] * a["width"],
        lambda s, t, _a: s[0] * prod(t),
        summary="halves the resolution by two shifted 1x1 convolutions (Liu et al. 2019)",
        overwritable=True,
    ),
    Primitive(
        "bn",
        {"affine": 1},
        _same_shape,
        layers.NORM,
        lambda s, a: 2 * s[0] * a["affine"],
        summary="batch normalisation of each channel or feature",
        domains={"affine": FLAG},
        normalises=True,
        overwritable=True,
    ),
    Primitive(
        "max_pool",
        {"kernel": None, "stride": 1},
        lambda s, a: _pooled("max_pool", s, a),
        layers.MAX_POOL,
        summary="maximum over windows",
        pure=True,
    ),
    Primitive(
        "avg_pool",
        {"kernel": None, "stride": 1},
        lambda s, a: _pooled("avg_pool", s, a),
        layers.AVG_POOL,
        summary="mean over windows, padding left out",
        pure=True,
    ),
    Primitive(
        "pad_channels",
        {"width": None},
        _padded_shape,
        layers.PAD_CHANNELS,
        summary="appends channels of zeros, up to a width",
    ),
    Primitive(
        "upsample",
        {"factor": None},
        _upsample_shape,
        layers.UPSAMPLE,
        summary="repeats each position",
        pure=True,
    ),
    Primitive(
        "global_avg_pool",
        {},
        lambda s, a: (_map("global_avg_pool", s, a)[0],),
        layers.GLOBAL_AVG_POOL,
        summary="map to vector: the mean of each channel",
    ),
    Primitive(
        "flatten",
        {},
        lambda s, _a: (prod(s),),
        layers.FLATTEN,
        summary="map to vector: every number",
    ),
    Primitive(
        "linear",
        {"width": None, "bias": 1},
        _linear_shape,
        layers.LINEAR,
        lambda s, a: (s[0] + a["bias"]) * a["width"],
        lambda s, _t, a: s[0] * a["width"],
        summary="fully connected layer on a vector",
        domains={"bias": FLAG},
        overwritable=True,
    ),
    Primitive(
        "dropout",
        {"percent": None},
        _same_shape,
        layers.DROPOUT,
        summary="zeroes that share of the numbers while training",
        domains={"percent": PERCENT},
    ),
    _activation("relu", "nn.ReLU()", layers.fixed("nn.ReLU(inplace=True)")),
    _activation("relu6", "nn.ReLU6()"),
    _activation("leaky_relu", "nn.LeakyReLU()"),
    _activation("silu", "nn.SiLU()"),
    _activation("hard_swish", "nn.Hardswish()"),
    _activation("gelu", "nn.GELU()"),
    _activation("tanh", "nn.Tanh()"),
    _activation("sigmoid", "nn.Sigmoid()"),
)

PRIMITIVES: Final[dict[str, Primitive]] = {primitive.name: primitive for primitive in _ALL}
