"""Recurrent networks: steps that are calls of one shared motif, against PyTorch's in float64."""

from __future__ import annotations

import pytest
import torch
from living import gates_of, inputs_of, module_of, with_known_weights
from reference import run_graph
from support import graph_of, refused
from torch import Tensor, nn

from bayesnas.compiler.emit.pytorch import emit_torch
from bayesnas.compiler.emit.schedule import schedule
from bayesnas.compiler.graph.cost import graph_cost
from bayesnas.compiler.pipeline import compile_spec
from bayesnas.compiler.space.members import draw_member

LSTM = """
motif lstm(x, before, cell; width) -> (hidden, carried) {
    read = x : linear(4 * width)
    kept = before : linear(4 * width)
    gates = sum(read, kept)
    i = gates : chunk(0, 4) >> sigmoid
    f = gates : chunk(1, 4) >> sigmoid
    g = gates : chunk(2, 4) >> tanh
    o = gates : chunk(3, 4) >> sigmoid
    old = product(f, cell)
    new = product(i, g)
    carried = sum(old, new)
    shown = carried : tanh
    hidden = product(o, shown)
}
network net(sequence: [3, 5]; width = 4, steps = 5) -> (states: [4, 5], last: [4]) {
    start = sequence : zeros(width)
    h, c = scan lstm(sequence; width = width) from start, start
    h -> states
    c -> last : pick(steps - 1)
}
"""
GRU = """
motif gru(x, before; width) -> (hidden) {
    read = x : linear(3 * width)
    kept = before : linear(3 * width)
    read_r = read : chunk(0, 3)
    kept_r = kept : chunk(0, 3)
    opened = sum(read_r, kept_r)
    r = opened : sigmoid
    read_z = read : chunk(1, 3)
    kept_z = kept : chunk(1, 3)
    held = sum(read_z, kept_z)
    z = held : sigmoid
    kept_n = kept : chunk(2, 3)
    let = product(r, kept_n)
    node n
    read -> n : chunk(2, 3)
    let -> n
    new = n : tanh
    rest = z : complement
    replaced = product(rest, new)
    stays = product(z, before)
    hidden = sum(replaced, stays)
}
network net(sequence: [3, 5]; width = 4, steps = 5) -> (states: [4, 5]) {
    start = sequence : zeros(width)
    h = scan gru(sequence; width = width) from start
    h -> states
}
"""


@pytest.mark.parametrize(("text", "kind"), [(LSTM, nn.LSTM), (GRU, nn.GRU)])
def test_the_language_says_what_torch_has(text: str, kind: type[nn.LSTM | nn.GRU]) -> None:
    graph = graph_of(text)
    emitted = emit_torch(graph, "spec.nas")
    own, other = module_of(emitted).double(), kind(3, 4, batch_first=True).double()
    weights = [other.weight_ih_l0, other.bias_ih_l0, other.weight_hh_l0, other.bias_hh_l0]
    own.load_state_dict(dict(zip(own.state_dict(), weights, strict=True)))
    sequence = torch.randn(2, 3, 5, dtype=torch.float64, requires_grad=True)
    outputs = own(sequence)
    expected, last = other(sequence.transpose(1, 2))
    states = outputs if kind is nn.GRU else outputs[0]
    if kind is nn.LSTM:
        assert torch.allclose(outputs[1], last[1][0], rtol=1e-9, atol=1e-12)
    assert torch.allclose(states, expected.transpose(1, 2), rtol=1e-9, atol=1e-12)
    assert_equal_slopes(states, expected.transpose(1, 2), sequence)
    cost = graph_cost(graph)
    assert cost.parameters == sum(p.numel() for p in other.parameters())
    gates = len(other.weight_ih_l0)
    assert cost.flops == 5 * gates * (3 + 4)
    name = "lstm" if kind is nn.LSTM else "gru"
    assert f"class {name.upper().capitalize()}" in emitted.source
    assert emitted.source.count("self.h(") == 1
    longer = torch.randn(2, 3, 9, dtype=torch.float64)
    assert torch.allclose(scanned(own, longer), other(longer.mT)[0].mT, rtol=1e-9, atol=1e-12)


def scanned(module: nn.Module, sequence: Tensor) -> Tensor:
    outputs = module(sequence)
    return outputs[0] if isinstance(outputs, tuple) else outputs


def test_darts_cell_runs_and_is_exported() -> None:
    small = {"nodes": 3, "steps": 4, "words": 6, "width": 8}
    graph = compile_spec("darts_rnn", small).graph
    plan = schedule(graph)
    modules = [with_known_weights(module_of(emit_torch(graph, "s.nas", p))) for p in (None, plan)]
    inputs, gates = inputs_of(graph), gates_of(graph)
    plain, scheduled = (module(*inputs, gates) for module in modules)
    assert torch.allclose(plain, scheduled, rtol=1e-9, atol=1e-12)
    assert torch.allclose(plain, run_graph(graph, inputs, gates)[0], rtol=1e-9, atol=1e-12)
    # 4 n^2 for what comes in, 2 n^2 for each node, words on both sides.
    assert graph_cost(graph).parameters == (4 + 2 * 3) * 8**2 + 2 * 6 * 8 + 6
    _, member = draw_member(graph, 0)
    module = module_of(emit_torch(member, "s.nas")).eval()
    words = inputs_of(member)[0].float()
    batch = {0: torch.export.Dim.DYNAMIC}
    exported = torch.export.export(module, (words,), dynamic_shapes=(batch,))
    twice = torch.cat([words, words])
    assert torch.allclose(exported.module()(twice), module(twice), atol=1e-6)


def assert_equal_slopes(one: Tensor, other: Tensor, sequence: Tensor) -> None:
    [a], [b] = (torch.autograd.grad((y**2).sum(), sequence) for y in (one, other))
    assert torch.allclose(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("shape", "operation", "message", "remedy"),
    [
        (
            "[4, 8, 8]",
            "pick(1)",
            "`pick` needs a series [channels, length], got [4, 8, 8]",
            "leave it out for an image",
        ),
        (
            "[4, 8]",
            "pick(8)",
            "`pick` is asked for position 8 of [4, 8]",
            "positions count from 0 to 7",
        ),
        (
            "[8]",
            "series(3)",
            "`series` cannot make 3 equal parts of 8 channels",
            "write `length = 1`: it divides them",
        ),
        (
            "[4, 8]",
            "series(3)",
            "`series` needs a vector [features], got [4, 8]",
            "leave it out for a map",
        ),
        (
            "[8]",
            "highway",
            "`highway` cannot make 3 equal parts of 8 channels",
            "give it a multiple of 3",
        ),
    ],
)
def test_what_is_refused(shape: str, operation: str, message: str, remedy: str) -> None:
    [found] = refused(f"network n(x: {shape}) -> (y: {shape}) {{ x -> y : {operation} }}")
    assert (found.code, found.message, found.help) == ("D301", message, remedy)
