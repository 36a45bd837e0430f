"""Ties of whole rows of channels against ties of single ones."""

from __future__ import annotations

from itertools import combinations, pairwise

import networkx as nx
from hypothesis import given
from hypothesis import strategies as st

from bayesnas.compiler.slices.ties import Channels, Run, Strand, fix, resolved, tie

Single = tuple[int, int]  # a strand by number, and one of its channels


@st.composite
def ties(draw: st.DrawFn) -> tuple[list[Strand], list[tuple[Channels, Channels]]]:
    """Strands, and pairs of tensors of as many channels that meet."""
    strands: list[Strand] = []

    def tensor(length: int) -> Channels:
        runs: list[Run] = []
        while length:
            fitting = [s for s in strands if s.size <= length]
            old = draw(st.sampled_from([None, *fitting]))
            strand = old or Strand(draw(st.integers(1, length)))
            if old is None:
                strands.append(strand)
            most = length // strand.size
            runs.append(Run(strand, draw(st.sampled_from([1, most]))))
            length -= len(runs[-1])
        return tuple(runs)

    lengths = draw(st.lists(st.integers(1, 12), min_size=1, max_size=5))
    return strands, [(tensor(length), tensor(length)) for length in lengths]


def places(channels: Channels, numbers: dict[Strand, int]) -> list[Single]:
    """Each place of a tensor by itself."""
    return [
        (numbers[run.strand], k)
        for run in channels
        for k in range(run.strand.size)
        for _ in range(run.stretch)
    ]


@given(ties())
def test_what_meets_is_one(drawn: tuple[list[Strand], list[tuple[Channels, Channels]]]) -> None:
    strands, pairs = drawn
    numbers = {strand: n for n, strand in enumerate(strands)}
    singles: nx.Graph[Single] = nx.Graph()
    singles.add_nodes_from((n, k) for strand, n in numbers.items() for k in range(strand.size))
    for one, other in pairs:
        singles.add_edges_from(zip(places(one, numbers), places(other, numbers), strict=True))
    together = {
        single: n for n, part in enumerate(nx.connected_components(singles)) for single in part
    }
    for one, other in pairs:
        tie(one, other)
    became = {}
    for strand, n in numbers.items():
        row = [
            (run.strand, k)
            for run in resolved([Run(strand)])
            for k in range(run.strand.size)
            for _ in range(run.stretch)
        ]
        assert len(row) == strand.size
        became |= {(n, k): one for k, one in enumerate(row)}
    for one, other in combinations(became, 2):
        same = became[one] == became[other]
        stays = became[one][0].fixed and became[other][0].fixed
        assert same == (together[one] == together[other]) or stays


def test_a_concatenation_is_tied_part_by_part() -> None:
    a, b, whole = Strand(3), Strand(2), Strand(5)
    tie((Run(whole),), (Run(a), Run(b)))
    first, second = resolved([Run(whole)])
    assert (first.strand.size, second.strand.size) == (3, 2)
    assert (resolved([Run(a)]), resolved([Run(b)])) == ((first,), (second,))


def test_features_of_a_flattened_map_go_together() -> None:
    channels, features = Strand(3), Strand(12)
    tie((Run(channels, 4),), (Run(features),))
    assert resolved([Run(features)]) == (Run(channels, 4),)


def test_what_covers_places_of_other_sizes_goes_by_their_common_multiple() -> None:
    one, other = Strand(6), Strand(4)
    tie((Run(one, 2),), (Run(other, 3),))
    [run] = resolved([Run(one)])
    assert (run.strand.size, run.stretch) == (2, 3)
    assert resolved([Run(other)]) == (Run(run.strand, 2),)


def test_what_stays_keeps_all_it_is_tied_to() -> None:
    port, inner, rest = Strand(2), Strand(5), Strand(3)
    fix([Run(port)], "they come in as `x`")
    tie((Run(inner),), (Run(port), Run(rest)))
    first, second = resolved([Run(inner)])
    assert (first.strand.fixed, second.strand.fixed) == ("they come in as `x`", "")


def test_channels_that_cannot_be_told_apart_stay() -> None:
    one, other, more = Strand(2), Strand(3), Strand(3)
    tie((Run(one, 3), Run(more)), (Run(other, 2), Run(Strand(3))))
    assert not one.fixed
    short, wide = Strand(4), Strand(2)
    tie((Run(short), Run(Strand(2))), (Run(wide, 3),))
    assert "several sizes" in resolved([Run(short)])[0].strand.fixed


def test_a_row_of_ties_as_long_as_a_network_is_deep() -> None:
    chain = [Strand(4) for _ in range(20_000)]
    for one, other in pairwise(chain):
        tie((Run(other),), (Run(one),))
    assert len({resolved([Run(strand)]) for strand in chain}) == 1
    parts, whole = [Strand(1) for _ in range(5_000)], Strand(5_000)
    tie((Run(whole),), tuple(map(Run, parts)))
    assert resolved([Run(whole)]) == resolved(map(Run, parts))
