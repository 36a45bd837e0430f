"""The operations the language is built from: shape, cost and PyTorch source of each.

Shapes are those of `shapes`. Costs follow the field's convention: FLOPs are multiply-accumulates
of convolutions and linear layers; normalisation, pooling and activations count as zero.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Final

from attrs import field, frozen

from bayesnas.compiler.operations import layers
from bayesnas.compiler.operations.coupling import (
    Coupling,
    channelwise,
    dense,
    flattened,
    grouped,
    halves,
    padded,
)
from bayesnas.compiler.operations.layers import Choice, Layer
from bayesnas.compiler.operations.shapes import Arguments as Arguments
from bayesnas.compiler.operations.shapes import Shape as Shape
from bayesnas.compiler.operations.shapes import ShapeError as ShapeError
from bayesnas.compiler.operations.shapes import UnevenError as UnevenError
from bayesnas.compiler.operations.shapes import (
    conv_shape,
    factorized_shape,
    linear_shape,
    map_shape,
    padded_shape,
    pooled_shape,
    same_shape,
    strided_shape,
    upsample_shape,
)
from bayesnas.compiler.operations.shapes import rank as rank

SAME: Final = -1  # default of `width`: as many channels as come in


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
        indices: whether it looks up what it is given, so that numbers must reach it as they are.
        coupling: how its channels hang together; None where it does not say, so that none may go.
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
    indices: Callable[[Shape, Arguments], bool] = field(
        default=lambda _shape, _arguments: False, kw_only=True
    )
    coupling: Callable[[Shape, Arguments], Coupling] | None = field(default=None, kw_only=True)

    def plain_layer(self, numbers: Arguments, rank: int) -> Layer:
        """What writes the source for these numbers; where it differs, no source is shared."""
        return self.special(numbers, rank) or self.layer


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


# ------------------------------------------------------------------------------- the primitives


def _by_channel(shape: Shape, _arguments: Arguments) -> Coupling:
    """Each channel by itself, without numbers of its own."""
    return channelwise(shape[0])


def _norm_coupling(shape: Shape, arguments: Arguments) -> Coupling:
    scale = ("weight", "bias") if arguments["affine"] else ()
    return channelwise(shape[0], *scale, "running_mean", "running_var")


def _activation(name: str, source: str, in_place: Layer | None = None) -> Primitive:
    return Primitive(
        name,
        {},
        same_shape,
        layers.fixed(source),
        summary=f"`{source}`",
        pure=True,
        in_place=in_place,
        coupling=_by_channel,
    )


def _conv_weights(shape: Shape, a: Arguments) -> int:
    weights: int = a["kernel"] ** rank(shape) * shape[0] // a["groups"] * a["width"]
    return weights + a["bias"] * a["width"]


_ALL = (
    Primitive(
        "skip",
        {},
        same_shape,
        layers.IDENTITY,
        summary="passes its input on",
        coupling=_by_channel,
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
        conv_shape,
        layers.CONV,
        _conv_weights,
        lambda s, t, a: a["kernel"] ** rank(s) * s[0] // a["groups"] * prod(t),
        summary="convolution; padding keeps the resolution (divided by the stride, rounded up)",
        domains={"bias": FLAG},
        expands=True,
        special=layers.subsampled,
        overwritable=True,
        coupling=lambda s, a: grouped(s[0], a["width"], a["groups"], bool(a["bias"])),
    ),
    Primitive(
        "depthwise_conv",
        {"kernel": None, "stride": 1, "dilation": 1},
        lambda s, a: strided_shape("depthwise_conv", s, a),
        layers.DEPTHWISE,
        lambda s, a: a["kernel"] ** rank(s) * s[0],
        lambda s, t, a: a["kernel"] ** rank(s) * prod(t),
        summary="convolution of each channel by itself, without bias",
        overwritable=True,
        fast=layers.wide_depthwise,
        coupling=lambda s, _a: channelwise(s[0], "weight"),
    ),
    Primitive(
        "factorized_reduce",
        {"width": SAME},
        factorized_shape,
        layers.FACTORIZED_REDUCE,
        lambda s, a: s[0] * a["width"],
        lambda s, t, _a: s[0] * prod(t),
        summary="halves the resolution by two shifted 1x1 convolutions (Liu et al. 2019)",
        overwritable=True,
        coupling=lambda s, a: halves(s[0], a["width"]),
    ),
    Primitive(
        "bn",
        {"affine": 1},
        same_shape,
        layers.NORM,
        lambda s, a: 2 * s[0] * a["affine"],
        summary="batch normalisation of each channel or feature",
        domains={"affine": FLAG},
        normalises=True,
        overwritable=True,
        coupling=_norm_coupling,
    ),
    Primitive(
        "max_pool",
        {"kernel": None, "stride": 1},
        lambda s, a: pooled_shape("max_pool", s, a),
        layers.MAX_POOL,
        summary="maximum over windows",
        pure=True,
        coupling=_by_channel,
    ),
    Primitive(
        "avg_pool",
        {"kernel": None, "stride": 1},
        lambda s, a: pooled_shape("avg_pool", s, a),
        layers.AVG_POOL,
        summary="mean over windows, padding left out",
        pure=True,
        coupling=_by_channel,
    ),
    Primitive(
        "pad_channels",
        {"width": None},
        padded_shape,
        layers.PAD_CHANNELS,
        summary="appends channels of zeros, up to a width",
        coupling=lambda s, a: padded(s[0], a["width"]),
    ),
    Primitive(
        "upsample",
        {"factor": None},
        upsample_shape,
        layers.UPSAMPLE,
        summary="repeats each position",
        pure=True,
        coupling=_by_channel,
    ),
    Primitive(
        "global_avg_pool",
        {},
        lambda s, a: (map_shape("global_avg_pool", s, a)[0],),
        layers.GLOBAL_AVG_POOL,
        summary="map to vector: the mean of each channel",
        coupling=_by_channel,
    ),
    Primitive(
        "flatten",
        {},
        lambda s, _a: (prod(s),),
        layers.FLATTEN,
        summary="map to vector: every number",
        coupling=lambda s, _a: flattened(s[0], prod(s[1:])),
    ),
    Primitive(
        "linear",
        {"width": None, "bias": 1},
        linear_shape,
        layers.LINEAR,
        lambda s, a: (s[0] + a["bias"]) * a["width"],
        lambda s, _t, a: s[0] * a["width"],
        summary="fully connected layer on a vector",
        domains={"bias": FLAG},
        overwritable=True,
        coupling=lambda s, a: dense(s[0], a["width"], bool(a["bias"])),
    ),
    Primitive(
        "dropout",
        {"percent": None},
        same_shape,
        layers.DROPOUT,
        summary="zeroes that share of the numbers while training",
        domains={"percent": PERCENT},
        coupling=_by_channel,
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
