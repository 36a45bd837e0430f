"""Updates (17) to (20) for groups of weights, against loops over single weights."""

from __future__ import annotations

import math

import pytest
import torch
from attrs import evolve
from problems import EXAMPLES, problem, silence

from bayesnas.compiler.slices.counts import kept_places
from bayesnas.compiler.slices.ties import Strand
from bayesnas.runtime.weights.neighbours import StrandNeighbours
from bayesnas.runtime.weights.priors.bayesnas import (
    BayesNas,
    posterior_variance,
    relevance,
    summand,
)
from bayesnas.runtime.weights.subject import Subject


def curvature_of(subject: Subject) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        name: 10 * torch.rand(w.shape, generator=generator, dtype=torch.float64) + 1e-3
        for name, w in subject.module.named_parameters()
    }


def group(subject: Subject, strand: Strand, channel: int) -> list[tuple[str, torch.Tensor]]:
    """Masks of the weights of one group, by name."""
    weights = dict(subject.module.named_parameters())
    masks = []
    for tensor in subject.sliced:
        for k, axis in enumerate(tensor.axes):
            if tensor.name in weights and k > 0:
                gone = {strand: [n for n in range(strand.size) if n != channel]}
                mask = torch.ones(weights[tensor.name].shape[k], dtype=torch.bool)
                mask[kept_places(axis, gone)] = False
                whole = torch.zeros(weights[tensor.name].shape, dtype=torch.bool)
                whole.movedim(k, 0)[mask] = True
                masks.append((tensor.name, whole))
    return masks


def test_the_summand_is_that_of_18() -> None:
    gamma, H = torch.rand(2, 50, dtype=torch.float64) + 0.1
    C = posterior_variance(gamma, H)
    torch.testing.assert_close(C, 1 / (1 / gamma + H))
    torch.testing.assert_close(summand(gamma, H), 1 / gamma - C / gamma**2)


def test_gamma_solves_the_updates() -> None:
    """Group by group, weight by weight: gamma = ||w|| / omega with (17) and (18) at gamma."""
    _, slices, given = problem()
    subject, H = given.subject, curvature_of(given.subject)
    found = relevance(subject, H)
    gamma, error, determined = (
        subject.split(v) for v in (found.gamma, found.error, found.determined)
    )
    weights = dict(subject.module.named_parameters())
    for strand in slices.removable:
        for channel in range(strand.size):
            g, omega2, norm2, spread = float(gamma[strand][channel]), 0.0, 0.0, 0.0
            for name, mask in group(subject, strand, channel):
                pairs = zip(H[name][mask].tolist(), weights[name][mask].tolist(), strict=True)
                for h, w in pairs:
                    C = 1 / (1 / g + h)
                    omega2 += 1 / g - C / g**2
                    norm2 += w * w
                    spread += C * w * w
            assert g == pytest.approx(math.sqrt(norm2 / omega2), rel=2e-3)
            assert float(determined[strand][channel]) == pytest.approx(
                math.sqrt(norm2 * omega2), rel=2e-3
            )
            expected = math.sqrt(spread) / math.sqrt(norm2 * omega2)
            assert float(error[strand][channel]) == pytest.approx(expected, rel=2e-3)


def test_what_the_data_do_not_feel_has_a_penalty_by_weight_decay_alone() -> None:
    """Without it omega is 0; with it gamma is finite, and 0 where the weights are."""
    _, slices, given = problem()
    silence(given, 1)
    prior = BayesNas(given)
    omega = given.subject.split(prior.weights())
    first = slices.removable[0]
    assert all(bool((row >= 0).all() and row.isfinite().all()) for row in omega.values())
    gamma = prior.columns()["gamma"][first]
    assert float(gamma[1]) == 0
    assert (gamma[[0, 2, 3, 4]] > 0).all()
    flat = {name: torch.zeros_like(w) for name, w in given.subject.module.named_parameters()}
    assert (relevance(given.subject, flat).determined == 0).all()
    felt = {name: h + EXAMPLES * given.decay for name, h in flat.items()}
    determined = given.subject.split(relevance(given.subject, felt).determined)[first]
    assert (determined[[0, 2, 3, 4]] > 0).all()


def test_a_stronger_penalty_is_no_weaker_likelihood() -> None:
    """omega is that of all examples however far the course has driven the strength; or as told."""
    _, _, given = problem()
    prior = BayesNas(evolve(given, curvature="exact"))
    omega = prior.weights()
    prior.strength = 1e5
    torch.testing.assert_close(prior.weights(), omega)
    told = BayesNas(evolve(given, curvature="exact", lambda_w=1 / EXAMPLES))
    torch.testing.assert_close(told.weights(), omega)
    weaker = BayesNas(evolve(given, curvature="exact", lambda_w=100 / EXAMPLES))
    assert not torch.allclose(weaker.weights(), omega)


def test_gamma_of_a_channel_follows_from_those_before_and_behind_it() -> None:
    """(8) by a loop, in units of the living channels of each strand."""
    _, slices, given = problem()
    first, second = slices.removable
    each_other = StrandNeighbours(given.subject, {first: (second,), second: (first,)})
    prior = BayesNas(evolve(given, neighbours=each_other))
    rows = {
        first: [0.2, 0.0, 0.4, 0.6, 0.8],
        second: [3.0, 1.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 2.0],
    }
    prior.gamma = given.subject.joined({s: torch.tensor(r).double() for s, r in rows.items()})
    worth = given.subject.split(prior.worth())
    s = {k: [g / (0.5 if k is first else 2.0) for g in row] for k, row in rows.items()}
    for strand, other in ((first, second), (second, first)):
        for k, own in enumerate(s[strand]):
            total = sum(s[other])
            expected = 1 / (1 / own + 2 / total) if own else 0.0
            assert float(worth[strand][k]) == pytest.approx(expected)
    prior.gamma = given.subject.joined({first: torch.zeros(5), second: torch.ones(10)}).double()
    assert not prior.worth().any()  # what is made of nothing says nothing
