"""PyTorch source of the primitives' modules.

A module is written from the texts that stand for its numbers and the rank of its input: as many
dimensions as its kernel moves along.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from attrs import frozen

# The texts that stand for a primitive's numbers in emitted source: literals or parameter names.
Texts: TypeAlias = Mapping[str, str]


@frozen
class Layer:
    """How a primitive stands in emitted source.

    Args:
        write: source of the module (or modules, separated by commas, that run in turn), from the
            texts of its numbers (``channels`` that come in, and the arguments) and the rank.
        helper: the class of ``emit/preludes`` that the source names; empty where it needs none.
    """

    write: Callable[[Texts, int], str]
    helper: str = ""


# A layer for certain numbers and ranks alone.
Choice: TypeAlias = Callable[[Mapping[str, int], int], Layer | None]


def fixed(source: str) -> Layer:
    """A module without numbers."""
    return Layer(lambda _texts, _rank: source)


def _padding(texts: Texts) -> str:
    """Source of the padding that keeps the resolution: dilation * (kernel - 1) / 2."""
    kernel, dilation = texts["kernel"], texts.get("dilation", "1")
    if kernel.isdigit() and dilation.isdigit():
        return str(int(dilation) * (int(kernel) - 1) // 2)
    if "dilation" not in texts:  # a pool, whose windows of 2 take no padding
        return f"({kernel} - 1) // 2"
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


def _conv(texts: Texts, rank: int) -> str:
    return f"nn.Conv{rank}d({_convolution(texts)})"


def _subsampled_conv(texts: Texts, _rank: int) -> str:
    return f"SubsampledConv2d({_convolution(texts)})"


def _convolution(texts: Texts) -> str:
    options = _options(texts, ("stride", "padding", "dilation", "groups"))
    bias = "" if texts["bias"] == "1" else f", bias={_flag(texts['bias'])}"
    return f"{texts['channels']}, {texts['width']}, {texts['kernel']}{options}{bias}"


def _depthwise(texts: Texts, rank: int) -> str:
    return f"nn.Conv{rank}d({_by_channel(texts)})"


def _wide_depthwise(texts: Texts, _rank: int) -> str:
    return f"DepthwiseConv2d({_by_channel(texts)})"


def _by_channel(texts: Texts) -> str:
    channels = texts["channels"]
    options = _options(texts, ("stride", "padding", "dilation"))
    return f"{channels}, {channels}, {texts['kernel']}{options}, groups={channels}, bias=False"


def _norm(texts: Texts, rank: int) -> str:
    affine = "" if texts["affine"] == "1" else f", affine={_flag(texts['affine'])}"
    return f"nn.BatchNorm{max(rank, 1)}d({texts['channels']}{affine})"


def _linear(texts: Texts, _rank: int) -> str:
    bias = "" if texts["bias"] == "1" else f", bias={_flag(texts['bias'])}"
    return f"nn.Linear({texts['channels']}, {texts['width']}{bias})"


def _max_pool(texts: Texts, rank: int) -> str:
    window = f"{texts['kernel']}, stride={texts['stride']}, padding={_padding(texts)}"
    return f"nn.MaxPool{rank}d({window})"


def _avg_pool(texts: Texts, rank: int) -> str:
    window = f"{texts['kernel']}, stride={texts['stride']}, padding={_padding(texts)}"
    return f"nn.AvgPool{rank}d({window}, count_include_pad=False)"


IDENTITY = fixed("nn.Identity()")
CONV = Layer(_conv)
DEPTHWISE = Layer(_depthwise)
FACTORIZED_REDUCE = Layer(
    lambda texts, _rank: f"FactorizedReduce({texts['channels']}, {texts['width']})",
    "FactorizedReduce",
)
NORM = Layer(_norm)
MAX_POOL = Layer(_max_pool)
AVG_POOL = Layer(_avg_pool)
PAD_CHANNELS = Layer(
    lambda texts, _rank: f"PadChannels({texts['channels']}, {texts['width']})", "PadChannels"
)
UPSAMPLE = Layer(lambda texts, _rank: f"nn.Upsample(scale_factor={texts['factor']})")
GLOBAL_AVG_POOL = Layer(lambda _texts, rank: f"nn.AdaptiveAvgPool{rank}d(1), nn.Flatten()")
FLATTEN = fixed("nn.Flatten()")
LINEAR = Layer(_linear)
DROPOUT = Layer(lambda texts, _rank: f"nn.Dropout({texts['percent']} / 100)")

_SUBSAMPLED_CONV = Layer(_subsampled_conv, "SubsampledConv2d")
_WIDE_DEPTHWISE = Layer(_wide_depthwise, "DepthwiseConv2d")


def subsampled(numbers: Mapping[str, int], rank: int) -> Layer | None:
    """Where a convolution's stride passes over pixels that no kernel reads: takes them first."""
    skips = rank == 2 and numbers["kernel"] == 1 and numbers["stride"] > 1
    return _SUBSAMPLED_CONV if skips else None


def wide_depthwise(numbers: Mapping[str, int], rank: int) -> Layer | None:
    """Where oneDNN's backward passes of a depthwise convolution are slow: another one.

    They are where the kernel is wider than 3 or dilated; `python -m benchmarks.kernels` measures
    it.
    """
    slow = rank == 2 and (numbers["kernel"] > 3 or numbers["dilation"] > 1)
    return _WIDE_DEPTHWISE if slow else None
