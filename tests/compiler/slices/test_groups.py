"""Which slices go together, against what loses its effect in the network itself."""

from __future__ import annotations

import random
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from coupled import NETWORKS, TEXTS, network_of
from hypothesis import given, settings
from living import (
    PACKAGED,
    found_network,
    inputs_of,
    module_of,
    packaged,
    with_known_weights,
)
from strategies import spaces
from support import compile_text, graph_of, network, refused
from torch import Tensor, nn
from torch.func import functional_call

from bayesnas.compiler.emit.paths import module_paths
from bayesnas.compiler.emit.pytorch import emit_torch
from bayesnas.compiler.operations.plugins import load_plugin
from bayesnas.compiler.pipeline import Compiled
from bayesnas.compiler.slices.groups import Slices, coupled_slices
from bayesnas.compiler.slices.report import slices_text
from bayesnas.compiler.slices.ties import Channels, Strand
from bayesnas.dsl.loader import packaged_specs

GROUPS = 6  # that are tried of each network


def places(channels: Channels, strand: Strand, channel: int) -> list[int]:
    """Where along an axis a channel of a strand lies."""
    result, start = [], 0
    for run in channels:
        if run.strand is strand:
            first = start + channel * run.stretch
            result += range(first, first + run.stretch)
        start += len(run)
    return result


class Wave(nn.Module):
    """A function of each number that is nowhere flat."""

    def forward(self, z: Tensor) -> Tensor:
        return z + torch.sin(z) / 2


def nowhere_flat(module: nn.Module) -> nn.Module:
    """The network with other activations and pools, so that no unit is idle by chance."""
    for inner in module.modules():
        for name, child in inner.named_children():
            if isinstance(child, (nn.ReLU, nn.ReLU6, nn.SiLU, nn.GELU, nn.Tanh)):
                setattr(inner, name, Wave())
            elif isinstance(child, nn.MaxPool2d):
                window = child.kernel_size, child.stride, child.padding
                setattr(inner, name, nn.AvgPool2d(*window))
    return module


class Trial:
    """A network with known weights, and what of it has an effect on its outputs."""

    def __init__(self, compiled: Compiled) -> None:
        self.graph = compiled.graph
        emitted = emit_torch(self.graph, "spec.nas")
        self.slices = coupled_slices(self.graph)
        self.paths = module_paths(self.graph, emitted.operations)
        self.module = nowhere_flat(with_known_weights(module_of(emitted)))
        self.inputs = inputs_of(self.graph)

    def parts(self, strand: Strand, channel: int, readers: bool) -> dict[str, Tensor]:
        """Of each parameter, which elements read a channel; or which make it."""
        parameters = dict(self.module.named_parameters())
        result: dict[str, Tensor] = {}
        for tensor in self.slices.tensors:
            name = f"{self.paths[tensor.place]}.{tensor.name}"
            for k, axis in enumerate(tensor.axes):
                where = places(axis, strand, channel)
                if name in parameters and where and (k != tensor.maker) == readers:
                    mask = result.setdefault(
                        name, torch.zeros_like(parameters[name], dtype=torch.bool)
                    )
                    mask.movedim(k, 0)[where] = True
        return result

    def effects(self, zero: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Which elements of each parameter change the outputs, once these are zero."""
        parameters = {
            name: value.detach().masked_fill(zero[name], 0) if name in zero else value.detach()
            for name, value in self.module.named_parameters()
        }
        for value in parameters.values():
            value.requires_grad_()
        outputs = functional_call(self.module, parameters, tuple(self.inputs))
        generator = torch.Generator().manual_seed(0)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        total = sum(
            (y * torch.randn(y.shape, generator=generator, dtype=y.dtype)).sum() for y in outputs
        )
        grads = torch.autograd.grad(total, [*parameters.values()])
        # Less is rounding: what all keys have in common says nothing to a softmax.
        return {name: grad.abs() > 1e-14 for name, grad in zip(parameters, grads, strict=True)}


def drawn(slices: Slices) -> list[tuple[Strand, int]]:
    groups = [(s, k) for s in slices.removable if s.size > 1 for k in range(s.size)]
    return random.Random(0).sample(groups, min(GROUPS, len(groups)))


def assert_groups(compiled: Compiled) -> None:
    """Without the slices that read a channel, those that make it are idle, and no others."""
    trial = Trial(compiled)
    before = trial.effects({})
    groups = drawn(trial.slices)
    assert groups
    for strand, channel in groups:
        after = trial.effects(trial.parts(strand, channel, readers=True))
        makers = trial.parts(strand, channel, readers=False)
        for name, had in before.items():
            lost = had & ~after[name]
            expected = makers.get(name, torch.zeros_like(had)) & had
            assert torch.equal(lost, expected), (name, strand, channel)


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_found_in_the_specs(name: str) -> None:
    compiled = network_of(name)
    if name != "darts_rnn":
        assert_groups(compiled)
        return
    # Its states are as wide as its words, which are scored by the vectors that they are read by.
    assert not coupled_slices(compiled.graph).removable


def test_no_spec_is_left_out() -> None:
    assert {*NETWORKS} == {*packaged_specs()}


@pytest.mark.parametrize("name", PACKAGED)
def test_supernets(name: str) -> None:
    assert_groups(packaged(name))


@given(spaces())
@settings(max_examples=15)
def test_drawn_networks(text: str) -> None:
    compiled = found_network(compile_text(text))
    if any(strand.size > 1 for strand in coupled_slices(compiled.graph).removable):
        assert_groups(compiled)


@pytest.mark.parametrize("name", TEXTS)
def test_primitives_and_merges(name: str) -> None:
    assert_groups(compile_text(TEXTS[name]))


def rows(text: str) -> list[tuple[int, str]]:
    """The strands of a network: how many channels, and why they stay."""
    return [(strand.size, strand.fixed) for strand in coupled_slices(graph_of(text)).strands]


def sizes(text: str) -> list[int]:
    """How many channels may go together in each strand."""
    return [size for size, fixed in rows(text) if not fixed]


def test_no_more_go_together_than_must() -> None:
    assert {name: sizes(text) for name, text in TEXTS.items()} == {
        "residual": [6],
        "concatenation, summed with one tensor": [2, 3],
        "product": [5],
        "depthwise": [6],
        "depthwise by groups": [6],
        "groups": [2, 3],
        "halves": [6, 3],
        "zeros appended": [5, 3],
        "transposed": [6, 5],
        "shuffled": [3],
        "chunks": [3],
        "excited": [6, 3],
        "attention": [5, 6, 3, 2],
        "normalised": [5],
        "branches": [6],
        "branches alone": [6],
        "vectors": [5, 6],
        "words": [6, 6],
        "steps": [6, 5, 3],
        "scan": [6, 5, 6, 3],  # a state and what it begins with are one strand
    }


def test_what_comes_in_and_goes_out_stays() -> None:
    assert rows(network("x -> y : conv(3)")) == [
        (4, "they come in as `x`"),
        (4, "they go out as `y`"),
    ]
    assert sizes(network("node h\nx -> h\nx -> h : conv(3)\nh -> y : conv(1)")) == []


PLUGIN = """
import bayesnas
from torch import nn

@bayesnas.primitive("mixing", shape=lambda s: s, flops=lambda s, o: 0)
class Mixing(nn.Softmax):
    def __init__(self, channels):
        super().__init__(dim=1)

@bayesnas.primitive("scaled", shape=lambda s: s, flops=lambda s, o: 0, channelwise=True)
class Scaled(nn.PReLU):
    def __init__(self, channels):
        super().__init__(channels)
"""


def test_plugins_say_whether_their_channels_may_go(plugin_folder: Path) -> None:
    (plugin_folder / "slice_ops.py").write_text(PLUGIN, encoding="utf-8")
    load_plugin("slice_ops")
    reason = "`mixing` does not say how its channels hang together"
    assert rows(network("x -> y : conv(1, 6) >> mixing >> conv(1, 4)"))[2:] == [
        (6, reason),
        (6, reason),
    ]
    assert_groups(compile_text(network("x -> y : conv(1, 6) >> scaled >> conv(1, 4)")))


def test_a_plugin_that_is_not_channelwise(plugin_folder: Path) -> None:
    text = PLUGIN.replace("super().__init__(channels)", "super().__init__(1)")
    (plugin_folder / "slice_ops.py").write_text(text, encoding="utf-8")
    load_plugin("slice_ops")
    [diagnostic] = refused(network("x -> y : scaled"))
    assert diagnostic.message == (
        "`Scaled` is said to be channelwise, and its weight is [1] for 4 channels"
    )
    assert diagnostic.help == "leave `channelwise` out of its registration"


def test_the_text_names_what_goes_together() -> None:
    compiled = compile_text(TEXTS["concatenation, summed with one tensor"])
    paths = module_paths(compiled.graph, emit_torch(compiled.graph, "spec.nas").operations)
    text = slices_text(compiled.graph, coupled_slices(compiled.graph), paths)
    assert (
        text
        == """\
slices of `net`: 5 channels may go, in 2 strands
channel k of a strand stays or goes with all that lies at k along it

strand 0: 4 channels; they stay: they come in as `x`
    of x
    a.0.weight  axis 1
    b.weight  axis 1
    h_from_x.weight  axis 1

strand 1: 2 channels
    of a, both [0..2, 5..7], h [0..2, 5..7]
    a.0.weight  axis 0
    a.1.weight  axis 0
    a.1.bias  axis 0
    a.1.running_mean  axis 0
    a.1.running_var  axis 0
    h_from_x.weight  axis 0 [0..2, 5..7]
    y.1.weight  axis 1 [0..2, 5..7]

strand 2: 3 channels
    of b, both [2..5], h [2..5]
    b.weight  axis 0
    h_from_x.weight  axis 0 [2..5]
    y.1.weight  axis 1 [2..5]

strand 3: 4 channels; they stay: they go out as `y`
    of y
    y.1.weight  axis 0
"""
    )


def calls(size: int) -> int:
    """Of Python's functions while the slices of a network of so many residual layers are found."""
    text = network(
        f"node h[{size + 1}]\nx -> h[0] : conv(1, 8)\n"
        f"for k in 0..{size} {{ h[k] -> h[k + 1] : skip + conv(3) }}\nh[{size}] -> y : conv(1, 4)"
    )
    graph, count = graph_of(text), 0

    def counted(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(counted)
    try:
        slices = coupled_slices(graph)
    finally:
        sys.setprofile(None)
    assert len(slices.removable) == 1
    return count


def test_work_is_linear_in_the_network() -> None:
    assert calls(1000) < 4.2 * calls(250)
