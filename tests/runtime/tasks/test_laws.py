"""Every task against autograd in float64: loss, slope, curvature and what is drawn of it."""

from __future__ import annotations

import json
import re

import pytest
import torch
from support import graph_of
from torch import Tensor

from bayesnas.compiler.graph.model import Graph
from bayesnas.runtime.tasks import classification
from bayesnas.runtime.tasks import parts as shared
from bayesnas.runtime.tasks.classification import Classification
from bayesnas.runtime.tasks.interface import Task
from bayesnas.runtime.tasks.multilabel import Multilabel
from bayesnas.runtime.tasks.next_token import NextToken
from bayesnas.runtime.tasks.outputs import Output
from bayesnas.runtime.tasks.parts import Factors
from bayesnas.runtime.tasks.pixels import places
from bayesnas.runtime.tasks.pixels.classes import PixelClassification
from bayesnas.runtime.tasks.pixels.numbers import PixelRegression
from bayesnas.runtime.tasks.registry import task_class
from bayesnas.runtime.tasks.regression import Regression
from bayesnas.runtime.tasks.several import Several

COUNT = 7
GENERATOR = torch.Generator().manual_seed(0)


def drawn(outputs: int) -> Tensor:
    """Outputs, some of them far from zero."""
    return 4 * torch.randn(COUNT, outputs, generator=GENERATOR, dtype=torch.float64)


def classes(count: int) -> Tensor:
    return torch.randint(0, count, (COUNT,), generator=GENERATOR)


def masks(count: int) -> Tensor:
    return torch.randint(0, count, (COUNT, 2, 2), generator=GENERATOR)


def maps(channels: int) -> Tensor:
    return torch.randn(COUNT, channels, 2, 2, generator=GENERATOR)


PARTS: dict[str, tuple[Task, Tensor, float, int]] = {
    "label": (Classification(tuple("abc"), smoothing=0.1), classes(3), 1.0, 3),
    "depth": (Regression(("a",), (1.0,), (2.0,), 0.5), drawn(1), 0.3, 1),
    "tags": (Multilabel(tuple("xyz")), (drawn(3) > 0).to(torch.float32), 2.0, 3),
    "map": (PixelRegression((2, 2), (0.2,), (1.5,), 1.0), maps(1), 0.7, 4),
}
SEVERAL = Several(
    tuple(Output.of(port, task, w, size, t) for port, (task, t, w, size) in PARTS.items())
)
JOINED = Several.joined([targets for _, targets, _, _ in PARTS.values()])
NETWORKS = {  # for tasks that are no vector's
    "masks": "y: [3, 2, 2]",
    "smoothed masks": "y: [3, 2, 2]",
    "masks by a logit": "y: [1, 2, 2]",
    "maps": "y: [2, 2, 2]",
    "several": "label: [3], depth: [1], tags: [3], map: [1, 2, 2]",
}


def network(name: str, outputs: int) -> Graph:
    """One whose outputs can learn the case of that name."""
    if name == "tokens":
        return graph_of("network net(x: [3, 2]) -> (y: [3, 2]) { x -> y : relu }")
    ports = NETWORKS.get(name, f"y: [{outputs}]")
    edges = [
        f"x -> {port} : global_avg_pool >> linear({shape})"
        if "," not in shape
        else f"x -> {port} : conv(1, {shape.partition(',')[0]})"
        for port, shape in re.findall(r"(\w+): \[([^]]*)\]", ports)
    ]
    return graph_of(f"network net(x: [4, 2, 2]) -> ({ports}) {{ {'; '.join(edges)} }}")


# A task, outputs [N, K] and targets [N, ...], and how many directions its curvature has.
CASES: dict[str, tuple[Task, Tensor, Tensor, int]] = {
    "classes": (Classification(tuple("abcde")), drawn(5), classes(5), 5),
    "a single logit": (Classification(("no", "yes")), drawn(1), classes(2), 2),
    "a number": (Regression(("y",), (3.0,), (2.5,), 0.7), drawn(1), drawn(1), 1),
    "numbers": (Regression(("a", "b", "c"), (1.0, 0, -2), (1.0, 3, 0.1)), drawn(3), drawn(3), 3),
    "smoothed classes": (Classification(tuple("abc"), smoothing=0.1), drawn(3), classes(3), 3),
    "a smoothed logit": (Classification(("no", "yes"), smoothing=0.2), drawn(1), classes(2), 2),
    "masks": (PixelClassification(tuple("abc"), (2, 2)), drawn(12), masks(3), 12),
    "smoothed masks": (
        PixelClassification(tuple("abc"), (2, 2), smoothing=0.1),
        drawn(12),
        masks(3),
        12,
    ),
    "masks by a logit": (
        PixelClassification(tuple("ab"), (2, 2), single=True),
        drawn(4),
        masks(2),
        8,
    ),
    "maps": (PixelRegression((2, 2), (1.0, 0.5), (2.0, 0.1), 3.0, 0.7), drawn(8), maps(2), 8),
    "several": (SEVERAL, drawn(11), JOINED, 11),
    "a token": (NextToken(tuple("abcd")), drawn(4), classes(4)[:, None], 4),
    "tokens": (NextToken(tuple("abc")), drawn(6), torch.stack([classes(3), classes(3)], 1), 6),
    "labels": (Multilabel(tuple("abc")), drawn(3), (drawn(3) > 0).to(torch.float32), 3),
}
every_case = pytest.mark.parametrize(
    ("task", "outputs", "targets", "directions"), CASES.values(), ids=CASES
)


def curvature(parts: list[Factors]) -> Tensor:
    """Sum of the factors of every example, [N, K, K]."""
    whole = [
        torch.einsum("nk,nki,nkj->nij", part.weights, part.directions, part.directions)
        for part in parts
    ]
    return torch.stack(whole).sum(dim=0)


@every_case
def test_the_slope_is_that_of_autograd(
    task: Task, outputs: Tensor, targets: Tensor, directions: int
) -> None:
    del directions
    leaf = outputs.clone().requires_grad_()
    [slope] = torch.autograd.grad(task.loss(leaf, targets, "sum"), leaf)
    torch.testing.assert_close(task.slope(outputs, targets), slope, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("at_once", [1, 2, 16])
@every_case
def test_the_factors_are_the_hessian_in_the_outputs(
    task: Task,
    outputs: Tensor,
    targets: Tensor,
    directions: int,
    at_once: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in (classification, shared, places):
        monkeypatch.setattr(module, "AT_ONCE", at_once)
    parts = list(task.factors(outputs))
    if not isinstance(task, Several):  # whose tasks give theirs one after the other
        assert len(parts) == -(-directions // at_once)
    for matrix, z, y in zip(curvature(parts), outputs, targets, strict=True):
        hessian = torch.autograd.functional.hessian(
            lambda z, y=y: task.loss(z[None], y[None], "sum"), z
        )
        torch.testing.assert_close(matrix, hessian, rtol=1e-10, atol=1e-14)


@every_case
def test_sampled_factors_come_to_the_factors(
    task: Task, outputs: Tensor, targets: Tensor, directions: int
) -> None:
    del targets, directions
    exact = curvature(list(task.factors(outputs)))
    generator = torch.Generator().manual_seed(1)
    many = curvature(list(task.sampled_factors(outputs, 4_000, generator)))
    scale = max(1.0, float(exact.abs().max()))
    torch.testing.assert_close(many, exact, rtol=0, atol=0.1 * scale)


@every_case
def test_what_is_drawn_does_not_depend_on_the_batches(
    task: Task, outputs: Tensor, targets: Tensor, directions: int
) -> None:
    del targets, directions
    whole = curvature(list(task.sampled_factors(outputs, 3, torch.Generator().manual_seed(2))))
    generator = torch.Generator().manual_seed(2)
    parts = [curvature(list(task.sampled_factors(z, 3, generator))) for z in outputs.split(3)]
    torch.testing.assert_close(torch.cat(parts), whole)


@every_case
def test_the_score_is_of_all_examples_however_they_are_dealt(
    task: Task, outputs: Tensor, targets: Tensor, directions: int
) -> None:
    del directions
    whole = task.report([(outputs, targets)]).score
    parts = task.score(zip(outputs.split(3), targets.split(3), strict=True))
    assert parts.quality == pytest.approx(whole.quality)
    assert parts.loss == pytest.approx(whole.loss)
    assert whole.loss == pytest.approx(float(task.loss(outputs, targets)))
    assert task.score_of("test", task.entries("test", whole)) == whole


@every_case
def test_a_task_is_read_back_as_it_was_written(
    task: Task, outputs: Tensor, targets: Tensor, directions: int
) -> None:
    del targets, directions
    record = json.loads(json.dumps(task.record()))
    [name] = [name for name, case in CASES.items() if case[0] is task]
    graph = network(name, outputs.shape[1])
    assert task_class(task.metric).fits(record, graph)
    assert task_class(task.metric).of_record(record) == task
    task.check(graph, "data")
    task.check_record(record, "data")


@every_case
def test_the_loss_without_preference_is_that_of_outputs_that_are_zero(
    task: Task, outputs: Tensor, targets: Tensor, directions: int
) -> None:
    del directions
    chance = task.chance(targets)
    assert chance is not None
    loss = float(task.loss(torch.zeros_like(outputs), targets))
    assert chance.loss == pytest.approx(loss, rel=1e-6)
