"""Numbers by class against counting, and where there is nothing to count."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from bayesnas.dsl.diagnostics import DiagnosticError
from bayesnas.runtime.tasks.classification import Classification
from bayesnas.runtime.tasks.scores import Confusion

CLASSES = ("ant", "bee", "cat", "dog")
TASK = Classification(CLASSES)


def predictions(count: int = 60) -> tuple[torch.Tensor, torch.Tensor]:
    """Outputs, and classes but the last; the third is never answered."""
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(count, 4, generator=generator, dtype=torch.float64)
    outputs[:, 2] = -9
    return outputs, torch.randint(0, 3, (count,), generator=generator)


def test_numbers_by_class_are_those_of_counting() -> None:
    outputs, classes = predictions()
    report = TASK.report(zip(outputs.split(7), classes.split(7), strict=True))
    found = report.confusion
    assert found is not None
    answers = outputs.argmax(dim=1).tolist()
    pairs = list(zip(classes.tolist(), answers, strict=True))
    for k in range(4):
        right = pairs.count((k, k))
        truly, said = (sum(pair[side] == k for pair in pairs) for side in (0, 1))
        assert [found.counts[k, a] for a in range(4)] == [pairs.count((k, a)) for a in range(4)]
        assert (found.examples[k], found.answered[k]) == (truly, said)
        if truly:
            assert found.recall[k] == right / truly
        if said:
            assert found.precision[k] == right / said
        if right:
            p, r = right / said, right / truly
            assert found.f1[k] == pytest.approx(2 * p * r / (p + r))
    assert math.isnan(found.recall[3])  # no examples
    assert math.isnan(found.precision[2])  # never answered
    assert (found.f1[2], found.f1[3]) == (0, 0)
    assert found.balanced == pytest.approx(np.mean(found.recall[:3]))
    assert report.score.quality == np.trace(found.counts) / 60


def test_the_score_of_a_report_is_the_score() -> None:
    outputs, classes = predictions()
    assert TASK.report([(outputs, classes)]).score == TASK.score([(outputs, classes)])


def test_what_is_worst() -> None:
    found = Confusion(("a", "b", "c", "d"), np.array([[3, 1, 0, 0], [0, 0, 0, 0], [2, 3, 5, 0],
                                                      [0, 0, 0, 7]]))  # fmt: skip
    assert found.worst() == [2, 0, 3]
    assert found.mistakes() == [(3, 2, 1), (2, 2, 0), (1, 0, 1)]


def test_a_record_is_json_with_nothing_for_no_number() -> None:
    found = Confusion(("a", "b"), np.array([[3, 1], [0, 0]]))
    assert json.loads(json.dumps(found.record(), allow_nan=False)) == {
        "a": {"examples": 4, "precision": 1, "recall": 0.75, "f1": 6 / 7,
              "answers": {"a": 3, "b": 1}},
        "b": {"examples": 0, "precision": 0, "recall": None, "f1": 0, "answers": {}},
    }  # fmt: skip


def test_answers_are_probabilities_the_likeliest_first() -> None:
    outputs, _ = predictions(5)
    softmax = outputs.exp() / outputs.exp().sum(dim=1, keepdim=True)
    for top in (1, 3, 4, 99):
        for answers, p in zip(TASK.answers(outputs, top), softmax, strict=True):
            expected = sorted(zip(p.tolist(), CLASSES, strict=True), reverse=True)[:top]
            assert [name for name, _ in answers] == [name for _, name in expected]
            assert [share for _, share in answers] == pytest.approx([s for s, _ in expected])


def test_targets_by_name_are_numbered_as_the_run_has_them() -> None:
    task = Classification(("10", "2", "cat"))
    assert task.targets_by_name(np.array([2, 10, 2]), "`y`").tolist() == [1, 0, 1]
    assert task.targets_by_name(np.array(["cat", "cat"]), "`y`").tolist() == [2, 2]
    for wrong in (np.array([0, 2]), np.array(["dog", "cat"])):
        with pytest.raises(DiagnosticError, match="that the run was not trained on") as caught:
            task.targets_by_name(wrong, "`y`")
        assert caught.value.diagnostics[0].code == "D506"


def test_a_task_is_recorded_whole() -> None:
    assert Classification.of_record(TASK.record()) == TASK


def test_without_examples_nothing_is_balanced() -> None:
    assert np.isnan(Confusion(("a", "b"), np.zeros((2, 2), np.int64)).balanced)
    assert Confusion(("a", "b"), np.array([[3, 1], [0, 0]])).balanced == 0.75
