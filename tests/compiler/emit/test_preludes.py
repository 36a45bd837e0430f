"""What emitted source is made of: each by itself, and how it is copied."""

from __future__ import annotations

import ast

import pytest
import torch
from living import packaged
from support import graph_of, network
from torch import Tensor, nn

from bayesnas.compiler.emit.helpers import helper_names, helper_source, helpers
from bayesnas.compiler.emit.preludes.depthwise import DepthwiseConv2d
from bayesnas.compiler.emit.preludes.edges import Candidate, MixedEdge, ScheduledEdge, scaled_norm
from bayesnas.compiler.emit.preludes.gradients import DenseGradient
from bayesnas.compiler.emit.preludes.layers import (
    FactorizedReduce,
    PadChannels,
    SubsampledConv2d,
    Sum,
)
from bayesnas.compiler.emit.pytorch import emit_torch
from bayesnas.compiler.emit.schedule import schedule

# ---------------------------------------------------------------------------------------- copying


@pytest.mark.parametrize("name", helpers())
def test_a_copy_runs_by_itself_without_annotations(name: str) -> None:
    source = "\n\n\n".join(["import torch\nfrom torch import nn", *helper_source([name])])
    exec(compile(source, name, "exec"), {})
    assert [line for line in source.splitlines() if len(line) > 100] == []
    for node in ast.walk(ast.parse(source)):
        assert not isinstance(node, ast.AnnAssign)
        if isinstance(node, ast.FunctionDef):
            assert node.returns is None
            assert [a.annotation for a in node.args.args] == [None] * len(node.args.args)


def test_a_copy_brings_what_it_needs_and_no_more() -> None:
    def copied(name: str) -> list[str]:
        return [ast.parse(source).body[0].name for source in helper_source([name])]  # type: ignore

    assert copied("Sum") == ["Sum"]
    assert copied("MixedEdge") == ["SearchedEdge", "MixedEdge", "scaled"]
    assert copied("DepthwiseConv2d") == [
        *("DepthwiseConv2d", "Depthwise", "convolution_backward"),
        *("input_gradient", "weight_gradient", "phases"),
    ]


def test_names_that_source_cannot_have() -> None:
    assert {"MixedEdge", "scaled_norm", "phases", "len", "enumerate"} <= helper_names()
    assert not {"torch", "z", "Tensor", "Any"} & helper_names()


def classes_of(text: str, scheduled: bool = True) -> set[str]:
    graph = graph_of(text)
    source = emit_torch(graph, "spec.nas", schedule(graph) if scheduled else None).source
    statements = ast.parse(source).body
    definitions = {s.name for s in statements if isinstance(s, ast.ClassDef | ast.FunctionDef)}
    return definitions & set(helpers())


@pytest.mark.parametrize(
    ("operations", "used"),
    [
        ("conv(3) | skip", {"SearchedEdge", "MixedEdge", "scaled"}),
        ("relu >> conv(3) | skip", {"SearchedEdge", "ScheduledEdge", "Candidate", "scaled"}),
        (
            "conv(3) >> bn | skip",
            {"SearchedEdge", "ScheduledEdge", "Candidate", "scaled", "scaled_norm"},
        ),
        ("depthwise_conv(3) | skip", {"SearchedEdge", "MixedEdge", "scaled"}),
        (
            "conv(1, 4) + conv(3) | skip",
            {"SearchedEdge", "MixedEdge", "scaled", "Sum"},
        ),
    ],
)
def test_a_network_holds_what_it_uses(operations: str, used: set[str]) -> None:
    assert classes_of(network(f"x ~> y : {operations}")) == used


def test_slow_depthwise_convolutions_alone_have_a_backward_pass_of_our_own() -> None:
    for operation, own in {
        "depthwise_conv(3)": False,
        "depthwise_conv(1, 2) >> upsample(2)": False,
        "depthwise_conv(3, 2) >> upsample(2)": True,
        "depthwise_conv(5)": True,
        "depthwise_conv(3, dilation = 2)": True,
    }.items():
        assert ("DepthwiseConv2d" in classes_of(network(f"x -> y : {operation}"))) == own
        assert "DepthwiseConv2d" not in classes_of(network(f"x -> y : {operation}"), False)


def test_a_network_without_search_holds_no_edges() -> None:
    assert classes_of(network("x -> y : conv(3) >> bn >> relu")) == set()


# ------------------------------------------------------------------------------------- each class


def maps(channels: int = 6, size: int = 8) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(3, channels, size, size, generator=generator, dtype=torch.float64)


def edges() -> tuple[MixedEdge, ScheduledEdge]:
    """The same candidates, plainly and by a schedule."""
    relu, pool = nn.ReLU(), nn.MaxPool2d(3, 1, 1)
    inner, outer = nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6)
    candidates = {
        "a": nn.Sequential(relu, inner, outer),
        "b": nn.Sequential(relu, nn.Conv2d(6, 6, 1)),
        "c": pool,
        "d": nn.Identity(),
    }
    plans = {
        "a": Candidate(candidates["a"], shared=["relu"], fold=scaled_norm),
        "b": Candidate(candidates["b"], shared=["relu"]),
        "c": Candidate(candidates["c"], shared=["max_pool(3)"]),
        "d": Candidate(candidates["d"]),
    }
    return MixedEdge(**candidates).double(), ScheduledEdge(**plans).double()


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("pruned", [set(), {"a"}, {"b", "d"}, {"a", "b", "c", "d"}])
def test_edges_are_the_sum_of_what_their_gates_scale(rows: int, pruned: set[str]) -> None:
    plain, scheduled = (edge.eval() for edge in edges())
    gates = torch.linspace(-1, 2, 4 * rows, dtype=torch.float64).view(rows, 4)
    expected = torch.zeros_like(maps())
    for k, (name, operation) in enumerate(plain.candidates.items()):
        if name not in pruned:
            expected += operation(maps()) * gates[:, k].view(-1, 1, 1, 1)
    for edge in (plain, scheduled):
        edge.pruned |= pruned
        torch.testing.assert_close(edge(maps(), gates), expected)


def test_edges_on_one_tensor_share_what_they_make_of_it() -> None:
    _, scheduled = edges()
    relu = scheduled.candidates["a"][0]
    calls: list[int] = []
    relu.register_forward_hook(lambda *_: calls.append(1))
    made: dict[tuple[str, ...], Tensor] = {}
    gates = torch.ones(1, 4, dtype=torch.float64)
    first, second = (scheduled(maps(), gates, made) for _ in range(2))
    torch.testing.assert_close(first, second)
    assert (len(calls), set(made)) == (1, {("relu",), ("max_pool(3)",)})


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("tracked", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_a_gate_in_the_scale_is_a_gate_after_it(
    momentum: float | None, affine: bool, tracked: bool, training: bool
) -> None:
    one, other = (
        nn.BatchNorm2d(6, 1e-3, momentum, affine, tracked).double().train(training)
        for _ in range(2)
    )
    gate = torch.tensor([0.7], dtype=torch.float64)
    for _ in range(2):
        torch.testing.assert_close(scaled_norm(one, maps(), gate), gate * other(maps()))
    assert one.state_dict().keys() == other.state_dict().keys()
    for name, value in one.state_dict().items():
        torch.testing.assert_close(value, other.state_dict()[name])


def test_a_sum_adds() -> None:
    torch.testing.assert_close(Sum([nn.ReLU(), nn.Tanh()])(maps()), maps().relu() + maps().tanh())


def test_channels_are_padded_at_the_end() -> None:
    for z in (maps(), maps()[..., 0]):
        padded = PadChannels(6, 9)(z)
        assert padded.shape == (3, 9, *z.shape[2:])
        torch.testing.assert_close(padded[:, :6], z)
        assert not padded[:, 6:].any()


def test_a_factorized_reduction_reads_every_second_pixel_twice() -> None:
    module = FactorizedReduce(6, 4).double()
    z = maps()
    y = module(z)
    assert y.shape == (3, 4, 4, 4)
    torch.testing.assert_close(y[:, :2], module.even(z[:, :, ::2, ::2]))
    torch.testing.assert_close(y[:, 2:], module.odd(z[:, :, 1::2, 1::2]))


@pytest.mark.parametrize("groups", [1, 2])
def test_subsampling_first_is_the_same_convolution(groups: int) -> None:
    module = SubsampledConv2d(6, 4, 1, stride=2, groups=groups).double()
    torch.testing.assert_close(module(maps()), nn.Conv2d.forward(module, maps()))


def test_a_depthwise_convolution_is_the_same_convolution() -> None:
    module = DepthwiseConv2d(6, 6, 5, padding=4, dilation=2, groups=6, bias=False).double()
    torch.testing.assert_close(module(maps()), nn.Conv2d.forward(module, maps()))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_dense_gradient_is_the_same_and_dense(layout: torch.memory_format) -> None:
    z = maps().to(memory_format=layout).requires_grad_()
    seen: list[Tensor] = []
    inner = z * 1
    inner.register_hook(seen.append)
    torch.cat([DenseGradient.apply(inner), maps()], dim=1).square().sum().backward()
    assert seen[0].is_contiguous(memory_format=layout)
    torch.testing.assert_close(z.grad, 2 * z.detach())


def test_darts_holds_every_part_of_a_schedule() -> None:
    graph = packaged("darts_cell").graph
    source = emit_torch(graph, "darts_cell.nas", schedule(graph)).source
    statements = ast.parse(source).body
    names = {s.name for s in statements if isinstance(s, ast.ClassDef | ast.FunctionDef)}
    assert {"ScheduledEdge", "scaled_norm", "DenseGradient", "DepthwiseConv2d"} <= names
    assert not {"MixedEdge", "Sum", "PadChannels", "SubsampledConv2d"} & names
