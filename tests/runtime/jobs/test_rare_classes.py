"""Rare classes in searches and trainings: what is said of them, and what weights do for them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from support import compile_text

from bayesnas.compiler.pipeline import Compiled
from bayesnas.compiler.settings import SearchSettings, TrainSettings
from bayesnas.runtime.data.arrays import data_of_arrays
from bayesnas.runtime.data.dataset import Data
from bayesnas.runtime.data.splits import HOLDOUT
from bayesnas.runtime.jobs.failures import no_better
from bayesnas.runtime.jobs.preparation import settled
from bayesnas.runtime.jobs.search.search import search
from bayesnas.runtime.jobs.train import train
from bayesnas.runtime.jobs.trained import TrainedRun
from bayesnas.runtime.runs.record import RunOptions
from bayesnas.runtime.tasks.classification import Classification
from bayesnas.runtime.tasks.scores import Score

pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.fixture(scope="module")
def space() -> Compiled:
    return compile_text(
        "network net(row: [2]) -> (logits: [2]) "
        "{ node h\nrow ~> h : linear(4) | linear(4) >> relu\nh -> logits : linear(2) }"
    )


@pytest.fixture(scope="module")
def rare() -> Data:
    """One in twenty is ill, a deviation off the others, so that to call nobody ill is best."""
    chance = np.random.default_rng(0)
    parts = []
    for healthy, ill in ((380, 20), (190, 10)):
        y = np.repeat([0, 1], [healthy, ill])
        parts += [chance.normal(size=(len(y), 2)) + y[:, None], y]
    return data_of_arrays(*parts)


def recall(out: Path, data: Data) -> float:
    """Of the test part's ill."""
    ill = data.test.inputs[data.test.targets == 1].float()
    return float((TrainedRun.open(out).network(ill).argmax(dim=1) == 1).float().mean())


def test_weights_find_the_rare_class(
    space: Compiled, rare: Data, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {}
    for weights in ("none", "balanced"):
        out = tmp_path / weights
        settings = TrainSettings(epochs=4, batch_size=32, class_weights=weights)
        train(space, settings, RunOptions(rare, out, device="cpu"))
        found[weights] = recall(out, rare), capsys.readouterr().err
        kept = json.loads((out / "settings.json").read_text())
        assert kept["settings"]["class_weights"] == weights
        assert kept["examples"]["classes"]["1"] == {"train": 20, "test": 10}
    assert found["none"][0] < 0.3
    assert found["balanced"][0] > 0.6
    assert "classes are out of balance: 380 training examples of `0`" in found["none"][1]
    assert "that of one answer for all 200 examples" in found["none"][1]
    assert "note: classes" not in found["balanced"][1]
    assert "one answer" not in found["balanced"][1]


def test_a_search_with_weights(space: Compiled, rare: Data, tmp_path: Path) -> None:
    settings = SearchSettings(
        rounds=1, warmup_epochs=1, epochs=0, draws=2, class_weights="balanced"
    )
    search(space, settings, RunOptions(rare, tmp_path / "o", device="cpu"))
    kept = json.loads((tmp_path / "o" / "settings.json").read_text())
    assert kept["examples"] == {
        "train": 320,
        "held_out": 80,
        "test": 200,
        "classes": {
            "0": {"train": 304, "held_out": 76, "test": 190},
            "1": {"train": 16, "held_out": 4, "test": 10},
        },
    }


def test_what_is_learned_is_weighted(space: Compiled, rare: Data) -> None:
    plain = settled(SearchSettings(), rare, space, HOLDOUT)[1]
    assert plain.task.weights(rare.train.targets) is None
    balanced = settled(SearchSettings(class_weights="balanced"), rare, space, HOLDOUT)[1]
    weights = balanced.task.weights(rare.train.targets)
    assert weights is not None
    assert weights.unique().tolist() == pytest.approx([400 / (2 * 380), 400 / (2 * 20)])


@pytest.mark.parametrize(
    ("quality", "weighted", "said"),
    [
        (0.95, False, True),
        (0.96, False, True),  # the standard error is 0.0154
        (0.97, False, False),
        (0.5, False, True),
        (0.95, True, True),
        (0.8, True, False),
    ],
)
def test_when_one_answer_explains_a_score(quality: float, weighted: bool, said: bool) -> None:
    task = Classification(("a", "b"))
    note = no_better(task, Score(0.2, quality), Score(0.7, 0.95), 200, weighted)
    assert bool(note) == said
    assert ("class_weights" in note) == (said and not weighted)


def test_a_score_on_a_single_class_is_not_judged() -> None:
    task = Classification(("a", "b"))
    assert not no_better(task, Score(0.2, 1.0), Score(0.7, 1.0), 9, weighted=False)
