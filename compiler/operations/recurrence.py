"""Primitives of recurrent networks: series taken apart and put together, and gates over states."""

from __future__ import annotations

from math import prod
from typing import Final

from bayesnas.compiler.operations.coupling import IN, OUT, Coupling, Piece, channelwise, dense
from bayesnas.compiler.operations.interface import SAME, Domain, Primitive
from bayesnas.compiler.operations.layers import Layer, Texts, fixed
from bayesnas.compiler.operations.shapes import (
    Arguments,
    Shape,
    ShapeError,
    check_parts,
    map_shape,
    rank,
    same_shape,
)

HIGHWAYS: Final = ("identity", "tanh", "relu", "sigmoid")


def _picked_shape(shape: Shape, arguments: Arguments) -> Shape:
    channels, *sizes = map_shape("pick", shape, {})
    if len(sizes) != 1:
        message = f"`pick` needs a series [channels, length], got {list(shape)}"
        raise ShapeError(message, "leave it out for an image")
    if arguments["index"] >= sizes[0]:
        message = f"`pick` is asked for position {arguments['index']} of {list(shape)}"
        raise ShapeError(message, f"positions count from 0 to {sizes[0] - 1}")
    return (channels,)


def _series_shape(shape: Shape, arguments: Arguments) -> Shape:
    if rank(shape):
        message = f"`series` needs a vector [features], got {list(shape)}"
        raise ShapeError(message, "leave it out for a map")
    return check_parts("series", shape, "length", arguments["length"]), arguments["length"]


def _matrix_shape(shape: Shape, arguments: Arguments) -> Shape:
    if rank(shape) > 1:
        message = f"`matrix` needs a vector or a series, got {list(shape)}"
        raise ShapeError(message, "write `conv(1, WIDTH)` for an image")
    return arguments["width"], *shape[1:]


def _matrix(texts: Texts, _rank: int) -> str:
    share = "" if texts["drop"] == "0" else f", {texts['drop']} / 100"
    return f"Matrix({texts['channels']}, {texts['width']}{share})"


def _highway_shape(shape: Shape, _arguments: Arguments) -> Shape:
    return check_parts("highway", shape, "", 3), *shape[1:]


def _highway(shape: Shape, _arguments: Arguments) -> Coupling:
    part = (Piece("part"),)
    return Coupling({"part": shape[0] // 3}, part * 3, part)


def _series(shape: Shape, arguments: Arguments) -> Coupling:
    part = (Piece("part"),)
    length = arguments["length"]
    return Coupling({"part": shape[0] // length}, part * length, part)


def _zeros(shape: Shape, arguments: Arguments) -> Coupling:
    sizes = {"in": shape[0], "out": arguments["width"]}
    return Coupling(sizes, IN, OUT, {}, {"width": OUT})


RECURRENCE: Final = (
    Primitive(
        "pick",
        {"index": None},
        _picked_shape,
        Layer(lambda texts, _rank: f"Pick({texts['index']})", "Pick"),
        summary="one position of a series, counted from 0, as a vector",
        domains={"index": Domain(0)},
        pure=True,
        coupling=lambda s, _a: channelwise(s[0]),
    ),
    Primitive(
        "series",
        {"length": None},
        _series_shape,
        Layer(lambda texts, _rank: f"Series({texts['length']})", "Series"),
        summary="vectors side by side as a series of them",
        pure=True,
        coupling=_series,
    ),
    Primitive(
        "matrix",
        {"width": None, "drop": 0},
        _matrix_shape,
        Layer(_matrix, "Matrix"),
        lambda s, a: s[0] * a["width"],
        lambda s, _t, a: prod(s) * a["width"],
        summary="multiplies each position by a matrix, of which a share is dropped in training",
        domains={"drop": Domain(0, 99)},
        coupling=lambda s, a: dense(s[0], a["width"], bias=False),
    ),
    Primitive(
        "zeros",
        {"width": SAME},
        lambda _s, a: (a["width"],),
        Layer(lambda texts, _rank: f"Zeros({texts['width']})", "Zeros"),
        summary="a vector of zeros: a state to begin with",
        pure=True,
        coupling=_zeros,
    ),
    Primitive(
        "complement",
        {},
        same_shape,
        fixed("Complement()", "Complement"),
        summary="1 - z: what a gate leaves",
        pure=True,
        coupling=lambda s, _a: channelwise(s[0]),
    ),
    Primitive(
        "highway",
        {"activation": 0},
        _highway_shape,
        Layer(lambda texts, _rank: f"Highway({texts['activation']})", "Highway"),
        summary="of three parts s, c, g side by side s + sigmoid(c) (f(g) - s); f by its number",
        domains={"activation": Domain(0, len(HIGHWAYS) - 1)},
        pure=True,
        coupling=_highway,
    ),
)
