"""Classification against autograd in float64: loss, slope, curvature and what is drawn of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support import graph_of
from torch import Tensor

from bayesnas.dsl.diagnostics import DiagnosticError
from bayesnas.runtime.tasks.classification import Classification

CLASSES = 5
TASK = Classification(tuple("abcde"))


def predictions(count: int = 7) -> tuple[Tensor, Tensor]:
    """Outputs, some of them far from zero, and classes."""
    generator = torch.Generator().manual_seed(0)
    outputs = 4 * torch.randn(count, CLASSES, generator=generator, dtype=torch.float64)
    return outputs, torch.randint(0, CLASSES, (count,), generator=generator)


def test_the_loss_is_the_mean_or_the_sum() -> None:
    outputs, classes = predictions()
    each = torch.stack([-z.log_softmax(dim=0)[y] for z, y in zip(outputs, classes, strict=True)])
    torch.testing.assert_close(TASK.loss(outputs, classes), each.mean())
    torch.testing.assert_close(TASK.loss(outputs, classes, "sum"), each.sum())


def test_the_score_is_of_all_examples_however_they_are_dealt() -> None:
    outputs, classes = predictions()
    whole = TASK.score([(outputs, classes)])
    parts = TASK.score(zip(outputs.split(3), classes.split(3), strict=True))
    right = [int(z.argmax()) == int(y) for z, y in zip(outputs, classes, strict=True)]
    assert whole.quality == parts.quality == sum(right) / len(right)
    assert parts.loss == pytest.approx(whole.loss)
    assert TASK.told(whole) == f"accuracy {whole.quality:.2%}"


def test_balanced_weights() -> None:
    """All classes count alike, and the mean over the examples stays 1."""
    _, classes = predictions(50)
    weights = TASK.balanced(classes).weights(classes)
    assert weights is not None
    assert float(weights.mean()) == pytest.approx(1, abs=1e-12)
    sums = torch.zeros(CLASSES, dtype=torch.float64).index_add(0, classes, weights)
    torch.testing.assert_close(sums, torch.full_like(sums, 50 / CLASSES))
    assert TASK.weights(classes) is None


def test_a_class_without_examples_takes_no_part_in_the_balance() -> None:
    classes = torch.tensor([0, 0, 0, 2])
    weights = TASK.balanced(classes).weights(classes)
    assert weights is not None
    assert weights.tolist() == pytest.approx([2 / 3] * 3 + [2])


def test_weights_are_those_of_repeated_examples() -> None:
    """An example of weight w has the loss of w examples; a score counts it once."""
    outputs, _ = predictions(4)
    classes = torch.tensor([0, 0, 0, 1])
    weighted = TASK.balanced(classes)  # 2/3 and 2
    repeated = torch.tensor([0, 1, 2, 3, 3, 3])
    torch.testing.assert_close(
        weighted.loss(outputs, classes), TASK.loss(outputs[repeated], classes[repeated])
    )
    assert weighted.score([(outputs, classes)]) == TASK.score([(outputs, classes)])


def test_the_standard_error_is_that_of_a_share() -> None:
    chance = np.random.default_rng(0)
    measured = chance.binomial(200, 0.8, size=20_000) / 200
    assert TASK.standard_error(0.8, 200) == pytest.approx(measured.std(), rel=0.02)


def test_a_network_for_other_targets_is_refused() -> None:
    two = graph_of("network net(x: [4]) -> (y: [2]) { x -> y : linear(2) }")
    with pytest.raises(DiagnosticError, match="`colours` has 5 classes, the network predicts 2"):
        TASK.check(two, "colours")
    assert not Classification.suits_output((4, 8, 8))


def test_what_needs_no_learning() -> None:
    """Equal chances have the loss of outputs that are all alike; a constant is right most often."""
    task, targets = Classification(("a", "b", "c")), torch.tensor([0, 2, 2, 1])
    chance = task.chance(targets)
    assert chance.quality == 0.5
    assert chance.loss == pytest.approx(float(task.loss(torch.zeros(4, 3), targets)))


def test_of_many_classes_the_five_largest_outputs_are_told() -> None:
    """The class of the first is the largest output, of the second the fifth, of the third none."""
    task = Classification(tuple(map(str, range(100))))
    outputs = -torch.arange(100.0).repeat(3, 1)
    score = task.score([(outputs, torch.tensor([0, 4, 5]))])
    assert score.more == {"top5_accuracy": pytest.approx(2 / 3)}
    assert task.told(score) == "accuracy 33.33%, top-5 66.67%"
    assert task.columns("test") == ("test_loss", "test_accuracy", "test_top5_accuracy")
    assert task.score_of("test", task.entries("test", score)) == score
