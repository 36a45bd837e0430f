"""PyTorch source of the primitives' modules.

A module is written from the texts that stand for its numbers and the rank of its input: as many
dimensions as its kernel moves along.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from attrs import frozen

from bayesnas.compiler.operations.shapes import is_of_patches

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


def fixed(source: str, helper: str = "") -> Layer:
    """A module without numbers."""
    return Layer(lambda _texts, _rank: source, helper)


def _kernel(texts: Texts, rank: int) -> str:
    """Source of the kernel's size: one number where it is square."""
    return _pair(texts["kernel"], texts.get("kernel_width", texts["kernel"]), rank)


def _pair(along: str, across: str, rank: int) -> str:
    return along if rank == 1 or along == across else f"({along}, {across})"


def _padding(texts: Texts, rank: int) -> str:
    """Source of the padding that keeps the resolution: dilation * (kernel - 1) / 2."""
    kernel = texts["kernel"]
    across = _around(texts.get("kernel_width", kernel), texts)
    return _pair(_around(kernel, texts), across, rank)


def _around(kernel: str, texts: Texts) -> str:
    """The padding along one side of the kernel."""
    dilation = texts.get("dilation", "1")
    if kernel.isdigit() and dilation.isdigit():
        return str(int(dilation) * (int(kernel) - 1) // 2)
    if "dilation" not in texts:  # a pool, whose windows of 2 take no padding
        return f"({kernel} - 1) // 2"
    if dilation == "1":
        return f"{kernel} // 2"
    return f"{dilation} * ({kernel} // 2)"


def _options(texts: Texts, rank: int, names: tuple[str, ...]) -> str:
    """``, stride=2``: the options that differ from PyTorch's default 1; padding after stride."""
    result = ""
    for name in names:
        text = _padding(texts, rank) if name == "padding" else texts[name]
        if text != ("0" if name == "padding" else "1"):
            result += f", {name}={text}"
    return result


def _flag(text: str) -> str:
    return {"0": "False", "1": "True"}.get(text, f"bool({text})")


def _switch(texts: Texts, name: str, option: str) -> str:
    """``, bias=False``: an option that is on by default."""
    return "" if texts[name] == "1" else f", {option}={_flag(texts[name])}"


def _convolution(texts: Texts, rank: int, *padding: str) -> str:
    options = _options(texts, rank, ("stride", *padding, "dilation", "groups"))
    sizes = f"{texts['channels']}, {texts['width']}, {_kernel(texts, rank)}"
    return f"{sizes}{options}{_switch(texts, 'bias', 'bias')}"


def _by_channel(texts: Texts, rank: int, *padding: str) -> str:
    channels = texts["channels"]
    options = _options(texts, rank, ("stride", *padding, "dilation"))
    sizes = f"{channels}, {channels}, {_kernel(texts, rank)}"
    return f"{sizes}{options}, groups={channels}{_switch(texts, 'bias', 'bias')}"


def _transposed(texts: Texts, rank: int) -> str:
    """The padding leaves of (size - 1) * stride + kernel what is size * stride."""
    kernel, stride = texts["kernel"], texts["stride"]
    if kernel.isdigit() and stride.isdigit():
        rest = int(kernel) - int(stride)
        padding, more = str((rest + 1) // 2), str(rest % 2)
    else:
        padding, more = f"({kernel} - {stride} + 1) // 2", f"({kernel} - {stride}) % 2"
    options = "" if padding == "0" else f", padding={padding}"
    options += "" if more == "0" else f", output_padding={more}"
    sizes = f"{texts['channels']}, {texts['width']}, {kernel}, stride={stride}"
    return f"nn.ConvTranspose{rank}d({sizes}{options}{_switch(texts, 'bias', 'bias')})"


def _attention(texts: Texts, _rank: int) -> str:
    sizes = ", ".join(texts[name] for name in ("channels", "heads", "width", "keys", "values"))
    causal = {"0": "", "1": ", causal=True"}.get(texts["causal"], f", causal={texts['causal']}")
    return f"SelfAttention({sizes}{_switch(texts, 'bias', 'bias')}{causal})"


def _resize(texts: Texts, rank: int) -> str:
    size = texts["size"] if rank == 1 else f"({texts['size']}, {texts['size_width']})"
    smooth = "linear" if rank == 1 else "bilinear"
    modes = {"0": "", "1": f', mode="{smooth}"'}
    mode = f', mode="{smooth}" if {texts["smooth"]} else "nearest"'
    return f"nn.Upsample(size={size}{modes.get(texts['smooth'], mode)})"


def _norm(texts: Texts, rank: int) -> str:
    return f"nn.BatchNorm{max(rank, 1)}d({texts['channels']}{_switch(texts, 'affine', 'affine')})"


def _layer_norm(texts: Texts, rank: int) -> str:
    name = "ChannelNorm" if rank else "nn.LayerNorm"
    return f"{name}({texts['channels']}{_switch(texts, 'affine', 'elementwise_affine')})"


def _group_norm(texts: Texts, _rank: int) -> str:
    sizes = f"{texts['groups']}, {texts['channels']}"
    return f"nn.GroupNorm({sizes}{_switch(texts, 'affine', 'affine')})"


def _linear(texts: Texts, _rank: int) -> str:
    return f"nn.Linear({texts['channels']}, {texts['width']}{_switch(texts, 'bias', 'bias')})"


def _max_pool(texts: Texts, rank: int) -> str:
    window = f"{texts['kernel']}, stride={texts['stride']}, padding={_padding(texts, rank)}"
    return f"nn.MaxPool{rank}d({window})"


def _avg_pool(texts: Texts, rank: int) -> str:
    window = f"{texts['kernel']}, stride={texts['stride']}, padding={_padding(texts, rank)}"
    return f"nn.AvgPool{rank}d({window}, count_include_pad=False)"


IDENTITY = fixed("nn.Identity()")
CONV = Layer(lambda texts, rank: f"nn.Conv{rank}d({_convolution(texts, rank, 'padding')})")
DEPTHWISE = Layer(lambda texts, rank: f"nn.Conv{rank}d({_by_channel(texts, rank, 'padding')})")
TRANSPOSED = Layer(_transposed)
FACTORIZED_REDUCE = Layer(
    lambda texts, _rank: f"FactorizedReduce({texts['channels']}, {texts['width']})",
    "FactorizedReduce",
)
NORM = Layer(_norm)
LAYER_NORM = Layer(_layer_norm)
GROUP_NORM = Layer(_group_norm)
LAYER_SCALE = Layer(
    lambda texts, _rank: f"LayerScale({texts['channels']}, {texts['exponent']})", "LayerScale"
)
MAX_POOL = Layer(_max_pool)
AVG_POOL = Layer(_avg_pool)
PAD_CHANNELS = Layer(
    lambda texts, _rank: f"PadChannels({texts['channels']}, {texts['width']})", "PadChannels"
)
UPSAMPLE = Layer(lambda texts, _rank: f"nn.Upsample(scale_factor={texts['factor']})")
ATTENTION = Layer(_attention, "SelfAttention")
POSITION = Layer(
    lambda texts, _rank: f"Position({texts['channels']}, {texts['length']})", "Position"
)
EMBEDDING = Layer(
    lambda texts, _rank: f"TokenEmbedding({texts['words']}, {texts['width']})", "TokenEmbedding"
)
_DROPPING_EMBEDDING = Layer(
    lambda texts, _rank: (
        f"DroppingEmbedding({texts['words']}, {texts['width']}, {texts['drop']} / 100)"
    ),
    "DroppingEmbedding",
)
UNEMBEDDING = Layer(
    lambda texts, _rank: f"Unembedding({texts['words']}, bias={_flag(texts['bias'])})",
    "Unembedding",
)
RESIZE = Layer(_resize)
CHUNK = Layer(lambda texts, _rank: f"Chunk({texts['index']}, {texts['parts']})", "Chunk")
CHANNEL_SHUFFLE = Layer(lambda texts, _rank: f"nn.ChannelShuffle({texts['groups']})")
GLOBAL_AVG_POOL = Layer(lambda _texts, rank: f"nn.AdaptiveAvgPool{rank}d(1), nn.Flatten()")
FLATTEN = fixed("nn.Flatten()")
LINEAR = Layer(_linear)
DROPOUT = Layer(lambda texts, _rank: f"nn.Dropout({texts['percent']} / 100)")

_LOCKED_DROPOUT = Layer(lambda texts, rank: f"nn.Dropout{rank}d({texts['percent']} / 100)")
_SUBSAMPLED_CONV = Layer(
    lambda texts, rank: f"SubsampledConv2d({_convolution(texts, rank, 'padding')})",
    "SubsampledConv2d",
)
_PATCHES = Layer(lambda texts, rank: f"nn.Conv{rank}d({_convolution(texts, rank)})")
_CAUSAL_CONV = Layer(
    lambda texts, rank: f"CausalConv1d({_convolution(texts, rank)})", "CausalConv1d"
)
_CAUSAL_DEPTHWISE = Layer(
    lambda texts, rank: f"CausalConv1d({_by_channel(texts, rank)})", "CausalConv1d"
)
_OWN_DEPTHWISE = Layer(
    lambda texts, rank: f"DepthwiseConv2d({_by_channel(texts, rank, 'padding')})",
    "DepthwiseConv2d",
)
_INNER_POOL = Layer(
    lambda texts, rank: f"nn.AvgPool{rank}d({texts['kernel']}, stride={texts['stride']})"
)
_CHANNEL_NORM = Layer(_layer_norm, "ChannelNorm")


def special_conv(numbers: Mapping[str, int], rank: int) -> Layer | None:
    """One that is causal, of patches, or whose stride passes over pixels that no kernel reads."""
    if numbers["causal"]:
        return _CAUSAL_CONV
    if is_of_patches(numbers):
        return _PATCHES
    one = numbers["kernel"] == numbers["kernel_width"] == 1
    return _SUBSAMPLED_CONV if rank == 2 and one and numbers["stride"] > 1 else None


def special_depthwise(numbers: Mapping[str, int], _rank: int) -> Layer | None:
    """One that is causal."""
    return _CAUSAL_DEPTHWISE if numbers["causal"] else None


def special_embedding(numbers: Mapping[str, int], _rank: int) -> Layer | None:
    """One that drops words."""
    return _DROPPING_EMBEDDING if numbers["drop"] else None


def special_dropout(numbers: Mapping[str, int], rank: int) -> Layer | None:
    """One that zeroes a channel at all positions at once."""
    return _LOCKED_DROPOUT if numbers["locked"] and rank else None


def slow_depthwise(numbers: Mapping[str, int], rank: int) -> Layer | None:
    """Where oneDNN's backward passes of a depthwise convolution are slow: another one.

    They are where the kernel is wider than 3 or dilated, and in bfloat16 where it has a stride;
    `python -m benchmarks.kernels` measures it.
    """
    kernel, apart = numbers["kernel"], max(numbers["stride"], numbers["dilation"])
    square = rank == 2 and kernel == numbers["kernel_width"]
    slow = square and (kernel > 3 or (kernel > 1 and apart > 1))
    return _OWN_DEPTHWISE if slow else None


def inner_pool(numbers: Mapping[str, int], _rank: int) -> Layer | None:
    """One whose windows lie inside the map."""
    return None if numbers["padded"] else _INNER_POOL


def norm_of_positions(_numbers: Mapping[str, int], rank: int) -> Layer | None:
    """The channels of a map do not lie where PyTorch's layer normalisation expects them."""
    return _CHANNEL_NORM if rank else None
