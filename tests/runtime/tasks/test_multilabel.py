"""Several labels per example: scores, strata, what suits."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, precision_recall_fscore_support

from bayesnas.runtime.data.arrays import data_of_arrays
from bayesnas.runtime.tasks.multilabel import Multilabel
from bayesnas.runtime.tasks.registry import task_of

RANDOM = np.random.default_rng(0)
TASK = Multilabel(tuple("abc"))


def test_scores_are_those_of_scikit_learn() -> None:
    marks = (RANDOM.random((60, 3)) < [0.2, 0.5, 0.7]).astype(np.float32)
    outputs = RANDOM.normal(size=(60, 3)) + marks
    report = TASK.report([(torch.from_numpy(outputs), torch.from_numpy(marks))])
    assert report.measures is not None
    expected = precision_recall_fscore_support(marks, outputs > 0)
    for k, row in enumerate(report.measures.rows.values()):
        average = average_precision_score(marks[:, k], outputs[:, k])
        assert row == pytest.approx((marks[:, k].sum(), average, *(e[k] for e in expected[:3])))
    assert report.score.quality == pytest.approx(average_precision_score(marks, outputs))


def test_a_label_that_no_example_has_takes_no_part_in_the_mean() -> None:
    marks, outputs = torch.tensor([[1.0, 0, 0], [0, 1, 0]]), torch.tensor([[2.0, 1, 0], [0, 0, 0]])
    report = TASK.report([(outputs, marks)])
    assert report.measures is not None
    assert math.isnan(report.measures.rows["c"][1])
    assert report.score.quality == pytest.approx((1 + 0.5) / 2)
    assert report.measures.record()["c"]["AP"] is None


def test_rows_of_zero_and_one_are_labels_unless_each_has_one() -> None:
    rows = np.array([[1, 0], [1, 1], [0, 1], [0, 0]] * 5)
    assert task_of(rows, "`y`") == Multilabel(("y0", "y1"))
    data = data_of_arrays(np.zeros((20, 3)), rows, np.zeros((2, 3)), np.eye(2))
    assert data.task == Multilabel(("y0", "y1"))
    assert data.test.targets.tolist() == [[1, 0], [0, 1]]
    assert data.note == "`y` is rows of 0 and 1, not a single 1 in 10 of 20: several labels"
    single = data_of_arrays(np.zeros((20, 3)), np.eye(2)[np.arange(20) % 2])
    assert single.task.metric == "accuracy"


def test_strata_are_the_rarest_label_of_each_example() -> None:
    marks = torch.tensor([[1.0, 0, 1], [1, 1, 0], [1, 0, 0], [0, 0, 0]])
    assert TASK.strata(marks).tolist() == [3, 2, 1, 0]
