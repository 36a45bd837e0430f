"""Settings that a training is too short for, its network too plain, or its data unfit."""

from __future__ import annotations

import numpy as np
import pytest
from attrs import evolve
from support import compile_text, graph_of

from bayesnas.compiler.graph.model import Graph
from bayesnas.compiler.recipes import recipe_settings
from bayesnas.compiler.settings import TrainSettings, make_settings
from bayesnas.dsl.diagnostics import DiagnosticError
from bayesnas.runtime.data.arrays import data_of_arrays
from bayesnas.runtime.jobs.preparation import course_notes, settled, training_notes

PLAIN = "network net(x: [4]) -> (y: [2]) { x -> y : linear(2) }"
SUMMED = "network net(x: [4]) -> (y: [4]) { x -> y : skip\n x -> y : linear(4) }"

SMALL = (
    "`crop = 0.08` cuts as little as 5 of the 8 x 8 pixels out of an image and enlarges that; "
    "`crop = 1` leaves it whole"
)
GREY = (
    "`color_jitter` changes brightness and contrast alone of images of one channel, which have no "
    "saturation and no hue"
)


@pytest.fixture(scope="module")
def plain() -> Graph:
    """A chain."""
    return graph_of(PLAIN)


def test_nothing_is_said_of_what_takes_effect(plain: Graph) -> None:
    settings = TrainSettings(epochs=10, batch_size=8, warmup_epochs=9, average=0.98)
    assert course_notes(settings, plain) == ()
    assert course_notes(TrainSettings(drop_path=0.2), graph_of(SUMMED)) == ()


def test_drop_path_without_sums(plain: Graph) -> None:
    (note,) = course_notes(TrainSettings(drop_path=0.2), plain)
    assert note == "`drop_path` does nothing here: no operation of the network is in a sum"


def test_a_warm_up_that_takes_all_epochs(plain: Graph) -> None:
    (note,) = course_notes(TrainSettings(epochs=2, warmup_epochs=2), plain)
    assert note.startswith("`warmup_epochs = 2` are all epochs there are, 2: ")


def test_steps_of_the_rate_that_never_come(plain: Graph) -> None:
    """A recipe of 90 epochs, shortened."""
    settings = TrainSettings(epochs=31, schedule="steps", rate_steps="30, 60, 80")
    (note,) = course_notes(settings, plain)
    assert note == (
        "the learning rate does not fall after 60 and 80 epochs, as `rate_steps` says: there are 31"
    )
    assert course_notes(evolve(settings, epochs=81), plain) == ()


@pytest.mark.parametrize(
    ("recipe", "shape", "said"),
    [
        ("darts_imagenet", (1, 8, 8), [SMALL, GREY]),
        ("darts_imagenet", (3, 8, 8), [SMALL]),
        ("darts_imagenet", (1, 32, 32), [GREY]),
        ("darts_imagenet", (3, 32, 32), []),
        ("darts_cifar10", (1, 28, 28), []),
    ],
)
def test_a_recipe_made_for_larger_or_coloured_images(
    recipe: str, shape: tuple[int, ...], said: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (8, *shape), dtype=np.uint8)
    data = data_of_arrays(images, np.arange(8) % 2, name="images")
    asked = {n: v for n, v in recipe_settings(recipe).items() if n != "drop_path"}
    settings = make_settings(TrainSettings, asked | {"batch_size": 8})
    compiled = compile_text(
        f"network net(x: {[*shape]}) -> (y: [2]) {{ x -> y : global_avg_pool >> linear(2) }}"
    )
    assert training_notes(settings, compiled.graph, data) == (*said,)
    settled(settings, data, compiled)
    told = [line.removeprefix("note: ") for line in capsys.readouterr().err.splitlines()]
    assert [line for line in told if line in (SMALL, GREY)] == said


def test_a_recipe_that_does_not_fit_the_data_is_refused_in_one_go() -> None:
    data = data_of_arrays(np.zeros((8, 4), np.float32), np.arange(8) % 2, name="table")
    settings = make_settings(TrainSettings, recipe_settings("torchvision_new"))
    with pytest.raises(DiagnosticError) as caught:
        settled(settings, data, compile_text(PLAIN))
    found = caught.value.diagnostics
    assert [d.code for d in found] == ["D515"] * 3
    assert [d.message for d in found] == [
        "`augment = flip` mirrors images, examples of `table` are [4]",
        "`policy`, `crop` and `erase` change images, examples of `table` are [4]",
        "`cutmix` puts rectangles of images into others, an example of `table` is no image",
    ]
    assert [d.help for d in found] == [
        "leave `augment` out, or write `augment = none`",
        "leave `policy`, `crop` and `erase` out; where a recipe asks for it, write "
        "`policy = none`, `crop = 1` and `erase = 0`",
        "leave `cutmix` out, or write `cutmix = 0`",
    ]
