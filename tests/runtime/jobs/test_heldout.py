"""When a training looks at what it holds out."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bayesnas.compiler.settings import TrainSettings
from bayesnas.runtime.jobs import heldout
from bayesnas.runtime.jobs.heldout import FEW, HeldOut, looked_every, looks, told_every
from bayesnas.runtime.tasks.classification import Classification
from bayesnas.runtime.tasks.scores import Score


@pytest.mark.parametrize("epochs", [1, 2, 9, 10, 19, 30, 60, 110, 250, 600, 1000])
def test_each_line_has_a_look_of_its_own_and_looks_are_few_epochs_apart(epochs: int) -> None:
    every = looked_every(epochs)
    looked = {n for n in range(1, epochs + 1) if n % every == 0 or n == epochs}
    told = {n for n in range(1, epochs + 1) if n % told_every(epochs) == 0 or n == epochs}
    assert 1 <= every <= FEW
    assert told <= looked
    assert looks(epochs) == len(looked)


def test_the_papers_courses() -> None:
    assert [looked_every(epochs) for epochs in (30, 60, 250, 600)] == [3, 3, 5, 5]


def test_a_quality_that_is_no_number_is_never_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    qualities = iter([math.nan, 0.5, math.nan, 0.4, 0.6])
    monkeypatch.setattr(heldout, "evaluate", lambda *_: Score(1.0, next(qualities)))
    learner: Any = SimpleNamespace(judged=None, kept=torch.nn.Linear(1, 1))
    data: Any = SimpleNamespace(task=Classification(("a", "b")))
    part: Any = ()
    held = HeldOut(data, part, TrainSettings(epochs=5, holdout=0.1, keep="best"), 8)
    best = []
    for epoch in range(1, 6):
        held.look(learner, epoch)
        best.append(held.best and held.best["epoch"])
    assert best == [None, 2, 2, 2, 5]
