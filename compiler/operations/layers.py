"""PyTorch source of the primitives' modules, and the helper classes that some of them need.

A module is written from the texts that stand for its numbers and the rank of its input: as many
dimensions as its kernel moves along.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

# The texts that stand for a primitive's numbers in emitted source: literals or parameter names.
Texts: TypeAlias = Mapping[str, str]
# Source of the module (or modules, separated by commas, that run in turn), from the texts of its
# numbers (``channels`` that come in, and the arguments) and the rank.
Emit: TypeAlias = Callable[[Texts, int], str]


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


def conv(texts: Texts, rank: int) -> str:
    """A convolution that keeps the resolution, divided by the stride."""
    return f"nn.Conv{rank}d({_convolution(texts)})"


def subsampled_conv(texts: Texts, _rank: int) -> str:
    """The same, where the stride passes over pixels that no kernel reads."""
    return f"SubsampledConv2d({_convolution(texts)})"


def skips_pixels(numbers: Mapping[str, int], rank: int) -> bool:
    """Whether a convolution is to be a `subsampled_conv`."""
    return rank == 2 and numbers["kernel"] == 1 and numbers["stride"] > 1


def _convolution(texts: Texts) -> str:
    options = _options(texts, ("stride", "padding", "dilation", "groups"))
    bias = "" if texts["bias"] == "1" else f", bias={_flag(texts['bias'])}"
    return f"{texts['channels']}, {texts['width']}, {texts['kernel']}{options}{bias}"


def depthwise(texts: Texts, rank: int) -> str:
    """A convolution of each channel by itself, without bias."""
    channels = texts["channels"]
    options = _options(texts, ("stride", "padding", "dilation"))
    sizes = f"{channels}, {channels}, {texts['kernel']}"
    return f"nn.Conv{rank}d({sizes}{options}, groups={channels}, bias=False)"


def norm(texts: Texts, rank: int) -> str:
    """Batch normalisation of each channel or feature."""
    affine = "" if texts["affine"] == "1" else f", affine={_flag(texts['affine'])}"
    return f"nn.BatchNorm{max(rank, 1)}d({texts['channels']}{affine})"


def linear(texts: Texts, _rank: int) -> str:
    """A fully connected layer."""
    bias = "" if texts["bias"] == "1" else f", bias={_flag(texts['bias'])}"
    return f"nn.Linear({texts['channels']}, {texts['width']}{bias})"


def max_pool(texts: Texts, rank: int) -> str:
    """The maximum over windows."""
    window = f"{texts['kernel']}, stride={texts['stride']}, padding={_padding(texts)}"
    return f"nn.MaxPool{rank}d({window})"


def avg_pool(texts: Texts, rank: int) -> str:
    """The mean over windows, padding left out."""
    window = f"{texts['kernel']}, stride={texts['stride']}, padding={_padding(texts)}"
    return f"nn.AvgPool{rank}d({window}, count_include_pad=False)"


PRELUDES: Final[Mapping[str, str]] = {
    "FactorizedReduce": '''
class FactorizedReduce(nn.Module):
    """Halve the resolution by two 1x1 convolutions, one shifted by a pixel (Liu et al. 2019)."""

    def __init__(self, channels, width):
        super().__init__()
        self.even = nn.Conv2d(channels, width // 2, 1, bias=False)
        self.odd = nn.Conv2d(channels, width // 2, 1, bias=False)

    def forward(self, z):
        return torch.cat([self.even(z[:, :, ::2, ::2]), self.odd(z[:, :, 1::2, 1::2])], dim=1)
''',
    # Where it reads 2 to 7 channels, PyTorch's backward pass of such a convolution is wrong on some
    # CPUs, or ends the process: oneDNN's, channels last, by AVX2.
    "SubsampledConv2d": '''
class SubsampledConv2d(nn.Conv2d):
    """A convolution of 1x1 with a stride: takes the pixels it reads, then convolves each."""

    def forward(self, z):
        down, right = self.stride
        pixels = z[:, :, ::down, ::right]
        return nn.functional.conv2d(pixels, self.weight, self.bias, groups=self.groups)
''',
    "PadChannels": '''
class PadChannels(nn.Module):
    """Channels of zeros after those that come in, up to `width`."""

    def __init__(self, channels, width):
        super().__init__()
        self.added = width - channels

    def forward(self, z):
        around = [0, 0] * (z.dim() - 2)  # nothing round the map itself
        return nn.functional.pad(z, [*around, 0, self.added])
''',
    "Sum": '''
class Sum(nn.ModuleList):
    """Several operations on one input, summed."""

    def forward(self, z):
        return sum(operation(z) for operation in self)
''',
}
