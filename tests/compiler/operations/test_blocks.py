"""Blocks written in the language against PyTorch's and torchvision's own, in float64."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from living import inputs_of, module_of
from support import compile_text, graph_of, refused
from torch import Tensor, nn
from torchvision.models.convnext import CNBlock
from torchvision.models.mobilenetv3 import SElayer
from torchvision.models.shufflenetv2 import InvertedResidual
from torchvision.models.vision_transformer import EncoderBlock

from bayesnas.compiler.emit.pytorch import emit_torch
from bayesnas.compiler.graph.cost import graph_cost
from bayesnas.compiler.graph.model import Graph


def assert_same(text: str, other: nn.Module, last: tuple[str, ...] = ()) -> None:
    """The network computes what the module does, and costs as much.

    Both have their tensors in the order of the data, but for those that come ``last``.
    """
    graph = graph_of(text)
    own = module_of(emit_torch(graph, "spec.nas")).double().eval()
    other.double().eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in other.state_dict().values():
            if tensor.is_floating_point():
                drawn = torch.rand(tensor.shape, generator=generator, dtype=torch.float64)
                tensor.copy_(drawn + 0.5)
    state = other.state_dict()
    state |= {name: state.pop(name) for name in last}
    own.load_state_dict(_renamed(own, state))
    inputs = inputs_of(graph)
    assert torch.allclose(own(*inputs), other(*inputs), rtol=1e-9, atol=1e-12)
    assert graph_cost(graph).parameters == sum(p.numel() for p in other.parameters())
    assert graph_cost(graph).flops == multiply_accumulates(other, inputs)


def _renamed(own: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state under our names."""
    shapes = {name: tensor.shape for name, tensor in own.state_dict().items()}
    pairs = zip(shapes.items(), state.values(), strict=True)
    return {name: tensor.reshape(shape) for (name, shape), tensor in pairs}


def multiply_accumulates(module: nn.Module, inputs: list[Tensor]) -> int:
    """Of convolutions and linear layers, for one example."""
    counts: list[int] = []

    def count(layer: nn.Module, _inputs: object, output: Tensor) -> None:
        weight = layer.weight
        assert isinstance(weight, Tensor)
        counts.append(output[0].numel() * weight[0].numel())

    for layer in module.modules():
        if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Linear):
            layer.register_forward_hook(count)
    module(*inputs)
    return sum(counts)


def test_convnext() -> None:
    text = """
    op convnext(kernel, width) =
           depthwise_conv(kernel, bias = 1) >> layer_norm >> conv(1, expand = 4, bias = 1)
        >> gelu >> conv(1, width, bias = 1) >> layer_scale(6)
    network net(x: [6, 9, 7]) -> (y: [6, 9, 7]) { x -> y : convnext(7, 6) + skip }
    """
    norm = partial(nn.LayerNorm, eps=1e-5)  # PyTorch's own
    block = CNBlock(6, layer_scale=1e-6, stochastic_depth_prob=0.0, norm_layer=norm)
    assert_same(text, block, last=("layer_scale",))


def test_a_scale_begins_small() -> None:
    graph = graph_of("network net(x: [6, 3]) -> (y: [6, 3]) { x -> y : layer_scale(6) }")
    module = module_of(emit_torch(graph, "spec.nas"))
    assert torch.equal(module.y.weight, torch.full((6,), 1e-6))


def test_squeeze_and_excitation() -> None:
    text = """
    motif excited(x; squeezed, width) -> (out) {
        gate = x : global_avg_pool >> linear(squeezed) >> relu >> linear(width) >> sigmoid
        out = product(gate, x)
    }
    network net(x: [8, 5, 6]) -> (y: [8, 5, 6]) { y = excited(x; squeezed = 2, width = 8) }
    """
    assert_same(text, SElayer(8, 2, scale_activation=nn.Sigmoid))


def test_shufflenet() -> None:
    text = """
    motif unit(x) -> (out) {
        left = x : chunk(0)
        right = x : chunk(1)
            >> conv(1) >> bn >> relu >> depthwise_conv(3) >> bn >> conv(1) >> bn >> relu
        both = concat(left, right)
        out = both : channel_shuffle(2)
    }
    network net(x: [8, 5, 6]) -> (y: [8, 5, 6]) { y = unit(x) }
    """
    assert_same(text, InvertedResidual(8, 8, 1))


class Attention(nn.Module):
    """PyTorch's own on tokens that lie as ours do."""

    def __init__(self, causal: bool) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(6, 3, batch_first=True)
        self.causal = causal

    def forward(self, z: Tensor) -> Tensor:
        """z: [N, C, ...]."""
        x = z.flatten(2).transpose(1, 2)
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1], dtype=x.dtype)
        y, _ = self.attention(x, x, x, attn_mask=mask if self.causal else None)
        return y.transpose(1, 2).reshape(z.shape)


@pytest.mark.parametrize(
    ("shape", "operation"),
    [
        ("[6, 5]", "attention(3)"),
        ("[6, 4, 3]", "attention(3)"),
        ("[6, 5]", "attention(3, causal = 1)"),
    ],
)
def test_attention(shape: str, operation: str) -> None:
    graph = graph_of(f"network net(x: {shape}) -> (y: {shape}) {{ x -> y : {operation} }}")
    own = module_of(emit_torch(graph, "spec.nas")).double()
    other = Attention("causal" in operation).double()
    nn.init.uniform_(other.attention.in_proj_bias)
    own.load_state_dict({f"y.{name}": x for name, x in apart(other.attention).items()})
    [x] = inputs_of(graph)
    assert torch.allclose(own(x), other(x), rtol=1e-9, atol=1e-12)
    parameters = sum(p.numel() for p in other.parameters())
    assert graph_cost(graph).parameters == parameters


class Encoder(nn.Module):
    """torchvision's encoder block on tokens that lie as ours do."""

    def __init__(self) -> None:
        super().__init__()
        norm = partial(nn.LayerNorm, eps=1e-5)
        self.block = EncoderBlock(2, 6, 24, 0.0, 0.0, norm_layer=norm)

    def forward(self, z: Tensor) -> Tensor:
        """z: [N, C, H, W]."""
        y: Tensor = self.block(z.flatten(2).transpose(1, 2))
        return y.transpose(1, 2).reshape(z.shape)


def test_transformer_block() -> None:
    text = """
    network net(x: [6, 3, 4]) -> (y: [6, 3, 4]) {
        a = x : (layer_norm >> attention(2)) + skip
        a -> y : skip
            + (layer_norm >> conv(1, expand = 4, bias = 1) >> gelu >> conv(1, 6, bias = 1))
    }
    """
    graph = graph_of(text)
    own, other = module_of(emit_torch(graph, "spec.nas")).double(), Encoder().double()
    block = other.block
    state = {
        **{f"1.{name}": x for name, x in block.ln_1.state_dict().items()},
        **apart(block.self_attention),
        **{f"2.{name}": x for name, x in block.ln_2.state_dict().items()},
        **block.mlp.state_dict(),
    }
    own.load_state_dict(_renamed(own, state))
    [x] = inputs_of(graph)
    assert torch.allclose(own(x), other(x), rtol=1e-9, atol=1e-12)
    assert graph_cost(graph).parameters == sum(p.numel() for p in block.parameters())
    # Projections, products of 12 positions with 12, and the perceptron.
    assert graph_cost(graph).flops == 12 * (4 * 6 * 6 + 2 * 12 * 6 + 2 * 6 * 24)


def apart(attention: nn.MultiheadAttention) -> dict[str, Tensor]:
    """Its state by what each part makes."""
    state, rows = attention.state_dict(), attention.embed_dim
    result = {
        f"{name}.{kind}": state[f"in_proj_{kind}"][k * rows : (k + 1) * rows]
        for k, name in enumerate(("queries", "keys", "values"))
        for kind in ("weight", "bias")
    }
    return result | {f"out.{kind}": state[f"out_proj.{kind}"] for kind in ("weight", "bias")}


class Past(nn.Module):
    """A dilated convolution that reads what was before, as PyTorch's users write it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(4, 6, 3, stride=2, padding=4, dilation=2, groups=2)

    def forward(self, z: Tensor) -> Tensor:
        """z: [N, C, L]."""
        return self.conv(z)[:, :, : -(-z.shape[2] // 2)]


def test_causal_convolution() -> None:
    operation = "conv(3, 6, 2, dilation = 2, groups = 2, bias = 1, causal = 1)"
    graph = graph_of(f"network net(x: [4, 11]) -> (y: [6, 6]) {{ x -> y : {operation} }}")
    own = module_of(emit_torch(graph, "spec.nas")).double()
    other = Past().double()
    own.load_state_dict(_renamed(own, other.state_dict()))
    [x] = inputs_of(graph)
    assert torch.allclose(own(x), other(x))


@pytest.mark.parametrize("operation", ["conv(2, causal = 1)", "depthwise_conv(5, causal = 1)"])
def test_nothing_reads_what_comes_after_it(operation: str) -> None:
    graph = graph_of(f"network net(x: [4, 11]) -> (y: [4, 11]) {{ x -> y : {operation} }}")
    module = module_of(emit_torch(graph, "spec.nas")).double()
    [x] = inputs_of(graph)
    x.requires_grad_()
    [slope] = torch.autograd.grad(module(x)[:, :, 5].sum(), x)
    assert slope[:, :, 6:].count_nonzero() == 0
    assert slope[:, :, 5].count_nonzero() > 0


@pytest.mark.parametrize(
    ("shape", "operation", "message", "remedy"),
    [
        (
            "[4, 8, 8]",
            "conv(3, causal = 1)",
            "`causal` of `conv` is for series [channels, length], got [4, 8, 8]",
            "leave `causal` out for an image",
        ),
        (
            "[4, 8]",
            "conv(3, kernel_width = 5)",
            "`kernel_width` of `conv` is for images [channels, height, width], got [4, 8]",
            "leave `kernel_width` out for a series",
        ),
        (
            "[4, 8, 8]",
            "depthwise_conv(3, kernel_width = 4)",
            "`kernel_width` of `depthwise_conv` is 4, an even number",
            "write `kernel_width = 5`: padding keeps the resolution for odd ones alone",
        ),
        (
            "[4, 8, 8]",
            "transposed_conv(2, stride = 3)",
            "the kernel of `transposed_conv` is 2, and its stride 3: between its windows nothing "
            "would be written",
            "write `kernel = 3` or more",
        ),
        (
            "[4, 8]",
            "transposed_conv(2, stride = 1)",
            "the kernel of `transposed_conv` is 2, an even number, at stride 1",
            "write `kernel = 3`: padding keeps the resolution for odd ones alone",
        ),
        (
            "[4, 8]",
            "group_norm(3)",
            "`group_norm` cannot make 3 groups of 4 channels",
            "write `groups = 2`: it divides them",
        ),
        (
            "[4]",
            "group_norm(4)",
            "`group_norm` in 4 groups normalises one number at a time, to 0",
            "write fewer `groups`, or leave it out",
        ),
        (
            "[4]",
            "chunk(2)",
            "`chunk` is asked for part 2 of 2",
            "parts count from 0 to 1",
        ),
        (
            "[4]",
            "chunk(0, 6)",
            "`chunk` cannot make 6 equal parts of 4 channels",
            "write `parts = 4`: it divides them",
        ),
    ],
)
def test_what_is_refused(shape: str, operation: str, message: str, remedy: str) -> None:
    [found] = refused(f"network n(x: {shape}) -> (y: {shape}) {{ x -> y : {operation} }}")
    assert (found.code, found.message, found.help) == ("D301", message, remedy)


def test_a_kernel_of_its_own_width_is_written_as_such() -> None:
    text = "network n(x: [4, 8, 8]) -> (y: [4, 8, 8]) { x -> y : conv(3, kernel_width = 5) }"
    assert "nn.Conv2d(4, 4, (3, 5), padding=(1, 2), bias=False)" in source(compile_text(text).graph)


def source(graph: Graph) -> str:
    return emit_torch(graph, "spec.nas").source
