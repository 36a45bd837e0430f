"""Recorded passes against plain ones; all but the first test need a GPU."""

from __future__ import annotations

from random import Random

import pytest
import torch
from torch import nn

from bayesnas.compiler.pipeline import Compiled, compile_spec
from bayesnas.compiler.settings import SearchSettings, TrainSettings, make_settings
from bayesnas.compiler.space.choices import member_space
from bayesnas.compiler.space.members import prune_to
from bayesnas.runtime.data.dataset import Batches
from bayesnas.runtime.data.loading import load_data
from bayesnas.runtime.network.learning.learner import Learner
from bayesnas.runtime.network.modules import build, predict
from bayesnas.runtime.network.recording import FIRST, Recording
from bayesnas.runtime.strategies.sampling import thinned
from bayesnas.runtime.supernet.supernet import Supernet

GPU = torch.device("cuda")
on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.fixture(autouse=True)
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same kernels each time, with all the digits of float32."""
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


@pytest.fixture(scope="module")
def compiled() -> Compiled:
    return compile_spec("digits_cell")


def test_nothing_is_recorded_on_a_cpu(compiled: Compiled) -> None:
    module, _ = build(compiled.graph, "digits_cell.nas", 0)
    assert Recording.of(module, compiled.graph, 8) is None


def recorded(module: nn.Module, inputs: torch.Tensor, gates: torch.Tensor) -> Recording:
    recording = Recording(module, 0)
    turns = [recording.record(inputs, gates) for _ in range(FIRST + 1)]
    assert turns == [False] * FIRST + [True]
    assert recording.has(inputs, gates)
    return recording


@pytest.mark.gpu
@on_a_gpu
@pytest.mark.parametrize("learning_gates", [False, True])
def test_outputs_and_gradients_are_those_of_a_plain_pass(
    compiled: Compiled, learning_gates: bool
) -> None:
    module = build(compiled.graph, "digits_cell.nas", 0)[0].to(GPU, torch.float64).train()
    count = len(compiled.graph.searched())

    def drawn(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        draws = torch.Generator().manual_seed(seed)
        inputs = torch.randn(6, 1, 8, 8, generator=draws, dtype=torch.float64).to(GPU)
        gates = torch.rand(count, generator=draws, dtype=torch.float64) * (torch.arange(count) % 3)
        return inputs, gates.to(GPU).requires_grad_(learning_gates)

    before = [buffer.clone() for buffer in module.buffers()]
    recording = recorded(module, *drawn(0))
    for buffer, value in zip(module.buffers(), before, strict=True):
        assert torch.equal(buffer, value)
    for seed in (1, 2):
        results = []
        for call in (lambda *given: predict(module, *given), recording):
            inputs, gates = drawn(seed)
            outputs = call(inputs, gates)
            leaves = [*module.parameters(), *([gates] if learning_gates else [])]
            slopes = torch.autograd.grad(outputs.square().sum(), leaves, allow_unused=True)
            parts = [outputs, *(s for s in slopes if s is not None)]
            results.append(torch.cat([p.detach().flatten() for p in parts]))
        torch.testing.assert_close(*results, rtol=1e-9, atol=1e-9)


@pytest.mark.gpu
@on_a_gpu
def test_a_search_takes_the_same_steps(compiled: Compiled) -> None:
    data = load_data("digits", compiled.graph).to(GPU)
    settings = make_settings(SearchSettings, {"strategy": "posterior", "batch_size": 32})
    nets = [Supernet(compiled.graph, "digits_cell.nas", data, settings, 0, GPU) for _ in "ab"]
    nets[1]._recording = None
    losses: list[list[float]] = []
    for net in nets:
        random, space = Random(0), member_space(compiled.graph)
        losses.append([])
        for inputs, targets in net.batches(FIRST + 6):
            part = thinned(space, 0.3, random)
            net.keep(part.candidates())
            losses[-1].append(net.descend(inputs, targets, net.gates.at(part.mean())))
    torch.testing.assert_close(torch.tensor(losses[0]), torch.tensor(losses[1]), rtol=1e-3, atol=0)
    for one, other in zip(nets[0].module.parameters(), nets[1].module.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-2, atol=1e-3)


@pytest.mark.gpu
@on_a_gpu
def test_weights_of_what_is_left_out_rest(compiled: Compiled) -> None:
    settings = make_settings(SearchSettings, {"strategy": "posterior", "batch_size": 32})
    net = Supernet(
        compiled.graph,
        "digits_cell.nas",
        load_data("digits", compiled.graph).to(GPU),
        settings,
        0,
        GPU,
    )
    groups = sorted(member_space(compiled.graph).candidates())
    kept = set(groups[::2])
    gates = net.gates.at(dict.fromkeys(groups, 0.5))
    for step, (inputs, targets) in enumerate(net.batches(FIRST + 4)):
        net.keep(groups if step < FIRST + 2 else kept)
        before = {n: w.detach().clone() for n, w in net.module.named_parameters()}
        net.descend(inputs, targets, gates)
    moved = {n for n, w in net.module.named_parameters() if not torch.equal(w, before[n])}
    resting = {id(w) for group in set(groups) - kept for w in net._weights[group]}
    names = {n for n, w in net.module.named_parameters() if id(w) in resting}
    assert names
    assert not names & moved
    assert len(moved) > len(names) / 2


@pytest.mark.gpu
@on_a_gpu
def test_a_training_takes_the_same_steps(compiled: Compiled) -> None:
    graph = prune_to(compiled.graph, next(iter(member_space(compiled.graph).members())))
    data = load_data("digits", compiled.graph).to(GPU)
    settings = make_settings(TrainSettings, {"epochs": 1, "augment": "none"})
    losses = []
    for recording in (True, False):
        module, emitted = build(graph, "digits_cell.nas", 0)
        learner = Learner(module.to(GPU), emitted, graph, settings)
        if not recording:
            learner._recording = None
        draws = torch.Generator().manual_seed(0)
        batches = Batches(data, data.train, settings.batch_size, settings.augment, draws)
        losses.append(list(learner.epoch(batches, 0)))
    torch.testing.assert_close(torch.tensor(losses[0]), torch.tensor(losses[1]), rtol=2e-2, atol=0)


@pytest.mark.gpu
@on_a_gpu
def test_what_python_has_a_say_in_is_not_recorded(compiled: Compiled) -> None:
    module = build(compiled.graph, "digits_cell.nas", 0)[0].to(GPU).train()
    next(module.children()).register_forward_hook(lambda *_: None)
    recording = Recording(module, 0)
    inputs = torch.randn(4, 1, 8, 8, device=GPU)
    gates = torch.ones(len(compiled.graph.searched()), device=GPU)
    assert not any(recording.record(inputs, gates) for _ in range(FIRST + 3))
