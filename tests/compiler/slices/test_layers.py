"""What is told of layers whose channels went."""

from __future__ import annotations

import pytest
from coupled import TEXTS
from living import found_network, packaged
from support import compile_text

from bayesnas.compiler.slices.groups import coupled_slices
from bayesnas.compiler.slices.layers import Layer, layers_of
from bayesnas.runtime.weights.removal import state_paths


@pytest.mark.parametrize("name", [*TEXTS, "siamese", "treecell_pyramidnet", "unet"])
def test_a_layer_that_has_lost_nothing_is_whole(name: str) -> None:
    """One without weights of its own as well: a module that is used again, a shortcut, a pad."""
    compiled = compile_text(TEXTS[name]) if name in TEXTS else found_network(packaged(name))
    slices = coupled_slices(compiled.graph)
    layers = layers_of(compiled.graph, slices, {}, state_paths(compiled)).values()
    assert all(layer.share == 1 for layer in layers if layer.inputs)
    assert not any(layer.thinned for layer in layers)


def halved(text: str) -> list[Layer]:
    """Layers where each strand that may lose some has half of its channels left."""
    compiled = compile_text(text)
    slices = coupled_slices(compiled.graph)
    kept = {strand: range(strand.size // 2) for strand in slices.removable}
    return [*layers_of(compiled.graph, slices, kept, state_paths(compiled)).values()]


def test_every_layer_with_weights_is_told_of() -> None:
    """A depthwise convolution as well, which has no width of its own; a normalisation is none."""
    first, depthwise, last = halved("""\
network net(image: [3, 8, 8]) -> (logits: [5]) {
    a = image : conv(3, 6) >> bn >> depthwise_conv(3)
    a -> logits : global_avg_pool >> linear(5)
}
""")
    assert (first.inputs_kept, first.channels_kept, first.share) == (3, 3, 0.5)
    assert (depthwise.inputs_kept, depthwise.channels_kept, depthwise.share) == (3, 3, 0.5)
    assert (last.inputs_kept, last.channels_kept, last.share) == (3, 5, 0.5)
    assert not any(layer.thinned for layer in (first, depthwise, last))


def test_what_goes_inside_an_attention_counts() -> None:
    """Its outputs are summed with what `layer_norm` mixes, so that they stay; values go."""
    *_, attention, _ = halved("""\
network net(text: [16]) -> (logits: [3]) {
    a = text : embedding(50, 16)
    b = a : layer_norm >> attention(4, 16)
    c = sum(a, b)
    c -> logits : layer_norm >> global_avg_pool >> linear(3)
}
""")
    assert (attention.inputs_kept, attention.channels_kept) == (16, 16)
    values = attention.connections_kept
    assert 4 * 16 * 16 == attention.connections > values
    assert attention.thinned
    assert attention.share == values / 1024
