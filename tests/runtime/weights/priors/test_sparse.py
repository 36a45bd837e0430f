"""Group norms by proximal steps: the step, its end, what is left."""

from __future__ import annotations

import pytest
import torch
from attrs import evolve
from problems import problem, silence, steps

from bayesnas.compiler.slices.counts import Kept
from bayesnas.runtime.weights.priors.bayesnas import BayesNas
from bayesnas.runtime.weights.priors.interface import Prior
from bayesnas.runtime.weights.priors.registry import PRIORS
from bayesnas.runtime.weights.priors.sparse import GroupLasso, Sparse, shrunk

NORMS = torch.tensor([0.1, 0.5, 1.0, 2.0], dtype=torch.float64)


def test_the_proximal_step_keeps_the_whole_norm() -> None:
    thresholds = torch.tensor([0.2, 0.1, 0.1, 0.1], dtype=torch.float64)
    after = shrunk(NORMS, thresholds) * NORMS
    soft = torch.tensor([0.0, 0.4, 0.9, 1.9], dtype=torch.float64)
    torch.testing.assert_close(after / after[3], soft / soft[3])
    torch.testing.assert_close(after.norm(), NORMS.norm())
    torch.testing.assert_close(shrunk(NORMS, torch.zeros(4)), torch.ones(4, dtype=torch.float64))


def test_something_is_left_of_a_strand() -> None:
    factors = shrunk(NORMS, torch.full((4,), 100.0, dtype=torch.float64))
    assert (factors * NORMS).nonzero()[:, 0].tolist() == [3]
    assert (shrunk(torch.zeros(3), torch.ones(3)) == 0).all()


@pytest.mark.parametrize("name", ["bayesnas", "group_lasso"])
def test_groups_go_until_the_network_is_small_enough(name: str) -> None:
    seen: list[Kept] = []

    def excess(kept: Kept) -> float:
        seen.append(kept)
        return (sum(map(len, kept.values())) - 8) / 7  # of 15

    _, slices, given = problem(40, excess)
    prior = PRIORS[name](given)
    assert isinstance(prior, Sparse)
    steps(given, prior, 60)
    assert prior.done
    alive = {s: row.nonzero()[:, 0].tolist() for s, row in given.subject.split(prior.norms).items()}
    assert alive == seen[-1]
    assert all(alive.values())
    scores = prior.scores()
    for strand in slices.removable:
        stay = scores[strand][alive[strand]]
        gone = [k for k in range(strand.size) if k not in alive[strand]]
        assert float(stay.min()) > 1 > max(scores[strand][gone].tolist(), default=0)


def test_a_strength_that_is_said_stays_and_more_of_it_leaves_less() -> None:
    left = []
    for lambda_w in (1e-4, 5.0, 30.0):
        _, _, given = problem(40, lambda _: 1.0)
        given = evolve(given, lambda_w=lambda_w)
        prior = BayesNas(given)
        steps(given, prior, 40)
        assert prior.strength == lambda_w * given.examples
        left.append(15 - sum(int(row.sum()) for row in prior.zeros().values()))
    assert left[0] == 15 > left[1] > left[2] > 0


OF_CHANNELS = [name for name in PRIORS if name != "variational_dropout"]  # it is of weights


@pytest.mark.parametrize("name", OF_CHANNELS)
def test_a_useless_channel_matters_least(name: str) -> None:
    """Others may be as useless by what they compute; those who look at weights find it alone."""
    _, slices, given = problem(40)
    steps(given, None, 60)
    silence(given, 2)
    prior = PRIORS[name](given)
    steps(given, prior, 40, rate=1e-3)
    row = prior.scores()[slices.removable[0]]
    assert float(row[2]) < 0.3 * float(row.max())
    assert int(row.argmin()) == 2 or name in ("pgnas", "normal_jeffreys")


@pytest.mark.parametrize("name", OF_CHANNELS)
def test_a_prior_goes_on_where_it_was(name: str) -> None:
    def run(interrupted: bool) -> Prior:
        _, _, given = problem(40)
        prior = PRIORS[name](given)
        steps(given, prior, 8)
        if interrupted:
            state, weights = prior.state(), given.subject.module.state_dict()
            _, _, given = problem(40, seed=9)
            given.subject.module.load_state_dict(weights)
            prior = PRIORS[name](given)
            prior.restore(state)
        else:
            weights = given.subject.module.state_dict()
        steps(given, prior, 8)  # with new momentum, both
        return prior

    straight, resumed = run(False), run(True)
    for one, other in zip(straight.scores().values(), resumed.scores().values(), strict=True):
        torch.testing.assert_close(one, other)
    columns = straight.columns(), resumed.columns()
    assert columns[0].keys() == columns[1].keys()


def test_group_lasso_weighs_strands_alike() -> None:
    _, _, given = problem()
    prior = GroupLasso(given)
    rows = given.subject.split(prior.weights() * prior.norms)
    means = [float(row.mean()) for row in rows.values()]
    assert means == pytest.approx([means[0]] * len(means))
