"""Which task learns targets of a form for an output of a shape."""

from __future__ import annotations

import numpy as np
import pytest

from bayesnas.runtime.tasks.classification import Classification
from bayesnas.runtime.tasks.interface import Task
from bayesnas.runtime.tasks.pixels.classes import PixelClassification
from bayesnas.runtime.tasks.pixels.numbers import PixelRegression
from bayesnas.runtime.tasks.registry import task_of

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("targets", "shape", "kind"),
    [
        (RANDOM.integers(0, 3, 60), (3,), Classification),
        (RANDOM.integers(0, 3, (60, 4, 4)), (3, 4, 4), PixelClassification),
        (RANDOM.integers(0, 3, (60, 8)), (3, 8), PixelClassification),  # a class per position
        (RANDOM.normal(size=(60, 2, 4, 4)), (2, 4, 4), PixelRegression),
    ],
)
def test_the_task_that_suits(targets: np.ndarray, shape: tuple[int, ...], kind: type[Task]) -> None:
    assert isinstance(task_of(targets, "`y`", shape), kind)
