"""How networks learn: rates, mixtures, drop path, running means, optimisers, against plain code."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from attrs import evolve
from support import compile_text
from torch import Tensor, nn

from bayesnas.compiler.emit.pytorch import Emitted
from bayesnas.compiler.graph.model import Graph
from bayesnas.compiler.settings import TrainSettings
from bayesnas.runtime.data.dataset import Batches, Data
from bayesnas.runtime.data.examples import Part
from bayesnas.runtime.network.learning.drop_path import droppable
from bayesnas.runtime.network.learning.learner import Learner, mean_decay, optimizer_of
from bayesnas.runtime.network.learning.mixtures import mixed
from bayesnas.runtime.network.learning.rates import cosine, learning_rate
from bayesnas.runtime.network.modules import build
from bayesnas.runtime.network.training import absurd
from bayesnas.runtime.tasks.classification import Classification
from bayesnas.runtime.tasks.scores import Score

NET = """
network net(image: [2, 6, 6]) -> (logits: [3]) {
    node y
    stem = image : conv(3, 4) >> bn
    stem -> y
    stem -> y : relu >> conv(3) >> bn
    stem -> y : max_pool(3) >> conv(1)
    y -> logits : global_avg_pool >> linear(3)
}
"""
PLAIN = TrainSettings(epochs=4, batch_size=8, learning_rate=0.1, augment="none")


def data(count: int = 24) -> Data:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(count, 2, 6, 6, generator=generator)
    part = Part(inputs, torch.arange(count) % 3)
    return Data.of("d", Classification(("a", "b", "c")), part, part)


def network() -> tuple[nn.Module, Emitted, Graph]:
    graph = compile_text(NET).graph
    return *build(graph, "net.nas", 0), graph


def learned(settings: TrainSettings, epochs: int = 1) -> Learner:
    torch.manual_seed(0)
    learner, batches = Learner(*network(), settings), batches_of(settings)
    for epoch in range(epochs):
        list(learner.epoch(batches, epoch))
    return learner


def batches_of(settings: TrainSettings) -> Batches:
    whole = data()
    size = settings.batch_size
    return Batches(whole, whole.train, size, "none", torch.Generator().manual_seed(1))


def weights(learner: Learner) -> Tensor:
    return torch.cat([p.detach().flatten() for p in learner.judged.parameters()])


# ------------------------------------------------------------------------------------------- rates


def rates(**settings: Any) -> list[float]:
    """The first of every epoch."""
    chosen = evolve(PLAIN, **settings)
    return [learning_rate(chosen, epoch, 0, 10) for epoch in range(chosen.epochs)]


def test_the_cosine_falls_step_by_step() -> None:
    assert cosine(0.4, 0, 10) == 0.4
    assert cosine(0.4, 5, 10) == pytest.approx(0.2)
    assert cosine(0.4, 10, 10) == pytest.approx(0)
    steps = [learning_rate(PLAIN, e, k, 10) for e in range(4) for k in range(10)]
    assert steps == [cosine(0.1, k, 40) for k in range(40)]


def test_other_schedules_fall_epoch_by_epoch() -> None:
    assert rates(schedule="cosine_epoch", epochs=600)[300] == pytest.approx(0.05)
    assert rates(schedule="linear", epochs=4) == pytest.approx([0.1, 0.075, 0.05, 0.025])
    decayed = [0.1 * 0.97**k for k in range(4)]
    assert rates(schedule="exponential", rate_decay=0.97) == pytest.approx(decayed)
    assert rates(schedule="constant") == [0.1] * 4
    chosen = evolve(PLAIN, schedule="linear")
    assert learning_rate(chosen, 1, 9, 10) == learning_rate(chosen, 1, 0, 10)


def test_the_rate_falls_at_the_epochs_said() -> None:
    """Counted from the start of the training, its warm-up among them."""
    found = rates(schedule="steps", rate_decay=0.1, rate_steps="3, 5", epochs=7, warmup_epochs=2)
    assert found == pytest.approx([0.05, 0.1, 0.1, 0.01, 0.01, 0.001, 0.001])
    early = rates(schedule="steps", rate_decay=0.5, rate_steps="1", epochs=3, warmup_epochs=2)
    assert early == pytest.approx([0.05, 0.1, 0.05])


def test_the_linear_schedule_of_pc_darts() -> None:
    """`adjust_lr` of the authors: (E - 5 - e) / (E - 5), and a fifth of the rest at the end."""
    found = rates(schedule="linear_tail", epochs=250, warmup_epochs=5, learning_rate=0.5)
    assert found[:5] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    assert found[5] == pytest.approx(0.5 * 240 / 245)
    assert found[244] == pytest.approx(0.5 * 1 / 245)
    assert found[245:] == pytest.approx([0.5 * k / (245 * 5) for k in (5, 4, 3, 2, 1)])


def test_a_warm_up_rises_to_the_highest_rate() -> None:
    chosen = evolve(PLAIN, warmup_epochs=2)
    steps = [learning_rate(chosen, e, k, 10) for e in range(4) for k in range(10)]
    assert steps[:20] == pytest.approx([0.1 * (k + 1) / 20 for k in range(20)])
    assert steps[20:] == [cosine(0.1, k, 20) for k in range(20)]
    assert rates(warmup_epochs=9)[-1] < 0.1  # longer than the training: it rises to the end


# ---------------------------------------------------------------------------------------- mixtures


def test_a_mixture_has_the_loss_of_both_targets() -> None:
    inputs, targets = torch.rand(6, 2, 4, 4, dtype=torch.float64), torch.arange(6) % 3
    outputs = torch.randn(6, 3, dtype=torch.float64)
    torch.manual_seed(0)
    mixture = mixed(inputs, 0.5, 0)
    share, others = mixture.share, mixture.others
    assert others is not None
    torch.testing.assert_close(mixture.inputs, share * inputs + (1 - share) * inputs[others])
    labels = nn.functional.one_hot(targets, 3).double()
    soft = share * labels + (1 - share) * labels[others]
    expected = -(soft * outputs.log_softmax(dim=1)).sum(dim=1).mean()
    cross = nn.functional.cross_entropy
    torch.testing.assert_close(mixture.loss(cross, outputs, targets), expected)


def test_cutmix_takes_a_rectangle_and_its_share() -> None:
    inputs = torch.rand(5, 2, 16, 12)
    torch.manual_seed(3)
    for _ in range(20):
        mixture = mixed(inputs, 0, 1.0)
        assert mixture.others is not None
        own = (mixture.inputs == inputs).all(dim=1)
        theirs = (mixture.inputs == inputs[mixture.others]).all(dim=1)
        assert bool((own | theirs).all())
        moved = [n for n in range(5) if int(mixture.others[n]) != n]
        for n in moved:
            assert float(own[n].double().mean()) == pytest.approx(mixture.share)


def test_nothing_is_mixed_or_drawn_unasked() -> None:
    inputs, state = torch.rand(3, 2), torch.get_rng_state()
    mixture = mixed(inputs, 0, 0)
    assert mixture.inputs is inputs
    assert (mixture.others, mixture.share) == (None, 1.0)
    assert torch.equal(torch.get_rng_state(), state)


# --------------------------------------------------------------------------------------- drop path


def test_only_operations_that_others_are_added_to_are_dropped() -> None:
    _, _, graph = network()
    labels = [edge.operation.label for edge in droppable(graph)]
    assert labels == ["relu >> conv(3) >> bn", "max_pool(3) >> conv(1)"]


def test_a_dropped_path_keeps_its_mean_and_is_whole_or_none() -> None:
    module, emitted, graph = network()
    learner = Learner(module, emitted, graph, evolve(PLAIN, drop_path=0.5))
    edge = list(droppable(graph))[1]
    layer = module.get_submodule(emitted.operations[edge.id])
    inputs = torch.randn(4000, 4, 6, 6)
    module.eval()
    whole = layer(inputs)
    module.train()
    torch.testing.assert_close(layer(inputs), whole)  # nothing before the first epoch has ended
    learner.path.at(0.5)
    torch.manual_seed(0)
    ratio = (layer(inputs) / whole).flatten(1)
    assert torch.equal(ratio.amax(dim=1).round(decimals=4), ratio.amin(dim=1).round(decimals=4))
    kept = (ratio[:, 0] > 0).double()
    torch.testing.assert_close(ratio[:, 0].double(), kept / 0.75, rtol=1e-4, atol=1e-4)
    assert float(kept.mean()) == pytest.approx(0.75, abs=5 * math.sqrt(0.75 * 0.25 / 4000))
    module.eval()
    torch.testing.assert_close(layer(inputs), whole)


# ----------------------------------------------------------------------------------------- learning


def test_batches_gathered_are_one_large_batch() -> None:
    """Of a network without normalisation, whose gradients are means over examples."""
    text = "network n(image: [2, 6, 6]) -> (y: [3]) { image -> y : flatten >> linear(3) }"
    graph, found = compile_text(text).graph, []
    for size, gathered in ((8, 3), (24, 1)):
        module, emitted = build(graph, "n.nas", 0)
        settings = evolve(PLAIN, batch_size=size, accumulate=gathered, schedule="constant")
        learner = Learner(module, emitted, graph, settings)
        list(learner.epoch(batches_of(settings), 0))
        found.append(weights(learner))
    torch.testing.assert_close(found[0], found[1], rtol=1e-5, atol=1e-6)


def test_a_running_mean_of_weights() -> None:
    settings = evolve(PLAIN, average=0.5)
    torch.manual_seed(0)
    learner, batches = Learner(*network(), settings), batches_of(settings)
    mean = torch.zeros(())
    for step, _ in enumerate(learner.epoch(batches, 0)):
        now = torch.cat([p.detach().flatten() for p in learner.module.parameters()])
        decay = min(0.5, (1 + step) / (10 + step)) if step else 0.0
        mean = decay * mean + (1 - decay) * now
    torch.testing.assert_close(weights(learner), mean)
    plain = learned(PLAIN)
    assert plain.judged is plain.module
    torch.testing.assert_close(
        torch.cat([p.flatten() for p in learner.module.parameters()]), weights(plain)
    )


def test_a_running_mean_of_few_steps_has_forgotten_the_first_weights() -> None:
    assert math.prod(mean_decay(0.99, step) for step in range(1, 30)) < 1e-6
    assert mean_decay(0.99, 1000) == 0.99


def test_decay_may_leave_vectors_alone() -> None:
    module, _, _ = network()
    settings = evolve(PLAIN, optimizer="adamw", decay_norms="no", momentum=0.8)
    optimizer = optimizer_of(module, settings)
    assert isinstance(optimizer, torch.optim.AdamW)
    decays = {id(p): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    assert len(decays) == len(list(module.parameters()))
    for parameter in module.parameters():
        assert decays[id(parameter)] == (3e-4 if parameter.dim() > 1 else 0.0)
    assert {group["betas"] for group in optimizer.param_groups} == {(0.8, 0.999)}
    plain = optimizer_of(module, evolve(PLAIN, nesterov="no"))
    assert [group["nesterov"] for group in plain.param_groups] == [False]


def test_low_precision_stays_near() -> None:
    exact, low = learned(PLAIN), learned(evolve(PLAIN, precision="bfloat16"))
    assert {p.dtype for p in low.module.parameters()} == {torch.float32}
    change = (weights(low) - weights(exact)).norm() / weights(exact).norm()
    assert 0 < float(change) < 0.05


@pytest.mark.parametrize("chance", [-1.26, 0.0, 2.3])
def test_a_loss_a_little_above_that_of_chance_is_not_absurd(chance: float) -> None:
    """Of densities it may be negative, or 0."""
    assert not absurd(Score(chance + 0.1, 0.0), Score(chance, 0.0))
    assert absurd(Score(chance + 300, 0.0), Score(chance, 0.0))
    assert not absurd(Score(1e9, 0.0), None)
    assert absurd(Score(float("nan"), 0.0), None)
