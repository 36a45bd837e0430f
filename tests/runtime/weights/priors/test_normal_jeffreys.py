"""Scales under a log-uniform prior: the divergence, and the noise of channels and weights."""

from __future__ import annotations

import math

import pytest
import torch
from attrs import evolve
from problems import EXAMPLES, problem
from torch import Tensor

from bayesnas.runtime.weights.families import Prices, pieces_of
from bayesnas.runtime.weights.priors.interface import Problem
from bayesnas.runtime.weights.priors.normal_jeffreys import (
    NormalJeffreys,
    VariationalDropout,
    divergence,
)
from bayesnas.runtime.weights.removal import state_paths


def single_weights() -> Problem:
    compiled, _, given = problem()
    weights = dict(given.subject.module.named_parameters())
    prices = Prices.of(compiled.graph, weights, state_paths(compiled))
    return evolve(given, subject=pieces_of("weight", given.subject, prices.uses, ()))


def test_the_divergence_is_that_of_the_log_uniform_prior() -> None:
    """Up to a constant E log|z| - log(alpha) / 2 of z from N(1, alpha), by quadrature."""
    grid = (torch.arange(400_000, dtype=torch.float64) + 0.5) / 400_000
    z = math.sqrt(2) * torch.erfinv(2 * grid - 1)

    def exact(log_alpha: float) -> float:
        scale = 1 + math.exp(log_alpha / 2) * z
        return float(scale.abs().log().mean()) - log_alpha / 2

    places = [-4.0, -2.0, -1.0, 0.0, 1.0, 3.0]
    gaps = [exact(a) - float(divergence(torch.tensor(a, dtype=torch.float64))) for a in places]
    assert max(gaps) - min(gaps) < 0.03
    assert float(divergence(torch.tensor(20.0))) < 1e-3


def test_channels_are_as_noisy_as_they_say() -> None:
    _, _, given = problem()
    prior = NormalJeffreys(given)
    with torch.no_grad():
        prior.logits.copy_(torch.linspace(-4, 1, len(prior.logits), dtype=torch.float64))
    drawn = prior.drawn(20_000)
    torch.testing.assert_close(drawn.mean(0), torch.ones_like(prior.logits), atol=0.05, rtol=0)
    torch.testing.assert_close(drawn.var(0), prior.logits.exp(), rtol=0.06, atol=0)


def test_the_divergence_comes_to_count() -> None:
    _, _, given = problem(steps=4)
    prior = NormalJeffreys(given)
    whole = divergence(prior.logits).sum() / EXAMPLES
    shares = []
    for _ in range(4):
        penalty = prior.penalty()
        shares.append(float((penalty / whole).detach()))
        prior.steps += 1
    assert [round(share, 6) for share in shares] == [0, 0.5, 1, 1]


def moments(prior: VariationalDropout, z: Tensor, draws: int) -> tuple[Tensor, Tensor]:
    layer = prior.subject.module.get_submodule(next(iter(prior.weights)).rpartition(".")[0])
    with torch.no_grad():
        outputs = torch.stack([layer.train()(z) for _ in range(draws)])
    return outputs.mean(0), outputs.var(0)


def test_outputs_have_the_mean_and_variance_of_noisy_weights() -> None:
    given = single_weights()
    prior = VariationalDropout(given)
    [(inputs, _), *_] = given.batches()
    name, weight = next(iter(prior.weights.items()))
    with torch.no_grad():
        prior.logits.copy_(torch.linspace(-5, 0, len(prior.logits), dtype=torch.float64).flip(0))
    sigma = given.subject.spread(given.subject.split(prior.logits.detach().exp()))[name].sqrt()
    z = inputs[:1]
    layer = given.subject.module.get_submodule(name.rpartition(".")[0])
    mean, variance = moments(prior, z, 1000)
    original = weight.detach().clone()
    samples = []
    layer.eval()
    for _ in range(1000):
        with torch.no_grad():
            weight.copy_(original + sigma * torch.randn_like(weight))
            samples.append(layer(z))
    direct = torch.stack(samples)
    with torch.no_grad():
        weight.copy_(original)
        expected = layer(z)
    spread = variance.mean().sqrt()
    assert float((mean - expected).abs().max()) < 0.2 * float(spread)
    torch.testing.assert_close(variance, direct.var(0), rtol=0.4, atol=0)


def test_all_weights_begin_alike_and_the_divergence_wants_more_noise() -> None:
    given = single_weights()
    prior = VariationalDropout(given)
    strand = given.subject.strands[0]
    rows = prior.scores()
    [(name, _)] = [(n, s) for n, (s, _) in given.subject.numbers.items() if s is strand]  # type: ignore[attr-defined]
    sizes = prior.weights[name].detach().abs().flatten()
    assert rows[strand].tolist() == pytest.approx([math.exp(4)] * len(sizes), rel=1e-2)
    whole = prior.penalty()
    assert whole.isfinite()
    prior.steps = 100
    prior.penalty().backward()
    assert prior.logits.grad is not None
    assert bool((prior.logits.grad < 0).all())  # the divergence wants more noise
