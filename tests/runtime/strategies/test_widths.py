"""The channels of a supernet that has lost operations."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from support import graph_of

from bayesnas.compiler.graph.model import Graph
from bayesnas.compiler.slices.survival import surviving
from bayesnas.compiler.space.members import prune_to
from bayesnas.runtime.network.modules import build
from bayesnas.runtime.strategies.widths.channels import Channels
from bayesnas.runtime.strategies.widths.decisions import _late
from bayesnas.runtime.weights.choice import Limits, Ranking
from bayesnas.runtime.weights.reconstruction import Reconstruction
from bayesnas.runtime.weights.subject import reading_sums

JOINED = """\
network net(x: [4, 8, 8]) -> (y: [2]) {
    node h, g
    a = x : conv(1, 3)
    a ~> h : conv(3, 8) | conv(1, 8)
    x ~> g : conv(3, 6) | conv(1, 6)
    c = concat(h, g, a)
    c -> y : conv(1, 4) >> global_avg_pool >> linear(2)
}
"""


def channels_of(graph: Graph) -> tuple[torch.nn.Module, Channels]:
    """A supernet, and its channels."""
    module, emitted = build(graph, "net.nas", 0)
    net = SimpleNamespace(graph=graph, emitted=emitted, module=module, after_step=None)
    return module.eval(), Channels(net, torch.Generator(), None)  # type: ignore[arg-type]


@pytest.mark.parametrize("lost", ["->h", "->g"])
def test_what_reads_a_concatenation_that_lost_a_part_says_which_channels_matter(
    lost: str,
) -> None:
    graph = graph_of(JOINED)
    module, channels = channels_of(graph)
    left = frozenset(group for group in graph.groups() if lost not in group)
    view = channels.view(left)
    [(name, weight)] = [
        (n, w) for n, w in module.named_parameters() if w.dim() == 4 and w.shape[1] == 17
    ]
    values = {name: weight.detach().abs()}
    columns = values[name].sum(dim=(0, 2, 3))
    at, size, rest = {"->h": (8, 6, range(8)), "->g": (0, 8, range(8, 14))}[lost]
    [part] = [s for s in view.subject.strands if s.size == size]
    torch.testing.assert_close(reading_sums(view.subject, values)[name][part], columns[at:][:size])

    before = weight.detach().clone()
    gates = torch.tensor([float(e.searched_gate.group in left) for e in graph.searched()])
    images = torch.randn(64, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    layers = Reconstruction.of(module, view.subject.sliced, [images], gates)
    kept = {s: range(s.size) for s in view.subject.strands} | {part: [1, 4]}
    channels.cut(view, kept, layers)
    gone = [at + k for k in range(size) if k not in (1, 4)]
    assert not weight[:, gone].any()
    assert weight[:, [at + 1, at + 4]].all()
    assert torch.equal(weight[:, rest], before[:, rest])  # what is lost takes nothing over
    assert channels.kept(view)[part] == [1, 4]


GAPS = """\
network net(x: [4, 8, 8]) -> (y: [2]) {
    node g
    a = x : conv(3, 8)
    b = x : conv(3, 8)
    x ~> g : conv(3, 6) | conv(1, 6)
    c = concat(a, g, b)
    c -> y : conv(3) >> bn >> relu >> conv(1, 4) >> global_avg_pool >> linear(2)
}
"""


def test_a_gap_in_what_is_made_leaves_its_reader_a_say() -> None:
    """Of what is made with a gap nothing says anything; it stays, where there is no budget."""
    graph = graph_of(GAPS)
    module, channels = channels_of(graph)
    view = channels.view(frozenset(group for group in graph.groups() if "->g" not in group))
    weights = dict(module.named_parameters())
    [name] = [n for n, w in weights.items() if w.shape == (22, 22, 3, 3)]
    columns = weights[name].detach().abs().sum(dim=(0, 2, 3))
    rows = reading_sums(view.subject, {name: weights[name].detach().abs()})[name]
    assert sorted(s.size for s in rows) == [8, 8]
    first, last = (s for s in view.subject.strands if s in rows)
    torch.testing.assert_close(rows[first], columns[:8])
    torch.testing.assert_close(rows[last], columns[14:])
    read = {s for row in reading_sums(view.subject, weights).values() for s in row}
    assert [s.size for s in view.subject.strands if s not in read] == [16]


GROUPED = """\
network net(x: [4, 8, 8]) -> (y: [2]) {
    node g, h
    x ~> g : conv(3, 4)
    x ~> h : conv(3, 4)
    c = concat(g, h)
    c -> y : conv(3, 8, groups = 4) >> relu >> conv(1, 4) >> global_avg_pool >> linear(2)
}
"""


def test_groups_of_one_channel_where_they_had_more() -> None:
    """They are others: the first weights of each group stand for them."""
    graph = graph_of(GROUPED)
    left = frozenset(group for group in graph.groups() if "->g" not in group)
    places = surviving(graph, prune_to(graph, left))
    [(rows, columns, *_)] = [
        axes for (place, _), axes in places.items() if place[0].startswith("c->y") and not place[1]
    ]
    assert [*rows] == [*range(8)]
    assert [*columns] == [0]
    _, channels = channels_of(graph)
    assert channels.view(left).subject.strands


def test_channels_that_come_back_last_have_scores_even_of_a_strand_without_living_ones() -> None:
    graph = graph_of(JOINED)
    _, channels = channels_of(graph)
    strand = channels.view(frozenset(graph.groups())).subject.strands[0]
    late = _late(torch.zeros(0, dtype=torch.float64), strand.size)
    assert all(math.isfinite(score) for score in late.tolist())
    assert len(Ranking({strand: late}, Limits()).kept(0)[strand]) == 1
