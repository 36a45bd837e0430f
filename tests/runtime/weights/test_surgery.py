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
from bayesnas.runtime.weights.reconstruction import Reconstruction
from bayesnas.runtime.weights.removal import sliced_tensors
from bayesnas.runtime.weights.subject import Subject, reading_sums
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

    def surgery(self, ridge: float = RIDGE, weights: Sequence[float] = (1.0,)) -> Surgery:
        """With a curvature for all that is read by each tensor, in their order."""
        found = reading_sums(self.subject, dict(self.subject.module.named_parameters()))
        some = {name: rows for name, rows in found.items() if name.endswith("weight")}
        counts = dict(zip(some, [*weights, *[1.0] * len(some)], strict=False))
        curvature = {
            name: {s: torch.full((s.size,), counts[name], dtype=torch.float64) for s in rows}
            for name, rows in some.items()
        }
        subject, batches = self.subject, self.inputs.split(16)
        layers = Reconstruction.of(subject.module, subject.sliced, batches)
        return Surgery(subject, curvature, layers, ridge)

    def shares(self, size: int, surgery: Surgery | None = None) -> list[float]:
        """Those of the strand of so many channels."""
        rows = self.subject.split((surgery or self.surgery()).shares())
        [row] = [row for strand, row in rows.items() if strand.size == size]
        return row.tolist()

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


@torch.no_grad()
def alone(x: Tensor, weight: Tensor, gone: Sequence[int]) -> float:
    """The mean square that is missed of some columns if nothing takes over."""
    return float((x[:, gone] @ weight[gone]).square().sum() / len(x))


def share(x: Tensor, weight: Tensor, gone: Sequence[int], constant: bool) -> float:
    return missed(x, weight, gone, constant) / alone(x, weight, gone)


def linear(net: Net, number: int = 0) -> tuple[Tensor, Tensor]:
    """What comes into a linear layer [M, C], and its weights [C, out]."""
    layer, x = net.read(nn.Linear, number)
    assert isinstance(layer, nn.Linear)
    return x, layer.weight.T


def pointwise(net: Net, number: int) -> tuple[Tensor, Tensor]:
    """The same of a convolution of 1x1."""
    layer, x = net.read(nn.Conv2d, number)
    assert isinstance(layer, nn.Conv2d)
    return x.movedim(1, -1).reshape(-1, x.shape[1]), layer.weight.flatten(1).T


def test_channels_of_a_layer_miss_what_least_squares_miss() -> None:
    """One after another: what each adds, and with it all that have gone."""
    net = Net(network("x -> y : conv(3, 6) >> relu >> global_avg_pool >> linear(2)"))
    x, weight = linear(net)
    whole = [alone(x, weight, [k]) for k in range(6)]
    surgery, gone, total = net.surgery(), list[int](), 0.0
    for channel in (4, 1, 2):
        each = [missed(x, weight, [*gone, k], constant=True) - total for k in range(6)]
        for k in range(6):
            if k not in gone:
                assert float(surgery.shares()[k]) == pytest.approx(each[k] / whole[k], rel=1e-5)
        total += each[channel]
        gone.append(channel)
        surgery.remove([channel])


def test_a_bias_takes_over_what_is_constant() -> None:
    """A channel that says the same of all is read, and missed by nobody."""
    net = Net(network("x -> y : conv(3, 4, bias = 1) >> relu >> global_avg_pool >> linear(2)"))
    layer, _ = net.read(nn.Conv2d, 0)
    assert isinstance(layer, nn.Conv2d)
    assert layer.bias is not None
    with torch.no_grad():
        layer.weight[1], layer.bias[1] = 0, 5.0
    x, weight = linear(net)
    shares = net.shares(4)
    assert shares[1] < 1e-8
    for k in (0, 2, 3):
        assert shares[k] == pytest.approx(share(x, weight, [k], constant=True), rel=1e-5)


def test_without_a_bias_means_are_missed_as_well() -> None:
    net = Net(network("x -> y : conv(3, 5) >> relu >> conv(1, 2) >> global_avg_pool"))
    x, weight = pointwise(net, 1)
    each = [share(x, weight, [k], constant=False) for k in range(5)]
    assert net.shares(5) == pytest.approx(each, rel=1e-6)


def test_a_channel_that_is_read_at_two_places_goes_at_both() -> None:
    """Behind a concatenation of a tensor and its pool, neither stands in for the other."""
    net = Net(SUM_BESIDE)
    x, weight = pointwise(net, 2)
    pairs = [share(x, weight, [k, k + 4], constant=False) for k in range(4)]
    surgery = net.surgery()
    assert net.shares(4, surgery) == pytest.approx(pairs, rel=1e-6)
    surgery.remove([1])
    both = [missed(x, weight, gone, constant=False) for gone in ([1, 5], [1, 5, 2, 6])]
    after = (both[1] - both[0]) / alone(x, weight, [2, 6])
    assert net.shares(4, surgery)[2] == pytest.approx(after, rel=1e-5)


def test_strands_that_one_layer_reads_take_over_from_each_other() -> None:
    body = "a = x : conv(3, 3) >> relu\n    b = x : conv(3, 5) >> relu\n    c = concat(a, b)\n"
    net = Net(network(body + "    c -> y : conv(1, 2) >> global_avg_pool"))
    x, weight = pointwise(net, 2)
    first = [share(x, weight, [k], constant=False) for k in range(3)]
    other = [share(x, weight, [k], constant=False) for k in range(3, 8)]
    surgery = net.surgery()
    assert net.shares(3, surgery) == pytest.approx(first, rel=1e-5)
    assert net.shares(5, surgery) == pytest.approx(other, rel=1e-5)
    surgery.remove([[strand.size for strand, _ in surgery.channels].index(3)])
    least = missed(x, weight, [0], constant=False)
    after = [
        (missed(x, weight, [0, k], constant=False) - least) / alone(x, weight, [k])
        for k in range(3, 8)
    ]
    assert net.shares(5, surgery) == pytest.approx(after, rel=1e-5)


def test_readers_count_by_their_curvature() -> None:
    body = "a = x : conv(3, 4) >> relu\n    a -> y : global_avg_pool >> linear(2)\n"
    net = Net(network(body + "    a -> y : conv(1, 2) >> global_avg_pool"))
    pairs = (linear(net), True), (pointwise(net, 1), False)
    each = [[share(*pair, [k], constant) for k in range(4)] for pair, constant in pairs]
    names = [*reading_sums(net.subject, dict(net.subject.module.named_parameters()))]
    order = [0, 1] if net.subject.module.get_parameter(names[0]).dim() == 2 else [1, 0]
    first, second = (each[k] for k in order)
    expected = [(3 * a + 2 * b) / 5 for a, b in zip(first, second, strict=True)]
    assert net.shares(4, net.surgery(weights=(3.0, 2.0))) == pytest.approx(expected, rel=1e-5)


def test_alone_a_channel_is_missed_whole() -> None:
    """With nothing that takes over, by a large ridge, and where others cannot."""
    plain = Net(network("x -> y : conv(3, 6) >> relu >> conv(1, 2) >> global_avg_pool"))
    assert plain.shares(6, plain.surgery(1e6)) == pytest.approx([1.0] * 6, abs=1e-4)
    body = "a = x : conv(3, 6) >> relu\n    a -> y : conv(1, 2) >> global_avg_pool\n"
    both = Net(
        network(body + "    a -> y : conv(3, 4, groups = 2) >> global_avg_pool >> linear(2)")
    )
    x, weight = pointwise(both, 1)
    pairs = [share(x, weight, [k, k + 3], constant=False) for k in range(3)]
    assert both.shares(3) == pytest.approx([(1 + one) / 2 for one in pairs], rel=1e-5)


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
    surgery.remove([3])
    assert surgery.shares()[0] > 0.01


def test_silent_channels_and_silent_layers_are_no_trouble() -> None:
    net = Net(network("x -> y : conv(3, 4) >> relu >> conv(1, 2) >> global_avg_pool"))
    layer, _ = net.read(nn.Conv2d, 0)
    assert isinstance(layer, nn.Conv2d)
    for silent in ([0], [0, 1, 2, 3]):
        with torch.no_grad():
            layer.weight[silent] = 0
        surgery = net.surgery()
        assert surgery.shares().isfinite().all()
        surgery.remove([0])
        assert surgery.shares().isfinite().all()
