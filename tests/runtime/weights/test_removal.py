"""A network without some channels is the whole one with zeros in their place."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from living import (
    OTHERS,
    PACKAGED,
    found_network,
    inputs_of,
    known_weight,
    module_of,
    packaged,
    with_known_weights,
)
from strategies import spaces
from support import assert_refused, compile_text, network, parse_text
from torch import Tensor

from bayesnas.compiler.emit.pytorch import emit_torch
from bayesnas.compiler.operations.plugins import load_plugin
from bayesnas.compiler.pipeline import Compiled, compile_loaded
from bayesnas.compiler.slices.groups import Slices, coupled_slices
from bayesnas.compiler.slices.narrowing import Kept
from bayesnas.dsl.diagnostics import DiagnosticError
from bayesnas.dsl.printer import print_spec
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
    inputs = inputs_of(compiled.graph)
    whole = outputs(compiled, masked(compiled, state, slices, kept), inputs)
    for one, other in zip(whole, outputs(narrowed.compiled, narrowed.state, inputs), strict=True):
        scale = float(one.abs().max().clamp(min=1))
        torch.testing.assert_close(one / scale, other / scale, rtol=0, atol=1e-12)
    return narrowed


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", PACKAGED | OTHERS)
def test_networks_found_in_the_specs(name: str, seed: int) -> None:
    assert_removes(found_network(packaged(name), seed), seed)


@given(spaces(), st.integers(0, 3))
@settings(max_examples=30)
def test_drawn_networks(text: str, seed: int) -> None:
    assert_removes(found_network(compile_text(text), seed), seed)


