"""The sampled diagonal of Gauss-Newton in all weights, against autograd, in float64."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from support import compile_text
from torch import Tensor, nn

from bayesnas.compiler.slices.groups import coupled_slices
from bayesnas.runtime.network.modules import build
from bayesnas.runtime.tasks.classification import Classification
from bayesnas.runtime.tasks.pixels.classes import PixelClassification
from bayesnas.runtime.weights.curvature import diagonal, gradient_of_channels, of_readers
from bayesnas.runtime.weights.removal import sliced_tensors
from bayesnas.runtime.weights.subject import Subject

TASK = Classification(("a", "b", "c"))


def network() -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Tanh(), nn.Linear(3, 3)).double()
    inputs = torch.randn(2, 4, dtype=torch.float64)
    module.train()(torch.randn(20, 4, dtype=torch.float64))
    return module, inputs, torch.tensor([0, 2])


def exact(module: nn.Module, inputs: Tensor) -> dict[str, Tensor]:
    """Example by example: the diagonal of J^T (diag p - p p^T) J, over all of them."""
    module.eval()
    weights = dict(module.named_parameters())
    result = {name: torch.zeros_like(w) for name, w in weights.items()}
    for z in inputs:
        outputs = module(z[None])[0]
        p = outputs.detach().softmax(0)
        rows = [torch.autograd.grad(o, [*weights.values()], retain_graph=True) for o in outputs]
        middle = torch.diag(p) - torch.outer(p, p)
        for n, name in enumerate(weights):
            J = torch.stack([row[n] for row in rows]).flatten(1)
            result[name] += (J * (middle @ J)).sum(0).view_as(result[name]) / len(inputs)
    return result


@pytest.mark.parametrize("at_once", [1, 2])
def test_its_mean_over_all_signs_is_exact(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    module, inputs, targets = network()
    batches = [*zip(inputs.split(at_once), targets.split(at_once), strict=True)]
    mean = {name: torch.zeros_like(w) for name, w in module.named_parameters()}
    count = 0
    for signs in product((0, 1), repeat=3 * at_once):
        drawn = torch.tensor(signs).view(at_once, 3)
        monkeypatch.setattr(torch, "randint", lambda *_, drawn=drawn, **__: drawn)
        for name, h in diagonal(module, TASK, batches, torch.Generator()).items():
            mean[name] += h
        count += 1
    for name, h in exact(module, inputs).items():
        torch.testing.assert_close(mean[name] / count, h, rtol=1e-10, atol=1e-12)


def test_the_network_is_left_as_it_was() -> None:
    module, inputs, targets = network()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    one, other = (
        diagonal(module, TASK, [(inputs, targets)], torch.Generator().manual_seed(3))
        for _ in range(2)
    )
    assert module.training
    assert all(torch.equal(before[name], t) for name, t in module.state_dict().items())
    assert all(w.grad is None for w in module.parameters())
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_examples_count_by_their_weights() -> None:
    module, inputs, targets = network()
    task = TASK.balanced(torch.tensor([0, 0, 0, 1, 2]))
    counts = task.weights(targets)
    assert counts is not None
    draws = [
        diagonal(
            module, t, [(inputs[k : k + 1], targets[k : k + 1])], torch.Generator().manual_seed(1)
        )
        for t in (TASK, task)
        for k in range(2)
    ]
    for k in range(2):
        for name, h in draws[k].items():
            torch.testing.assert_close(draws[2 + k][name], float(counts[k]) * h)


READ = """\
network net(x: [3]) -> (logits: [3]) {
    h = x : linear(2) >> bn >> relu
    j = h : linear(2)
    k = sum(h, j)
    k -> logits : linear(3)
}
"""


@pytest.mark.parametrize("at_once", [1, 2])
def test_derivatives_in_channels_are_those_of_gates_where_they_are_read(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = compile_text(READ)
    module, _ = build(compiled.graph, "net.nas", 0)
    module.double().eval()
    slices = coupled_slices(compiled.graph)
    subject = Subject(module, (*sliced_tensors(compiled, slices),), slices.removable)
    inputs = torch.randn(2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    targets = torch.tensor([0, 2])
    gates = torch.ones(2, 2, dtype=torch.float64, requires_grad=True)  # of two readers
    readers = [m for m in module.modules() if isinstance(m, nn.Linear)][1:]
    assert [tuple(m.weight.shape) for m in readers] == [(2, 2), (3, 2)]
    hooks = [
        reader.register_forward_pre_hook(lambda _, z, row=row: (z[0] * row,))
        for reader, row in zip(readers, gates, strict=True)
    ]
    g, H = torch.zeros(2, 2, dtype=torch.float64)
    each = torch.zeros(2, 2, dtype=torch.float64)
    for z, y in zip(inputs, targets, strict=True):
        outputs = module(z[None])
        slope = torch.autograd.grad(TASK.loss(outputs, y[None]), gates, retain_graph=True)[0]
        g += slope.sum(0) / 2
        rows = [torch.autograd.grad(o, gates, retain_graph=True)[0] for o in outputs[0]]
        J, p = torch.stack(rows), outputs[0].detach().softmax(0)
        loss = torch.diag(p) - torch.outer(p, p)
        H += torch.einsum("oc,op,pc->c", J.sum(1), loss, J.sum(1)) / 2
        each += torch.einsum("orc,op,prc->rc", J, loss, J) / 2
    for hook in hooks:
        hook.remove()
    batches = [*zip(inputs.split(at_once), targets.split(at_once), strict=True)]
    mean, found, count = torch.zeros_like(H), torch.zeros_like(each), 0
    for signs in product((0, 1), repeat=3 * at_once):
        drawn = torch.tensor(signs).view(at_once, 3)
        monkeypatch.setattr(torch, "randint", lambda *_, drawn=drawn, **__: drawn)
        total, parts = of_readers(subject, TASK, batches)
        mean, count = mean + total, count + 1
        found += torch.stack([subject.joined(rows) for rows in parts.values()])
    gradient = gradient_of_channels(subject, TASK, batches)
    torch.testing.assert_close(gradient, g, rtol=1e-10, atol=1e-14)
    torch.testing.assert_close(mean / count, H, rtol=1e-10, atol=1e-14)
    torch.testing.assert_close(found / count, each, rtol=1e-10, atol=1e-14)


def test_what_counts_for_nothing_has_no_curvature() -> None:
    """Labels of places that are ignored say nothing; nor do they take from others."""
    task = PixelClassification(("a", "b", "c"), (2, 2), ignored=9)
    module = nn.Sequential(nn.Conv2d(2, 3, 1), nn.Flatten()).double()
    inputs = torch.randn(6, 2, 2, 2, dtype=torch.float64)
    targets = torch.randint(0, 3, (6, 2, 2))
    targets[:, 0] = 9
    other = inputs.clone()
    other[:, :, 0] += 1  # where nothing is known
    first, second, none = (
        diagonal(module, task, [(x, y)], torch.Generator().manual_seed(0))
        for x, y in ((inputs, targets), (other, targets), (inputs, torch.full_like(targets, 9)))
    )
    for name, h in first.items():
        torch.testing.assert_close(second[name], h)
        assert float(h.sum()) > 0
        assert not none[name].any()
