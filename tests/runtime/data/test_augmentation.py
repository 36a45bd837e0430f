"""Augmentation: laws of blanked squares, of what torchvision does an image at a time, refusals."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from bayesnas.compiler.settings import TrainSettings
from bayesnas.dsl.diagnostics import DiagnosticError
from bayesnas.runtime.data.augmentation.extra import Extra, cut_out
from bayesnas.runtime.data.augmentation.movement import Cuts, Movement, augmented, settled_augment
from bayesnas.runtime.network.learning.mixtures import check_mixtures, check_names
from bayesnas.runtime.tasks.bundle import Bundle
from bayesnas.runtime.tasks.outputs import Output
from bayesnas.runtime.tasks.pixels.classes import PixelClassification
from bayesnas.runtime.tasks.pixels.numbers import PixelRegression
from bayesnas.runtime.tasks.several import Several

IMAGES = torch.randint(1, 256, (64, 3, 12, 10), generator=torch.Generator().manual_seed(0)).to(
    torch.uint8
)


def test_flips_are_images_or_their_mirrors() -> None:
    flipped = augmented(IMAGES, "flip", torch.Generator().manual_seed(0))
    same = (flipped == IMAGES).flatten(1).all(dim=1)
    mirrored = (flipped == IMAGES.flip(3)).flatten(1).all(dim=1)
    assert bool((same ^ mirrored).all())
    assert 16 < int(mirrored.sum()) < 48


def test_a_cutout_is_one_square_an_image_and_clipped_at_the_border() -> None:
    torch.manual_seed(0)
    inputs = torch.ones(500, 2, 12, 10)
    blank = cut_out(inputs, 4)[:, 0] == 0
    rows, columns = blank.any(dim=2).sum(dim=1), blank.any(dim=1).sum(dim=1)
    assert torch.equal(blank.sum(dim=(1, 2)), rows * columns)  # a rectangle
    assert (int(rows.max()), int(columns.max())) == (4, 4)
    assert (int(rows.min()), int(columns.min())) == (2, 2)  # its middle is in the image
    assert len({(int(b.nonzero()[0][0]), int(b.nonzero()[0][1])) for b in blank}) > 50


@pytest.mark.parametrize(
    "extra",
    [
        Extra(crop=0.3),
        Extra(policy="trivial"),
        Extra(policy="rand"),
        Extra(rotate=30),
        Extra(color_jitter=0.4),
    ],
    ids=str,
)
def test_each_image_is_changed_by_itself(extra: Extra) -> None:
    """Given a batch, torchvision draws once for all of it."""
    torch.manual_seed(0)
    state = torch.get_rng_state()
    same, seeds = IMAGES[:1].expand(16, -1, -1, -1), torch.arange(16)
    changed = torch.as_tensor(extra.of_images(same, seeds))
    assert (changed.shape, changed.dtype) == (same.shape, torch.uint8)
    assert len(torch.unique(changed.flatten(1), dim=0)) > 4
    backwards = torch.as_tensor(extra.of_images(same, seeds.flip(0)))
    assert torch.equal(backwards.flip(0), changed)  # its seed says how, not what came before
    assert torch.equal(torch.get_rng_state(), state)


def test_an_image_turns_about_its_middle_and_by_no_more_than_asked() -> None:
    """A bar from the middle to the right ends where its angle says."""
    torch.manual_seed(0)
    bar = torch.zeros(200, 1, 65, 65)
    bar[:, :, 32, 32:] = 1
    turned = torch.as_tensor(Extra(rotate=20).of_images(bar, torch.arange(200)))[:, 0]
    down, right = torch.meshgrid(torch.arange(65) - 32.0, torch.arange(65) - 32.0, indexing="ij")
    angles = torch.rad2deg(
        torch.atan2((turned * down).sum(dim=(1, 2)), (turned * right).sum(dim=(1, 2)))
    )
    assert 18 < float(angles.max()) < 20.5
    assert -20.5 < float(angles.min()) < -18


def test_nothing_unasked() -> None:
    extra, inputs = Extra.of(TrainSettings()), torch.rand(3, 2, 4, 4)
    assert extra == Extra()
    assert not extra.alone
    assert extra.of_images(IMAGES, torch.arange(len(IMAGES))) is IMAGES
    assert extra.blanked(inputs) is inputs
    extra.check("d", torch.zeros(1, 5))


def test_rectangles_are_erased_in_as_many_images_as_asked() -> None:
    torch.manual_seed(0)
    erased = Extra(erase=0.5).blanked(torch.ones(400, 1, 8, 8))
    assert 0.4 < float((erased == 0).flatten(1).any(dim=1).double().mean()) < 0.6


@pytest.mark.parametrize(
    ("settings", "images", "message"),
    [
        ({"rotate": 4}, torch.zeros(1, 5), "`rotate` changes images, examples of `d` are [5]"),
        ({"cutout": 4}, torch.zeros(1, 5), "`cutout` changes images, examples of `d` are [5]"),
        (
            {"policy": "trivial", "crop": 0.5},
            torch.zeros(1, 5, 8, 8, dtype=torch.uint8),
            "`policy` changes images of bytes in 1 or 3 channels, examples of `d` are uint8 "
            "in 5 channels",
        ),
        (
            {"color_jitter": 0.1},
            torch.zeros(1, 3, 8, 8),
            "`color_jitter` changes images of bytes in 1 or 3 channels, examples of `d` are "
            "float32 in 3 channels",
        ),
        ({"cutout": 16}, torch.zeros(1, 1, 8, 8), "`cutout` blanks all of images of 8 x 8 pixels"),
    ],
    ids=lambda case: str(case) if isinstance(case, dict) else "",
)
def test_what_cannot_be_done(settings: dict[str, Any], images: torch.Tensor, message: str) -> None:
    with pytest.raises(DiagnosticError) as caught:
        Extra(**settings).check("d", images)
    [found] = caught.value.diagnostics
    assert (found.code, found.message) == ("D515", message)
    assert found.help.startswith("leave `")
    assert all(f"`{name} = " in found.help for name in found.message.split("`")[1:2])


def test_images_that_belong_together_move_together_and_others_stay() -> None:
    images = torch.arange(4 * 8 * 8).view(4, 1, 8, 8).to(torch.float32)
    rows = torch.arange(8.0).view(4, 2)
    given = Bundle({"left": images, "right": images + 1, "row": rows})
    for kind in ("flip", "shift", "shift_flip"):
        found = augmented(given, kind, torch.Generator().manual_seed(0))
        assert isinstance(found, Bundle)
        left, right, row = found.ports.values()
        alone = augmented(images, kind, torch.Generator().manual_seed(0))
        assert torch.equal(left, torch.as_tensor(alone))
        moved = (left != 0) & (right != 0)  # but for what came in at the border
        assert torch.equal((right - left)[moved], torch.ones_like(left)[moved])
        assert torch.equal(row, rows)


@pytest.mark.parametrize(
    ("kind", "crop"), [("flip", 1.0), ("shift_flip", 1.0), ("none", 0.4), ("flip", 0.4)]
)
def test_masks_and_maps_move_with_their_images(kind: str, crop: float) -> None:
    """An image that holds the labels themselves says where each should have gone."""
    torch.manual_seed(0)
    blocks = torch.randint(0, 3, (6, 4, 4)).repeat_interleave(4, 1).repeat_interleave(4, 2)
    images = (100 * blocks[:, None]).to(torch.uint8)
    maps = blocks[:, None].to(torch.float32)
    size = (16, 16)
    classes = PixelClassification(("a", "b", "c"), size, ignored=7)
    numbers = PixelRegression(size, (0.0,), (1.0,), 2.0)
    outputs = [("mask", classes, blocks), ("map", numbers, maps)]
    joint = Several(tuple(Output(p, t, 1.0, 48, t_.shape[1:], t_.dtype) for p, t, t_ in outputs))
    seeds = torch.arange(6)
    cuts = None if crop == 1 else Cuts(crop, seeds)
    movement = Movement(kind, torch.Generator().manual_seed(0), cuts)
    moved = torch.as_tensor(movement.images(Extra(crop=crop).of_images(images, seeds)))
    assert not torch.equal(moved, images)
    targets = joint.moved(Several.joined([blocks, maps]), movement)
    mask, height = targets.view(6, 2, *size).unbind(dim=1)
    assert torch.equal(mask.long(), classes.moved(blocks, movement))
    inside = mask != 7
    assert torch.equal(inside, ~height.isnan())
    assert torch.equal(mask[inside], height[inside])
    assert bool(inside.all()) == (kind != "shift_flip")
    assert bool((moved[:, 0][~inside] == 0).all())
    near = (moved[:, 0].double() - 100 * mask).abs()[inside] < 50
    assert near.double().mean() > (0.999 if crop == 1 else 0.9)  # enlarged images have soft edges


def test_policies_turn_each_image_by_itself() -> None:
    both = Bundle({"left": PIXELS, "right": PIXELS})
    Extra(color_jitter=0.1).check("d", both)
    with pytest.raises(DiagnosticError, match="those of an example of `d` belong together"):
        Extra(policy="rand").check("d", both)
    with pytest.raises(DiagnosticError, match="`policy` and `rotate` turn each image by itself"):
        Extra(policy="rand", rotate=5).check("d", both)


PIXELS = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)


def test_what_targets_lie_on_is_not_moved() -> None:
    assert settled_augment("d", "none", "auto", [(1, 8, 8)], placed=True) == "none"
    with pytest.raises(DiagnosticError, match="targets of `d` lie on them and would stay"):
        settled_augment("d", "none", "shift", [(1, 8, 8)], placed=True)
    with pytest.raises(DiagnosticError, match="`policy` turns images, targets of `d` lie on them"):
        Extra(policy="trivial").check("d", torch.zeros(1, 1, 8, 8), placed=True)
    Extra(crop=0.5, color_jitter=0.1).check("d", PIXELS, placed=True)
    with pytest.raises(DiagnosticError, match="`cutmix` puts rectangles of images into others"):
        check_mixtures("d", torch.zeros(1, 1, 8, 8), placed=True, cutmix=1.0)


def test_images_of_an_example_are_cut_alike() -> None:
    generator = torch.Generator().manual_seed(0)
    left = torch.rand(5, 1, 16, 16, generator=generator)
    given = Bundle({"left": left, "right": 2 * left})
    found = Extra(crop=0.3).of_images(given, torch.arange(5))
    assert isinstance(found, Bundle)
    one, other = found.ports.values()
    assert torch.allclose(2 * one, other)
    assert not torch.allclose(one, left)


def test_names_are_not_mixed() -> None:
    check_names("d", ["embedding"], mixup=0.0)
    check_names("d", [], mixup=0.2)
    with pytest.raises(DiagnosticError) as caught:
        check_names("d", ["embedding"], mixup=0.2)
    told = caught.value.diagnostics[0]
    assert (told.code, told.help) == ("D515", "leave `mixup` out, or write `mixup = 0`")
    assert told.message == "`mixup` mixes numbers, `embedding` looks those of `d` up as names"
