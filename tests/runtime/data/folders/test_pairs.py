"""Images with masks or target images of the same name, as people lay them out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support import graph_of

from bayesnas.compiler.graph.model import Graph
from bayesnas.dsl.diagnostics import DiagnosticError
from bayesnas.runtime.data.dataset import Data
from bayesnas.runtime.data.folders.images import read_map
from bayesnas.runtime.data.loading import load_data
from bayesnas.runtime.data.registry import DataOptions
from bayesnas.runtime.tasks.pixels.classes import PixelClassification
from bayesnas.runtime.tasks.pixels.numbers import PixelRegression

RANDOM = np.random.default_rng(0)


def network(channels: int = 3, side: int = 6) -> Graph:
    return graph_of(
        f"network net(image: [3, {side}, {side}]) -> (mask: [{channels}, {side}, {side}]) "
        f"{{ image -> mask : conv(3, {channels}) }}"
    )


def write(path: Path, array: np.ndarray, palette: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array.astype(np.uint8))
    if palette:
        image.putpalette([30, 200, 7, 9, 99, 200, 250, 3, 3])
    image.save(path)


def masks(root: Path, parts: tuple[str, ...] = ("train", "test"), count: int = 5) -> None:
    """Of three classes; the image's first channel is a hundred times the class."""
    for part in parts:
        for n in range(count):
            mask = RANDOM.integers(0, 3, (6, 6))
            image = np.stack([100 * mask, mask, mask], axis=2)
            write(root / part / "images" / f"{n}.png", image)
            write(root / part / "masks" / f"{n}.png", mask, palette=True)


def load(root: Path, graph: Graph | None = None, **options: bool) -> Data:
    return load_data(f"folder:{root}", graph or network(), DataOptions(**options))


def refusal(root: Path, graph: Graph | None = None) -> tuple[str, str, str]:
    with pytest.raises(DiagnosticError) as caught:
        load(root, graph)
    [found] = caught.value.diagnostics
    return found.code, found.message, found.help


def test_palette_numbers_are_classes(tmp_path: Path) -> None:
    masks(tmp_path)
    data = load(tmp_path)
    assert isinstance(data.task, PixelClassification)
    assert (len(data.train), len(data.test)) == (5, 5)
    assert isinstance(data.train.inputs, torch.Tensor)
    assert torch.equal(data.train.inputs[:, 0], 100 * data.train.targets)
    assert data.task.classes == ("0", "1", "2")


@pytest.mark.parametrize("word", ["valid", "val"])
def test_other_layouts(word: str, tmp_path: Path) -> None:
    masks(tmp_path / "a", ("train", word))
    for part in ("train", word):
        for kind, called in (("images", "images"), ("masks", "labels")):
            there = tmp_path / "b" / called / part
            there.parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "a" / part / kind).rename(there)
    data = load(tmp_path / "b")
    assert (len(data.train), len(data.test)) == (5, 5)
    assert "`y_val`" in data.note or "`x_val`" in data.note


def test_without_a_test_part_a_fifth_is_held_out(tmp_path: Path) -> None:
    masks(tmp_path / "a", ("whole",), count=10)
    data = load(tmp_path / "a" / "whole")
    assert (len(data.train), len(data.test)) == (8, 2)


def test_black_and_white_masks_have_two_classes(tmp_path: Path) -> None:
    for part in ("train", "test"):
        for n in range(4):
            mask = 255 * RANDOM.integers(0, 2, (6, 6))
            write(tmp_path / part / "images" / f"{n}.jpg", np.stack([mask] * 3, axis=2))
            write(tmp_path / part / "masks" / f"{n}_mask.png", mask)
    data = load(tmp_path, network(1))
    assert "masks of 0 and 255 are taken as the classes 0 and 1" in data.note
    assert sorted(torch.unique(data.train.targets).tolist()) == [0, 1]


def test_colour_images_are_numbers(tmp_path: Path) -> None:
    for n in range(10):
        image = RANDOM.integers(0, 256, (6, 6, 3))
        write(tmp_path / "inputs" / f"{n}.png", image)
        write(tmp_path / "targets" / f"{n}.png", 255 - image)
    data = load(tmp_path)
    assert isinstance(data.task, PixelRegression)
    assert data.train.targets.shape == (8, 3, 6, 6)


@pytest.mark.parametrize("fit", ["squeeze", "pad", "crop"])
def test_masks_are_fitted_with_their_images(fit: str, tmp_path: Path) -> None:
    """Classes are not mixed: of a mask of 0 and 2 no 1 is made."""
    for n in range(5):
        mask = np.zeros((8, 12), dtype=np.uint8)
        mask[:, 6:] = 2
        write(tmp_path / "images" / f"{n}.png", np.stack([100 * mask] * 3, axis=2))
        write(tmp_path / "masks" / f"{n}.png", mask)
    data = load_data(f"folder:{tmp_path}", network(), DataOptions(fit=fit))  # type: ignore[arg-type]
    expected = {"squeeze": {0, 2}, "crop": {0, 2}, "pad": {0, 2, 255}}[fit]
    assert set(torch.unique(data.train.targets).tolist()) == expected
    assert bool((data.train.targets[:, 3, 5] == 2).all())


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    code, message, remedy = refusal(tmp_path)
    assert (code, message) == ("D502", f"no images with masks in `{tmp_path}`")
    assert "PATH/train/images" in remedy
    masks(tmp_path)
    (tmp_path / "train/masks/3.png").unlink()
    code, message, _ = refusal(tmp_path)
    folder = tmp_path / "train" / "masks"
    assert (code, message) == ("D522", f"1 file has no other of the same name in `{folder}`")
    write(folder / "3.png", np.zeros((4, 4)))
    code, message, remedy = refusal(tmp_path)
    assert (code, message) == (
        "D505",
        f"`{folder / '3.png'}` is 4 x 4, the first of its folder is 6 x 6",
    )
    assert "--resize" in remedy
    (folder / "3.png").write_bytes(b"nothing")
    code, message, _ = refusal(tmp_path)
    assert (code, message) == ("D504", f"cannot read an image of `folder:{tmp_path}`")


def test_two_images_of_one_name_are_refused(tmp_path: Path) -> None:
    masks(tmp_path)
    images = tmp_path / "train" / "images"
    write(images / "3_mask.png", np.zeros((6, 6, 3)))
    code, message, _ = refusal(tmp_path)
    one, other = sorted([images / "3.png", images / "3_mask.png"])
    assert code == "D522"
    assert message == f"`{one}` and `{other}` go by the same name"


def test_a_mask_of_another_form_than_its_image_is_refused(tmp_path: Path) -> None:
    """Fitted, it would not lie on its image; one on another scale does, rounded by a pixel."""
    for n in range(5):
        write(tmp_path / "images" / f"{n}.png", RANDOM.integers(0, 256, (9, 12, 3)))
        write(tmp_path / "masks" / f"{n}.png", RANDOM.integers(0, 3, (4, 6)))
    assert load(tmp_path, resize=True).train.targets.shape == (4, 6, 6)
    image, mask = tmp_path / "images/2.png", tmp_path / "masks/2.png"
    write(mask, np.zeros((12, 9)))
    with pytest.raises(DiagnosticError) as caught:
        load(tmp_path, resize=True)
    [found] = caught.value.diagnostics
    assert (found.code, found.help) == ("D505", "save each mask or target in the size of its image")
    assert found.message == f"`{mask}` is 12 x 9, its image `{image}` 9 x 12"


def test_a_grey_mask_with_transparency_is_a_mask(tmp_path: Path) -> None:
    classes = np.array([[0, 1], [2, 255]], np.uint8)
    path = tmp_path / "0.png"
    Image.merge("LA", [Image.fromarray(classes)] * 2).save(path)
    np.testing.assert_array_equal(read_map(path, None, "squeeze"), classes)
