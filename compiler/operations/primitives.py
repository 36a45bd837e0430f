"""The operations the language is built from: shape, cost and PyTorch source of each.

Shapes are those of `shapes`, costs those of `interface`.
"""

from __future__ import annotations

from math import prod
from typing import Final

from bayesnas.compiler.operations import layers
from bayesnas.compiler.operations.coupling import (
    Coupling,
    attending,
    channelwise,
    chunked,
    dense,
    embedded,
    flattened,
    grouped,
    halves,
    mixed,
    padded,
    shuffled,
    transposed,
)
from bayesnas.compiler.operations.interface import SAME as SAME
from bayesnas.compiler.operations.interface import Domain as Domain
from bayesnas.compiler.operations.interface import Primitive as Primitive
from bayesnas.compiler.operations.interface import complete as complete
from bayesnas.compiler.operations.layers import Layer
from bayesnas.compiler.operations.recurrence import RECURRENCE
from bayesnas.compiler.operations.shapes import Arguments as Arguments
from bayesnas.compiler.operations.shapes import Shape as Shape
from bayesnas.compiler.operations.shapes import ShapeError as ShapeError
from bayesnas.compiler.operations.shapes import UnevenError as UnevenError
from bayesnas.compiler.operations.shapes import (
    attention_shape,
    chunk_shape,
    conv_shape,
    embedding_shape,
    factorized_shape,
    group_norm_shape,
    linear_shape,
    map_shape,
    padded_shape,
    pooled_shape,
    position_shape,
    resized_shape,
    same_shape,
    shuffled_shape,
    strided_shape,
    transposed_shape,
    unembedding_shape,
    upsample_shape,
)
from bayesnas.compiler.operations.shapes import rank as rank

_FLAG: Final = Domain(0, 1)
_PERCENT: Final = Domain(0, 100)
_COUNT: Final = Domain(0)


def _by_channel(shape: Shape, _arguments: Arguments) -> Coupling:
    """Each channel by itself, without numbers of its own."""
    return channelwise(shape[0])


def _bias(arguments: Arguments) -> tuple[str, ...]:
    return ("bias",) if arguments["bias"] else ()


def _scale(arguments: Arguments) -> tuple[str, ...]:
    return ("weight", "bias") if arguments["affine"] else ()


def _norm_coupling(shape: Shape, arguments: Arguments) -> Coupling:
    return channelwise(shape[0], *_scale(arguments), "running_mean", "running_var")


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


def _taps(shape: Shape, a: Arguments) -> int:
    """How many positions a kernel reads."""
    return a["kernel"] * (a["kernel_width"] if rank(shape) == 2 else 1)


def _conv_weights(shape: Shape, a: Arguments) -> int:
    return (_taps(shape, a) * shape[0] // a["groups"] + a["bias"]) * a["width"]


def _attention_weights(shape: Shape, a: Arguments) -> int:
    into = (shape[0] + a["bias"]) * (2 * a["keys"] + a["values"])
    return into + (a["values"] + a["bias"]) * a["width"]


def _attention_flops(shape: Shape, _target: Shape, a: Arguments) -> int:
    """With the products of queries and keys, and of what they give and values."""
    positions, features = prod(shape[1:]), 2 * a["keys"] + a["values"]
    layers_of_one = shape[0] * features + a["values"] * a["width"]
    return positions * (layers_of_one + positions * (a["keys"] + a["values"]))


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
            "kernel_width": SAME,
            "causal": 0,
        },
        conv_shape,
        layers.CONV,
        _conv_weights,
        lambda s, t, a: _taps(s, a) * s[0] // a["groups"] * prod(t),
        summary="convolution; padding keeps the resolution (divided by the stride, rounded up)",
        domains={"bias": _FLAG, "causal": _FLAG},
        follows={"width": "channels", "kernel_width": "kernel"},
        expands=True,
        special=layers.special_conv,
        overwritable=True,
        coupling=lambda s, a: grouped(s[0], a["width"], a["groups"], bool(a["bias"])),
    ),
    Primitive(
        "depthwise_conv",
        {
            "kernel": None,
            "stride": 1,
            "dilation": 1,
            "bias": 0,
            "kernel_width": SAME,
            "causal": 0,
        },
        lambda s, a: strided_shape("depthwise_conv", s, a),
        layers.DEPTHWISE,
        lambda s, a: (_taps(s, a) + a["bias"]) * s[0],
        lambda s, t, a: _taps(s, a) * prod(t),
        summary="convolution of each channel by itself",
        domains={"bias": _FLAG, "causal": _FLAG},
        follows={"kernel_width": "kernel"},
        overwritable=True,
        special=layers.special_depthwise,
        fast=layers.slow_depthwise,
        coupling=lambda s, a: channelwise(s[0], "weight", *_bias(a)),
    ),
    Primitive(
        "transposed_conv",
        {"kernel": None, "width": SAME, "stride": 2, "bias": 0},
        transposed_shape,
        layers.TRANSPOSED,
        lambda s, a: (a["kernel"] ** rank(s) * s[0] + a["bias"]) * a["width"],
        lambda s, _t, a: a["kernel"] ** rank(s) * a["width"] * prod(s),
        summary="transposed convolution: multiplies the resolution by the stride",
        domains={"bias": _FLAG},
        overwritable=True,
        coupling=lambda s, a: transposed(s[0], a["width"], bool(a["bias"])),
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
        domains={"affine": _FLAG},
        normalises=True,
        overwritable=True,
        coupling=_norm_coupling,
    ),
    Primitive(
        "layer_norm",
        {"affine": 1},
        same_shape,
        layers.LAYER_NORM,
        lambda s, a: 2 * s[0] * a["affine"],
        summary="normalises the channels of each position, or the features of a vector",
        domains={"affine": _FLAG},
        special=layers.norm_of_positions,
        overwritable=True,
        coupling=lambda s, a: mixed("layer_norm", s[0], *_scale(a)),
    ),
    Primitive(
        "group_norm",
        {"groups": None, "affine": 1},
        group_norm_shape,
        layers.GROUP_NORM,
        lambda s, a: 2 * s[0] * a["affine"],
        summary="normalises each group of channels over all positions",
        domains={"affine": _FLAG},
        overwritable=True,
        coupling=lambda s, a: mixed("group_norm", s[0], *_scale(a)),
    ),
    Primitive(
        "layer_scale",
        {"exponent": 0},
        same_shape,
        layers.LAYER_SCALE,
        lambda s, _a: s[0],
        summary="multiplies each channel by a number that is learned, from 10^-exponent on",
        domains={"exponent": _COUNT},
        overwritable=True,
        coupling=lambda s, _a: channelwise(s[0], "weight"),
    ),
    Primitive(
        "attention",
        {"heads": None, "width": SAME, "keys": SAME, "values": SAME, "bias": 1, "causal": 0},
        attention_shape,
        layers.ATTENTION,
        _attention_weights,
        _attention_flops,
        summary="self-attention of all positions by several heads (Vaswani et al. 2017)",
        domains={"bias": _FLAG, "causal": _FLAG},
        follows=dict.fromkeys(("width", "keys", "values"), "channels"),
        overwritable=True,
        coupling=lambda s, a: attending(s[0], a),
    ),
    Primitive(
        "position",
        {"length": SAME},
        position_shape,
        layers.POSITION,
        lambda s, a: s[0] * a["length"],
        summary="adds a vector that is learned for each position",
        follows={"length": "positions"},
        overwritable=True,
        coupling=lambda s, _a: channelwise(s[0], "weight"),
    ),
    Primitive(
        "embedding",
        {"words": None, "width": None, "drop": 0},
        embedding_shape,
        layers.EMBEDDING,
        lambda _s, a: a["words"] * a["width"],
        summary="a vector that is learned for each word, whose number comes in",
        domains={"drop": _PERCENT},
        special=layers.special_embedding,
        indices=lambda _shape, _arguments: True,
        coupling=lambda s, a: embedded(s[0], a["width"]),
    ),
    Primitive(
        "unembedding",
        {"words": None, "bias": 0},
        unembedding_shape,
        layers.UNEMBEDDING,
        lambda _s, a: a["words"] * a["bias"],
        lambda s, _t, a: prod(s) * a["words"],
        summary="scores words by the vectors that the network's embedding of that size learns",
        domains={"bias": _FLAG},
        overwritable=True,
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
        {"kernel": None, "stride": 1, "padded": 1},
        lambda s, a: pooled_shape("avg_pool", s, a),
        layers.AVG_POOL,
        summary="mean over windows, padding left out; `padded = 0`: of windows inside the map",
        domains={"padded": _FLAG},
        special=layers.inner_pool,
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
        "resize",
        {"size": None, "size_width": SAME, "smooth": 1},
        resized_shape,
        layers.RESIZE,
        summary="interpolates to a given size, linearly or by the nearest position",
        domains={"smooth": _FLAG},
        follows={"size_width": "size"},
        pure=True,
        coupling=_by_channel,
    ),
    Primitive(
        "chunk",
        {"index": None, "parts": 2},
        chunk_shape,
        layers.CHUNK,
        summary="one of equal parts of the channels, counted from 0",
        domains={"index": _COUNT},
        pure=True,
        coupling=lambda s, a: chunked(s[0], a["parts"]),
    ),
    Primitive(
        "channel_shuffle",
        {"groups": None},
        shuffled_shape,
        layers.CHANNEL_SHUFFLE,
        summary="deals the channels of each group out over all groups (Zhang et al. 2018)",
        pure=True,
        coupling=lambda s, a: shuffled(s[0], a["groups"]),
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
        domains={"bias": _FLAG},
        overwritable=True,
        coupling=lambda s, a: dense(s[0], a["width"], bool(a["bias"])),
    ),
    Primitive(
        "dropout",
        {"percent": None, "locked": 0},
        same_shape,
        layers.DROPOUT,
        summary="zeroes that share of the numbers while training, or of the channels of a map",
        domains={"percent": _PERCENT, "locked": _FLAG},
        special=layers.special_dropout,
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

PRIMITIVES: Final[dict[str, Primitive]] = {
    primitive.name: primitive for primitive in (*_ALL, *RECURRENCE)
}
