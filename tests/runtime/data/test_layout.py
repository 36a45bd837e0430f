"""Folders of images as people lay them out: which part is which, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import graph_of

from bayesnas.compiler.graph.model import Graph
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError
from bayesnas.runtime.data.dataset import Data
from bayesnas.runtime.data.loading import load_data


def takes(classes: int) -> Graph:
    return graph_of(
        f"network net(image: [1, 4, 4]) -> (logits: [{classes}]) "
        f"{{ image -> logits : flatten >> linear({classes}) }}"
    )


def fill(root: Path, **counts: int) -> None:
    """So many images of each class."""
    for name, count in counts.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for k in range(count):
            Image.fromarray(np.full((4, 4), k, dtype=np.uint8)).save(root / name / f"{k}.png")


def load(root: Path, classes: int = 2) -> Data:
    return load_data(f"folder:{root}", takes(classes))


def counts(data: Data) -> tuple[list[int], list[int]]:
    train, test = (
        part.targets.bincount(minlength=len(data.task.strata_names)).tolist()
        for part in (data.train, data.test)
    )
    return train, test


def refused(root: Path, classes: int = 2) -> Diagnostic:
    with pytest.raises(DiagnosticError) as caught:
        load(root, classes)
    [found] = caught.value.diagnostics
    assert caught.value.status == 2
    assert found.help
    return found


@pytest.mark.parametrize("name", ["val", "valid", "Validation"])
def test_validation_stands_in_for_the_test(name: str, tmp_path: Path) -> None:
    fill(tmp_path / "train", a=3, b=2)
    fill(tmp_path / name, a=1, b=2)
    data = load(tmp_path)
    assert counts(data) == ([3, 2], [1, 2])
    assert data.note == f"there is no `test`: `{name}` is the test part"


def test_validation_beside_the_test_is_not_used_and_named(tmp_path: Path) -> None:
    fill(tmp_path / "train", a=3, b=2)
    fill(tmp_path / "val", a=4, b=4)
    fill(tmp_path / "test", a=1, b=1)
    fill(tmp_path, old=1)
    data = load(tmp_path)
    assert counts(data) == ([3, 2], [1, 1])
    assert data.note == "`old` is not used: 1 images; `val` is not used: 8 images"


@pytest.mark.parametrize("inside", ["", "train", "Training"])
def test_without_a_test_part_a_fifth_of_every_class_is_taken(inside: str, tmp_path: Path) -> None:
    fill(tmp_path / inside, a=10, b=5, c=1)
    data = load(tmp_path, 3)
    assert counts(data) == ([8, 4, 1], [2, 1, 0])
    assert data.note == (
        "there is no `test`: 3 of the 16 images, of every class a fifth and in every run the "
        "same, are the test part"
    )
    assert load(tmp_path, 3).test.fingerprint() == data.test.fingerprint()


def test_class_folders_beside_a_test_part(tmp_path: Path) -> None:
    fill(tmp_path, a=3, b=2)
    fill(tmp_path / "test", a=1, b=1)
    assert counts(load(tmp_path)) == ([3, 2], [1, 1])


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    fill(tmp_path, car=5, plane=5, train=5)
    data = load(tmp_path, 3)
    assert data.task.strata_names == ("car", "plane", "train")
    assert counts(data) == ([4, 4, 4], [1, 1, 1])


def test_images_beside_the_class_folders_are_counted(tmp_path: Path) -> None:
    fill(tmp_path / "train", a=3, b=2)
    fill(tmp_path / "test", a=1, b=1)
    fill(tmp_path, train=2)
    assert load(tmp_path).note == "skipped: 2 images beside the class folders"


def test_a_class_that_is_not_tested(tmp_path: Path) -> None:
    fill(tmp_path / "train", a=3, b=2)
    fill(tmp_path / "test", a=1, b=0)
    assert counts(load(tmp_path)) == ([3, 2], [1, 0])


# ------------------------------------------------------------------------------------ refused


def test_a_single_class(tmp_path: Path) -> None:
    fill(tmp_path / "train", a=3)
    fill(tmp_path / "test", a=3)
    for classes in (1, 2):
        found = refused(tmp_path, classes)
        assert found.code == "D514"
        assert found.message == f"`{tmp_path / 'train'}` has a single class, `a`"
        assert found.help == "add a folder of images of another class"


def test_a_folder_round_the_folders(tmp_path: Path) -> None:
    fill(tmp_path / "photos" / "train", a=3, b=3)
    fill(tmp_path / "photos" / "test", a=3, b=3)
    found = refused(tmp_path)
    remedy = f"name the folder that holds the class folders: `folder:{tmp_path / 'photos'}`"
    assert found.help == remedy
    assert counts(load(tmp_path / "photos")) == ([3, 3], [3, 3])


def test_one_image_a_class_cannot_be_held_out(tmp_path: Path) -> None:
    fill(tmp_path, a=1, b=1)
    found = refused(tmp_path)
    assert found.code == "D514"
    assert (
        found.message == f"`{tmp_path}` has one example a class: none can be held out for the test"
    )


def test_a_test_part_alone(tmp_path: Path) -> None:
    fill(tmp_path / "test", a=1, b=1)
    found = refused(tmp_path)
    assert (found.code, found.message) == ("D502", f"no folder `{tmp_path / 'train'}`")


def test_pictures_that_lie_in_no_class(tmp_path: Path) -> None:
    fill(tmp_path, a=1)
    found = refused(tmp_path / "a")
    assert (found.code, found.message) == ("D502", f"no folder `{tmp_path / 'a' / 'train'}`")
    assert found.help == (
        f"put images into a folder for each class: `{tmp_path / 'a' / 'CLASS'}/*.png`"
    )
