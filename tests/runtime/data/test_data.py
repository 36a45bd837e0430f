"""Data: what is loaded, how it is split and shifted, and every way in which it can be wrong."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from living import snapshot
from PIL import Image
from support import assert_style, graph_of
from torch import Tensor

from bayesnas.compiler.graph.model import Graph
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError
from bayesnas.runtime.data.augmentation.movement import augmented
from bayesnas.runtime.data.dataset import Batches, Data, plain_batches, sameness_note
from bayesnas.runtime.data.examples import Part
from bayesnas.runtime.data.folders import images as image_files
from bayesnas.runtime.data.loading import load_data
from bayesnas.runtime.data.registry import DataOptions


def takes(shape: str, classes: int) -> Graph:
    return graph_of(
        f"network net(image: {shape}) -> (logits: [{classes}]) "
        f"{{ image -> logits : flatten >> linear({classes}) }}"
    )


GREY = takes("[1, 8, 8]", 10)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def refused(name: str, graph: Graph = GREY, options: DataOptions | None = None) -> Diagnostic:
    with pytest.raises(DiagnosticError) as caught:
        load_data(name, graph, options)
    [found] = caught.value.diagnostics
    assert caught.value.status == 2
    assert found.help
    return found


# -------------------------------------------------------------------------------------- digits


@pytest.fixture(scope="module")
def digits() -> Data:
    return load_data("digits", GREY)


def test_digits(digits: Data) -> None:
    assert (len(digits.train), len(digits.test)) == (1437, 360)
    assert digits.task.classes == tuple("0123456789")
    for part in (digits.train, digits.test):
        assert part.inputs.dtype == torch.uint8
        assert part.inputs.shape[1:] == (1, 8, 8)
        assert part.targets.dtype == torch.int64
    assert int(digits.train.inputs.max()) == 255


def test_the_fifth_that_is_the_test_part_is_stratified(digits: Data) -> None:
    whole = torch.cat([digits.train.targets, digits.test.targets]).bincount(minlength=10)
    held = digits.test.targets.bincount(minlength=10)
    assert ((held - whole / 5).abs() < 1).all()


def test_digits_are_the_same_at_every_call(digits: Data) -> None:
    torch.manual_seed(12345)
    again = load_data("digits", GREY)
    torch.testing.assert_close(again.train.inputs, digits.train.inputs, rtol=0, atol=0)
    torch.testing.assert_close(again.test.targets, digits.test.targets, rtol=0, atol=0)


def test_every_digit_is_in_one_part(digits: Data) -> None:
    from sklearn.datasets import load_digits

    given = np.rint(load_digits().images * 255 / 16).astype(np.uint8).reshape(-1, 64)
    found = torch.cat([digits.train.inputs, digits.test.inputs]).reshape(-1, 64).numpy()
    assert sorted(map(bytes, given)) == sorted(map(bytes, found))


def test_normalised_images(digits: Data) -> None:
    normal = digits.normalize(digits.train.inputs)
    assert normal.dtype == torch.float32
    assert float(normal.mean()) == pytest.approx(0, abs=1e-4)
    assert float(normal.std()) == pytest.approx(1, abs=1e-4)
    byte = float(digits.train.inputs[3, 0, 4, 4]) / 255
    expected = (byte - float(digits.mean)) / float(digits.std)
    assert float(normal[3, 0, 4, 4]) == pytest.approx(expected, rel=1e-5)


def test_flat_digits(digits: Data) -> None:
    """The same examples in the same parts, standardised pixel by pixel, and never shifted."""
    flat = load_data("digits", takes("[64]", 10))
    assert torch.equal(flat.train.inputs, digits.train.inputs.flatten(1))
    assert torch.equal(flat.test.targets, digits.test.targets)
    assert flat.mean.shape == flat.std.shape == (64,)
    normal = flat.normalize(flat.train.inputs)
    constant = flat.train.inputs.amax(dim=0) == flat.train.inputs.amin(dim=0)
    assert constant.any()
    assert normal.mean(dim=0).abs().max() < 1e-4
    assert (normal[:, constant] == 0).all()
    assert (normal[:, ~constant].std(dim=0) - 1).abs().max() < 1e-4
    [(inputs, _)] = Batches(flat, flat.train, len(flat.train), "auto", generator())
    assert sorted(inputs.sum(dim=1).tolist()) == pytest.approx(sorted(normal.sum(dim=1).tolist()))


# -------------------------------------------------------------------------------------- folders


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def folder(
    root: Path, size: tuple[int, ...] = (8, 8), classes: tuple[str, ...] = ("a", "b")
) -> Path:
    """Two images a class to train with, one to test."""
    chance = np.random.default_rng(0)
    for part, count in (("train", 2), ("test", 1)):
        for name in classes:
            for k in range(count):
                array = chance.integers(0, 256, size, dtype=np.uint8)
                save(root / part / name / f"{k}.png", array)
    return root


def test_a_folder_of_grey_images(tmp_path: Path) -> None:
    folder(tmp_path, classes=("zebra", "ant"))
    data = load_data(f"folder:{tmp_path}", takes("[1, 8, 8]", 2))
    assert data.task.classes == ("ant", "zebra")
    assert data.train.targets.tolist() == [0, 0, 1, 1]
    assert data.test.targets.tolist() == [0, 1]
    assert data.train.inputs.shape == (4, 1, 8, 8)
    first = np.asarray(Image.open(tmp_path / "train/ant/0.png"))
    assert (data.train.inputs[0, 0].numpy() == first).all()


def test_a_folder_of_colour_images(tmp_path: Path) -> None:
    folder(tmp_path, (6, 10, 3))
    data = load_data(f"folder:{tmp_path}", takes("[3, 6, 10]", 2))
    first = np.asarray(Image.open(tmp_path / "train/a/0.png"))
    assert (data.train.inputs[0].numpy() == first.transpose(2, 0, 1)).all()
    normal = data.normalize(data.train.inputs)
    assert normal.transpose(0, 1).flatten(1).mean(dim=1).abs().max() < 1e-4


def test_colour_is_made_grey_and_grey_colour(tmp_path: Path) -> None:
    folder(tmp_path / "colour", (8, 8, 3))
    folder(tmp_path / "grey")
    grey = load_data(f"folder:{tmp_path / 'colour'}", takes("[1, 8, 8]", 2))
    assert grey.train.inputs.shape == (4, 1, 8, 8)
    colour = load_data(f"folder:{tmp_path / 'grey'}", takes("[3, 8, 8]", 2))
    assert (colour.train.inputs[:, 0] == colour.train.inputs[:, 2]).all()


@pytest.mark.parametrize("kind", ["png", "JPG", "bmp", "gif", "tiff", "webp"])
def test_formats(kind: str, tmp_path: Path) -> None:
    for part in ("train", "test"):
        for name in ("a", "b"):
            save(tmp_path / part / name / f"x.{kind}", np.full((8, 8), 200, dtype=np.uint8))
    data = load_data(f"folder:{tmp_path}", takes("[1, 8, 8]", 2))
    assert (data.train.inputs.int() - 200).abs().max() <= 2


def test_what_is_no_image_is_left_aside(tmp_path: Path) -> None:
    folder(tmp_path)
    (tmp_path / "train" / "a" / "notes.txt").write_text("none")
    (tmp_path / "train" / "README.md").write_text("none")
    assert len(load_data(f"folder:{tmp_path}", takes("[1, 8, 8]", 2)).train) == 4


def test_several_sizes_are_fitted_on_request(tmp_path: Path) -> None:
    folder(tmp_path)
    save(tmp_path / "train/a/wide.png", np.full((8, 20), 100, dtype=np.uint8))
    save(tmp_path / "train/a/small.png", np.full((3, 4), 100, dtype=np.uint8))
    found = refused(f"folder:{tmp_path}", takes("[1, 8, 8]", 2))
    assert found.code == "D505"
    assert "--resize" in found.help
    options = DataOptions(resize=True)
    data = load_data(f"folder:{tmp_path}", takes("[1, 8, 8]", 2), options)
    assert data.train.inputs.shape == (6, 1, 8, 8)
    assert load_data(f"folder:{tmp_path}", takes("[1, 4, 6]", 2), options).train.inputs.shape == (
        6, 1, 4, 6,
    )  # fmt: skip


def picture(
    path: Path, channels: int = 1, fit: image_files.Fit | None = None
) -> image_files.Picture:
    return image_files.read_picture(path, channels, (8, 8) if fit else None, fit or "squeeze")


def test_sixteen_bits_are_kept(tmp_path: Path) -> None:
    """As shares of the full scale; bytes beside them too."""
    folder(tmp_path)
    deep = np.random.default_rng(0).integers(0, 4096, (8, 8)).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "train/a/0.png")
    data = load_data(f"folder:{tmp_path}", takes("[1, 8, 8]", 2))
    torch.testing.assert_close(
        data.train.inputs[0, 0], torch.from_numpy(deep.astype(np.float32) / 65535)
    )
    flat = np.asarray(Image.open(tmp_path / "train/a/1.png")).astype(np.float32) / 255
    torch.testing.assert_close(data.train.inputs[1, 0], torch.from_numpy(flat))
    assert "1 image: 16 bits a pixel kept" in data.note


@pytest.mark.parametrize("mode", ["F", "I"])
def test_numbers_without_a_scale_are_refused(mode: str, tmp_path: Path) -> None:
    Image.new(mode, (8, 8), 100_000).save(tmp_path / "x.tiff")
    with pytest.raises(image_files.ImageError, match="no scale; save them with numpy"):
        picture(tmp_path / "x.tiff")


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    Image.new("RGBA", (8, 8), (10, 20, 30, 0)).save(tmp_path / "a.png")
    Image.new("P", (8, 8), 3).save(tmp_path / "b.gif", transparency=3)
    Image.new("LA", (8, 8), (0, 0)).save(tmp_path / "c.png")
    for name in ("a.png", "b.gif", "c.png"):
        shown = picture(tmp_path / name, 3)
        assert (shown.pixels == 255).all()
        assert shown.remarks == ("transparency laid on white",)


def test_a_palette_is_its_colours(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    plain = Image.fromarray(colours).quantize(64)
    plain.save(tmp_path / "p.png")
    expected = np.asarray(plain.convert("RGB")).transpose(2, 0, 1)
    assert (picture(tmp_path / "p.png", 3).pixels.numpy() == expected).all()


def test_images_are_turned_as_exif_says(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 256, (5, 9), dtype=np.uint8)
    image = Image.fromarray(array)
    exif = image.getexif()
    exif[0x0112] = 6  # a quarter to the right
    image.save(tmp_path / "x.png", exif=exif)
    shown = picture(tmp_path / "x.png")
    assert (shown.pixels[0].numpy() == np.rot90(array, -1)).all()
    assert shown.remarks == ("turned as EXIF says",)


def test_the_first_of_several_frames_is_taken_and_said(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.full((8, 8), 60 * k, dtype=np.uint8)) for k in range(3)]
    for name in ("x.gif", "x.tif"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        shown = picture(tmp_path / name)
        assert not shown.pixels.any()
        assert "the first of several frames or pages taken" in shown.remarks
    whole = (tmp_path / "x.gif").read_bytes()
    (tmp_path / "x.gif").write_bytes(whole[: whole.index(b"\x2c", whole.index(b"\x2c") + 1) + 4])
    assert not picture(tmp_path / "x.gif").pixels.any()


def test_images_of_several_sizes_are_not_declared(tmp_path: Path) -> None:
    """No size that is declared would fit them all."""
    folder(tmp_path)
    path = sorted((tmp_path / "train").glob("*/*.png"))[0]
    save(path, np.zeros((9, 8), dtype=np.uint8))
    with pytest.raises(DiagnosticError) as caught:
        load_data(f"folder:{tmp_path}", takes("[1, 8, 8]", 2))
    [found] = caught.value.diagnostics
    assert (found.code, found.message) == (
        "D505",
        f"`{path}` is [1, 9, 8], the network takes [1, 8, 8]",
    )
    assert found.notes == ("the images are of several sizes",)
    assert found.help == "pass `--resize` to fit the images to the network"


@pytest.mark.parametrize("fit", ["squeeze", "pad", "crop"])
def test_how_images_are_fitted(fit: image_files.Fit, tmp_path: Path) -> None:
    """Only what is cropped loses the ends of a strip."""
    strip = np.zeros((8, 24), dtype=np.uint8)
    strip[:, :3] = strip[:, -3:] = 255
    save(tmp_path / "x.png", strip)
    shown = picture(tmp_path / "x.png", fit=fit)
    assert shown.pixels.shape == (1, 8, 8)
    assert bool(shown.pixels.max() > 150) == (fit != "crop")
    assert len(shown.remarks) == 1


def test_nothing_is_mirrored_by_default(tmp_path: Path) -> None:
    assert load_data(f"folder:{folder(tmp_path)}", takes("[1, 8, 8]", 2)).augment == "shift"


def test_litter_is_left_aside_and_folders_inside_are_read(tmp_path: Path) -> None:
    folder(tmp_path)
    (tmp_path / "train/.ipynb_checkpoints").mkdir()
    (tmp_path / "train/__MACOSX").mkdir()
    (tmp_path / "train/a/Thumbs.db").write_bytes(b"")
    save(tmp_path / "train/a/more/x.png", np.zeros((8, 8), dtype=np.uint8))
    data = load_data(f"folder:{tmp_path}", takes("[1, 8, 8]", 2))
    assert len(data.train) == 5
    assert "skipped: 2 hidden folders" in data.note
    assert "1 files that are no images" in data.note


# ---------------------------------------------------------------------------------- wrong folders


def test_unknown_data() -> None:
    found = refused("digitz")
    assert (found.code, found.message) == ("D501", "unknown data `digitz`")
    assert found.help == "did you mean `digits`?"
    assert "`folder:PATH`" in refused("imagenet").help
    nowhere = refused("folder:")  # not the current folder
    assert (nowhere.code, nowhere.help) == ("D501", "did you mean `folder:PATH`?")
    assert refused("npz:").message == "unknown data `npz:`"
    assert_style(refused("imagenet"))


def test_a_folder_without_its_prefix(tmp_path: Path) -> None:
    assert refused(str(tmp_path)).help == f"write `folder:{tmp_path}`"
    assert refused("some/file.npz").help == "write `npz:some/file.npz`"


@pytest.mark.parametrize("missing", ["", "train"])
def test_a_missing_folder(missing: str, tmp_path: Path) -> None:
    root = tmp_path / "data"
    if missing:
        folder(root)
        (root / missing).rename(root / "elsewhere")
    before = snapshot(tmp_path)
    found = refused(f"folder:{root}", takes("[1, 8, 8]", 2))
    assert (found.code, found.message) == ("D502", f"no folder `{root / missing}`")
    assert "train/CLASS" in found.help
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_folder_without_images(part: str, tmp_path: Path) -> None:
    folder(tmp_path)
    for path in (tmp_path / part).rglob("*.png"):
        path.unlink()
    found = refused(f"folder:{tmp_path}", takes("[1, 8, 8]", 2))
    assert (found.code, found.message) == ("D503", f"no images in `{tmp_path / part}`")
    assert found.help == "put images into a folder for each class, or remove the folder"


def test_a_class_without_images(tmp_path: Path) -> None:
    """A class that nothing teaches is a slip."""
    folder(tmp_path, classes=("a", "b", "c"))
    for path in (tmp_path / "train" / "b").iterdir():
        path.unlink()
    found = refused(f"folder:{tmp_path}", takes("[1, 8, 8]", 3))
    assert found.code == "D503"
    assert str(tmp_path / "train" / "b") in found.message


NO_IMAGE = "it is no image of a format that is read: BMP, GIF, JPEG, PNG, TIFF, WEBP"
BROKEN: dict[str, tuple[str, Callable[[Path], object]]] = {
    "empty": ("the file is empty", lambda path: path.write_bytes(b"")),
    "text": (NO_IMAGE, lambda path: path.write_bytes(b"not an image")),
    "cut off": (
        "the file ends before the image does: it is cut off",
        lambda path: path.write_bytes(path.read_bytes()[:60]),
    ),
    "damaged": (
        "the file is damaged: its pixels cannot be decoded",
        lambda path: path.write_bytes(path.read_bytes()[:43] + b"\xff" + path.read_bytes()[44:]),
    ),
    "PostScript": (
        NO_IMAGE,
        lambda path: path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n"),
    ),
    "a pipe": ("not a regular file", lambda path: (path.unlink(), os.mkfifo(path))),
}


@pytest.mark.parametrize(("reason", "break_it"), BROKEN.values(), ids=BROKEN)
def test_an_image_that_cannot_be_read(
    reason: str, break_it: Callable[[Path], object], tmp_path: Path
) -> None:
    folder(tmp_path)
    path = tmp_path / "train" / "b" / "1.png"
    break_it(path)
    found = refused(f"folder:{tmp_path}", takes("[1, 8, 8]", 2))
    assert (found.code, found.message) == ("D504", f"cannot read an image of `folder:{tmp_path}`")
    assert found.notes == (f"`{path}`: {reason}",)
    assert found.help == "replace the files, or move them out of the class folders"


def test_all_broken_images_are_named_at_once(tmp_path: Path) -> None:
    folder(tmp_path)
    for path in tmp_path.rglob("*.png"):
        path.write_bytes(b"")
    found = refused(f"folder:{tmp_path}", takes("[1, 8, 8]", 2))
    assert found.message == f"cannot read 6 images of `folder:{tmp_path}`"
    assert len(found.notes) == 6
    assert found.notes[-1] == "and 1 more"


def test_an_image_of_too_many_pixels_is_not_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder(tmp_path)
    monkeypatch.setattr(image_files, "MAX_PIXELS", 63)
    found = refused(f"folder:{tmp_path}", takes("[1, 8, 8]", 2))
    assert "8 x 8 pixels, more than 63" in found.notes[0]


def test_images_of_another_size(tmp_path: Path) -> None:
    folder(tmp_path, (8, 9))
    found = refused(f"folder:{tmp_path}", takes("[1, 8, 8]", 2))
    path = tmp_path / "train/a/0.png"
    assert (found.code, found.message) == (
        "D505",
        f"`{path}` is [1, 8, 9], the network takes [1, 8, 8]",
    )
    assert "[1, 8, 9]" in found.help
    assert "--resize" in found.help


def test_a_number_of_channels_that_files_have_not(tmp_path: Path) -> None:
    folder(tmp_path)
    found = refused(f"folder:{tmp_path}", takes("[2, 8, 8]", 2))
    assert (found.code, found.message) == (
        "D505",
        "image files have 1 or 3 channels, the network takes 2",
    )


@pytest.mark.parametrize("shape", ["[64]", "[1, 64]"])
def test_images_for_a_network_that_takes_none(shape: str, tmp_path: Path) -> None:
    folder(tmp_path)
    found = refused(f"folder:{tmp_path}", takes(shape, 2))
    assert (found.code, found.message) == (
        "D505",
        f"image files are [channels, height, width], the network takes {shape}",
    )
    assert_style(found)


def test_digits_for_another_vector() -> None:
    found = refused("digits", takes("[65]", 10))
    assert found.message == "examples of `digits` are [64], the network takes [65]"


def test_digits_in_another_size() -> None:
    found = refused("digits", takes("[1, 16, 16]", 10))
    assert (found.code, found.message) == (
        "D505",
        "examples of `digits` are [1, 8, 8], the network takes [1, 16, 16]",
    )
    assert found.help == "declare `image: [1, 8, 8]`"
    assert found.span is not None
    assert (found.span.line, found.span.column) == (1, 13)


def test_another_number_of_classes(tmp_path: Path) -> None:
    found = refused("digits", takes("[1, 8, 8]", 7))
    assert (found.code, found.message) == (
        "D506",
        "`digits` has 10 classes, the network predicts 7",
    )
    assert found.help == "declare the output as `logits: [10]`, fed by `linear(10)`"
    assert found.span is not None
    assert (found.span.line, found.span.column) == (1, 35)
    folder(tmp_path)
    assert refused(f"folder:{tmp_path}", takes("[1, 8, 8]", 3)).code == "D506"


def test_classes_that_are_tested_and_not_taught(tmp_path: Path) -> None:
    folder(tmp_path)
    (tmp_path / "test" / "b").rename(tmp_path / "test" / "c")
    found = refused(f"folder:{tmp_path}", takes("[1, 8, 8]", 2))
    assert found.code == "D506"
    assert found.message == f"`{tmp_path / 'test'}` has classes that `train` has not: `c`"


def test_cifar10_that_is_not_there(tmp_path: Path) -> None:
    """No network is touched without `download`, and nothing is written."""
    options = DataOptions(root=tmp_path / "data")
    found = refused("cifar10", takes("[3, 32, 32]", 10), options)
    assert (found.code, found.message) == ("D507", f"CIFAR-10 is not at `{tmp_path / 'data'}`")
    assert found.help == "pass `--download`, or `--data-root` where it lies"
    assert snapshot(tmp_path) == {}


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        (
            "network n(a: [1, 8, 8], b: [1, 8, 8]) -> (y: [1, 8, 8]) { {a, b} -> y }",
            "D520",
            "`digits` has a single array of inputs, the network has `a` and `b`",
        ),
        (
            "network n(a: [1, 8, 8]) -> (y: [1, 8, 8]) { a -> y : relu }",
            "D430",
            "`y` is [1, 8, 8], and `digits` has one target per example",
        ),
        (
            "network n(a: [1, 8, 8]) -> (y: [3], z: [3]) { a -> {y, z} : flatten >> linear(3) }",
            "D520",
            "`digits` has a single array of outputs, the network has `y` and `z`",
        ),
    ],
)
def test_a_network_that_is_not_a_classifier(text: str, code: str, message: str) -> None:
    found = refused("digits", graph_of(text))
    assert (found.code, found.message) == (code, message)
    assert found.span is not None
    assert_style(found)


# -------------------------------------------------------------------------------------- splits


def numbered(count: int) -> Part:
    """Examples that carry their number."""
    images = torch.arange(count, dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 2, 2)
    return Part(images.contiguous(), torch.arange(count))


def plain(part: Part) -> Data:
    return Data("numbers", ("a",), part, part, torch.zeros(1), torch.ones(1) / 255)


@pytest.mark.parametrize(("count", "sizes"), [(10, [4, 4, 2]), (9, [4, 4]), (1, [1]), (8, [4, 4])])
def test_batches_visit_every_example_once(count: int, sizes: list[int]) -> None:
    """But a last single one, which batch normalisation could not take."""
    part = numbered(count)
    found = list(Batches(plain(part), part, 4, "none", generator()))
    assert [len(labels) for _, labels in found] == sizes
    labels = [int(x) for _, labels in found for x in labels]
    assert len(set(labels)) == len(labels)
    for images, marks in found:
        torch.testing.assert_close(images[:, 0, 0, 0], marks.float())


def test_batches_are_shuffled_anew() -> None:
    part, chance = numbered(40), generator()
    orders = [
        [int(x) for _, labels in Batches(plain(part), part, 8, "none", chance) for x in labels]
        for _ in range(2)
    ]
    assert orders[0] != orders[1] != list(range(40))


def test_plain_batches_keep_the_order_and_drop_nothing() -> None:
    part = numbered(9)
    found = list(plain_batches(plain(part), part, 4))
    assert [x for _, labels in found for x in labels.tolist()] == list(range(9))


# -------------------------------------------------------------------------------------- shifting


def images(count: int = 64, size: tuple[int, int] = (8, 8)) -> Tensor:
    return torch.randint(1, 256, (count, 3, *size), generator=generator(5), dtype=torch.uint8)


@pytest.mark.parametrize("kind", ["none", "shift", "shift_flip"])
@pytest.mark.parametrize("size", [(8, 8), (5, 9), (1, 1), (32, 16)])
def test_augmented_images_are_images(kind: str, size: tuple[int, int]) -> None:
    given = images(size=size)
    found = augmented(given, kind, generator())
    assert found.shape == given.shape
    assert found.dtype == torch.uint8
    if kind == "none":
        assert found is given


@pytest.mark.parametrize("kind", ["shift", "shift_flip"])
def test_nothing_stays_nothing(kind: str) -> None:
    assert int(augmented(torch.zeros_like(images()), kind, generator()).max()) == 0


@pytest.mark.parametrize("size", [(8, 8), (5, 9), (17, 16)])
@pytest.mark.parametrize("kind", ["shift", "shift_flip"])
def test_augmented_is_one_of_the_shifts(kind: str, size: tuple[int, int]) -> None:
    """By up to an eighth each way, what is new is zero; mirrored in half of the cases or never."""
    given = images(40, size)
    moved = mirrored = 0
    for before, after in zip(given, augmented(given, kind, generator()), strict=True):
        as_it_was = any(torch.equal(after, shift) for shift in shifts(before))
        assert as_it_was or any(torch.equal(after, shift) for shift in shifts(before.flip(2)))
        mirrored += not as_it_was
        moved += not torch.equal(after, before)
    assert moved > 20
    assert (mirrored == 0) if kind == "shift" else (8 < mirrored < 32)


def shifts(image: Tensor) -> list[Tensor]:
    _, height, width = image.shape
    reach = max(1, height // 8), max(1, width // 8)
    found = []
    for down in range(-reach[0], reach[0] + 1):
        for right in range(-reach[1], reach[1] + 1):
            moved = torch.zeros_like(image)
            rows = range(max(0, down), min(height, height + down))
            for row in rows:
                start, stop = max(0, right), min(width, width + right)
                moved[:, row, start:stop] = image[:, row - down, start - right : stop - right]
            found.append(moved)
    return found


@pytest.mark.parametrize("kind", ["shift", "shift_flip"])
def test_what_is_no_image_is_not_shifted(kind: str) -> None:
    data = load_data("digits", takes("[64]", 10))
    with pytest.raises(DiagnosticError) as caught:
        data.augmentation(kind)
    [found] = caught.value.diagnostics
    assert (found.code, found.message) == (
        "D515",
        f"`augment = {kind}` shifts images, examples of `digits` are [64]",
    )
    assert_style(found)


def test_what_augmentations_are_allowed(digits: Data) -> None:
    for kind in ("auto", "none", "shift", "shift_flip"):
        digits.augmentation(kind)
    load_data("digits", takes("[64]", 10)).augmentation("auto")
    load_data("digits", takes("[64]", 10)).augmentation("none")


def test_augmentation_follows_its_generator() -> None:
    first, again, other = (augmented(images(), "shift_flip", generator(s)) for s in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_auto_is_what_suits_the_data(digits: Data) -> None:
    """Digits are shifted and never mirrored."""
    part = digits.train.subset(torch.arange(32))
    named, chosen = (
        next(iter(Batches(digits, part, 32, kind, generator())))[0] for kind in ("shift", "auto")
    )
    assert torch.equal(named, chosen)


@pytest.mark.parametrize(("count", "said"), [(1, False), (2, True), (9, True)])
def test_examples_that_are_all_the_same_are_told(count: int, said: bool) -> None:
    same = torch.rand(1, 3, 4, 4).expand(count, -1, -1, -1)
    other = same + torch.arange(count).view(-1, 1, 1, 1)
    assert bool(sameness_note(Part(same, torch.zeros(count)))) == said
    assert sameness_note(Part(other, torch.zeros(count))) == ""
