"""The compiler's arithmetic against PyTorch: shapes, weights and multiply-accumulates.

For every primitive, over a grid of arguments and inputs: whatever the compiler accepts, the module
made from the emitted text accepts too, and both agree.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from itertools import product
from math import prod

import pytest
import torch
from support import refused
from torch import nn

from bayesnas.compiler.emit.preludes import layers as preludes
from bayesnas.compiler.emit.preludes import recurrence, tokens
from bayesnas.compiler.emit.preludes.tokens import SelfAttention, Unembedding
from bayesnas.compiler.operations.primitives import (
    PRIMITIVES,
    SAME,
    Primitive,
    Shape,
    ShapeError,
    complete,
    rank,
)

SHAPES: tuple[Shape, ...] = (
    *((4, 8, 8), (4, 5, 7), (2, 1, 1), (6, 2, 3), (3, 4, 4)),
    *((4, 9), (6, 1), (3, 8)),
    *((4,), (9,)),
)
RANKS: Mapping[str, set[int]] = {  # of what each primitive takes; the others take any
    "conv": {1, 2},
    "depthwise_conv": {1, 2},
    "transposed_conv": {1, 2},
    "resize": {1, 2},
    "channel_shuffle": {1, 2},
    "attention": {1, 2},
    "position": {1, 2},
    "embedding": {0},
    "unembedding": {0, 1},
    "pick": {1},
    "series": {0},
    "max_pool": {1, 2},
    "avg_pool": {1, 2},
    "pad_channels": {1, 2},
    "upsample": {1, 2},
    "global_avg_pool": {1, 2},
    "factorized_reduce": {2},
    "linear": {0},
    "matrix": {0, 1},
}
GRID: Mapping[str, tuple[int, ...]] = {
    "kernel": (1, 2, 3, 5),
    "width": (SAME, 2, 3, 6),
    "stride": (1, 2, 3),
    "dilation": (1, 3),
    "groups": (1, 2, 3),
    "bias": (0, 1),
    "expand": (1, 2),
    "affine": (0, 1),
    "factor": (1, 2, 3),
    "percent": (0, 30, 100),
    "kernel_width": (SAME, 1, 3),
    "causal": (0, 1),
    "padded": (0, 1),
    "exponent": (0, 3),
    "size": (1, 3, 8),
    "size_width": (SAME, 5),
    "smooth": (0, 1),
    "index": (0, 1, 2),
    "parts": (1, 2, 3),
    "heads": (1, 2, 3),
    "keys": (SAME, 4),
    "values": (SAME, 6),
    "length": (SAME, 3, 8),
    "words": (1, 7),
    "drop": (0, 30),
    "locked": (0, 1),
    "activation": (0, 1, 2, 3),
}
EXAMPLES = 2
RARE: Mapping[str, int] = {"kernel_width": SAME, "causal": 0}  # otherwise, the plain forms alone:
PLAIN: Mapping[str, int] = {"bias": 0, "expand": 1, "groups": 1}


def source(
    primitive: Primitive, shape: Shape, numbers: Mapping[str, int], *, names: Collection[str] = ()
) -> str:
    """Source for these numbers; some stand there as parameters."""
    texts = {n: n if n in names else str(v) for n, v in numbers.items()}
    return primitive.plain_layer(numbers, rank(shape)).write(texts, rank(shape))


def cases(primitive: Primitive) -> Iterator[tuple[Shape, dict[str, int], Shape]]:
    """Input, all arguments and inferred output of what the compiler accepts, each once."""
    seen: set[tuple[Shape, tuple[int, ...]]] = set()
    for values in product(*(GRID[name] for name in primitive.parameters)):
        given = dict(zip(primitive.parameters, values, strict=True))
        if not (_all(given, RARE) or _all(given, PLAIN)):
            continue
        for shape in SHAPES:
            try:
                arguments = complete(primitive, shape, given)
                inferred = primitive.shape(shape, arguments)
            except ShapeError:
                continue
            if (key := (shape, tuple(arguments.values()))) not in seen:
                seen.add(key)
                yield shape, arguments, inferred


def _all(given: Mapping[str, int], values: Mapping[str, int]) -> bool:
    return all(given.get(name, value) == value for name, value in values.items())


MODULES = {"torch": torch, "nn": nn, **vars(preludes), **vars(tokens), **vars(recurrence)}


def module_of(text: str, values: Mapping[str, int]) -> nn.Module:
    module: nn.Module = eval(f"nn.Sequential({text})", {**MODULES, **values})
    return module.eval()


_COUNTED = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.Linear)


def multiply_accumulates(module: nn.Module, images: torch.Tensor) -> int:
    """Of convolutions and linear layers, for one example, counted where they happen."""
    counts: list[int] = []

    def count(layer: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        weight = layer.weight
        assert isinstance(weight, torch.Tensor)
        turned = isinstance(layer, nn.ConvTranspose1d | nn.ConvTranspose2d)
        positions = inputs[0] if turned else output
        counts.append(prod(positions.shape[1:]) * prod(weight.shape[1:]))

    for layer in module.modules():
        if isinstance(layer, _COUNTED):
            layer.register_forward_hook(count)
        elif isinstance(layer, SelfAttention):  # and its two products of matrices
            positions = prod(images.shape[2:])
            features = layer.keys.out_features + layer.values.out_features
            counts.append(positions**2 * features)
        elif isinstance(layer, Unembedding):
            counts.append(prod(images.shape[2:]) * layer.weight.numel())
    module(images)
    return sum(counts)


@pytest.mark.parametrize("name", PRIMITIVES)
@torch.no_grad()
def test_inferred_is_what_torch_does(name: str) -> None:
    primitive = PRIMITIVES[name]
    accepted = set()
    for shape, arguments, inferred in cases(primitive):
        numbers = {"channels": shape[0], **arguments}
        module = module_of(source(primitive, shape, numbers), {})
        images = torch.zeros(EXAMPLES, *shape)
        weights = sum(p.numel() for p in module.parameters())
        for layer in module.modules():
            if isinstance(layer, Unembedding):  # whose weight is that of an embedding
                layer.weight = nn.Parameter(torch.zeros(arguments["words"], shape[0]))
        where = f"{name} {arguments} on {shape}"
        assert module(images).shape == (EXAMPLES, *inferred), where
        assert primitive.weights(shape, arguments) == weights, where
        flops = primitive.flops(shape, inferred, arguments)
        assert flops == multiply_accumulates(module, images), where
        accepted.add(rank(shape))
    assert accepted == RANKS.get(name, {0, 1, 2})


@pytest.mark.parametrize("name", PRIMITIVES)
def test_numbers_that_are_parameters(name: str) -> None:
    """In a shared function some numbers are names: the module is the same."""
    primitive = PRIMITIVES[name]
    known = list(cases(primitive))
    for shape, arguments, _ in known[:: max(1, len(known) // 40)]:
        numbers = {"channels": shape[0], **arguments}
        literal = module_of(source(primitive, shape, numbers), {})
        for names in (*((name,) for name in numbers), tuple(numbers)):
            text = source(primitive, shape, numbers, names=names)
            assert repr(module_of(text, numbers)) == repr(literal), text


def test_the_grid_names_every_parameter() -> None:
    assert {p for primitive in PRIMITIVES.values() for p in primitive.parameters} == set(GRID)


# Numbers that no module can be made of, or that mean nothing: a network that cannot be built must
# not compile. (`-1` means "as many channels as come in" where a width is meant, nowhere else.)
MEANINGLESS = {
    "dropout(150)": "`percent` of `dropout` is 150",
    "dropout(-1)": "`percent` of `dropout` is -1",
    "conv(-1)": "`kernel` of `conv` is -1",
    "conv(0)": "`kernel` of `conv` is 0",
    "conv(3, stride = -1)": "`stride` of `conv` is -1",
    "conv(3, groups = -1)": "`groups` of `conv` is -1",
    "conv(3, dilation = 0)": "`dilation` of `conv` is 0",
    "conv(3, -2)": "`width` of `conv` is -2",
    "conv(3, bias = 2)": "`bias` of `conv` is 2",
    "conv(3, expand = 0)": "`expand` of `conv` is 0",
    "conv(3, -2, expand = 2)": "`width` of `conv` is -2",
    "bn(affine = 2)": "`affine` of `bn` is 2",
    "bn(-1)": "`affine` of `bn` is -1",
    "upsample(-1)": "`factor` of `upsample` is -1",
    "max_pool(-1)": "`kernel` of `max_pool` is -1",
}


@pytest.mark.parametrize("operation", MEANINGLESS)
def test_meaningless_numbers_are_refused(operation: str) -> None:
    [found] = refused(f"network n(x: [3, 9, 9]) -> (y: [3, 9, 9]) {{ x -> y : {operation} }}")
    assert (found.code, found.message) == ("D301", MEANINGLESS[operation])
    assert found.help
