"""What lies before and behind groups of weights, against loops over single weights."""

from __future__ import annotations

from collections import defaultdict
from math import inf

import pytest
import torch
from support import compile_text

from bayesnas.compiler.slices.groups import coupled_slices
from bayesnas.compiler.slices.ties import Strand
from bayesnas.runtime.network.modules import build
from bayesnas.runtime.weights.families import MASKED, Pieces, Prices, pieces_of
from bayesnas.runtime.weights.neighbours import PieceNeighbours, StrandNeighbours, both
from bayesnas.runtime.weights.removal import sliced_tensors, state_paths
from bayesnas.runtime.weights.subject import Subject

# The image and the classes are nobody's.
NET = """\
network net(image: [2, 4, 4]) -> (logits: [3]) {
    a = image : conv(3, 4, bias = 1) >> bn >> relu
    b = a : conv(1, 3)
    c = concat(a, b, image)
    d = c : conv(3, 5, stride = 2)
    d -> logits : flatten >> linear(3)
}
"""
A, B, D = ([f"{name}{k}" for k in range(size)] for name, size in (("a", 4), ("b", 3), ("d", 5)))
# Of each weight, in the order of the network: the channels along its two first axes.
MADE = (A, B, D, [None] * 3)
READ = ([None] * 2, A, [*A, *B, None, None], [name for name in D for _ in range(4)])


def pieces(family: str, keep: tuple[str, ...] = ()) -> Pieces:
    compiled = compile_text(NET)
    slices = coupled_slices(compiled.graph)
    module, _ = build(compiled.graph, "net.nas", 0)
    prices = Prices.of(compiled.graph, dict(module.named_parameters()), state_paths(compiled))
    subject = Subject(module, (*sliced_tensors(compiled, slices),), slices.removable)
    return pieces_of(family, subject, prices.uses, keep)


def wires(found: Pieces) -> tuple[list[set[str | None]], list[set[str | None]]]:
    """The channels that each group makes, and those that it reads; None is nobody's."""
    made, read = (defaultdict[int, set[str | None]](set) for _ in range(2))
    names = [n for n, w in found.module.named_parameters() if w.dim() > 1]
    start = 0
    for name, makes, reads in zip(names, MADE, READ, strict=True):
        if name in found.numbers:
            strand, groups = found.numbers[name]
            for out, row in enumerate(groups.flatten(2) if groups.dim() > 2 else groups):
                for into, some in enumerate(row):
                    for group in some.flatten().tolist():
                        made[start + group].add(makes[out])
                        read[start + group].add(reads[into])
            start += strand.size
    return [made[k] for k in range(start)], [read[k] for k in range(start)]


def total(
    s: list[float], channels: set[str | None], ends: list[set[str | None]], others: set[str]
) -> float:
    """Of s over the groups at the other ends of some channels, each channel by itself."""
    result = 0.0
    for channel in channels:
        there = [s[k] for k, end in enumerate(ends) if channel in end]
        alone = channel is None or channel in others or not there
        result += inf if alone else sum(there)
    return result


@pytest.mark.parametrize("kept", ["", "b"])
@pytest.mark.parametrize("family", MASKED)
def test_of_groups_within_tensors(family: str, kept: str) -> None:
    """Where a layer is kept, nothing is known of its weights: what it makes and reads is alive."""
    found = pieces(family, (kept,) if kept else ())
    assert len(found.numbers) == (3 if kept else 4)
    made, read = wires(found)
    s = torch.rand(len(made), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    s[::3] = 0
    neighbours, values = PieceNeighbours.of(found), s.tolist()
    given, taken = ({*B}, {*A}) if kept else (set[str](), set[str]())
    for which, (here, there), others in (
        (neighbours.before, (read, made), given),
        (neighbours.behind, (made, read), taken),
    ):
        expected = [total(values, channels, there, others) for channels in here]
        assert which(s).tolist() == pytest.approx(expected)
    assert any(x < inf for x in neighbours.before(s).tolist())


def test_what_reads_only_what_is_dead_has_no_gamma() -> None:
    """All that makes a1 is off: of what reads a1 nothing is left, by itself or in (8)."""
    found = pieces("kernel")
    made, read = wires(found)
    s = torch.ones(len(made), dtype=torch.float64)
    s[[k for k, channels in enumerate(made) if channels == {"a1"}]] = 0
    gamma = both(s, PieceNeighbours.of(found).before(s)).tolist()
    readers = [k for k, channels in enumerate(read) if channels == {"a1"}]
    assert len(readers) == 3 + 5
    assert [gamma[k] for k in readers] == [0] * 8
    others = [k for k in range(len(made)) if k not in readers and s[k]]
    assert all(gamma[k] > 0 for k in others)


def test_of_channels() -> None:
    """Sums over whole strands; one that is no subject's has no end."""
    first, second, third, image = Strand(2), Strand(3), Strand(1), Strand(1)
    subject = Subject(torch.nn.Linear(1, 1).double(), (), (first, second, third))
    sources = {image: (), first: (image,), second: (first,), third: (first, second)}
    neighbours = StrandNeighbours(subject, sources)
    s = torch.tensor([1.0, 2.0, 0.5, 0.0, 1.5, 4.0], dtype=torch.float64)
    assert neighbours.before(s).tolist() == [inf, inf, 3, 3, 3, 5]
    assert neighbours.behind(s).tolist() == [6, 6, 4, 4, 4, inf]
    assert StrandNeighbours(subject).before(s).tolist() == [inf] * 6
    unknown = StrandNeighbours(subject, sources, {second})
    assert unknown.before(s).tolist() == [inf, inf, 3, 3, 3, inf]


def test_both_are_on_or_nothing_is() -> None:
    s, others = torch.tensor([2.0, 2.0, 0.0, 3.0]), torch.tensor([2.0, inf, 1.0, 0.0])
    assert both(s, others).tolist() == [1, 2, 0, 0]
