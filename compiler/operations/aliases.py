"""What other libraries and papers call operations, parameters and merges, and what we call them."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from bayesnas.dsl.diagnostics import quote, suggest

_OPERATIONS: Final = {
    "skip": ("identity", "skipconnect", "skipconnection", "residual", "shortcut", "passthrough"),
    "conv": ("convolution", "conv1d", "conv2d", "conv3d"),
    "depthwise_conv": ("dwconv", "depthwise", "depthwiseconv", "depthwiseconv2d", "dw"),
    "transposed_conv": (
        "convtranspose",
        "convtranspose1d",
        "convtranspose2d",
        "deconv",
        "deconvolution",
        "transposeconv",
        "upconv",
    ),
    "bn": ("batchnorm", "batchnorm1d", "batchnorm2d", "batchnormalization", "norm"),
    "layer_norm": ("ln", "layernorm", "layernorm2d", "channelnorm"),
    "group_norm": ("gn", "groupnorm", "instancenorm"),
    "layer_scale": ("scale", "layerscale", "gain"),
    "max_pool": ("maxpool", "maxpool2d", "maxpooling", "maxpooling2d"),
    "avg_pool": ("avgpool", "avgpool2d", "averagepool", "averagepooling", "meanpool"),
    "global_avg_pool": (
        "gap",
        "globalavgpool",
        "globalpool",
        "globalaveragepooling2d",
        "adaptiveavgpool",
        "adaptiveavgpool2d",
    ),
    "linear": ("dense", "fc", "fullyconnected", "affine"),
    "silu": ("swish",),
    "hard_swish": ("hswish", "hardswish"),
    "leaky_relu": ("lrelu", "leakyrelu"),
    "upsample": ("unpool", "upscale"),
    "resize": ("interpolate", "interpolation", "bilinear"),
    "chunk": ("split", "part"),
    "attention": ("selfattention", "multiheadattention", "mha", "msa", "mhsa"),
    "position": ("positional", "positionembedding", "positionalencoding", "posembed"),
    "channel_shuffle": ("shuffle", "channelshuffle"),
    "flatten": ("reshape", "view"),
}
_OPERATION_OF: Final = {alias: name for name, aliases in _OPERATIONS.items() for alias in aliases}
_NOTHING: Final = ("none", "zero", "zeroize", "noop", "null", "drop")
_LAST: Final = ("softmax", "logsoftmax")

_PARAMETERS: Final = {
    "kernel": ("kernelsize", "k", "size", "ksize", "filtersize", "poolsize", "window"),
    "width": (
        "outchannels", "channels", "filters", "features", "outfeatures", "units", "out", "c",
        "cout", "outplanes", "planes", "outputs", "outdim", "dim", "hidden",
    ),
    "stride": ("strides", "s", "step"),
    "dilation": ("dilations", "dilationrate", "d"),
    "groups": ("group", "numgroups"),
    "bias": ("usebias",),
    "percent": ("p", "rate", "probability", "prob", "dropprob"),
    "factor": ("scale", "scalefactor"),
}  # fmt: skip
_PARAMETER_OF: Final = {alias: name for name, aliases in _PARAMETERS.items() for alias in aliases}

_MERGES: Final = {
    "sum": ("add", "plus", "addition", "summation"),
    "concat": ("cat", "concatenate", "stack", "hstack", "join", "concatenation"),
    "product": ("mul", "multiply", "prod", "times", "hadamard"),
}
_MERGE_OF: Final = {alias: name for name, aliases in _MERGES.items() for alias in aliases}
_OTHER_MERGES: Final = ("max", "min", "mean", "avg", "average", "merge", "sub", "maximum")


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name).lower()


def operation_help(name: str, names: Collection[str], otherwise: str) -> str:
    """The help line for an unknown operation."""
    if _plain(name) in _NOTHING:
        return (
            "leave it out: every operation of a searched edge can be pruned already, and a fixed "
            "edge that carries nothing need not be written"
        )
    if _plain(name) in _LAST:
        return "leave it out: the loss and `predict` take it themselves"
    alias = _OPERATION_OF.get(_plain(name))
    return f"did you mean `{alias}`?" if alias in names else suggest(name, names, otherwise)


def parameter_of(name: str, names: Collection[str]) -> str | None:
    """The parameter among ``names`` that an unknown one stands for elsewhere."""
    alias = _PARAMETER_OF.get(_plain(name))
    return alias if alias in names else None


def operation_of(name: str) -> str:
    """The operation that a name stands for elsewhere; the name itself where it is none."""
    return _OPERATION_OF.get(_plain(name), name)


def merge_help(name: str) -> str | None:
    """The help line for a call that merges elsewhere; None for other names."""
    merges = f"merges are {quote(_MERGES)}"
    if alias := _MERGE_OF.get(_plain(name)):
        return f"{merges}: did you mean `{alias}`?"
    return merges if _plain(name) in _OTHER_MERGES else None
