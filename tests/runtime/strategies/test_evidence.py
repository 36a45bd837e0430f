"""The equations of the strategy `evidence` against plain ones; searches: test_evidence_search."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
import torch
from attrs import evolve
from hypothesis import assume, given
from hypothesis import strategies as st
from living import CELLS, budget, images
from support import compile_text, is_member
from torch import Tensor

from bayesnas.compiler.graph.cost import graph_cost
from bayesnas.compiler.graph.model import BudgetConstraint
from bayesnas.compiler.pipeline import Compiled
from bayesnas.compiler.settings import SearchSettings
from bayesnas.compiler.space.choices import Member, MemberSpace, SearchedConnection, member_space
from bayesnas.compiler.space.members import prune_to
from bayesnas.compiler.space.prices import Prices, best_member
from bayesnas.runtime.strategies.evidence import (
    Look,
    joint_prices,
    laplace,
    multiplier,
    prior_covariance,
)
from bayesnas.runtime.strategies.gaussian import Gaussian
from bayesnas.runtime.strategies.interface import Problem
from bayesnas.runtime.strategies.sampling import thinned
from bayesnas.runtime.supernet.supernet import Supernet

CPU = torch.device("cpu")
# Two tied cells; into h[0] a connection that may be dropped, into h[1] one of two.
SPACE = compile_text(CELLS)
# Of the first connection, two candidates are the same.
TWINS = compile_text("""\
import "ops/basic.nas"

op left = conv_bn(3)
op right = conv_bn(3)

network net(image: [1, 8, 8]) -> (y: [3]) {
    node h
    stem = image : conv_bn_relu(3, 3)
    stem ~> h : left | right | skip
    retain 1 into h
    h -> y : classifier(3)
}
""")


# -------------------------------------------------------------------------------------- spaces


def plain_space(sizes: list[list[int]], kept: list[int | None]) -> MemberSpace:
    """Nodes of connections of so many candidates, and how many connections each node keeps."""
    connections = tuple(
        SearchedConnection(f"{n}.{k}", f"n{n}", tuple(f"{n}.{k}:{o}" for o in range(size)))
        for n, arriving in enumerate(sizes)
        for k, size in enumerate(arriving)
    )
    return MemberSpace(connections, {f"n{n}": k for n, k in enumerate(kept) if k is not None})


@st.composite
def plain_spaces(draw: st.DrawFn, competing: bool = True) -> MemberSpace:
    sizes = draw(
        st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=3), min_size=1, max_size=3)
    )
    few = st.integers(1, 3) if competing else st.just(3)
    return plain_space(sizes, [draw(st.none() | few) for _ in sizes])


def numbered(space: MemberSpace) -> dict[str, int]:
    return {option: n for n, option in enumerate(sorted(space.candidates()))}


def table(space: MemberSpace, numbers: dict[str, int]) -> Tensor:
    means = space.mean()
    order = sorted(numbers, key=lambda option: numbers[option])
    return torch.tensor([means.get(option, 0.0) for option in order], dtype=torch.float64)


def drawn(count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """A gradient, a curvature and prices."""
    generator = torch.Generator().manual_seed(seed)
    g, p = torch.randn(2, count, generator=generator, dtype=torch.float64)
    root = torch.randn(max(1, count // 2), count, generator=generator, dtype=torch.float64)
    return g, root.T @ root, p.abs()


def look_at(
    space: MemberSpace,
    g: Tensor,
    H: Tensor,
    price: Tensor,
    numbers: dict[str, int] | None = None,
) -> Look:
    numbers, nothing = numbers or numbered(space), torch.zeros_like(g)
    return Look(numbers, table(space, numbers), g, H, price, nothing, Gaussian(nothing, H))


# -------------------------------------------------------------------------------------- changes


@given(plain_spaces(), st.integers(0, 2**32 - 1), st.integers(0, 4))
def test_a_change_is_that_of_the_quadratic_model(
    space: MemberSpace, seed: int, narrowed: int
) -> None:
    """With full vectors, also in a space that has been narrowed."""
    whole, random = space, Random(seed)
    for _ in range(narrowed):
        if space.options():
            space = space.without(random.choice(space.options()))
    g, H, price = drawn(len(whole.candidates()), seed)
    look = look_at(space, g, H, price, numbered(whole))

    def loss(m: Tensor) -> float:
        d = m - look.mean
        return float((g + price) @ d + d @ H @ d / 2)

    changes = look.changes(space)
    assert sorted(changes) == sorted(space.options())
    for option in space.options():
        after = table(space.without(option), numbered(whole))
        assert changes[option] == pytest.approx(-(loss(after) - loss(look.mean)), abs=1e-10)


def test_values_are_gains_less_prices() -> None:
    space = plain_space([[2], [1]], [None, None])
    g, H, price = drawn(3, 0)
    values = look_at(space, g, H, price).values
    assert [values[o] for o in sorted(values)] == pytest.approx((-g - price).tolist())


def moved(look: Look, space: MemberSpace) -> Look:
    """The same quadratic model, at the mean of what is left."""
    mean = table(space, dict(look.numbers))
    return evolve(look, mean=mean, gradient=look.gradient + look.curvature @ (mean - look.mean))


@given(st.integers(0, 2**32 - 1), st.sampled_from([None, 1]), st.integers(0, 2))
def test_of_two_identical_candidates_the_second_is_worth_more(
    seed: int, kept: int | None, others: int
) -> None:
    """Substitutes: the loss is convex in their sum, which falls by a sixth, then by a half."""
    assume(kept is None or others)
    space = plain_space([[2 + others]], [kept])
    g, H, price = drawn(2 + others, seed)
    same = torch.tensor([0, 0, *range(2, 2 + others)])
    look = look_at(space, g[same], H[same][:, same], 0 * price)
    [first, second, *_] = space.connections[0].options
    changes = look.changes(space)
    assert changes[first] == pytest.approx(changes[second])
    later = moved(look, space.without(first)).changes(space.without(first))[second]
    if others + (kept is None) == 1 and changes[first] <= 0:
        assert later <= 3 * changes[first] + 1e-9


# -------------------------------------------------------------------------------------- prior


@given(plain_spaces(competing=False))
def test_the_prior_is_that_of_all_members(space: MemberSpace) -> None:
    assume(space.count() <= 300)
    numbers = numbered(space)
    members = torch.tensor(
        [[float(option in member) for option in numbers] for member in space.members()],
        dtype=torch.float64,
    )
    assert torch.allclose(members.mean(dim=0), table(space, numbers))
    expected = members.T.cov(correction=0).reshape(len(numbers), -1)
    assert torch.allclose(prior_covariance(space, numbers), expected, atol=1e-12)


@given(st.integers(1, 6), st.integers(1, 10_000), st.integers(0, 2**32 - 1))
def test_the_posterior_of_an_invertible_prior(size: int, examples: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(size, size, generator=generator, dtype=torch.float64)
    mean, prior = root[0], root @ root.T + torch.eye(size)
    g, H, _ = drawn(size, seed)
    expected = torch.linalg.inv(torch.linalg.inv(prior) + examples * H)
    found = laplace(mean, prior, g, H, examples)
    assert torch.allclose(found.root @ found.root.T, expected, rtol=1e-6, atol=1e-8)
    assert torch.allclose(found.mean, mean - examples * expected @ g, rtol=1e-6, atol=1e-5)


@given(plain_spaces(), st.integers(1, 100), st.integers(0, 2**32 - 1))
def test_the_posterior_of_a_singular_prior(space: MemberSpace, examples: int, seed: int) -> None:
    """C = P - P (H^-1 / N + P)^-1 P (Woodbury) needs no inverse of the prior P."""
    numbers = numbered(space)
    prior = prior_covariance(space, numbers)
    g, H, _ = drawn(len(numbers), seed)
    H += torch.eye(len(numbers))
    expected = prior - prior @ torch.linalg.solve(torch.linalg.inv(H) / examples + prior, prior)
    mean = table(space, numbers)
    found = laplace(mean, prior, g, H, examples)
    assert torch.allclose(found.root @ found.root.T, expected, atol=1e-9)
    assert torch.allclose(found.mean, mean - examples * expected @ g, atol=1e-7)


def test_a_singular_prior_holds_the_scale() -> None:
    """The gates of a connection that keeps one always sum to one."""
    space = plain_space([[3]], [1])
    prior = prior_covariance(space, numbered(space))
    g, H, _ = drawn(3, 1)
    found = laplace(table(space, numbered(space)), prior, g, H, 10)
    assert float(found.mean.sum()) == pytest.approx(1, abs=1e-7)
    assert torch.allclose(found.root.sum(dim=0), torch.zeros(3).double(), atol=1e-7)


# -------------------------------------------------------------------------------------- thinned


def options_left(space: MemberSpace, part: MemberSpace, connection: SearchedConnection) -> int:
    left = [c for c in part.connections if c.name == connection.name]
    nothing = space.droppable(connection) and connection.name not in part.required
    return sum(len(c.options) for c in left) + nothing


@given(plain_spaces(), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_a_part_keeps_an_option_on_every_connection(
    space: MemberSpace, chance: float, seed: int
) -> None:
    part = thinned(space, chance, Random(seed))
    assert part.candidates() <= space.candidates()
    assert all(options_left(space, part, c) >= 1 for c in space.connections)
    assert is_member(space, part.draw(Random(seed)))


@given(plain_spaces(), st.integers(0, 2**32 - 1))
def test_chances_of_0_and_1(space: MemberSpace, seed: int) -> None:
    assert thinned(space, 0.0, Random(seed)) == space
    part = thinned(space, 1.0, Random(seed))
    assert all(options_left(space, part, c) == 1 for c in space.connections)


# -------------------------------------------------------------------------------------- budgets


def living(prices: Prices) -> list[Member]:
    space = member_space(prices.graph)
    return [m for m in space.members() if prices.life.alive(m)]


def cost(member: Member) -> int:
    return graph_cost(prune_to(SPACE.graph, member)).parameters


def values_of(seed: int) -> dict[str, float]:
    random = Random(seed)
    return {group: random.uniform(0, 1) for group in SPACE.graph.groups()}


def test_without_budgets_nothing_has_a_price() -> None:
    space = member_space(SPACE.graph)
    assert multiplier(space, values_of(0), Prices.of(SPACE.graph, ())) == 0


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("limit", [120, 200, 400, 10_000])
def test_the_best_priced_member_fits(limit: int, seed: int) -> None:
    space, values = member_space(SPACE.graph), values_of(seed)
    prices = Prices.of(SPACE.graph, budget("parameters", limit))
    worth = multiplier(space, values, prices)

    def best(worth: float) -> Member:
        priced = {group: values[group] - worth * prices.shares[group][0] for group in values}
        found = best_member(space, priced, prices.unlimited())
        assert found is not None
        return found

    assert (worth == 0) == prices.fit(best(0.0))
    assert cost(best(worth)) <= limit
    if worth:
        assert cost(best(worth * (1 - 1e-3))) > limit  # the least that does


def test_values_of_0_have_a_price_too() -> None:
    space, values = member_space(SPACE.graph), dict.fromkeys(SPACE.graph.groups(), 0.0)
    prices = Prices.of(SPACE.graph, budget("parameters", 150))
    worth = multiplier(space, values, prices)
    priced = {group: -worth * prices.shares[group][0] for group in values}
    found = best_member(space, priced, prices.unlimited())
    assert found is not None
    assert prices.fit(found)


# -------------------------------------------------------------------------------------- a look


def problem_of(space: Compiled, *budgets: BudgetConstraint, **settings: float | str) -> Problem:
    """A supernet after some steps."""
    chosen = SearchSettings(**{"batch_size": 16, **settings})  # type: ignore[arg-type]
    net = Supernet(space.graph, "net", images(), chosen, 3, CPU)
    net.total_steps = 20
    gates = net.gates.at(member_space(space.graph).mean())
    for inputs, labels in net.batches(6):
        net.descend(inputs, labels, gates)
    return Problem(net, Prices.of(space.graph, budgets), chosen, 3)


def test_a_look_is_taken_at_the_mean() -> None:
    problem = problem_of(SPACE)
    net, space = problem.net, member_space(SPACE.graph)
    look = Look.at(space, problem)
    gates = net.gates.at(space.mean())
    with net.recalibrated(gates):
        g, H = net.gates.tied(net.gradient(gates, net.fit_part), net.curvature(gates, net.fit_part))
    assert torch.allclose(look.gradient, g, atol=1e-6)
    assert torch.allclose(look.curvature, H, atol=1e-6)
    assert look.price.tolist() == [0.0] * len(net.gates.groups)
    prior = prior_covariance(space, net.gates.numbers)
    expected, found = laplace(look.mean, prior, g, H, len(net.fit_part)), look.posterior
    assert torch.allclose(found.mean, expected.mean, atol=1e-4)
    covariance = expected.root @ expected.root.T
    assert torch.allclose(found.root @ found.root.T, covariance, atol=1e-4)


def test_the_report_of_a_look() -> None:
    """(17) to (19) on its posterior: s^2 omega^2 = w^2, omega^2 = 1/gamma - C/gamma^2."""
    problem = problem_of(SPACE)
    space = member_space(SPACE.graph)
    report = Look.at(space, problem).report(space)
    assert report.keys() == space.candidates()
    for group, row in report.items():
        p = space.mean()[group]
        assert row["w"] == pytest.approx(p)
        assert row["gamma"] == pytest.approx(p * (1 - p))
        assert 0 < row["C"] <= row["gamma"]
        assert row["error"] ** 2 == pytest.approx(row["C"])
        omega = 1 / row["gamma"] - row["C"] / row["gamma"] ** 2
        assert row["omega"] ** 2 == pytest.approx(omega)
        assert row["s"] * row["omega"] == pytest.approx(abs(row["w_solved"]))


@pytest.mark.parametrize("limit", [150, 300])
def test_prices_bring_the_best_member_inside(limit: int) -> None:
    problem = problem_of(SPACE, *budget("parameters", limit))
    space = member_space(SPACE.graph)
    look = Look.at(space, problem)
    found = best_member(space, look.values, problem.prices.unlimited())
    assert found is not None
    assert problem.prices.fit(found)
    worth = multiplier(space, problem.net.gates.named(-look.gradient), problem.prices)
    assert torch.allclose(look.price, worth * joint_prices(problem.net, problem.prices))


def test_twins_in_a_supernet() -> None:
    """With the same weights they have the same derivatives, and stand in for each other."""
    problem = problem_of(TWINS)
    edge: Any = problem.net.module.get_submodule("h_from_stem")
    edge.candidates["right"].load_state_dict(edge.candidates["left"].state_dict())
    space = member_space(TWINS.graph)
    look = Look.at(space, problem)
    [left, right, _] = space.connections[0].options
    one, two = problem.net.gates.numbers[left], problem.net.gates.numbers[right]
    assert float(look.gradient[one]) == pytest.approx(float(look.gradient[two]), rel=1e-4)
    block = look.curvature[[one, two]][:, [one, two]]
    assert torch.allclose(block, block[0, 0].expand(2, 2), rtol=1e-4)
    # Missed as much as needed: the loss falls along the twins.
    needed = evolve(look, gradient=-look.gradient.abs() * torch.eye(3).double()[[one, two]].sum(0))
    changes = needed.changes(space)
    assert changes[left] == pytest.approx(changes[right], rel=1e-4)
    assert changes[left] < 0
    later = space.without(left)
    assert moved(needed, later).changes(later)[right] < changes[left]
