"""The worst examples on a page: in the order of the task's own measure, as pictures and words."""

from __future__ import annotations

import base64
import io
import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from bayesnas.runtime.data.examples import Part
from bayesnas.runtime.report.blocks import Gallery, Numbers
from bayesnas.runtime.report.sections.pictures import LARGEST, map_addresses, map_text
from bayesnas.runtime.report.sections.worst import COUNT, Worst, example_qualities, worst_first
from bayesnas.runtime.tasks.classification import Classification
from bayesnas.runtime.tasks.interface import Task
from bayesnas.runtime.tasks.multilabel import Multilabel
from bayesnas.runtime.tasks.next_token import NextToken
from bayesnas.runtime.tasks.outputs import Output
from bayesnas.runtime.tasks.parts import Map
from bayesnas.runtime.tasks.pixels.classes import IGNORED, PixelClassification
from bayesnas.runtime.tasks.pixels.numbers import PixelRegression
from bayesnas.runtime.tasks.several import Several

N, SIDE = 30, 6
MASKS = PixelClassification(("sky", "sea", "sand"), (SIDE, SIDE))
SHADES = PixelRegression((SIDE, SIDE), (10.0, 20.0, 30.0), (2.0, 3.0, 4.0), 12.0)


def chance() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def shown(task: Task, inputs: Tensor, outputs: Tensor, targets: Tensor) -> Gallery:
    order = worst_first(
        task, task.losses(outputs, targets), example_qualities(task, outputs, targets)
    )
    places = torch.tensor(order)
    losses = task.losses(outputs, targets)[places]
    part = Part(inputs, targets).subset(places)
    [block] = Worst(task, tuple(order), part, outputs[places], losses).blocks()
    assert isinstance(block, Gallery)
    return block


def pixels(address: str) -> NDArray[np.uint8]:
    data = base64.b64decode(address.removeprefix("data:image/png;base64,"))
    return np.asarray(Image.open(io.BytesIO(data)))


def test_classes_of_pixels_come_by_their_own_intersection_over_union() -> None:
    outputs = torch.randn(N, 3 * SIDE * SIDE, generator=chance())
    targets = torch.randint(0, 3, (N, SIDE, SIDE), generator=chance())
    targets[:, 0] = IGNORED
    targets[4] = IGNORED  # of which nothing is known
    images = torch.randint(0, 256, (N, 3, SIDE, SIDE), generator=chance(), dtype=torch.uint8)
    answers = outputs.reshape(N, 3, SIDE, SIDE).argmax(dim=1)
    ious = {}
    for n in set(range(N)) - {4}:
        known = targets[n] != IGNORED
        each = []
        for k in range(3):
            true, told = (targets[n] == k) & known, (answers[n] == k) & known
            if (union := int((true | told).sum())) > 0:
                each.append(int((true & told).sum()) / union)
        ious[n] = 100 * sum(each) / len(each)
    gallery = shown(MASKS, images, outputs, targets)
    assert gallery.table.columns == ("example", "mean IoU, %", "loss, nats")
    rows = [(row[0], row[1]) for row in gallery.table.rows]
    assert [n for n, _ in rows] == sorted(ious, key=lambda n: ious[n])[:COUNT]
    assert [value for _, value in rows] == pytest.approx([ious[n] for n, _ in rows])
    assert [name for name, _ in gallery.legend] == ["sky", "sea", "sand"]
    assert "Hatched: not known" in gallery.about
    first = gallery.examples[0]
    assert [panel.word for panel in first.panels] == ["input", "target", "prediction"]
    n = int(str(rows[0][0]))
    assert first.caption == f"{n}: mean IoU {ious[n]:.2f}%"
    np.testing.assert_array_equal(pixels(first.panels[0].address).transpose(2, 0, 1), images[n])
    target, prediction = (pixels(panel.address) for panel in first.panels[1:])
    assert (target[0, :, 3] == 0).all()  # what is not known is transparent
    assert (target[1:, :, 3] == 255).all()
    same = (target[1:] == prediction[1:]).all(axis=2)
    np.testing.assert_array_equal(same, (targets[n] == answers[n])[1:])


def test_numbers_of_pixels_come_by_their_own_psnr_in_one_scale() -> None:
    targets = 10 * torch.rand(N, 3, SIDE, SIDE, generator=chance()) + 10
    targets[:, :, 0, 0] = math.nan
    outputs = torch.randn(N, 3 * SIDE * SIDE, generator=chance())
    told = outputs.reshape(N, 3, SIDE, SIDE) * torch.tensor([2.0, 3.0, 4.0])[:, None, None]
    told += torch.tensor([10.0, 20.0, 30.0])[:, None, None]
    square = (told - targets).square().nanmean(dim=(1, 2, 3))
    decibels = 10 * torch.log10(12**2 / square)
    gallery = shown(SHADES, torch.randn(N, 1, SIDE, SIDE), outputs, targets)
    assert gallery.table.columns == ("example", "PSNR, dB", "loss, nats")
    order = decibels.argsort().tolist()[:COUNT]
    assert [row[0] for row in gallery.table.rows] == order
    values = [float(str(row[1])) for row in gallery.table.rows]
    assert values == pytest.approx(decibels[order].tolist(), rel=1e-5)
    target, prediction = (pixels(panel.address) for panel in gallery.examples[0].panels[1:])
    assert target[0, 0, 3] == 0
    low, high = (float(x) for x in (np.nanmin(targets[order[0]]), np.nanmax(targets[order[0]])))
    wanted = 255 * ((told[order[0]] - low) / (high - low)).clamp(0, 1)
    np.testing.assert_allclose(prediction[:, :, :3].transpose(2, 0, 1), wanted, atol=0.51)


def one_by_one(task: Task, outputs: Tensor, targets: Tensor) -> list[float]:
    """The score of each example as if it were all there is; NaN where nothing of it is known."""
    pairs = zip(outputs.split(1), targets.split(1), strict=True)
    scores = [(task.score([pair]).quality, task.shares(pair[1])) for pair in pairs]
    return [q if shares is None or bool(shares.any()) else math.nan for q, shares in scores]


@pytest.mark.parametrize("count", [1, N])
def test_qualities_of_a_batch_are_those_of_its_examples(count: int) -> None:
    single = PixelClassification(("land", "sea"), (SIDE, SIDE), single=True)
    for task, classes in ((MASKS, 3), (single, 2)):
        outputs = torch.randn(count, task.channels * SIDE * SIDE, generator=chance())
        marks = torch.randint(0, classes, (count, SIDE, SIDE), generator=chance())
        marks[:, 1] = IGNORED
        marks[-1] = IGNORED  # of which nothing is known
        found = example_qualities(task, outputs, marks).tolist()
        assert found == pytest.approx(one_by_one(task, outputs, marks), rel=1e-12, nan_ok=True)
    outputs = torch.randn(count, 3 * SIDE * SIDE, generator=chance())
    told = torch.stack([torch.as_tensor(one.values) for one in SHADES.drawn(outputs)])
    numbers = told + torch.randn(told.shape, generator=chance())
    numbers[0] = told[0]  # right to the last digit
    numbers[:, :, 0] = math.nan
    numbers[count // 2, :, 1:] = math.nan if count > 1 else 7.0
    found = example_qualities(SHADES, outputs, numbers).tolist()
    assert found == pytest.approx(one_by_one(SHADES, outputs, numbers), rel=1e-12, nan_ok=True)


def test_several_outputs_stand_side_by_side() -> None:
    label = Output.of("kind", Classification(("cat", "dog")), 1.0, 2, torch.zeros(1).long())
    masks = torch.zeros(1, SIDE, SIDE).long()
    mask = Output.of("mask", MASKS, 0.5, 3 * SIDE * SIDE, masks)
    task = Several((label, mask))
    outputs = torch.randn(N, 2 + 3 * SIDE * SIDE, generator=chance())
    kinds = torch.arange(N) % 2
    targets = task.joined([kinds, torch.randint(0, 3, (N, SIDE, SIDE), generator=chance())])
    gallery = shown(task, torch.randn(N, 3, SIDE, SIDE), outputs, targets)
    columns = ("example", "mask mean IoU, %", "truth", "answer", "loss, nats")
    assert gallery.table.columns == columns
    losses = task.losses(outputs, targets)
    assert [row[0] for row in gallery.table.rows] == losses.argsort(descending=True)[:12].tolist()
    n = int(str(gallery.table.rows[0][0]))
    assert gallery.table.rows[0][2] == f"kind: {('cat', 'dog')[n % 2]}"
    assert str(gallery.table.rows[0][3]).startswith("kind: ")
    words = [panel.word for panel in gallery.examples[0].panels]
    assert words == ["input", "target mask", "prediction mask"]


def test_an_image_by_itself_has_a_caption_and_no_word() -> None:
    outputs, kinds = torch.randn(N, 2, generator=chance()), torch.arange(N) % 2
    gallery = shown(Classification(("cat", "dog")), torch.randn(N, 3, 4, 4), outputs, kinds)
    assert [panel.word for panel in gallery.examples[0].panels] == [""]
    assert gallery.examples[0].caption in gallery.examples[0].panels[0].text


def test_labels_are_named() -> None:
    task = Multilabel(("red", "round", "ripe"))
    targets = torch.tensor([[1.0, 0, 1], [0, 0, 0]])
    outputs = torch.tensor([[-3.0, -2, -3], [-4, 1, -5]])
    losses = task.losses(outputs, targets)
    [block] = Worst(task, (0, 1), Part(torch.ones(2, 4), targets), outputs, losses).blocks()
    assert isinstance(block, Numbers)
    assert [row[1] for row in block.table.rows] == ["red, ripe", "no label"]
    assert str(block.table.rows[1][2]).startswith("round 73.11%")


def test_stretches_of_a_text_stand_beside_the_likeliest_tokens() -> None:
    task = NextToken(("a", "b", " "))
    targets = torch.tensor([[0, 1, 2, 0]])
    outputs = torch.nn.functional.one_hot(torch.tensor([[0, 0, 2, 1]]), 3).float()
    flat = outputs.transpose(1, 2).flatten(1)
    losses = task.losses(flat, targets)
    [block] = Worst(task, (7,), Part(torch.ones(1, 4), targets), flat, losses).blocks()
    assert isinstance(block, Numbers)
    assert block.table.columns == ("example", "truth", "answer", "loss, nats")
    assert block.table.rows[0][:3] == (7, "'ab a'", "'aa b'")


def test_pictures_are_small_however_large_the_examples_are() -> None:
    masks = [Map(np.zeros((900, 400), np.int64), ("a", "b"))] * 2
    sizes = [pixels(address).shape for address in map_addresses(masks)]
    assert sizes == [(LARGEST, round(LARGEST * 400 / 900), 4)] * 2


def test_maps_have_words() -> None:
    marks = np.array([[0, 0, 1], [0, -1, -1]])
    assert map_text(Map(marks, ("sky", "sea"))) == "sky 75%, sea 25%"
    assert map_text(Map(np.full((2, 2), -1), ("sky", "sea"))) == "nothing is known"
    numbers = np.array([[[1.0, 2.0, math.nan]]])
    assert map_text(Map(numbers)) == "from 1 to 2, 1.5 in the mean"
