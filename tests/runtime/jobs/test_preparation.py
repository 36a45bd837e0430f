"""What is said of settings that a training is too short, or its network too plain, for."""

from __future__ import annotations

import pytest
from support import graph_of

from bayesnas.compiler.graph.model import Graph
from bayesnas.compiler.settings import TrainSettings
from bayesnas.runtime.jobs.preparation import course_notes

PLAIN = "network net(x: [4]) -> (y: [2]) { x -> y : linear(2) }"
SUMMED = "network net(x: [4]) -> (y: [4]) { x -> y : skip\n x -> y : linear(4) }"


@pytest.fixture(scope="module")
def plain() -> Graph:
    """A chain."""
    return graph_of(PLAIN)


def test_nothing_is_said_of_what_takes_effect(plain: Graph) -> None:
    settings = TrainSettings(epochs=10, batch_size=8, warmup_epochs=9, average=0.98)
    assert course_notes(settings, plain, 40) == ()  # 50 steps, a mean of 50
    assert course_notes(TrainSettings(drop_path=0.2), graph_of(SUMMED), 40) == ()


def test_drop_path_without_sums(plain: Graph) -> None:
    (note,) = course_notes(TrainSettings(drop_path=0.2), plain, 40)
    assert note == "`drop_path` does nothing here: no operation of the network is in a sum"


def test_a_warm_up_that_takes_all_epochs(plain: Graph) -> None:
    (note,) = course_notes(TrainSettings(epochs=2, warmup_epochs=2), plain, 40)
    assert note.startswith("`warmup_epochs = 2` are all epochs there are, 2: ")


def test_a_running_mean_over_more_steps_than_there_are(plain: Graph) -> None:
    settings = TrainSettings(epochs=3, batch_size=8, accumulate=4, average=0.99)
    (note,) = course_notes(settings, plain, 40)
    said = "`average = 0.99` is a mean of about 100 steps, and the training has 6: "
    assert note.startswith(said)
