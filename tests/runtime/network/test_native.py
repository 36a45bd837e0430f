"""PyTorch's kernels give the right gradients for every primitive that we emit, on this CPU."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from attrs import evolve
from campaign.native import Operation, chosen, fault, native_checks
from living import OTHERS, PACKAGED, packaged
from torch import Tensor, nn
from torch.nn.functional import conv2d

from bayesnas.compiler.operations import layers
from bayesnas.compiler.operations.primitives import PRIMITIVES
from bayesnas.runtime.network.modules import build, subsample

SHARE = 0.002  # of all operations; `python tests/campaign/native.py` compares them all
# What the faults that are known need; a CPU that has more can be told to take no more.
INSTRUCTIONS = "AVX2"


@pytest.mark.parametrize(("instructions", "threads"), [("DEFAULT", 4), (INSTRUCTIONS, 1)])
def test_primitives_have_the_gradients_of_plain_ones_in_float64(
    instructions: str, threads: int
) -> None:
    if torch.backends.cpu.get_cpu_capability() == instructions:
        pytest.skip("this CPU takes them by default")
    found = native_checks(SHARE, [threads], [instructions])
    assert (found.faults, found.compared) == ((), len(chosen(SHARE)))


def test_a_wrong_primitive_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = evolve(PRIMITIVES["silu"], fast=lambda _numbers, _rank: layers.fixed("nn.GELU()"))
    monkeypatch.setitem(PRIMITIVES, "silu", wrong)
    said = fault(Operation(wrong, (), 3, 2))
    assert said.startswith("output wrong by ")
    assert said.endswith("(6 of 8 x 8, scheduled, contiguous)")


@pytest.mark.parametrize("scheduled", [False, True])
@pytest.mark.parametrize("name", [*PACKAGED, *OTHERS])
def test_no_plain_convolution_skips_pixels(name: str, scheduled: bool) -> None:
    """Those of 1x1 with a stride are the known fault: they subsample first."""
    module, _ = build(packaged(name).graph, name, 0, scheduled)
    for layer in module.modules():
        if type(layer) is nn.Conv2d and layer.kernel_size == (1, 1):
            assert layer.stride == (1, 1)


# ------------------------------------------------------------------- convolutions of plugins


class Doubled(nn.Conv2d):
    """A convolution with ways of its own."""

    def forward(self, z: Tensor) -> Tensor:
        return 2 * super().forward(z)


STRIDED = {
    "plain": nn.Conv2d(4, 6, 1, stride=2),
    "uneven": nn.Conv2d(4, 6, 1, stride=(1, 3), bias=False),
    "groups": nn.Conv2d(4, 6, 1, stride=2, groups=2),
    "padded": nn.Conv2d(4, 6, 1, stride=2, padding=(1, 2)),
    "mirrored": nn.Conv2d(4, 6, 1, stride=3, padding=(2, 1), padding_mode="reflect"),
    "unpadded": nn.Conv2d(4, 6, 1, stride=2, padding="valid"),
    "own": Doubled(4, 6, 1, stride=2),
}


@pytest.mark.parametrize("name", STRIDED)
def test_a_plugin_s_convolution_takes_the_pixels_it_reads_and_stays_the_same(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = STRIDED[name].double()
    module = nn.Sequential(nn.ReLU(), nn.ModuleDict({"inner": deepcopy(layer)})["inner"])
    subsample(module)
    copied = deepcopy(module)  # as runs do
    strides = []

    def noted(*inputs: Tensor, stride: int = 1, **others: int) -> Tensor:
        strides.append(stride)
        return conv2d(*inputs, stride=stride, **others)

    z = torch.randn(3, 4, 7, 9, dtype=torch.float64)
    results = []
    for one in (nn.Sequential(nn.ReLU(), layer), module, copied):
        given = z.clone().requires_grad_()
        output = one(given)
        results.append(
            (output, *torch.autograd.grad(output.square().sum(), (given, one[1].weight)))
        )
        monkeypatch.setattr(nn.functional, "conv2d", noted)
    for right, *others in zip(*results, strict=True):
        for other in others:
            torch.testing.assert_close(other, right)
    assert strides == [1, 1]
    assert module[1].stride == layer.stride
    assert module[1].state_dict().keys() == layer.state_dict().keys()
