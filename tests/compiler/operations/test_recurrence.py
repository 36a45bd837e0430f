"""Recurrent networks: steps that are calls of one shared motif, against PyTorch's in float64."""

from __future__ import annotations

import pytest
import torch
from living import gates_of, inputs_of, module_of, with_known_weights
from reference import run_graph
from support import compile_text, graph_of, refused
from torch import Tensor, nn

from bayesnas.compiler.artifacts.derive import derive_spec
from bayesnas.compiler.emit.pytorch import emit_torch
from bayesnas.compiler.emit.schedule import schedule
from bayesnas.compiler.graph.cost import graph_cost
from bayesnas.compiler.graph.prune import prune_graph
from bayesnas.compiler.passes.shapes import infer_shapes
from bayesnas.compiler.pipeline import compile_spec
from bayesnas.compiler.space.draws import draw_member
from bayesnas.dsl.diagnostics import DiagnosticError
from bayesnas.dsl.printing.printer import print_spec
from benchmarks.tasks import LSTM as LSTM_MOTIF

LSTM = (
    LSTM_MOTIF
    + """
network net(sequence: [3, 5]; width = 4, steps = 5) -> (states: [4, 5], last: [4]) {
    start = sequence : zeros(width)
    h, c = scan lstm(sequence; width = width) from start, start
    h -> states
    c -> last : pick(steps - 1)
}
"""
)
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


def test_a_matrix_drops_the_same_weights_at_all_steps_of_a_pass() -> None:
    """The recurrent weights of an AWD-LSTM (Merity et al. 2018)."""
    text = LSTM.replace("before : linear(4 * width)", "before : matrix(4 * width, drop = 50)")
    module = module_of(emit_torch(graph_of(text), "spec.nas")).double()
    own = dict(module.named_parameters())
    sequence, seen = torch.randn(2, 3, 5, dtype=torch.float64), []
    for training in (True, True, False):
        states, _ = module.train(training)(sequence)
        other = nn.LSTM(3, 4, batch_first=True).double()
        mask = module.h.kept.kept if training else 1
        with torch.no_grad():
            other.weight_ih_l0.copy_(own["h.read.weight"])
            other.bias_ih_l0.copy_(own["h.read.bias"])
            other.weight_hh_l0.copy_(own["h.kept.weight"] * mask)
            other.bias_hh_l0.zero_()
        assert torch.allclose(states, other(sequence.mT)[0].mT, rtol=1e-9, atol=1e-12)
        seen.append(mask)
    assert set(seen[0].unique().tolist()) == {0.0, 2.0}
    assert not torch.equal(seen[0], seen[1])
    compiled = torch.compile(module.train(), fullgraph=True, backend="eager")
    compiled(sequence)
    assert not torch.equal(module.h.kept.kept, seen[1])


def test_darts_cell_runs_and_is_exported() -> None:
    small = {"nodes": 3, "steps": 4, "words": 6, "width": 8}
    graph = compile_spec("darts_rnn", small).graph
    plan = schedule(graph)
    modules = [with_known_weights(module_of(emit_torch(graph, "s.nas", p))) for p in (None, plan)]
    inputs, gates = inputs_of(graph), gates_of(graph)
    plain, scheduled = (module(*inputs, gates) for module in modules)
    assert torch.allclose(plain, scheduled, rtol=1e-9, atol=1e-12)
    assert torch.allclose(plain, run_graph(graph, inputs, gates)[0], rtol=1e-9, atol=1e-12)
    # 4 n^2 for what comes in, 2 n^2 for each node, words on both sides alike.
    assert graph_cost(graph).parameters == (4 + 2 * 3) * 8**2 + 6 * 8 + 6
    assert len(list(modules[0].parameters())) == 6
    assert graph_cost(graph).flops == 4 * (4 + 2 * (1 + 2 + 3)) * 8**2 + 4 * 6 * 8
    _, member = draw_member(graph, 0)
    module = module_of(emit_torch(member, "s.nas")).eval()
    words = inputs_of(member)[0].float()
    batch = {0: torch.export.Dim.DYNAMIC}
    assert torch.allclose(
        torch.compile(module, fullgraph=True, backend="eager")(words), module(words)
    )
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
            "[3, 8, 8]",
            "matrix(3)",
            "`matrix` needs a vector or a series, got [3, 8, 8]",
            "write `conv(1, WIDTH)` for an image",
        ),
        (
            "[8]",
            "series(3)",
            "`series` cannot make 3 equal parts of 8 channels",
            "write `length = 2`: it divides them",
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


STEP = """
motif step(x, before; width) -> (after) {
    both = concat(x, before)
    node h
    both ~> h : linear(width) >> tanh | linear(width)
    {both} ~> h : linear(width) >> sigmoid
    after = sum(h)
}
"""
SCANNED = (
    STEP
    + """
network net(sequence: [3, 4]) -> (states: [5, 4]) {
    start = sequence : zeros(5)
    states = scan step(sequence; width = 5) from start
}
"""
)
WRITTEN_OUT = (
    STEP
    + """
network net(sequence: [3, 4]) -> (states: [5, 4]) {
    node x[4], h[5]
    h[0] = sequence : zeros(5)
    for t in 0..4 {
        x[t] = sequence : pick(t)
        h[t + 1] = shared step(x[t], h[t]; width = 5)
    }
    all = concat(h[1..])
    all -> states : series(4)
}
"""
)


def test_a_scan_is_its_steps_written_out_with_one_gate_for_all() -> None:
    graphs = [graph_of(text) for text in (SCANNED, WRITTEN_OUT)]
    assert graph_cost(graphs[0]) == graph_cost(graphs[1])
    sequence = torch.randn(2, 3, 4, dtype=torch.float64)
    gates = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64, requires_grad=True)
    slopes = []
    for graph, given in zip(graphs, (gates, gates.repeat(4)), strict=True):
        plan = schedule(graph)
        module = with_known_weights(module_of(emit_torch(graph, "s.nas", plan)))
        [slope] = torch.autograd.grad((module(sequence, given) ** 2).sum(), gates)
        slopes.append(slope)
    assert torch.allclose(slopes[0], slopes[1], rtol=1e-9, atol=1e-12)


CARRIED = """
motif step(x, a, b; width) -> (next_a, next_b, shown) {
    node u, v
    x ~> u : linear(width)
    a ~> u : linear(width) >> tanh
    b ~> u : skip
    {u, b} ~> v : linear(width) | skip
    shown = sum(u)
    next_a = sum(u)
    next_b = sum(v)
}
network net(sequence: [3, 4]) -> (states: [5, 4]) {
    start = sequence : zeros(5)
    p, q, r = scan flipped(sequence; width = 5) from start, start
    states = sum(p, q)
}
motif flipped(x, a, b; width) -> (shown, next_a, next_b) {
    n, m, s = step(x, a, b; width = width)
    shown = sum(s)
    next_a = sum(n)
    next_b = sum(m)
}
"""


def test_a_state_that_nothing_reads_is_carried_no_more() -> None:
    compiled = compile_text(CARRIED)
    graph = compiled.graph
    gone = [e.id for e in graph.searched() if e.id.startswith("p.n.a->p.n.u")]
    assert gone
    pruned = infer_shapes(prune_graph(graph, gone))
    assert pruned.instances["p"].states == (("p.b", "p.next_b"),)
    text = print_spec(derive_spec(compiled, pruned))
    assert "(shown, next_a, next_b)" in text
    assert "from start\n" in text
    again = graph_of(text)
    plain = [with_known_weights(module_of(emit_torch(g, "s.nas"))) for g in (pruned, again)]
    sequence = torch.randn(2, 3, 4, dtype=torch.float64)
    ones = torch.ones(len(pruned.searched()), dtype=torch.float64)
    assert torch.allclose(plain[0](sequence, ones), plain[1](sequence))


def test_a_scan_needs_a_series_and_a_state() -> None:
    compiled = compile_text(CARRIED)
    for port in ("p.n.x->p.n.u", "p.n.u->"):
        gone = [e.id for e in compiled.graph.searched() if e.id.startswith(port)]
        if port == "p.n.u->":  # neither state hears of what the other holds, and none is read
            gone += [e.id for e in compiled.graph.searched() if ".a->" in e.id or ".b->" in e.id]
        with pytest.raises(DiagnosticError) as raised:
            prune_graph(compiled.graph, gone)
        assert raised.value.diagnostics[0].code == "D601"


@pytest.mark.parametrize(
    ("call", "code", "message", "remedy"),
    [
        (
            "scan turn(image) from zero",
            "D305",
            "a scan reads series or vectors, and [3, 4, 4] comes to `x` of `turn`",
            "make a series of it, or leave the scan out",
        ),
        (
            "scan turn(zero) from zero",
            "D305",
            "a scan of `turn` reads no series",
            "give it a series [features, length] between its parentheses",
        ),
        (
            "scan turn(series) from series",
            "D305",
            "a state is a vector [features], and [5, 7] comes to `h` of `turn`",
            "begin with a vector: `series : zeros(width)`",
        ),
        (
            "scan turn(series) from wide",
            "D305",
            "the state `h` of `turn` begins as [6] and comes back as [5] by `y`",
            "begin with [5], or end with [6]",
        ),
        (
            "scan two(series, short) from zero",
            "D305",
            "a scan of `two` reads series of 7 and of 3 positions",
            "give it series of one length",
        ),
        (
            "scan turn(series[0..1]) from zero",
            "D209",
            "`series` is a single node and takes no index",
            "declare a list with `node series[n]`, or leave the index out",
        ),
        ("scan turn(series) from zero, zero", "D212", "`turn` has 2 inputs, 3 given", "name 2"),
        (
            "scan two(series) from zero, zero",
            "D238",
            "a scan of `two` begins with 2 states, and it has 1 output",
            "give `two` an output for each: the last ones are the next states",
        ),
    ],
)
def test_scans_that_are_refused(call: str, code: str, message: str, remedy: str) -> None:
    [found] = refused(f"""
motif turn(x, h) -> (y) {{
    z = concat(x, h)
    z -> y : linear(5)
}}
motif two(x, m, h) -> (y) {{
    z = concat(x, m, h)
    z -> y : linear(5)
}}
network net(series: [5, 7], short: [5, 3], image: [3, 4, 4]) -> (y: [5]) {{
    zero = series : zeros(5)
    wide = series : zeros(6)
    h = {call}
    h -> y : pick(0)
    {{series, short}} -> y : global_avg_pool
    image -> y : global_avg_pool >> linear(5)
    {{zero, wide}} -> y : linear(5)
}}""")
    assert (found.code, found.message, found.help) == (code, message, remedy)
