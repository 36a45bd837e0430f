"""Masks of channels where they are read, and the bound."""

from __future__ import annotations

import pytest
import torch
from problems import EXAMPLES, problem
from support import compile_text

from bayesnas.compiler.slices.groups import coupled_slices
from bayesnas.runtime.network.modules import build, predict
from bayesnas.runtime.tasks.classification import Classification
from bayesnas.runtime.weights.concrete import entropy_term, relaxed_masks
from bayesnas.runtime.weights.priors.dropout import Dropout
from bayesnas.runtime.weights.priors.interface import Problem, inputs_of
from bayesnas.runtime.weights.removal import masked, sliced_tensors, state_paths
from bayesnas.runtime.weights.subject import Subject, group_sums


def test_a_closed_mask_is_a_removal() -> None:
    """Of the same channels everywhere: what reads them computes as if they were zero."""
    compiled, slices, given = problem()
    module = given.subject.module
    [(inputs, _), *_] = given.batches()
    kept = {s: [k for k in range(s.size) if k % 2] for s in slices.removable}
    whole = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    module.load_state_dict(masked(compiled, whole, slices, kept))
    expected = module.eval()(inputs)
    module.load_state_dict(whole)
    prior = Dropout(given)
    torch.testing.assert_close(module(inputs), module(inputs))  # no masks in evaluation mode
    prior._masks = {
        s: torch.tensor([float(k % 2) for k in range(s.size)], dtype=torch.float64).expand(16, -1)
        for s in slices.removable
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_forward_pre_hooks", {})  # which would draw others
        torch.testing.assert_close(module(inputs), expected)


def test_a_training_pass_draws_a_mask_for_each_example() -> None:
    _, slices, given = problem()
    prior = Dropout(given)
    state = given.subject.generator.get_state()
    [(inputs, _), *_] = given.batches()
    given.subject.module.train()(inputs)
    drawn = relaxed_masks(prior.logits, 16, torch.Generator().set_state(state))
    assert torch.equal(given.subject.joined({s: m[3] for s, m in prior._masks.items()}), drawn[3])
    assert {s: m.shape for s, m in prior._masks.items()} == {
        s: (16, s.size) for s in slices.removable
    }


def test_a_mask_keeps_a_channel_with_its_probability_to_stay() -> None:
    _, _, given = problem()
    prior = Dropout(given)
    with torch.no_grad():
        prior.logits.copy_(torch.linspace(-3, 3, len(prior.logits), dtype=torch.float64))
    drawn = [given.subject.joined(odds) > 0 for odds in prior.samples(4000)]
    share = torch.stack(drawn).double().mean(0)
    torch.testing.assert_close(share, torch.sigmoid(-prior.logits.detach()), atol=0.03, rtol=0)


def test_the_penalty_makes_weight_decay_the_bound() -> None:
    """decay / 2 ||m||^2 (1 - p) + entropy / N, of which steps have decay / 2 ||m||^2."""
    _, _, given = problem()
    prior = Dropout(given)
    with torch.no_grad():
        prior.logits.copy_(torch.linspace(-2, 2, len(prior.logits), dtype=torch.float64))
    weights = dict(given.subject.module.named_parameters())
    squares = given.subject.joined(
        group_sums(given.subject, {n: w.detach() ** 2 for n, w in weights.items()}, True)
    )
    kept = torch.sigmoid(-prior.logits)
    whole = given.decay / 2 * squares.sum() + prior.penalty()
    entropy = entropy_term(prior.logits, torch.ones_like(kept), EXAMPLES)
    torch.testing.assert_close(whole, given.decay / 2 * (kept * squares).sum() + entropy)


ATTENTION = """network net(image: [4, 6]) -> (logits: [3]) {
    x = image : conv(1, 8)
    y = x : layer_norm >> attention(2)
    u = sum(x, y)
    v = u : layer_norm >> conv(1, 12) >> gelu >> conv(1, 8)
    w = sum(u, v)
    w -> logits : layer_norm >> global_avg_pool >> linear(3)
}
"""
MATRIX = """network net(image: [4, 6]) -> (logits: [3]) {
    image -> logits : conv(1, 8) >> relu >> matrix(7) >> relu >> global_avg_pool >> linear(3)
}
"""


@pytest.mark.parametrize("text", [ATTENTION, MATRIX])
def test_noise_is_put_on_every_channel_that_is_read(text: str) -> None:
    """Inside a primitive as well: the values of an attention."""
    compiled = compile_text(text)
    slices = coupled_slices(compiled.graph)
    module, _ = build(compiled.graph, "net.nas", 0)
    sliced = (*sliced_tensors(compiled, slices),)
    subject = Subject(module, sliced, slices.removable, generator=torch.Generator())
    inputs = inputs_of(subject, slices, state_paths(compiled))
    task = Classification(("a", "b", "c"))
    prior = Dropout(Problem(subject, task, list, 100, 0.0, inputs, 100, lambda _: 1.0))
    predict(module.train(), torch.randn(16, 4, 6)).square().sum().backward()
    assert prior.logits.grad is not None
    assert bool((prior.logits.grad != 0).all())
