"""Shapes, and what the primitives make of them.

Shapes leave out the batch: ``(channels, height, width)`` or ``(channels, length)`` for a map,
``(features,)`` for a vector. The *rank* is the number of dimensions a kernel moves along: 2, 1, 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import gcd, prod
from typing import TypeAlias

Shape: TypeAlias = tuple[int, ...]
Arguments: TypeAlias = Mapping[str, int]


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


def rank(shape: Shape) -> int:
    """How many dimensions a kernel moves along: 0 for a vector, 1 or 2 for a map."""
    return len(shape) - 1


def map_shape(name: str, shape: Shape, arguments: Arguments) -> Shape:
    """The shape of a map; `ShapeError` for a vector."""
    if rank(shape) == 0:
        width = arguments.get("width")
        raise ShapeError(
            f"`{name}` needs a map [channels, length] or [channels, height, width], "
            f"got {list(shape)}",
            (f"write `linear({width})` for a vector" if width else "leave it out for a vector")
            + ", or apply it before `global_avg_pool` or `flatten`",
        )
    return shape


def strided_shape(name: str, shape: Shape, arguments: Arguments) -> Shape:
    """A map whose padding keeps the resolution, divided by the stride and rounded up."""
    channels, *sizes = map_shape(name, shape, arguments)
    kernel = arguments["kernel"]
    if arguments.get("causal"):
        check_series("causal", name, shape)
    elif kernel % 2 == 0:
        halves = "pool" in name and not any(size % 2 for size in sizes)
        raise ShapeError(
            f"the kernel of `{name}` is {kernel}, an even number",
            f"write `kernel = {kernel + 1}`: padding keeps the resolution for odd ones alone"
            + (", or `kernel = 2, stride = 2`" if halves else ""),
        )
    _check_across(name, "kernel", shape, arguments)
    if (across := arguments.get("kernel_width", 1)) % 2 == 0 and rank(shape) == 2:
        raise ShapeError(
            f"`kernel_width` of `{name}` is {across}, an even number",
            f"write `kernel_width = {across + 1}`: padding keeps the resolution for odd ones alone",
        )
    return channels, *(-(-size // arguments["stride"]) for size in sizes)


def check_series(parameter: str, name: str, shape: Shape) -> None:
    """Only series have a past."""
    if rank(shape) != 1:
        raise ShapeError(
            f"`{parameter}` of `{name}` is for series [channels, length], got {list(shape)}",
            f"leave `{parameter}` out for an image",
        )


def _check_across(name: str, side: str, shape: Shape, arguments: Arguments) -> None:
    """A series has no second dimension to be another in."""
    along, across = arguments[side], arguments.get(f"{side}_width", arguments[side])
    if rank(shape) == 1 and across != along:
        raise ShapeError(
            f"`{side}_width` of `{name}` is for images [channels, height, width], "
            f"got {list(shape)}",
            f"leave `{side}_width` out for a series",
        )


def pooled_shape(name: str, shape: Shape, arguments: Arguments) -> Shape:
    """Like `strided_shape`; windows of 2 may also stand side by side, without padding."""
    if not arguments.get("padded", 1):
        return _windows_shape(name, shape, arguments)
    if (arguments["kernel"], arguments["stride"]) != (2, 2):
        return strided_shape(name, shape, arguments)
    channels, *sizes = map_shape(name, shape, arguments)
    if any(size % 2 for size in sizes):
        raise UnevenError(
            f"windows of 2 do not cover {' x '.join(map(str, sizes))} evenly",
            (name, {"kernel": 3, "stride": 2}),
        )
    return channels, *(size // 2 for size in sizes)


def _windows_shape(name: str, shape: Shape, arguments: Arguments) -> Shape:
    """Windows that lie inside the map; what is left over at its end is read by none."""
    channels, *sizes = map_shape(name, shape, arguments)
    kernel, stride = arguments["kernel"], arguments["stride"]
    if kernel > min(sizes):
        raise ShapeError(
            f"no window of {kernel} lies inside {' x '.join(map(str, sizes))}",
            f"write `kernel = {min(sizes)}` or less, or leave `padded` out",
        )
    return channels, *((size - kernel) // stride + 1 for size in sizes)


def conv_shape(shape: Shape, arguments: Arguments) -> Shape:
    """What `conv` makes; a kernel as large as the stride may be even, and takes no padding."""
    if is_of_patches(arguments):
        channels, *sizes = _patches_shape(shape, arguments)
    else:
        channels, *sizes = strided_shape("conv", shape, arguments)
    groups, width = arguments["groups"], arguments["width"]
    if channels % groups or width % groups:
        raise ShapeError(
            f"{groups} groups divide {channels} -> {width} channels unevenly",
            f"write `groups = {gcd(channels, width, groups)}`: it divides both",
        )
    return width, *sizes


def is_of_patches(arguments: Arguments) -> bool:
    """Whether a convolution reads patches side by side: windows of an even size, as is the stride.

    Odd kernels are padded, whatever the stride.
    """
    sides = {arguments[name] for name in ("kernel", "kernel_width", "stride")}
    plain = arguments["dilation"] == 1 and not arguments["causal"]
    return plain and len(sides) == 1 and arguments["stride"] % 2 == 0


def _patches_shape(shape: Shape, arguments: Arguments) -> Shape:
    channels, *sizes = map_shape("conv", shape, arguments)
    size = arguments["stride"]
    if any(side % size for side in sizes):
        raise UnevenError(
            f"windows of {size} do not cover {' x '.join(map(str, sizes))} evenly",
            ("conv", {**arguments, "kernel": size + 1, "kernel_width": size + 1}),
        )
    return channels, *(side // size for side in sizes)


def factorized_shape(shape: Shape, arguments: Arguments) -> Shape:
    """What `factorized_reduce` makes."""
    if rank(map_shape("factorized_reduce", shape, arguments)) != 2:
        raise ShapeError(
            f"`factorized_reduce` needs a map [channels, height, width], got {list(shape)}",
            f"write `conv(1, {arguments['width']}, stride = 2)`",
        )
    _, height, width = shape
    if arguments["width"] % 2:
        raise ShapeError(
            f"`factorized_reduce` needs an even width, got {arguments['width']}",
            f"write a width of {arguments['width'] + 1}",
        )
    return arguments["width"], -(-height // 2), -(-width // 2)


def padded_shape(shape: Shape, arguments: Arguments) -> Shape:
    """What `pad_channels` makes."""
    channels, *sizes = map_shape("pad_channels", shape, arguments)
    if arguments["width"] < channels:
        raise ShapeError(
            f"`pad_channels` cannot shrink {channels} channels to {arguments['width']}",
            f"write a width of {channels} or more, or `conv(1, {arguments['width']})`",
        )
    return arguments["width"], *sizes


def upsample_shape(shape: Shape, arguments: Arguments) -> Shape:
    """What `upsample` makes."""
    channels, *sizes = map_shape("upsample", shape, arguments)
    return channels, *(size * arguments["factor"] for size in sizes)


def transposed_shape(shape: Shape, arguments: Arguments) -> Shape:
    """What `transposed_conv` makes: each size times the stride."""
    _, *sizes = map_shape("transposed_conv", shape, arguments)
    kernel, stride = arguments["kernel"], arguments["stride"]
    if kernel < stride:
        raise ShapeError(
            f"the kernel of `transposed_conv` is {kernel}, and its stride {stride}: "
            "between its windows nothing would be written",
            f"write `kernel = {stride}` or more",
        )
    if stride == 1 and kernel % 2 == 0:
        raise ShapeError(
            f"the kernel of `transposed_conv` is {kernel}, an even number, at stride 1",
            f"write `kernel = {kernel + 1}`: padding keeps the resolution for odd ones alone",
        )
    return arguments["width"], *(size * stride for size in sizes)


def resized_shape(shape: Shape, arguments: Arguments) -> Shape:
    """What `resize` makes."""
    channels, *sizes = map_shape("resize", shape, arguments)
    _check_across("resize", "size", shape, arguments)
    return channels, *(arguments["size"], arguments["size_width"])[: len(sizes)]


def grouped_shape(name: str, shape: Shape, arguments: Arguments) -> Shape:
    """What came in, if groups divide its channels."""
    channels, groups = shape[0], arguments["groups"]
    if channels % groups:
        raise ShapeError(
            f"`{name}` cannot make {groups} groups of {channels} channels",
            f"write `groups = {_divisor(channels, groups)}`: it divides them",
        )
    return shape


def group_norm_shape(shape: Shape, arguments: Arguments) -> Shape:
    """What came in, if each group has numbers to be normalised."""
    shape = grouped_shape("group_norm", shape, arguments)
    if prod(shape) == arguments["groups"]:
        raise ShapeError(
            f"`group_norm` in {arguments['groups']} groups normalises one number at a time, to 0",
            "write fewer `groups`, or leave it out",
        )
    return shape


def shuffled_shape(shape: Shape, arguments: Arguments) -> Shape:
    """What `channel_shuffle` makes."""
    return grouped_shape("channel_shuffle", map_shape("channel_shuffle", shape, {}), arguments)


def chunk_shape(shape: Shape, arguments: Arguments) -> Shape:
    """What `chunk` makes."""
    index, parts = arguments["index"], arguments["parts"]
    width = check_parts("chunk", shape, "parts", parts)
    if index >= parts:
        raise ShapeError(
            f"`chunk` is asked for part {index} of {parts}",
            f"parts count from 0 to {parts - 1}",
        )
    return width, *shape[1:]


def check_parts(name: str, shape: Shape, parameter: str, parts: int) -> int:
    """The channels of one of equal parts; ``parameter`` says how many, if one does."""
    channels = shape[0]
    if channels % parts:
        raise ShapeError(
            f"`{name}` cannot make {parts} equal parts of {channels} channels",
            f"write `{parameter} = {_divisor(channels, parts)}`: it divides them"
            if parameter
            else f"give it a multiple of {parts}",
        )
    return channels // parts


def _divisor(number: int, wanted: int) -> int:
    """The divisor of a number that is nearest to what was wanted, of a prime itself; of 1, 1."""
    divisors = [n for n in range(2, number + 1) if number % n == 0]
    return min(divisors, key=lambda n: abs(n - wanted), default=1)


def attention_shape(shape: Shape, arguments: Arguments) -> Shape:
    """What `attention` makes: another vector at each position."""
    _, *sizes = map_shape("attention", shape, {})
    heads = arguments["heads"]
    for name in ("keys", "values"):
        if arguments[name] % heads:
            raise ShapeError(
                f"{arguments[name]} features of `{name}` are no equal parts for {heads} heads",
                f"write `heads = {gcd(arguments['keys'], arguments['values'], heads)}`: "
                "it divides them",
            )
    if arguments["causal"]:
        check_series("causal", "attention", shape)
    return arguments["width"], *sizes


def position_shape(shape: Shape, arguments: Arguments) -> Shape:
    """What came in, if it has as many positions as are learned."""
    _, *sizes = map_shape("position", shape, {})
    if prod(sizes) != arguments["length"]:
        raise ShapeError(
            f"`position` learns {arguments['length']} positions, and {list(shape)} has "
            f"{prod(sizes)}",
            f"write `position({prod(sizes)})`, or `position` alone",
        )
    return shape


def embedding_shape(shape: Shape, arguments: Arguments) -> Shape:
    """What `embedding` makes: a series of the words' vectors."""
    if rank(shape) != 0:
        raise ShapeError(
            f"`embedding` needs whole numbers that name words, [length], got {list(shape)}",
            "declare the input as [length]",
        )
    return arguments["width"], shape[0]


def unembedding_shape(shape: Shape, arguments: Arguments) -> Shape:
    """What `unembedding` makes: a score for each word, at each position of a series."""
    if rank(shape) > 1:
        raise ShapeError(
            f"`unembedding` needs a vector or a series [features, length], got {list(shape)}",
            "put `flatten` or `global_avg_pool` before it",
        )
    return arguments["words"], *shape[1:]


def linear_shape(shape: Shape, arguments: Arguments) -> Shape:
    """What `linear` makes."""
    if rank(shape) != 0:
        raise ShapeError(
            f"`linear` needs a vector [features], got {list(shape)}",
            "put `global_avg_pool` or `flatten` before it",
        )
    return (arguments["width"],)


def same_shape(shape: Shape, _arguments: Arguments) -> Shape:
    """What came in."""
    return shape
