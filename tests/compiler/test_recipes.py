"""Recipes hold the numbers of their sources, and settings stand over those that come before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from support import compile_text

from bayesnas.commands.arguments import RECIPES
from bayesnas.compiler.pipeline import compile_spec
from bayesnas.compiler.recipes import recipe_settings
from bayesnas.compiler.settings import (
    TrainSettings,
    check_training,
    epochs_of,
    layered,
    make_settings,
    shortened,
)
from bayesnas.dsl.diagnostics import DiagnosticError
from bayesnas.dsl.loader import packaged_recipes

NET = "network n(x: [4]) -> (y: [2]) { x -> y : linear(2) }\n"
DARTS = {
    "optimizer": "sgd",
    "momentum": 0.9,
    "nesterov": "no",
    "decay_norms": "yes",
    "gradient_clip": 5,
}
PGNAS = {"optimizer": "sgd", "momentum": 0.9, "nesterov": "yes", "decay_norms": "no"}
COLOURS = {"augment": "flip", "crop": 0.08, "color_jitter": 0.4, "label_smoothing": 0.1}

# Liu et al. 2019, train.py and train_imagenet.py; PC-DARTS, train_imagenet.py; PathLevel-EAS,
# run_pyramidnet.py; torchvision, references/classification (the recipe of 2021); Zhou et al. 2020,
# supplement 1.1 and 1.2, with d^2 and N apart.
PUBLISHED: dict[str, dict[str, Any]] = {
    "darts_cifar10": {
        **DARTS, "epochs": 600, "batch_size": 96, "learning_rate": 0.025, "cutout": 16,
        "schedule": "cosine_epoch", "weight_decay": 3e-4, "drop_path": 0.2,
        "augment": "shift_flip",
    },
    "darts_imagenet": {
        **DARTS, **COLOURS, "epochs": 250, "batch_size": 128, "learning_rate": 0.1,
        "schedule": "exponential", "rate_decay": 0.97, "weight_decay": 3e-5,
    },
    "pc_darts_imagenet": {
        **DARTS, **COLOURS, "epochs": 250, "batch_size": 1024, "learning_rate": 0.5,
        "schedule": "linear_tail", "warmup_epochs": 5, "weight_decay": 3e-5,
    },
    "pgnas_cifar10": {
        **PGNAS, "epochs": 1800, "batch_size": 128, "learning_rate": 0.01, "schedule": "cosine",
        "weight_decay": 50 / 5e5, "gradient_clip": 5, "augment": "shift_flip", "cutout": 16,
    },
    "pgnas_resnet50": {
        **PGNAS, "epochs": 90, "batch_size": 256, "learning_rate": 0.1, "gradient_clip": 0,
        "schedule": "steps", "rate_decay": 0.1, "rate_steps": "30, 60", "rotate": 10,
        "weight_decay": pytest.approx(80 / 1.2e6, rel=0.01), "augment": "flip", "crop": 0.08,
    },
    "pgnas_densenet121": {
        **PGNAS, "epochs": 180, "batch_size": 300, "learning_rate": 0.1, "gradient_clip": 0,
        "schedule": "steps", "rate_decay": 0.1, "rate_steps": "90, 140, 160", "rotate": 10,
        "weight_decay": pytest.approx(100 / 1.2e6, rel=0.01),
        "augment": "flip", "crop": 0.08,
    },
    "pyramidnet": {
        **DARTS, "epochs": 300, "batch_size": 64, "learning_rate": 0.1, "schedule": "cosine",
        "nesterov": "yes", "weight_decay": 1e-4, "gradient_clip": 0, "augment": "shift_flip",
    },
    "torchvision_new": {
        **DARTS, "epochs": 600, "batch_size": 128, "accumulate": 8, "learning_rate": 0.5,
        "schedule": "cosine_epoch", "warmup_epochs": 5, "weight_decay": 2e-5,
        "decay_norms": "no", "gradient_clip": 0, "average": 0.99997, "augment": "flip",
        "crop": 0.08, "policy": "trivial", "erase": 0.1,
        "label_smoothing": 0.1, "mixup": 0.2, "cutmix": 1.0,
    },
}  # fmt: skip
OWN: dict[str, dict[str, Any]] = {
    "quick": {
        "epochs": 30, "batch_size": 128, "learning_rate": 0.2, "schedule": "cosine",
        "warmup_epochs": 2, "weight_decay": 5e-4, "decay_norms": "no", "average": 0.99,
    },
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED | OWN)
def test_every_number_is_the_published_one(name: str) -> None:
    assert recipe_settings(name) == (PUBLISHED | OWN)[name]


@pytest.mark.parametrize(
    ("name", "recipe"),
    [
        ("shake_shake", "pgnas_cifar10"),
        ("pgnas_resnet50", "pgnas_resnet50"),
        ("pgnas_densenet121", "pgnas_densenet121"),
    ],
)
def test_networks_of_posterior_guided_nas_are_trained_as_published(name: str, recipe: str) -> None:
    compiled = compile_spec(name)
    trained, searched = (compiled.settings(kind) for kind in ("train", "search"))
    assert trained == recipe_settings(recipe)
    if searched:  # by the same d^2/N
        assert searched["weight_decay"] == trained["weight_decay"]
        assert (searched["strategy"], searched["draws"]) == ("pgnas", 1500)


def test_all_recipes_are_named_on_the_command_line() -> None:
    assert list(RECIPES) == packaged_recipes() == sorted(PUBLISHED | OWN)


def test_a_spec_imports_a_recipe_and_stands_over_it(tmp_path: Path) -> None:
    path = tmp_path / "n.nas"
    path.write_text('import "recipes/darts_cifar10.nas"\n' + NET + "train { epochs = 7 }\n")
    compiled = compile_spec(path)
    assert compiled.settings("train") == PUBLISHED["darts_cifar10"] | {"epochs": 7}


def test_one_file_says_a_setting_once() -> None:
    with pytest.raises(DiagnosticError) as caught:
        compile_text(NET + "train { epochs = 7 }\ntrain { epochs = 8 }\n")
    assert [d.code for d in caught.value.diagnostics] == ["D201"]


def test_all_that_is_wrong_with_a_recipe_is_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "mine.nas"
    path.write_text("train { epochs = 3; epoch = 3; epochs = 4 }\ntrain { batch_size = 0 }\n")
    with pytest.raises(DiagnosticError) as caught:
        recipe_settings(str(path))
    found = caught.value.diagnostics
    places = [(d.span.line, d.span.column) for d in found if d.span is not None]
    assert [d.code for d in found] == ["D230", "D201", "D231"]
    assert places == [(1, 21), (1, 32), (2, 9)]
    assert (found[1].message, found[1].help) == ("`epochs` is defined twice", "keep one of them")


def test_a_recipe_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.nas"
    path.write_text("train { epochs = 3; optimizer = adamw }\n")
    assert recipe_settings(str(path)) == {"epochs": 3, "optimizer": "adamw"}


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        (NET, "D113", "the recipe `{}` has no `train` block"),
        ("train { epoch = 3 }\n", "D230", "unknown train setting `epoch`"),
        ("train { epochs = 0 }\n", "D231", "invalid value `0` of `epochs`"),
    ],
)
def test_a_recipe_that_is_none(text: str, code: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.nas"
    path.write_text(text)
    with pytest.raises(DiagnosticError) as caught:
        recipe_settings(str(path))
    [found] = caught.value.diagnostics
    assert (found.code, found.message) == (code, message.format(path))
    assert found.span is None or (found.span.line, found.span.column) == (1, 9)


def test_an_unknown_recipe() -> None:
    with pytest.raises(DiagnosticError) as caught:
        recipe_settings("darts_cifar")
    [found] = caught.value.diagnostics
    assert (found.code, found.message) == ("D401", "no recipe at `darts_cifar`")
    assert found.help == "did you mean `darts_cifar10`?"


def test_another_schedule_leaves_behind_what_belonged_to_the_one_before() -> None:
    recipe = recipe_settings("pgnas_resnet50")
    chosen = layered(recipe, {"schedule": "cosine", "epochs": 5})
    assert {*recipe} - {*chosen} == {"rate_decay", "rate_steps"}
    check_training(make_settings(TrainSettings, chosen))
    assert layered(recipe, {"schedule": "steps", "epochs": 5}) == {**recipe, "epochs": 5}
    assert layered(recipe, {"rate_steps": "9"})["rate_steps"] == "9"


@pytest.mark.parametrize(
    ("block", "left"),
    [
        ("schedule = cosine", {}),
        ("schedule = constant; rate_decay = 0.5", {"rate_decay": 0.5}),
        ("rate_steps = 9", {"rate_decay": 0.1, "rate_steps": 9}),
    ],
)
def test_so_does_that_of_a_spec(block: str, left: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "n.nas"
    path.write_text('import "recipes/pgnas_resnet50.nas"\n' + NET + f"train {{ {block} }}\n")
    found = compile_spec(path).settings("train")
    assert {name: v for name, v in found.items() if name.startswith("rate_")} == left


def test_the_rate_of_a_part_of_a_training_falls_at_the_same_shares() -> None:
    settings = make_settings(TrainSettings, recipe_settings("pgnas_densenet121"))
    assert epochs_of(shortened(settings, 90).rate_steps) == (45, 70, 80)
    assert epochs_of(shortened(settings, 1).rate_steps) == (1, 1, 1)
    assert shortened(TrainSettings(), 7) == evolve(TrainSettings(), epochs=7)
