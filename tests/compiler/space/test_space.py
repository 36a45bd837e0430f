"""Spaces of members against all their members, whole and narrowed."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from random import Random

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import spaces
from support import assert_refused, graph_of, is_member, network

from bayesnas.compiler.graph.prune import prune_graph
from bayesnas.compiler.space.choices import (
    Member,
    MemberSpace,
    SearchedConnection,
    dropped,
    member_space,
)
from bayesnas.compiler.space.members import Life, dead_groups
from bayesnas.dsl.diagnostics import DiagnosticError

# One connection free, one of two kept, two of three kept.
KINDS = """\
    node h[3]
    x ~> h[0] : conv(1) | conv(3)
    {x, h[0]} ~> h[1] : conv(1) | conv(3) | skip
    {x, h[..2]} ~> h[2] : conv(1) | skip
    retain 1 into h[1]
    retain 2 into h[2]
    y = sum(h)"""


def space_of(body: str) -> MemberSpace:
    return member_space(graph_of(network(body)))


def enumerated(space: MemberSpace) -> list[Member]:
    """The members, by what the words say of them."""
    found = []
    for picks in product(*((None, *c.options) for c in space.connections)):
        kept = [c for c, pick in zip(space.connections, picks, strict=True) if pick]
        if all(_allowed(space, node, kept) for node in {c.target for c in space.connections}):
            found.append(frozenset(pick for pick in picks if pick))
    return found


def _allowed(space: MemberSpace, node: str, kept: list[SearchedConnection]) -> bool:
    arriving = [c for c in space.connections if c.target == node]
    stay = [c for c in kept if c.target == node]
    if node in space.retained:
        return len(stay) == min(space.retained[node], len(arriving))
    return all(c in stay for c in arriving if c.name in space.required)


def takes(space: MemberSpace, member: Member, option: str) -> bool:
    """Whether a member takes a candidate, or drops the connection."""
    lost = (c for c in space.connections if option == dropped(c))
    return option in member or any(not member.intersection(c.options) for c in lost)


def conceivable(space: MemberSpace) -> list[str]:
    """Candidates, and to drop a connection where no `retain` says how many stay."""
    free = [c for c in space.connections if c.target not in space.retained]
    return [*space.candidates(), *map(dropped, free)]


@st.composite
def whole_spaces(draw: st.DrawFn) -> MemberSpace:
    """At most three nodes of at most three connections: a few hundred members at most."""
    connections: list[SearchedConnection] = []
    retained, free = {}, []
    for n in range(draw(st.integers(1, 3))):
        sizes = draw(st.lists(st.integers(1, 3), min_size=1, max_size=3 if n == 0 else 2))
        arriving = [
            SearchedConnection(f"{n}.{k}", f"n{n}", tuple(f"{n}.{k}:{o}" for o in range(size)))
            for k, size in enumerate(sizes)
        ]
        connections += arriving
        kept = draw(st.none() | st.integers(1, 3))
        if kept is None:
            free += [c.name for c in arriving]
        else:
            retained[f"n{n}"] = kept
    required = frozenset(draw(st.lists(st.sampled_from(free)))) if free else frozenset()
    order = draw(st.permutations(connections))
    return MemberSpace(tuple(order), retained, required)


def narrowings(space: MemberSpace, random: Random) -> Iterator[MemberSpace]:
    """The space, and what is left after each removal of an option, in any order, to the end."""
    yield space
    while options := space.options():
        space = space.without(random.choice(options))
        yield space


@st.composite
def drawn_spaces(draw: st.DrawFn) -> MemberSpace:
    """A space from the start, the middle or the end of its narrowing."""
    found = list(narrowings(draw(whole_spaces()), draw(st.randoms(use_true_random=False))))
    return found[draw(st.integers(0, len(found) - 1))]


# ------------------------------------------------------------------------------ members


@given(drawn_spaces())
def test_members_are_counted_listed_and_known(space: MemberSpace) -> None:
    members = list(space.members())
    assert len(members) == len(set(members)) == space.count()
    assert set(members) == set(enumerated(space))
    assert all(is_member(space, member) for member in members)
    changed = {member ^ {option} for member in members for option in space.candidates()}
    assert not any(is_member(space, member) for member in changed - set(members))


@given(drawn_spaces())
def test_the_mean_is_the_share_of_members(space: MemberSpace) -> None:
    members = enumerated(space)
    shares = {o: sum(o in m for m in members) / len(members) for o in space.candidates()}
    assert space.mean() == pytest.approx(shares, rel=1e-12)


@settings(max_examples=8)
@given(spaces())
def test_the_mean_is_what_the_count_loses(text: str) -> None:
    """Spaces of any size: of all members, those without the candidate do not keep it."""
    space = member_space(graph_of(text))
    for option in space.candidates().intersection(space.options()):
        kept = 1 - space.without(option).count() / space.count()
        assert space.mean()[option] == pytest.approx(kept, rel=1e-9)


@given(drawn_spaces(), st.randoms(use_true_random=False))
def test_what_is_drawn_is_a_member(space: MemberSpace, random: Random) -> None:
    members = set(enumerated(space))
    assert all(space.draw(random) in members for _ in range(10))


@pytest.mark.parametrize("seed", range(3))
def test_each_member_is_drawn_as_often(seed: int) -> None:
    """Narrowed at random to a few dozen members; 50 draws each are 50 +- 7, 29 to 71 at 3 sigma."""
    random = Random(seed)
    space = next(s for s in narrowings(space_of(KINDS), random) if s.count() <= 40)
    drawn = [space.draw(random) for _ in range(50 * space.count())]
    counts = {member: drawn.count(member) for member in enumerated(space)}
    assert sum(counts.values()) == len(drawn)
    assert min(counts.values()) >= 29
    assert max(counts.values()) <= 71


@pytest.mark.parametrize("required", [True, False])
def test_a_required_connection_stays(required: bool) -> None:
    space = space_of("    x ~> y : conv(1) | skip\n    x ~> y : conv(3)")
    [first, second] = space.connections
    if required:
        space = evolve(space, required=frozenset({first.name}))
    assert space.count() == (4 if required else 6)
    assert (dropped(first) in space.options()) is not required
    drawn = {space.draw(Random(seed)) for seed in range(60)}
    assert drawn == set(space.members())
    assert any(m.isdisjoint(first.options) for m in drawn) is not required
    assert any(m.isdisjoint(second.options) for m in drawn)


# ------------------------------------------------------------------------------ narrowing


@given(drawn_spaces())
def test_options_are_what_some_members_take_and_some_do_not(space: MemberSpace) -> None:
    members = enumerated(space)
    taken = {o: sum(takes(space, m, o) for m in members) for o in conceivable(space)}
    options = space.options()
    assert len(options) == len(set(options))
    assert set(options) == {o for o, count in taken.items() if 0 < count < len(members)}


@given(drawn_spaces())
def test_without_an_option_are_the_members_that_do_not_take_it(space: MemberSpace) -> None:
    members = enumerated(space)
    for option in space.options():
        left = list(space.without(option).members())
        assert len(left) == len(set(left))
        assert set(left) == {m for m in members if not takes(space, m, option)}


@given(whole_spaces(), st.randoms(use_true_random=False))
def test_the_excess_is_the_length_of_any_way_to_one_member(
    space: MemberSpace, random: Random
) -> None:
    left = list(narrowings(space, random))
    assert [s.excess() for s in left] == list(range(space.excess(), -1, -1))
    assert all(s.count() > 1 for s in left[:-1])
    [member] = left[-1].members()
    assert is_member(space, member)


@given(drawn_spaces(), st.randoms(use_true_random=False))
def test_only_a_member_is_left(space: MemberSpace, random: Random) -> None:
    member = space.draw(random)
    left = space.only(member)
    assert list(left.members()) == [member]
    assert (left.count(), left.excess(), left.options()) == (1, 0, [])
    assert left.mean() == dict.fromkeys(member, 1.0)


@given(drawn_spaces(), st.data())
def test_restricted_are_the_members_inside(space: MemberSpace, data: st.DataObject) -> None:
    """As long as there are any."""
    candidates = sorted(space.candidates())
    some = data.draw(st.lists(st.sampled_from(candidates))) if candidates else []
    kept = space.draw(Random(0)).union(some)
    members = {m for m in enumerated(space) if m <= kept}
    assert set(space.restricted(kept).members()) == members
    assert space.restricted(space.candidates()) == space


@given(drawn_spaces())
def test_restricted_to_nothing_is_one_empty_member(space: MemberSpace) -> None:
    assert list(space.restricted(()).members()) == [frozenset()]


# ------------------------------------------------------------------------------ from graphs


@pytest.mark.parametrize(
    ("body", "members"),
    [
        (KINDS, 3 * (3 + 3) * 3 * 4),
        ("    x ~> y : conv(1) | conv(3)\n    x ~> y : conv(1) | skip", 9),
        ("    y = x : conv(1)", 1),
    ],
)
def test_spaces_of_graphs(body: str, members: int) -> None:
    space = space_of(body)
    assert space.count() == len(enumerated(space)) == members


def test_tied_connections_choose_once() -> None:
    cell = f"motif cell(x) -> (y) {{\n{KINDS}\n}}\n"
    one = space_of(KINDS)
    tied = member_space(
        graph_of(cell + network("    h = tied chain cell(x) times 3\n    y = h : skip"))
    )
    loose = member_space(
        graph_of(cell + network("    h = chain cell(x) times 2\n    y = h : skip"))
    )
    assert tied.count() == one.count()
    assert tied.excess() == one.excess()
    assert sorted(tied.mean().values()) == sorted(one.mean().values())
    assert loose.count() == one.count() ** 2


@settings(max_examples=8)
@given(spaces())
def test_every_group_is_a_candidate_of_one_connection(text: str) -> None:
    graph = graph_of(text)
    space = member_space(graph)
    options = [option for c in space.connections for option in c.options]
    assert sorted(options) == sorted(graph.groups())
    assert len({c.name for c in space.connections}) == len(space.connections)


# ------------------------------------------------------------------------------ limits


def test_too_many_ways_to_retain() -> None:
    text = network("node h[501]\nx -> h\nh ~> y : conv(3) | skip\n§retain 500 into y")
    found = assert_refused(
        text,
        "D224",
        "too many ways to retain 500 of 501 connections",
        lambda spec: member_space(graph_of(spec)),
    )
    assert found.help == "retain fewer, or let fewer searched connections arrive"
    assert found.notes == ("the limit is 250,000 for the product of both",)


@settings(max_examples=settings().max_examples // 4)
@given(spaces(), st.integers(0, 2**32 - 1))
def test_alive_is_what_pruning_leaves(text: str, seed: int) -> None:
    """Whatever is kept, members and others."""
    graph, random = graph_of(text), Random(seed)
    space = member_space(graph)
    groups = sorted(space.candidates())
    member = frozenset(random.sample(groups, random.randint(0, len(groups))))
    removed = [e.id for e in graph.searched() if e.searched_gate.group not in member]
    life = Life(graph, space)
    try:
        rest = prune_graph(graph, removed)
    except DiagnosticError:
        assert not life.alive(member)
    else:
        assert life.alive(member)
        living = {edge.searched_gate.group for edge in rest.searched()}
        assert life.living(member) == living


@pytest.mark.parametrize(
    "text",
    [
        """
        motif cell(x) -> (y) {
            node a, b
            x ~> {a, b} : conv(1) | skip
            m = product()
            {a, b} ~> m : skip | relu
            {m, x} ~> y : skip
        }
        network n(x: [2, 4, 4]) -> (y: [2, 4, 4]) { c = cell(x); c -> y }
        """,
        """
        motif cell(x) -> (y) {
            node h
            x ~> h : conv(1) | skip
            {x, h} ~> y : conv(1) | skip
        }
        network n(x: [2, 4, 4]) -> (y: [2, 4, 4]) { c = shared chain cell(x) times 2; c -> y }
        """,
    ],
    ids=["product", "shared"],
)
def test_operations_that_live_are_those_that_pruning_leaves(text: str) -> None:
    graph = graph_of(text)
    life = Life(graph, member_space(graph))
    alive = [member for member in member_space(graph).members() if life.alive(member)]
    networks = [frozenset(member.difference(dead_groups(graph, member))) for member in alive]
    assert [life.living(member) for member in alive] == networks
    assert len(life.different(alive)) == len(set(networks)) < len(alive)
