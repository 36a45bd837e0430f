"""Sources and beliefs, against plain references and by their laws."""

from __future__ import annotations

import math
from random import Random

import pytest
import torch
from support import compile_text
from torch import Tensor

from bayesnas.compiler.graph.cost import graph_cost
from bayesnas.compiler.space.choices import Member, member_space
from bayesnas.compiler.space.members import prune_to
from bayesnas.compiler.space.prices import Prices
from bayesnas.runtime.strategies.evidence import Look
from bayesnas.runtime.strategies.gaussian import Gaussian
from bayesnas.runtime.strategies.posterior.belief import (
    DOUBLING,
    DOUBT,
    SPREAD,
    WIDEST,
    Belief,
)
from bayesnas.runtime.strategies.posterior.judgements import Judgements, sampling_variance
from bayesnas.runtime.strategies.posterior.sources import OPERATIONS, Capacity, Sources

SPACE = compile_text("""
motif cell(x) -> (y) {
    node h
    x ~> h : conv(3) | conv(1) | skip
    {x, h} ~> y : conv(3) | conv(1) | skip
}
network n(image: [3, 8, 8]) -> (logits: [4]) {
    stem = image : conv(3, 8)
    c = cell(stem)
    c -> logits : global_avg_pool >> linear(4)
}
""")
GROUPS = {group: n for n, group in enumerate(SPACE.graph.groups())}
CAPACITY = Capacity.of(SPACE.graph, GROUPS)
LIFE = Prices.of(SPACE.graph, ()).life
MEMBERS = [m for m in member_space(SPACE.graph).members() if LIFE.alive(m)]


def sources(seed: int = 0) -> Sources:
    generator = torch.Generator().manual_seed(seed)
    size = len(GROUPS)
    gradient, training = torch.randn(2, size, generator=generator, dtype=torch.float64)
    half = torch.randn(size, size, generator=generator, dtype=torch.float64)
    mean = torch.full((size,), 0.25, dtype=torch.float64)
    nothing = torch.zeros_like(mean)
    look = Look(
        GROUPS, mean, gradient, half @ half.T, nothing, nothing,
        Gaussian(mean, torch.eye(size, dtype=torch.float64)),
    )  # fmt: skip
    return Sources.of(CAPACITY, look, training, MEMBERS, LIFE.living)


def judged(members: list[Member], noise: float = 0.0, seed: int = 0) -> Judgements:
    """Losses on four parts that fall with capacity."""
    generator = torch.Generator().manual_seed(seed)
    losses = 2 - 0.1 * CAPACITY.doublings(sources().rows(members))
    errors = noise * torch.randn(len(members), 4, generator=generator, dtype=torch.float64)
    return Judgements(dict(zip(members, losses[:, None] + errors, strict=True)))


def test_capacity_is_the_logarithm_of_the_members_cost() -> None:
    """Of what something reads, that is; the rest is not there."""
    flops = [graph_cost(prune_to(SPACE.graph, member)).flops for member in MEMBERS]
    doublings = CAPACITY.doublings(sources().rows(MEMBERS))
    assert doublings.tolist() == pytest.approx([math.log2(cost) for cost in flops], abs=1e-12)
    assert any(LIFE.living(member) != member for member in MEMBERS)


def test_sources_have_variance_one_over_the_members_they_were_scaled_by() -> None:
    scores = sources().scores(sources().rows(MEMBERS))
    torch.testing.assert_close(
        scores[:, :OPERATIONS].std(dim=0), torch.ones(OPERATIONS, dtype=torch.float64)
    )
    assert float(scores[:, OPERATIONS:].var(dim=0).sum()) == pytest.approx(1)
    assert scores.mean(dim=0).abs().max() < 1e-12


def test_slopes_are_the_derivatives_of_the_scores() -> None:
    some = sources()
    at = torch.rand(len(GROUPS), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda x: some.scores(x[None])[0], at)
    assert isinstance(jacobian, Tensor)
    torch.testing.assert_close(some.slopes(at), jacobian.T)


def test_a_source_that_does_not_vary_says_nothing() -> None:
    same = sources()
    look = Look(
        GROUPS, same.center, torch.zeros_like(same.center), torch.zeros_like(same.curvature),
        same.center, same.center, Gaussian(same.center, same.curvature),
    )  # fmt: skip
    nothing = torch.zeros_like(same.center)
    flat = Sources.of(CAPACITY, look, nothing, MEMBERS, LIFE.living)
    scores = flat.scores(flat.rows(MEMBERS))
    assert torch.isfinite(scores).all()
    assert scores[:, 1:OPERATIONS].abs().max() == 0


def test_what_is_judged_without_noise_is_believed() -> None:
    looked = judged(MEMBERS[::3])
    belief = Belief.of(sources(), MEMBERS, looked, len(MEMBERS), 0.0)
    losses = dict(zip(MEMBERS, judged(MEMBERS).losses.tolist(), strict=True))
    for member, mean in zip(MEMBERS, belief.mean.tolist(), strict=True):
        slack = 1e-6 if member in looked else 0.05
        assert mean == pytest.approx(losses[member], abs=slack)


def test_the_sampling_variance_is_that_of_the_mean() -> None:
    """What members or parts have alike is no error of a comparison."""
    generator = torch.Generator().manual_seed(0)
    members, parts = (
        torch.randn(400, 1, generator=generator),
        torch.randn(1, 8, generator=generator),
    )
    errors = 0.3 * torch.randn(400, 8, generator=generator)
    variance = sampling_variance((members + parts + errors).double())
    assert variance == pytest.approx(0.3**2 / 8, rel=0.1)
    assert sampling_variance(torch.randn(5, 1)) == sampling_variance(torch.randn(1, 8)) == 0


def test_finalists_are_told_apart_better_and_not_shifted() -> None:
    """Hard examples are no fault of the finalists, and more of them lessen the error."""
    generator = torch.Generator().manual_seed(0)
    truth = torch.linspace(1, 1.2, len(MEMBERS), dtype=torch.float64)
    noise = torch.randn(len(MEMBERS), 8, generator=generator, dtype=torch.float64)
    parts = truth[:, None] + 0.1 * noise
    finalists = MEMBERS[: len(MEMBERS) // 2]
    once = Judgements(dict(zip(MEMBERS, parts, strict=True)))
    hard = {m: 0.7 + truth[n : n + 1] for n, m in enumerate(finalists)}
    twice = Judgements(once.first, hard, examples=9.0)
    count = len(finalists)
    torch.testing.assert_close(twice.losses[count:], once.losses[count:])
    torch.testing.assert_close(twice.losses[:count].mean(), once.losses[:count].mean())
    errors = [(j.losses - truth)[:count].std() for j in (once, twice)]
    assert float(errors[1]) == pytest.approx(float(errors[0]) / 10, rel=1e-6)
    torch.testing.assert_close(twice.variances[:count], once.variances[:count] / 10)
    torch.testing.assert_close(twice.variances[count:], once.variances[count:])


def test_capacity_gains_with_every_doubling_of_the_images() -> None:
    members = list(MEMBERS)
    Random(0).shuffle(members)
    generator = torch.Generator().manual_seed(0)
    losses = torch.randn(len(members), 1, generator=generator, dtype=torch.float64)
    looked = Judgements(dict(zip(members, losses.expand(-1, 2), strict=True)))
    capacity = CAPACITY.doublings(sources().rows(members))
    beliefs = [
        Belief.of(sources(), members, looked, len(members), k) for k in (-1.0, 0.0, 1.0, 7.0)
    ]
    level = abs(float(losses.mean()))
    width = max(1.0, float(capacity.std()) / WIDEST)
    for belief, doublings in zip(beliefs, (0, 0, 1, 7), strict=True):
        gain = DOUBLING * doublings * level * (capacity - capacity.mean()) / width
        torch.testing.assert_close(belief.mean, beliefs[0].mean - gain)


def test_draws_lie_round_the_mean_and_doubt_widens_them() -> None:
    looked = judged(MEMBERS[::2], noise=0.02)
    belief = Belief.of(sources(), MEMBERS, looked, len(MEMBERS), 2.0)
    generator = torch.Generator().manual_seed(0)
    narrow, wide = belief.judgements(4000, generator), belief.losses(4000, generator)
    for draws in (narrow, wide):
        error = draws.std(dim=0) / math.sqrt(4000)
        assert ((draws.mean(dim=0) - belief.mean).abs() < 5 * error).all()
    assert (wide.std(dim=0) > narrow.std(dim=0)).all()
    grown = wide.var(dim=0).mean() - narrow.var(dim=0).mean()
    assert float(grown) == pytest.approx(belief.doubt**2, rel=0.15)


@pytest.mark.parametrize(("level", "width"), [(2.0, 0.0), (-2.0, 1.0), (0.0, 5.0)])
def test_doubt_goes_by_the_loss_and_by_how_far_members_differ(level: float, width: float) -> None:
    capacity = CAPACITY.doublings(sources().rows(MEMBERS))
    losses = level - width * (capacity - capacity.mean())
    looked = Judgements(dict(zip(MEMBERS, losses[:, None].expand(-1, 4), strict=True)))
    belief = Belief.of(sources(), MEMBERS, looked, len(MEMBERS), 3.0)
    expected = math.hypot(DOUBT * level, SPREAD * float(losses.std()))
    assert belief.doubt == pytest.approx(expected, rel=0.01)


def test_values_are_what_groups_take_off_the_loss() -> None:
    looked = judged(MEMBERS[::2], noise=0.02)
    some = sources()
    belief = Belief.of(some, MEMBERS, looked, len(MEMBERS), 2.0)
    at = some.center
    mean = belief.regression.coefficients.mean

    def loss(x: Tensor) -> Tensor:
        scores = some.scores(x[None])[0]
        return scores @ mean - belief.drift * scores[0]

    slope = torch.autograd.functional.jacobian(loss, at)
    assert isinstance(slope, Tensor)
    torch.testing.assert_close(belief.values(some, at, mean), -slope)
