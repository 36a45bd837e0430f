"""A network without some channels is the whole one with zeros in their place."""

from __future__ import annotations

import random

import pytest
import torch
from coupled import NETWORKS, TEXTS, network_of
from hypothesis import given, settings
from hypothesis import strategies as st
from living import (
    PACKAGED,
    found_network,
    inputs_of,
    known_weight,
    module_of,
    with_known_weights,
)
from strategies import spaces
from support import assert_refused, compile_text, network, parse_text
from torch import Tensor

from bayesnas.compiler.emit.pytorch import emit_torch
from bayesnas.compiler.graph.cost import graph_cost
from bayesnas.compiler.pipeline import Compiled
from bayesnas.compiler.slices.counts import Kept, kept_cost
from bayesnas.compiler.slices.groups import Slices, coupled_slices
from bayesnas.dsl.diagnostics import DiagnosticError
from bayesnas.dsl.printing.printer import print_spec
from bayesnas.runtime.weights.removal import Narrowed, masked, narrow


def drawn(slices: Slices, seed: int) -> Kept:
    """Some channels of each strand, one at least."""
    chance = random.Random(seed)
    return {
        strand: sorted(chance.sample(range(strand.size), chance.randint(1, strand.size)))
        for strand in slices.removable
    }


def outputs(compiled: Compiled, state: dict[str, Tensor], inputs: list[Tensor]) -> list[Tensor]:
    """Of the emitted network with that state, in float64 and evaluation mode."""
    module = module_of(emit_torch(compiled.graph, "spec.nas")).double().eval()
    module.load_state_dict(state)
    with torch.no_grad():
        result = module(*inputs)
    return [*result] if isinstance(result, tuple) else [result]


def assert_removes(compiled: Compiled, seed: int = 0) -> Narrowed:
    """The removed network and the masked one agree; the first."""
    slices = coupled_slices(compiled.graph)
    kept = drawn(slices, seed)
    state = with_known_weights(module_of(emit_torch(compiled.graph, "spec.nas"))).state_dict()
    narrowed = narrow(compiled, state, slices, kept)
    assert print_spec(parse_text(narrowed.text)) == narrowed.text
    assert kept_cost(compiled.graph, slices, kept) == graph_cost(narrowed.compiled.graph)
    inputs = inputs_of(compiled.graph)
    whole = outputs(compiled, masked(compiled, state, slices, kept), inputs)
    for one, other in zip(whole, outputs(narrowed.compiled, narrowed.state, inputs), strict=True):
        scale = float(one.abs().max().clamp(min=1))
        torch.testing.assert_close(one / scale, other / scale, rtol=0, atol=1e-12)
    return narrowed


FOUND = [*((name, 0) for name in NETWORKS), *((name, 1) for name in PACKAGED)]


@pytest.mark.parametrize(("name", "seed"), FOUND)
def test_networks_found_in_the_specs(name: str, seed: int) -> None:
    assert_removes(network_of(name, seed), seed)


@given(spaces(), st.integers(0, 3))
@settings(max_examples=settings().max_examples // 2)
def test_drawn_networks(text: str, seed: int) -> None:
    assert_removes(found_network(compile_text(text), seed), seed)


@pytest.mark.parametrize(
    "body",
    [
        "node y\n    x -> y : skip\n    x -> y : channel_shuffle(2)",
        "b = concat(x, x)\n    a = x : conv(3, 8, groups = 4) >> bn\n    y = sum(a, b)",
        "b = concat(x, x)\n    a = x : conv(1, 8)\n    y = sum(a, b)",
    ],
)
def test_channels_that_meet_others_of_their_own_tensor(body: str) -> None:
    width = 8 if "shuffle" in body else 4
    text = f"""network net(image: [2, 5, 5]) -> (logits: [3]) {{
    x = image : conv(3, {width}) >> conv(3, {width})
    {body}
    y -> logits : conv(1, 6) >> global_avg_pool >> linear(3)
}}
"""
    for seed in range(4):
        assert_removes(compile_text(text), seed)


CHAIN = """
motif cell(x; width, stride = 1) -> (out) {
    a = x : conv(3, width, stride = stride) >> bn
    b = a : conv(1, expand = 2) >> bn >> relu >> conv(1, width)
    out = sum(a, b)
}

network net(image: [1, size, size]; size = 8, width = 4, classes = 3) -> (logits: [classes]) {
    stem = image : conv(3, width)
    body = chain cell(stem; width = width) times 3 reduce at 1
    body -> logits : relu >> flatten >> linear(classes)
}

train { epochs = 3 }
"""


def removed(text: str, keep: dict[int, list[int]]) -> Narrowed:
    """A network with known weights without channels: those that stay, by number of the strand."""
    compiled = compile_text(text)
    slices = coupled_slices(compiled.graph)
    state = with_known_weights(module_of(emit_torch(compiled.graph, "spec.nas"))).state_dict()
    kept = {slices.strands[number]: channels for number, channels in keep.items()}
    return narrow(compiled, state, slices, kept)


def test_the_spec_has_the_widths_and_no_parameters() -> None:
    assert_removes(compile_text(CHAIN))
    narrowed = removed(CHAIN, {1: [0, 2], 2: [1, 2, 3], 6: [7]})
    assert (
        narrowed.text
        == """\
motif cell(x) -> (out) {
    a = x : conv(3, 3) >> bn
    b = a : conv(1, 1) >> bn >> relu >> conv(1, 3)
    out = sum(a, b)
}

motif cell_2(x) -> (out) {
    a = x : conv(3, 8, stride = 2) >> bn
    b = a : conv(1, 16) >> bn >> relu >> conv(1, 8)
    out = sum(a, b)
}

motif cell_3(x) -> (out) {
    a = x : conv(3, 8) >> bn
    b = a : conv(1, 16) >> bn >> relu >> conv(1, 8)
    out = sum(a, b)
}

network net(image: [1, 8, 8]) -> (logits: [3]) {
    stem = image : conv(3, 2)
    node body[3]
    body[0] = cell(stem)
    body[1] = cell_2(body[0])
    body[2] = cell_3(body[1])
    body[2] -> logits : relu >> flatten >> linear(3)
}

train { epochs = 3 }
"""
    )


def test_a_chain_whose_links_are_alike_stays_one() -> None:
    text = CHAIN.replace(" reduce at 1", "")
    narrowed = removed(text, {1: [3]})
    assert "body = chain cell(stem) times 3\n" in narrowed.text


def test_weights_are_those_of_the_channels_that_stay() -> None:
    text = network("x -> y : conv(3, 5, bias = 1) >> bn >> relu >> conv(1, 4)")
    narrowed = removed(text, {2: [1, 4]})
    weight, last = known_weight("weight", (5, 4, 3, 3)), known_weight("weight", (4, 5, 1, 1))
    assert torch.equal(narrowed.state["y.0.weight"], weight[[1, 4]])
    assert torch.equal(narrowed.state["y.0.bias"], known_weight("bias", (5,))[[1, 4]])
    assert torch.equal(narrowed.state["y.1.running_var"], known_weight("running_var", (5,))[[1, 4]])
    assert torch.equal(narrowed.state["y.3.weight"], last[:, [1, 4]])
    assert int(narrowed.state["y.1.num_batches_tracked"]) == 0


def test_what_belongs_to_no_layer_passes_through() -> None:
    compiled = compile_text(network("x -> y : conv(3, 5) >> conv(1, 4)"))
    module = module_of(emit_torch(compiled.graph, "spec.nas", statistics="float64"))
    slices = coupled_slices(compiled.graph)
    kept = {slices.removable[0]: [0]}
    numbers = torch.arange(1.0, 5.0, dtype=torch.float64).view(4, 1, 1)
    state = {**module.state_dict(), "input_mean": numbers, "input_std": 2 * numbers}
    narrowed = narrow(compiled, state, slices, kept)
    again = module_of(emit_torch(narrowed.compiled.graph, "spec.nas", statistics="float64"))
    again.load_state_dict(narrowed.state)
    assert torch.equal(again.get_buffer("input_mean"), numbers)
    assert torch.equal(again.get_buffer("input_std"), 2 * numbers)


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("seed", range(3))
def test_primitives_and_merges(name: str, seed: int) -> None:
    assert_removes(compile_text(TEXTS[name]), seed)


def test_a_layer_keeps_a_channel() -> None:
    with pytest.raises(DiagnosticError) as caught:
        removed(network("a = x : conv(3, 5)\na -> y : conv(1, 4)"), {1: []})
    [diagnostic] = caught.value.diagnostics
    assert (diagnostic.code, caught.value.status) == ("D606", 1)
    assert diagnostic.message == "removal would leave none of the channels of `a`"


def test_a_space_is_searched_first() -> None:
    text = network("node h\n§x ~> h : conv(3) | skip\nh -> y : conv(1)")
    message = "channels are removed from a network, and `net` is a space"
    assert_refused(text, "D607", message, lambda given: removed(given, {}))


def test_what_stays_is_not_removed() -> None:
    with pytest.raises(DiagnosticError, match="channels that stay: they go out as `y`"):
        removed(network("x -> y : conv(3, 5) >> conv(1, 4)"), {1: [0]})
