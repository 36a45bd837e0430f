"""Estimates of the diagonal of Gauss-Newton in all weights, against autograd, in float64."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import pytest
import torch
from coupled import TEXTS, network_of
from living import inputs_of
from support import compile_text
from torch import Tensor, nn

from bayesnas.cli import main
from bayesnas.compiler.pipeline import Compiled
from bayesnas.compiler.settings import WEIGHT_CURVATURES
from bayesnas.compiler.slices.groups import coupled_slices
from bayesnas.runtime.network.modules import build, predict
from bayesnas.runtime.report.files import RunFiles
from bayesnas.runtime.report.sections.making import command_of
from bayesnas.runtime.tasks.bundle import Inputs, bundled
from bayesnas.runtime.tasks.classification import Classification
from bayesnas.runtime.tasks.pixels.classes import PixelClassification
from bayesnas.runtime.weights.curvature import (
    ESTIMATORS,
    exact,
    gradient_of_channels,
    of_readers,
    sampled,
)
from bayesnas.runtime.weights.removal import sliced_tensors
from bayesnas.runtime.weights.subject import Subject

TASK = Classification(("a", "b", "c"))


def network() -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Tanh(), nn.Linear(3, 3)).double()
    inputs = torch.randn(2, 4, dtype=torch.float64)
    module.train()(torch.randn(20, 4, dtype=torch.float64))
    return module, inputs, torch.tensor([0, 2])


def reference(module: nn.Module, inputs: Inputs) -> dict[str, Tensor]:
    """Example by example: the diagonal of J^T (diag p - p p^T) J, over all of them."""
    module.eval()
    weights = dict(module.named_parameters())
    result = {name: torch.zeros_like(w) for name, w in weights.items()}
    for example in range(len(inputs)):
        outputs = predict(module, inputs[example : example + 1])[0]
        p = outputs.detach().softmax(0)
        rows = [
            torch.autograd.grad(o, [*weights.values()], retain_graph=True, materialize_grads=True)
            for o in outputs
        ]
        middle = torch.diag(p) - torch.outer(p, p)
        for n, name in enumerate(weights):
            J = torch.stack([row[n] for row in rows]).flatten(1)
            result[name] += (J * (middle @ J)).sum(0).view_as(result[name]) / len(inputs)
    return result


def assert_exact(compiled: Compiled) -> None:
    """All outputs of a network as the logits of one class each; in batches of 2 and 1."""
    module, _ = build(compiled.graph, "net.nas", 0)
    module.double()
    ports = dict(zip("abc", inputs_of(compiled.graph), strict=False))
    with torch.no_grad():  # statistics of its own
        predict(module, bundled(ports))
    inputs = bundled(ports)
    width = predict(module.eval(), inputs).shape[1]
    task, targets = Classification((*map(str, range(width)),)), torch.zeros(len(inputs), dtype=int)
    batches = [(inputs[part], targets[part]) for part in (slice(2), slice(2, None))]
    found = exact(module, task, batches, torch.Generator())
    expected = reference(module, inputs)
    assert found.keys() == expected.keys()
    largest = max(float(h.max()) for h in expected.values())
    for name, h in expected.items():
        torch.testing.assert_close(found[name], h, rtol=1e-9, atol=1e-12 * largest)


@pytest.mark.parametrize("name", TEXTS)
def test_the_exact_one_is_that_of_autograd(name: str) -> None:
    """Of every kind of layer that `compress` makes smaller."""
    assert_exact(compile_text(TEXTS[name]))


@pytest.mark.parametrize(
    "name", ["digits_cell", "darts_cell", "transformer", "siamese", "vision_blocks", "darts_rnn"]
)
def test_the_exact_one_is_that_of_autograd_in_networks_of_the_specs(name: str) -> None:
    assert_exact(network_of(name))


def test_the_mean_of_many_sampled_ones_approaches_the_exact_one() -> None:
    module, inputs, targets = network()
    generator, count = torch.Generator().manual_seed(0), 600
    batches = [(inputs, targets)]
    total = {name: torch.zeros_like(w) for name, w in module.named_parameters()}
    for _ in range(count):
        for name, h in sampled(module, TASK, batches, generator).items():
            total[name] += h / count
    for name, h in exact(module, TASK, batches, generator).items():
        torch.testing.assert_close(total[name], h, rtol=0.3, atol=1e-12)  # five standard errors


def test_the_settings_name_the_estimators() -> None:
    assert (*ESTIMATORS,) == WEIGHT_CURVATURES


@pytest.mark.parametrize("at_once", [1, 2])
def test_its_mean_over_all_signs_is_exact(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    module, inputs, targets = network()
    batches = [*zip(inputs.split(at_once), targets.split(at_once), strict=True)]
    mean = {name: torch.zeros_like(w) for name, w in module.named_parameters()}
    count = 0
    for signs in product((0, 1), repeat=3 * at_once):
        drawn = torch.tensor(signs).view(at_once, 3)
        monkeypatch.setattr(torch, "randint", lambda *_, drawn=drawn, **__: drawn)
        for name, h in sampled(module, TASK, batches, torch.Generator()).items():
            mean[name] += h
        count += 1
    for name, h in reference(module, inputs).items():
        torch.testing.assert_close(mean[name] / count, h, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_network_is_left_as_it_was(estimator: str) -> None:
    module, inputs, targets = network()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    one, other = (
        ESTIMATORS[estimator](module, TASK, [(inputs, targets)], torch.Generator().manual_seed(3))
        for _ in range(2)
    )
    assert module.training
    assert all(torch.equal(before[name], t) for name, t in module.state_dict().items())
    assert all(w.grad is None for w in module.parameters())
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_examples_count_by_their_weights(estimator: str) -> None:
    module, inputs, targets = network()
    task = TASK.balanced(torch.tensor([0, 0, 0, 1, 2]))
    counts = task.weights(targets)
    assert counts is not None
    draws = [
        ESTIMATORS[estimator](
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


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_what_counts_for_nothing_has_no_curvature(estimator: str) -> None:
    """Labels of places that are ignored say nothing; nor do they take from others."""
    task = PixelClassification(("a", "b", "c"), (2, 2), ignored=9)
    module = nn.Sequential(nn.Conv2d(2, 3, 1), nn.Flatten()).double()
    inputs = torch.randn(6, 2, 2, 2, dtype=torch.float64)
    targets = torch.randint(0, 3, (6, 2, 2))
    targets[:, 0] = 9
    other = inputs.clone()
    other[:, :, 0] += 1  # where nothing is known
    first, second, none = (
        ESTIMATORS[estimator](module, task, [(x, y)], torch.Generator().manual_seed(0))
        for x, y in ((inputs, targets), (other, targets), (inputs, torch.full_like(targets, 9)))
    )
    for name, h in first.items():
        torch.testing.assert_close(second[name], h)
        assert float(h.sum()) > 0
        assert not none[name].any()


DIGITS = """\
network net(image: [1, 8, 8]; width = 6) -> (logits: [10]) {
    image -> logits : conv(3, width) >> bn >> relu >> max_pool(2, stride = 2)
        >> conv(3, width) >> bn >> relu >> global_avg_pool >> linear(10)
}
"""


@pytest.mark.usefixtures("few_digits", "no_pictures")
def test_compress_takes_the_exact_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.nas").write_text(DIGITS, encoding="utf-8")
    line = "compress net.nas --data digits -o run --budget flops=60% --train-option epochs=1"
    quick = [*line.split(), "--option", "epochs=2", "--device", "cpu"]
    chosen = ["--importance", "bayesnas", "--option", "curvature=exact"]
    assert main([*quick, *chosen]) == 0
    judged = Path("run", "steps", "1_judged", "settings.json").read_text("utf-8")
    assert json.loads(judged)["compression"]["curvature"] == "exact"
    assert "--option curvature=exact" in command_of(RunFiles.open(Path("run")))
    capsys.readouterr()
    assert main([*quick, "--option", "curvature=exact", "--force"]) == 2
    assert "`--option curvature` does nothing with `evidence`" in capsys.readouterr().err
    assert main([*quick, *chosen[:2], "--option", "curvature=ggn", "--force"]) == 2
    assert "write `sampled` or `exact`" in capsys.readouterr().err
