"""What channels leave behind once others take over: against plain least squares, in float64."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from living import module_of, with_known_weights
from support import compile_text
from torch import Tensor, nn

from bayesnas.compiler.emit.pytorch import emit_torch
from bayesnas.compiler.slices.groups import coupled_slices
from bayesnas.runtime.weights.removal import sliced_tensors
from bayesnas.runtime.weights.subject import Subject
from bayesnas.runtime.weights.surgery import Surgery

RIDGE = 1e-10
SUM_BESIDE = """\
network net(x: [3, 8, 8]) -> (y: [2]) {
    a = x : conv(3, 4)
    x -> a : conv(1, 4)
    b = a : max_pool(3)
    c = concat(a, b)
    c -> y : conv(1, 2) >> global_avg_pool
}
"""


def network(body: str) -> str:
    return f"network net(x: [3, 8, 8]) -> (y: [2]) {{\n    {body}\n}}\n"


class Net:
    """A network with known weights and inputs enough for its layers' channels to differ."""

    def __init__(self, text: str) -> None:
        compiled = compile_text(text)
        slices = coupled_slices(compiled.graph)
        module = with_known_weights(module_of(emit_torch(compiled.graph, "spec.nas")))
        sliced = (*sliced_tensors(compiled, slices),)
        self.subject = Subject(module.eval(), sliced, slices.removable)
        generator = torch.Generator().manual_seed(0)
        self.inputs = torch.randn(40, 3, 8, 8, dtype=torch.float64, generator=generator)

    def surgery(self, ridge: float = RIDGE) -> Surgery:
        return Surgery(self.subject, self.inputs.split(16), ridge)

    def read(self, kind: type[nn.Module], number: int) -> tuple[nn.Module, Tensor]:
        """A layer and what comes into it."""
        layer = [m for m in self.subject.module.modules() if isinstance(m, kind)][number]
        seen: list[Tensor] = []
        hook = layer.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        with torch.no_grad():
            self.subject.module(self.inputs)
        hook.remove()
        return layer, seen[0]


@torch.no_grad()
def missed(x: Tensor, weight: Tensor, gone: Sequence[int], constant: bool) -> float:
    """The mean square that the least squares without some columns of x [M, C] miss.

    Args:
        x: what comes in.
        weight: of each column, [C, out].
        gone: columns.
        constant: whether a bias stays.
    """
    stays = x[:, [k for k in range(x.shape[1]) if k not in gone]]
    if constant:
        stays = torch.cat([stays, torch.ones(len(x), 1, dtype=x.dtype)], dim=1)
    outputs = x @ weight
    best = torch.linalg.lstsq(stays, outputs).solution
    return float((outputs - stays @ best).square().sum() / len(x))


def test_channels_of_a_layer_miss_what_least_squares_miss() -> None:
    """One after another: what each adds, and with it all that have gone."""
    net = Net(network("x -> y : conv(3, 6) >> relu >> global_avg_pool >> linear(2)"))
    layer, x = net.read(nn.Linear, 0)
    assert isinstance(layer, nn.Linear)
    surgery, gone, total = net.surgery(), list[int](), 0.0
    for channel in (4, 1, 2):
        each = [missed(x, layer.weight.T, [*gone, k], constant=True) - total for k in range(6)]
        for k in range(6):
            if k not in gone:
                assert float(surgery.missed[k]) == pytest.approx(each[k], rel=1e-5)
        total += each[channel]
        gone.append(channel)
        surgery.remove(channel)


def test_without_a_bias_means_are_missed_as_well() -> None:
    net = Net(network("x -> y : conv(3, 5) >> relu >> conv(1, 2) >> global_avg_pool"))
    layer, inputs = net.read(nn.Conv2d, 1)
    x = inputs.movedim(1, -1).reshape(-1, 5)
    assert isinstance(layer, nn.Conv2d)
    weight = layer.weight.flatten(1).T
    each = [missed(x, weight, [k], constant=False) for k in range(5)]
    assert net.surgery().missed.tolist() == pytest.approx(each, rel=1e-6)


def test_a_channel_that_is_read_at_two_places_goes_at_both() -> None:
    """Behind a concatenation of a tensor and its pool, neither stands in for the other."""
    net = Net(SUM_BESIDE)
    layer, inputs = net.read(nn.Conv2d, 2)
    x = inputs.movedim(1, -1).reshape(-1, 8)
    assert isinstance(layer, nn.Conv2d)
    weight, surgery = layer.weight.flatten(1).T, net.surgery()
    pairs = [missed(x, weight, [k, k + 4], constant=False) for k in range(4)]
    assert surgery.missed.tolist() == pytest.approx(pairs, rel=1e-6)
    surgery.remove(1)
    after = missed(x, weight, [1, 5, 2, 6], constant=False) - pairs[1]
    assert float(surgery.missed[2]) == pytest.approx(after, rel=1e-5)


def test_several_layers_add_up() -> None:
    body = "a = x : conv(3, 4) >> relu\n    a -> y : global_avg_pool >> linear(2)\n"
    net = Net(network(body + "    a -> y : conv(1, 2) >> global_avg_pool"))
    linear, pooled = net.read(nn.Linear, 0)
    conv, inputs = net.read(nn.Conv2d, 1)
    assert isinstance(linear, nn.Linear)
    assert isinstance(conv, nn.Conv2d)
    x, weight = inputs.movedim(1, -1).reshape(-1, 4), conv.weight.flatten(1).T
    total = [
        missed(pooled, linear.weight.T, [k], constant=True) + missed(x, weight, [k], constant=False)
        for k in range(4)
    ]
    assert net.surgery().missed.tolist() == pytest.approx(total, rel=1e-5)


def test_alone_a_channel_is_missed_whole() -> None:
    """With nothing that takes over, by a large ridge, and where others cannot."""
    plain = Net(network("x -> y : conv(3, 6) >> relu >> global_avg_pool >> linear(2)"))
    assert plain.surgery(1e6).shares().tolist() == pytest.approx([1.0] * 6, abs=1e-4)
    grouped = Net(
        network("x -> y : conv(3, 6) >> relu >> conv(3, 4, groups = 2) >> flatten >> linear(2)")
    )
    shares = grouped.subject.split(grouped.surgery().shares())
    [first] = [row for strand, row in shares.items() if strand.size in (3, 6)]
    assert first.tolist() == [1.0] * len(first)


def test_twins_take_over_wholly() -> None:
    net = Net(network("x -> y : conv(3, 4) >> relu >> conv(1, 2) >> global_avg_pool"))
    layer, _ = net.read(nn.Conv2d, 0)
    assert isinstance(layer, nn.Conv2d)
    with torch.no_grad():
        layer.weight[3] = layer.weight[0]
        if layer.bias is not None:
            layer.bias[3] = layer.bias[0]
    surgery = net.surgery(1e-6)
    before = surgery.shares()
    assert before[[0, 3]].max() < 1e-4
    assert before[[1, 2]].min() > 1e-3
    surgery.remove(3)
    assert surgery.shares()[0] > 0.01


def test_silent_channels_and_silent_layers_are_no_trouble() -> None:
    net = Net(network("x -> y : conv(3, 4) >> relu >> conv(1, 2) >> global_avg_pool"))
    layer, _ = net.read(nn.Conv2d, 0)
    assert isinstance(layer, nn.Conv2d)
    for silent in ([0], [0, 1, 2, 3]):
        with torch.no_grad():
            layer.weight[silent] = 0
        surgery = net.surgery()
        assert surgery.missed[silent].tolist() == pytest.approx([0.0] * len(silent), abs=1e-8)
        surgery.remove(0)
        assert surgery.shares().isfinite().all()
