"""The strategy `pgnas`: its bound, its draws, what it learns where the answer is known."""

from __future__ import annotations

from collections import Counter
from copy import deepcopy

import pytest
import torch
from living import CELLS, budget, images
from support import compile_text, is_member
from torch.nn.functional import cross_entropy

from bayesnas.compiler.graph.cost import graph_cost
from bayesnas.compiler.graph.model import BudgetConstraint
from bayesnas.compiler.pipeline import Compiled
from bayesnas.compiler.settings import SearchSettings
from bayesnas.compiler.space.choices import member_space
from bayesnas.compiler.space.members import prune_to
from bayesnas.compiler.space.prices import Prices
from bayesnas.runtime.strategies.interface import Problem
from bayesnas.runtime.strategies.pgnas import Pgnas
from bayesnas.runtime.supernet.supernet import Supernet
from bayesnas.runtime.weights.concrete import entropy_term, mean_masks, relaxed_masks

CPU = torch.device("cpu")
SPACE = compile_text(CELLS)
# One edge that chooses by itself; `blur` leaves of each image its mean.
EDGE = """\
op blur = global_avg_pool >> linear(64)
op same = flatten

network net(image: [1, 8, 8]) -> (logits: [3]) {
    node h
    image ~> h : blur | same
    h -> logits : relu >> linear(3)
}
"""
# What `storm` lets through is one pixel of twenty, twenty times as bright.
PLANTED = """\
op storm = dropout(95)

motif body(a) -> (out) {
    node h
    a ~> h : storm | skip
    retain 1 into h
    out = sum(h)
}

network net(image: [1, 8, 8]; width = 6) -> (logits: [3]) {
    stem = image : conv(3, width) >> bn >> relu
    a = body(stem)
    a -> logits : flatten >> linear(3)
}
"""


def strategy_of(
    space: Compiled, *budgets: BudgetConstraint, seed: int = 3, **values: float | str
) -> Pgnas:
    given = {"batch_size": 16, "strategy": "pgnas", **values}
    settings = SearchSettings(**given)  # type: ignore[arg-type]
    net = Supernet(space.graph, "net", images(), settings, seed, CPU)
    return Pgnas(Problem(net, Prices.of(space.graph, budgets), settings, seed))


def set_drops(strategy: Pgnas, chances: list[float]) -> None:
    with torch.no_grad():
        strategy.logits.copy_(torch.logit(torch.tensor(chances, dtype=torch.float64)))


def test_probabilities_start_as_published_or_where_members_are() -> None:
    published = torch.sigmoid(strategy_of(SPACE, discretize="no").logits)
    torch.testing.assert_close(published, torch.full_like(published, 0.1))
    strategy = strategy_of(SPACE)
    kept = strategy.net.gates.named(torch.sigmoid(-strategy.logits))
    means = member_space(SPACE.graph).mean()
    assert kept == pytest.approx({g: min(m, 0.999) for g, m in means.items()})


def test_a_step_descends_the_bound() -> None:
    """Gradients of weights and logits are those of the bound as it is written, by autograd."""
    strategy = strategy_of(SPACE, weight_decay=0.1)
    net = strategy.net
    [batch] = net.batches(1)
    module = deepcopy(net.module).train()
    logits = strategy.logits.detach().clone().requires_grad_()
    draws, state = net.generator.get_state(), torch.get_rng_state()
    masks = relaxed_masks(logits, 16, torch.Generator().set_state(draws)).float()
    loss = cross_entropy(module(batch[0], masks[:, net.gates.group_of_gate]), batch[1])
    p = torch.sigmoid(logits)
    searched = {
        name: group
        for group, gates in net.gates.groups.items()
        for path, candidate in (net.emitted.gates[gate] for gate in gates)
        for name, _ in module.named_parameters()
        if name.startswith(f"{path}.candidates.{candidate}.")
    }
    assert 0 < len(searched) < len([*module.parameters()])
    for name, weight in module.named_parameters():
        kept = 1 - p[net.gates.numbers[searched[name]]] if name in searched else 1.0
        loss = loss + 0.1 / 2 * kept * weight.square().sum()
    loss = loss + entropy_term(logits, torch.ones_like(logits), len(net.fit_part))
    loss.backward()
    torch.set_rng_state(state)
    seen: list[torch.Tensor] = []
    before = {name: w.detach().clone() for name, w in net.module.named_parameters()}
    strategy.logits.register_hook(seen.append)
    strategy.step(*batch, True)
    assert logits.grad is not None
    torch.testing.assert_close(seen[-1], logits.grad, rtol=1e-4, atol=1e-7)
    assert not torch.equal(strategy.logits, logits)
    norm = sum(float(w.grad.square().sum()) for w in module.parameters()) ** 0.5  # type: ignore[union-attr]
    clip = min(1.0, 5.0 / norm)
    for name, weight in module.named_parameters():
        assert weight.grad is not None
        moved = (before[name] - dict(net.module.named_parameters())[name]) / (0.05 * 1.9)
        torch.testing.assert_close(moved, clip * weight.grad, rtol=1e-2, atol=1e-4)


def test_probabilities_stay_in_the_warm_up() -> None:
    strategy = strategy_of(SPACE)
    before = strategy.logits.detach().clone()
    [batch] = strategy.net.batches(1)
    strategy.step(*batch, False)
    assert torch.equal(strategy.logits, before)


def test_draws_have_the_chances_of_members_under_the_posterior() -> None:
    """Of one edge with two candidates: q conditioned on at most one of them staying."""
    strategy = strategy_of(compile_text(EDGE), draws=3000)
    set_drops(strategy, [0.7, 0.4])
    blur, same = strategy.net.gates.groups
    drawn = Counter(strategy._member(1.0) for _ in range(3000))
    odds = {frozenset({blur}): 0.3 / 0.7, frozenset({same}): 0.6 / 0.4}
    # A network without the edge is none: what would drop it keeps the better candidate.
    whole = sum(odds.values()) + 1
    assert set(drawn) == set(odds)
    least, most = odds[frozenset({blur})] / whole, (odds[frozenset({blur})] + 1) / whole
    assert least - 0.03 <= drawn[frozenset({blur})] / 3000 <= most + 0.03
    assert strategy._member(0.0) == frozenset({same})


def test_hard_masks_are_independent() -> None:
    strategy = strategy_of(compile_text(EDGE), discretize="no")
    set_drops(strategy, [0.7, 0.4])
    blur, same = strategy.net.gates.groups
    drawn = Counter(strategy._mask(1.0) for _ in range(3000))
    assert drawn[frozenset({blur, same})] / 3000 == pytest.approx(0.3 * 0.6, abs=0.03)
    # Nothing at all is no network: the likelier of the two comes back.
    assert 0.3 * 0.4 - 0.03 < drawn[frozenset({blur})] / 3000 < 0.3 * 0.4 + 0.7 * 0.4 / 2 + 0.03
    assert drawn.keys() == {frozenset({blur, same}), frozenset({blur}), frozenset({same})}


@pytest.mark.parametrize("discretize", ["yes", "no"])
def test_what_is_judged_fits_the_constraints(discretize: str) -> None:
    strategy = strategy_of(SPACE, *budget("parameters", 300), discretize=discretize, draws=20)
    found = strategy.candidates()
    assert len(found) == len(set(found)) > 1
    space = member_space(SPACE.graph)
    for mask in found:
        assert graph_cost(prune_to(SPACE.graph, mask)).parameters <= 300
        assert is_member(space, mask) or discretize == "no"
        for arriving, kept in space.nodes():
            stay = sum(not mask.isdisjoint(c.options) for c in arriving)
            assert kept is None or stay <= kept


def test_useless_operations_get_high_drop_probabilities() -> None:
    strategy = strategy_of(compile_text(PLANTED), gate_learning_rate=0.05, seed=5)
    storm, skip = strategy.net.gates.groups
    strategy.net.total_steps = 150
    for inputs, targets in strategy.net.batches(150):
        strategy.step(inputs, targets, True)
    assert strategy.update(1, 2).reasons == {}
    chances = strategy.report
    assert chances[storm]["chance"] < 0.2
    assert chances[skip]["chance"] > 0.7
    expected = mean_masks(strategy.logits.detach()).tolist()
    assert strategy.gates().tolist() == pytest.approx(expected)
    assert strategy.update(2, 2).reasons == {storm: "judged"}
    assert strategy.gates().tolist() == [0, 1]
