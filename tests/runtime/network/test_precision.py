"""Steps of 16 bits leave weights and curvature in 32."""

from __future__ import annotations

import argparse

import pytest
import torch
from living import TINY, images
from support import compile_text
from torch import Tensor

from bayesnas.commands.arguments import add_run
from bayesnas.commands.values import parse_options
from bayesnas.compiler.emit.preludes.depthwise import DepthwiseConv2d
from bayesnas.compiler.settings import SearchSettings
from bayesnas.runtime.network.precision import exactly
from bayesnas.runtime.supernet.curvature import ggn
from bayesnas.runtime.supernet.supernet import Supernet

CPU = torch.device("cpu")


def trained(precision: str) -> tuple[Supernet, list[float]]:
    """A supernet after some steps, and their losses."""
    settings = SearchSettings(precision=precision, batch_size=16, curvature_examples=32)
    net = Supernet(compile_text(TINY).graph, "tiny.nas", images(), settings, 0, CPU)
    net.total_steps = 6
    gates = net.gates.at(dict.fromkeys(net.gates.groups, 1.0))
    return net, [net.descend(*batch, gates) for batch in net.batches(6)]


def curvature(net: Supernet, gates: Tensor, wide: bool = False) -> Tensor:
    part = net.fit_part.first(32)
    inputs = net.data.normalize(part.inputs)
    kind = torch.float64 if wide else torch.float32
    given = [(inputs.to(kind), part.targets)]  # type: ignore[call-overload]
    return ggn(net.module.to(kind), net.data.task, given, gates.to(kind))


def test_steps_of_16_bits_learn_and_keep_weights_of_32() -> None:
    (low, losses), (_, others) = trained("bfloat16"), trained("float32")
    assert losses != others
    assert losses[:2] == pytest.approx(others[:2], rel=0.05)
    assert {w.dtype for w in low.module.parameters()} == {torch.float32}


def test_the_curvature_of_a_search_in_16_bits_is_of_32() -> None:
    net, _ = trained("bfloat16")
    gates = net.gates.at(dict.fromkeys(net.gates.groups, 1.0))
    found = curvature(net, gates)
    torch.testing.assert_close(net.curvature(gates, net.fit_part.first(32)), found)
    with torch.autocast("cpu", torch.bfloat16):
        rough = curvature(net, gates)
    exact = curvature(net, gates, wide=True)
    scale = exact.abs().max()
    assert (found - exact).abs().max() < 1e-5 * scale < (rough - exact).abs().max()


def test_derivatives_ask_a_gpu_for_all_digits() -> None:
    matmul, conv = torch.backends.cuda.matmul, torch.backends.cudnn.conv
    before = matmul.fp32_precision, conv.fp32_precision
    with exactly():
        assert (matmul.fp32_precision, conv.fp32_precision) == ("ieee", "ieee")
    assert (matmul.fp32_precision, conv.fp32_precision) == before


@pytest.mark.parametrize(
    ("kernel", "stride", "dilation"),
    [(3, 1, 1), (3, 2, 1), (5, 1, 1), (5, 2, 1), (3, 1, 2), (3, 2, 2), (5, 2, 3), (7, 2, 1)],
)
def test_depthwise_convolutions_learn_in_16_bits(kernel: int, stride: int, dilation: int) -> None:
    padding = dilation * (kernel // 2)
    layer = DepthwiseConv2d(
        4, 4, kernel, stride, padding, dilation, groups=4, bias=False, dtype=torch.float32
    )
    z = torch.randn(2, 4, 9, 9).contiguous(memory_format=torch.channels_last).requires_grad_()

    def gradients(enabled: bool) -> list[Tensor]:
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            y = layer(z)
        return list(torch.autograd.grad(y.float().square().sum(), [z, layer.weight]))

    for low, exact in zip(gradients(True), gradients(False), strict=True):
        assert low.dtype == torch.float32
        assert (low - exact).norm() < 0.02 * exact.norm()


@pytest.mark.parametrize(
    ("words", "precision"),
    [
        (["--precision", "bf16"], "bfloat16"),
        (["--precision", "float32"], "float32"),
        (["--precision", "bf16", "--option", "precision=float32"], "float32"),
    ],
)
@pytest.mark.parametrize("kind", ["search", "train"])
def test_a_precision_by_a_flag_of_its_own(kind: str, words: list[str], precision: str) -> None:
    parser = argparse.ArgumentParser()
    add_run(parser, kind)
    options = parser.parse_args(["spec.nas", "--data", "digits", "-o", "out", *words])
    assert parse_options(kind, options.option)["precision"] == precision
