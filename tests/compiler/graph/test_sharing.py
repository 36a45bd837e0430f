"""Shared instances: one module of several calls, from the text to what is left of it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from living import found_network, inputs_of, module_of
from strategies import spaces
from support import assert_refused, compile_text, graph_of, network, refused
from torch import Tensor, nn

from bayesnas.compiler.artifacts.derive import derive_spec
from bayesnas.compiler.artifacts.graph_file import graph_from_json, graph_to_json
from bayesnas.compiler.emit.pytorch import emit_torch
from bayesnas.compiler.emit.schedule import schedule
from bayesnas.compiler.graph.cost import graph_cost
from bayesnas.compiler.graph.prune import prune_graph
from bayesnas.compiler.graph.sharing import owner_edges, owners, uneven
from bayesnas.compiler.slices.groups import coupled_slices
from bayesnas.dsl.diagnostics import DiagnosticError
from bayesnas.dsl.printing.printer import print_spec

TOWER = """
motif tower(a; width = 6) -> (b) {
    h = a : conv(3, width) >> bn >> relu
    h ~> b : conv(3, 4) >> bn | conv(1, 4)
}
"""
TWO = (
    TOWER
    + """
network net(x: [4, 8, 8], z: [4, 6, 6]) -> (y: [4], v: [4]) {
    a = shared tower(x)
    b = shared tower(z)
    c = tower(z)
    d = sum(b, c)
    a -> y : global_avg_pool
    d -> v : global_avg_pool
}
"""
)


class Twice(nn.Module):
    """The same by hand, each gate at 1."""

    def __init__(self) -> None:
        super().__init__()
        self.tower, self.c = Tower(), Tower()

    def forward(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """x, z: [N, 4, H, W]."""
        a, b = self.tower(x), self.tower(z)
        return a.mean((2, 3)), (b + self.c(z)).mean((2, 3))


class Tower(nn.Module):
    """One of its towers."""

    def __init__(self) -> None:
        super().__init__()
        self.h = nn.Sequential(nn.Conv2d(4, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6))
        self.big = nn.Sequential(nn.Conv2d(6, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4))
        self.small = nn.Conv2d(6, 4, 1, bias=False)

    def forward(self, z: Tensor) -> Tensor:
        """z: [N, 4, H, W]."""
        h = self.h(z).relu()
        result: Tensor = self.big(h) + self.small(h)
        return result


@pytest.mark.parametrize("scheduled", [False, True])
def test_it_is_one_module_called_twice(scheduled: bool) -> None:
    graph = graph_of(TWO)
    emitted = emit_torch(graph, "spec.nas", schedule(graph) if scheduled else None)
    assert emitted.source.count("= Tower()") == 2
    assert "a = self.tower(x, gates[:, 0:2])" in emitted.source
    assert "b = self.tower(z, gates[:, 2:4])" in emitted.source
    own, other = module_of(emitted).double(), Twice().double()
    own.load_state_dict(dict(zip(own.state_dict(), other.state_dict().values(), strict=True)))
    inputs = inputs_of(graph)
    for one, two in zip(own(*inputs), other(*inputs), strict=True):
        assert torch.allclose(one, two)


def test_its_parameters_count_once_and_its_flops_at_each_call() -> None:
    cost = graph_cost(graph_of(TWO))
    weights = 9 * 4 * 6 + 9 * 6 * 4 + 6 * 4
    assert cost.parameters == sum(p.numel() for p in Twice().parameters())
    assert cost.flops == weights * (64 + 2 * 36)


def test_its_calls_have_one_architecture() -> None:
    groups = graph_of(TWO).groups()
    assert {len(edges) for name, edges in groups.items() if "shared" in name} == {2}
    assert len(groups) == 4


def test_its_channels_go_together() -> None:
    sizes = [strand.size for strand in coupled_slices(graph_of(TWO)).removable]
    assert sizes == [6, 6]  # those inside the module, and inside the tower of its own


def test_owners_are_the_first_calls_also_of_what_lies_inside() -> None:
    text = (
        TOWER
        + """
    motif pair(a) -> (c) { b = shared tower(a)\nd = shared tower(b)\ne = tower(d)\nc = sum(d, e) }
    network net(x: [4, 8, 8]) -> (y: [4, 8, 8]) { p = shared pair(x)\ny = shared pair(p) }
    """
    )
    own = owners(graph_of(text))
    assert {path for path, owner in own.items() if path == owner} == {"", "p", "p.b", "p.e"}
    assert own["y.d"] == own["y.b"] == own["p.d"] == "p.b"
    assert own["y.e"] == "p.e"


def test_a_chain_of_it_is_a_loop_over_one_module() -> None:
    text = network("body = shared chain tower(x) times 5\ny = sum(body)") + TOWER
    source = emit_torch(graph_of(text), "spec.nas").source
    assert "for tower_gates in gates.split(2, dim=1):\n            body = self.tower(body" in source
    assert graph_cost(graph_of(text)).parameters == graph_cost(graph_of(TWO)).parameters // 2


def test_what_is_left_is_still_one_module() -> None:
    compiled = compile_text(TWO)
    removed = [e.id for e in compiled.graph.searched() if e.operation.name == "conv_bn"]
    text = print_spec(derive_spec(compiled, prune_graph(compiled.graph, removed)))
    assert text.count("shared tower(") == 2
    left = graph_of(text)
    assert graph_cost(left).parameters == 2 * (9 * 4 * 6 + 2 * 6 + 6 * 4)


def test_what_goes_from_one_call_goes_from_all() -> None:
    compiled = compile_text(TWO)
    [first] = [e for e in compiled.graph.searched() if e.id == "a.h->a.b:conv_bn"]
    pruned = prune_graph(compiled.graph, [first.id])
    assert [e.id for e in pruned.searched()] == [
        "a.h->a.b:conv_1", "b.h->b.b:conv_1", "c.h->c.b:conv_bn", "c.h->c.b:conv_1",
    ]  # fmt: skip


def test_a_chain_that_is_written_out_stays_one_module() -> None:
    text = (
        network("""
        body = shared chain step(x) times 3
        y = sum(body[0])
        body[2] ~> y : conv(1) | skip
    """)
        + "motif step(a) -> (b) { a -> b : conv(3) }"
    )
    compiled = compile_text(text)
    pruned = prune_graph(compiled.graph, [e.id for e in compiled.graph.searched()])
    left = print_spec(derive_spec(compiled, pruned))
    assert "body[0] = shared step(x)" in left
    assert graph_cost(graph_of(left)).parameters == 9 * 4 * 4


@given(spaces())
@settings(max_examples=12)
def test_any_network_that_is_found_is_what_its_spec_says(text: str) -> None:
    space = compile_text(text)
    found = found_network(space)
    for graph in (space.graph, found.graph):
        assert not uneven(graph)
        own = owner_edges(graph)
        assert {own[owner] for owner in own.values()} == set(own.values())
    module = module_of(emit_torch(found.graph, "spec.nas"))
    assert graph_cost(found.graph).parameters == sum(p.numel() for p in module.parameters())


# ------------------------------------------------------------------------------ what is refused


def test_other_numbers_are_refused() -> None:
    text = TOWER + network("a = shared tower(x)\n§y = shared tower(a; width = 4)")
    found = assert_refused(text, "D229", "shared instances of `tower` differ: `width` is 6 and 4")
    assert found.help == "give them the same, or write `tied`: then each has weights of its own"


def test_other_motifs_are_refused() -> None:
    text = (
        TOWER
        + """
    motif plain(a) -> (b) { a -> b : relu }
    motif outer(a; motif inner) -> (b) { b = inner(a) }
    """
    )
    body = "a = shared outer(x; inner = tower)\n§y = shared outer(a; inner = plain)"
    message = "shared instances of `outer` differ: `inner` is `tower` and `plain`"
    assert_refused(text + network(body), "D229", message)


def test_a_chain_that_reduces_has_no_equal_links() -> None:
    text = (
        "motif cell(a; width, stride = 1) -> (b) { a -> b : conv(3, width, stride) }\n"
        + network("§body = shared chain cell(x; width = 4) times 3 reduce at 1\ny = sum(body)")
    )
    assert_refused(text, "D229", "shared instances of `cell` differ: `width` is 4 and 8")


def test_other_channels_are_refused() -> None:
    text = """
    motif wide(a) -> (b) { a -> b : conv(3, 6) }
    network net(x: [4, 8, 8]) -> (y: [6, 8, 8]) { a = shared wide(x)\ny = shared wide(a) }
    """
    [found] = refused(text)
    message = "shared instances of `wide` cannot be one module: `conv(3, width=6)` differs"
    assert (found.code, found.message) == ("D304", message)
    assert found.notes == ("[4, 8, 8] comes to `a.a`, and [6, 8, 8] comes to `y.a`",)


def test_a_graph_whose_calls_differ_is_refused() -> None:
    text = graph_to_json(graph_of(TWO))
    assert graph_to_json(graph_from_json(text, "graph.json")[0]) == text
    broken = text.replace('"path": "c"', '"shared": true, "path": "c"', 1)
    assert broken != text
    with pytest.raises(DiagnosticError) as caught:
        graph_from_json(broken, "graph.json")
    assert "calls of a shared module are alike" in caught.value.diagnostics[0].notes[0]
