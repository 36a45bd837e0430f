"""The operations the language is built from: shape, cost and PyTorch source of each.

Shapes leave out the batch: ``(channels, height, width)`` for a map, ``(features,)`` for a vector.
Costs follow the field's convention: FLOPs are multiply-accumulates of convolutions and linear
layers; normalisation, pooling and activations count as zero.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Final, TypeAlias

from attrs import field, frozen

Shape: TypeAlias = tuple[int, ...]
Arguments: TypeAlias = Mapping[str, int]
# The texts that stand for a primitive's numbers in emitted source: literals or parameter names.
Texts: TypeAlias = Mapping[str, str]

SAME: Final = -1  # default of `width`: as many channels as come in


class ShapeError(Exception):
    """A primitive refuses its input: what is wrong and the remedy."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


@frozen
class Primitive:
    """One primitive operation.

    Args:
        name: as written in specs.
        parameters: names with defaults; None where a value is required, `SAME` for the input's
            channels.
        shape: the output's shape, or `ShapeError`.
        emit: PyTorch source of the module (or modules, separated by commas, that run in turn).
        weights: how many trainable numbers it has.
        flops: multiply-accumulates for one example.
        prelude: name of a helper class of `PRELUDES` that the source needs.
    """

    name: str
    parameters: Mapping[str, int | None]
    shape: Callable[[Shape, Arguments], Shape]
    emit: Callable[[Texts], str]
    weights: Callable[[Shape, Arguments], int] = lambda _shape, _arguments: 0
    flops: Callable[[Shape, Shape, Arguments], int] = lambda _source, _target, _arguments: 0
    prelude: str = ""
    summary: str = field(default="", kw_only=True)


def complete(primitive: Primitive, shape: Shape, arguments: Arguments) -> dict[str, int]:
    """All arguments in the primitive's order, `SAME` replaced by the input's channels.

    Raises:
        ShapeError: an argument lies outside its domain.
    """
    result = {}
    for name, default in primitive.parameters.items():
        value = arguments.get(name, default)
        assert value is not None, f"{primitive.name} without {name}: resolve lets none pass"
        result[name] = shape[0] if value == SAME and name == "width" else value
    for name, value in result.items():
        least = 0 if name in ("bias", "affine", "percent") else 1
        if value < least:
            raise ShapeError(f"`{name}` of `{primitive.name}` is {value}", f"write {least} or more")
        most = {"bias": 1, "affine": 1, "percent": 100}.get(name, value)
        if value > most:
            raise ShapeError(f"`{name}` of `{primitive.name}` is {value}", f"write {most} or less")
    return result


# ----------------------------------------------------------------------------------- shape rules


def _map(name: str, shape: Shape) -> tuple[int, int, int]:
    if len(shape) != 3:
        raise ShapeError(
            f"`{name}` needs a map [channels, height, width], got {list(shape)}",
            "apply it before `global_avg_pool` or `flatten`",
        )
    return shape[0], shape[1], shape[2]


def _strided(name: str, shape: Shape, arguments: Arguments) -> tuple[int, int, int]:
    channels, height, width = _map(name, shape)
    if arguments["kernel"] % 2 == 0:
        raise ShapeError(
            f"the kernel of `{name}` is {arguments['kernel']}, an even number",
            "use an odd kernel: padding keeps the resolution only then",
        )
    stride = arguments["stride"]
    return channels, -(-height // stride), -(-width // stride)


def _conv_shape(shape: Shape, arguments: Arguments) -> Shape:
    channels, height, width = _strided("conv", shape, arguments)
    groups = arguments["groups"]
    if channels % groups or arguments["width"] % groups:
        raise ShapeError(
            f"{groups} groups divide {channels} -> {arguments['width']} channels unevenly",
            "choose a `groups` that divides both",
        )
    return arguments["width"], height, width


def _factorized_shape(shape: Shape, arguments: Arguments) -> Shape:
    _, height, width = _map("factorized_reduce", shape)
    if height % 2 or width % 2:
        raise ShapeError(
            f"`factorized_reduce` halves the resolution, but {height} x {width} is odd",
            "choose an image size that halves evenly, or reduce fewer times",
        )
    if arguments["width"] % 2:
        raise ShapeError(
            f"`factorized_reduce` needs an even width, got {arguments['width']}",
            "choose an even width",
        )
    return arguments["width"], height // 2, width // 2


def _upsample_shape(shape: Shape, arguments: Arguments) -> Shape:
    channels, height, width = _map("upsample", shape)
    return channels, height * arguments["factor"], width * arguments["factor"]


def _linear_shape(shape: Shape, arguments: Arguments) -> Shape:
    if len(shape) != 1:
        raise ShapeError(
            f"`linear` needs a vector [features], got {list(shape)}",
            "put `global_avg_pool` or `flatten` before it",
        )
    return (arguments["width"],)


def _same_shape(shape: Shape, _arguments: Arguments) -> Shape:
    return shape


# ---------------------------------------------------------------------------------------- source


def _padding(texts: Texts) -> str:
    """Source of the padding that keeps the resolution: dilation * (kernel - 1) / 2."""
    kernel, dilation = texts["kernel"], texts.get("dilation", "1")
    if kernel.isdigit() and dilation.isdigit():
        return str(int(dilation) * (int(kernel) - 1) // 2)
    if dilation == "1":
        return f"{kernel} // 2"
    return f"{dilation} * ({kernel} // 2)"


def _options(texts: Texts, names: tuple[str, ...]) -> str:
    """``, stride=2``: the options that differ from PyTorch's default 1; padding after stride."""
    result = ""
    for name in names:
        text = _padding(texts) if name == "padding" else texts[name]
        if text != ("0" if name == "padding" else "1"):
            result += f", {name}={text}"
    return result


def _flag(text: str) -> str:
    return {"0": "False", "1": "True"}.get(text, f"bool({text})")


def _emit_conv(texts: Texts) -> str:
    options = _options(texts, ("stride", "padding", "dilation", "groups"))
    bias = "" if texts["bias"] == "1" else f", bias={_flag(texts['bias'])}"
    return f"nn.Conv2d({texts['channels']}, {texts['width']}, {texts['kernel']}{options}{bias})"


def _emit_depthwise(texts: Texts) -> str:
    channels = texts["channels"]
    options = _options(texts, ("stride", "padding", "dilation"))
    return (
        f"nn.Conv2d({channels}, {channels}, {texts['kernel']}{options}, groups={channels}, "
        "bias=False)"
    )


def _emit_norm(texts: Texts) -> str:
    affine = "" if texts["affine"] == "1" else f", affine={_flag(texts['affine'])}"
    return f"nn.BatchNorm2d({texts['channels']}{affine})"


def _emit_linear(texts: Texts) -> str:
    bias = "" if texts["bias"] == "1" else f", bias={_flag(texts['bias'])}"
    return f"nn.Linear({texts['channels']}, {texts['width']}{bias})"


def _emit_max_pool(texts: Texts) -> str:
    return f"nn.MaxPool2d({texts['kernel']}, stride={texts['stride']}, padding={_padding(texts)})"


def _emit_avg_pool(texts: Texts) -> str:
    return (
        f"nn.AvgPool2d({texts['kernel']}, stride={texts['stride']}, "
        f"padding={_padding(texts)}, count_include_pad=False)"
    )


PRELUDES: Final[Mapping[str, str]] = {
    "FactorizedReduce": '''
class FactorizedReduce(nn.Module):
    """Halve the resolution by two 1x1 convolutions, one shifted by a pixel (Liu et al. 2019)."""

    def __init__(self, channels, width):
        super().__init__()
        self.even = nn.Conv2d(channels, width // 2, 1, stride=2, bias=False)
        self.odd = nn.Conv2d(channels, width // 2, 1, stride=2, bias=False)

    def forward(self, z):
        return torch.cat([self.even(z), self.odd(z[:, :, 1:, 1:])], dim=1)
''',
    "Sum": '''
class Sum(nn.ModuleList):
    """Several operations on one input, summed."""

    def forward(self, z):
        return sum(operation(z) for operation in self)
''',
}


def _activation(name: str, source: str) -> Primitive:
    return Primitive(name, {}, _same_shape, lambda _texts: source, summary=f"`{source}`")


def _conv_weights(shape: Shape, a: Arguments) -> int:
    weights = a["kernel"] ** 2 * shape[0] // a["groups"] * a["width"]
    return weights + a["bias"] * a["width"]


_ALL = (
    Primitive(
        "skip", {}, _same_shape, lambda _texts: "nn.Identity()", summary="passes its input on"
    ),
    Primitive(
        "conv",
        {"kernel": None, "width": SAME, "stride": 1, "dilation": 1, "groups": 1, "bias": 0},
        _conv_shape,
        _emit_conv,
        _conv_weights,
        lambda s, t, a: a["kernel"] ** 2 * s[0] // a["groups"] * prod(t),
        summary="convolution; padding keeps the resolution (divided by the stride, rounded up)",
    ),
    Primitive(
        "depthwise_conv",
        {"kernel": None, "stride": 1, "dilation": 1},
        lambda s, a: _strided("depthwise_conv", s, a),
        _emit_depthwise,
        lambda s, a: a["kernel"] ** 2 * s[0],
        lambda _s, t, a: a["kernel"] ** 2 * prod(t),
        summary="convolution of each channel by itself, without bias",
    ),
    Primitive(
        "factorized_reduce",
        {"width": SAME},
        _factorized_shape,
        lambda texts: f"FactorizedReduce({texts['channels']}, {texts['width']})",
        lambda s, a: s[0] * a["width"],
        lambda s, t, _a: s[0] * prod(t),
        "FactorizedReduce",
        summary="halves the resolution by two shifted 1x1 convolutions (Liu et al. 2019)",
    ),
    Primitive(
        "bn",
        {"affine": 1},
        lambda s, _a: _map("bn", s),
        _emit_norm,
        lambda s, a: 2 * s[0] * a["affine"],
        summary="batch normalisation of a map",
    ),
    Primitive(
        "max_pool",
        {"kernel": None, "stride": 1},
        lambda s, a: _strided("max_pool", s, a),
        _emit_max_pool,
        summary="maximum over windows",
    ),
    Primitive(
        "avg_pool",
        {"kernel": None, "stride": 1},
        lambda s, a: _strided("avg_pool", s, a),
        _emit_avg_pool,
        summary="mean over windows, padding left out",
    ),
    Primitive(
        "upsample",
        {"factor": None},
        _upsample_shape,
        lambda texts: f"nn.Upsample(scale_factor={texts['factor']})",
        summary="repeats each pixel",
    ),
    Primitive(
        "global_avg_pool",
        {},
        lambda s, _a: (_map("global_avg_pool", s)[0],),
        lambda _texts: "nn.AdaptiveAvgPool2d(1), nn.Flatten()",
        summary="map to vector: the mean of each channel",
    ),
    Primitive(
        "flatten",
        {},
        lambda s, _a: (prod(s),),
        lambda _texts: "nn.Flatten()",
        summary="map to vector: every number",
    ),
    Primitive(
        "linear",
        {"width": None, "bias": 1},
        _linear_shape,
        _emit_linear,
        lambda s, a: (s[0] + a["bias"]) * a["width"],
        lambda s, _t, a: s[0] * a["width"],
        summary="fully connected layer on a vector",
    ),
    Primitive(
        "dropout",
        {"percent": None},
        _same_shape,
        lambda texts: f"nn.Dropout({texts['percent']} / 100)",
        summary="zeroes that share of the numbers while training",
    ),
    _activation("relu", "nn.ReLU()"),
    _activation("relu6", "nn.ReLU6()"),
    _activation("silu", "nn.SiLU()"),
    _activation("gelu", "nn.GELU()"),
    _activation("tanh", "nn.Tanh()"),
    _activation("sigmoid", "nn.Sigmoid()"),
)

PRIMITIVES: Final[Mapping[str, Primitive]] = {primitive.name: primitive for primitive in _ALL}
