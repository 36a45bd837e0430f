"""What a network says of each pixel, written as images by `bayesnas predict RUN FILE -o DIR`."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bayesnas import load_network
from bayesnas.cli import main
from bayesnas.runtime.jobs.maps import files_of, palette
from bayesnas.runtime.tasks.parts import Map
from bayesnas.runtime.tasks.pixels.numbers import PixelRegression

SPEC = """\
network net(image: [1, 8, 12]) -> (mask: [3, 8, 12], shade: [1, 8, 12], height: [2, 8, 12]) {
    x = image : conv(3, 8) >> relu
    x -> mask : conv(1, 3)
    x -> shade : conv(1, 1)
    x -> height : conv(1, 2)
}
train { epochs = 1; batch_size = 8; augment = none }
learn { shade = regression }
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on bars of three shades, with their class, their shade in bytes and two heights."""
    home = tmp_path_factory.mktemp("home")
    random = np.random.default_rng(0)
    mask = random.integers(0, 3, (40, 8, 12))
    image = (80 * mask[:, None] + random.integers(0, 20, (40, 1, 8, 12))).astype(np.uint8)
    height = np.concatenate([mask[:, None] + 100.0, -mask[:, None]], axis=1).astype(np.float32)
    shade = np.stack([image[:, 0]], axis=1)
    np.savez(home / "bars.npz", image=image, mask=mask, shade=shade, height=height)
    np.save(home / "new.npy", image[:2])
    Image.fromarray(image[0, 0]).save(home / "photo.png")
    Image.fromarray(image[1, 0]).save(home / "photo.bmp")
    (home / "net.nas").write_text(SPEC, "utf-8")
    command = ["train", str(home / "net.nas"), "--data", f"npz:{home / 'bars.npz'}", "-o"]
    assert main([*command, str(home / "run"), "--device", "cpu"]) == 0
    return home


def test_maps_are_the_outputs(home: Path, tmp_path: Path) -> None:
    files = [str(home / "photo.png"), str(home / "photo.bmp"), str(home / "new.npy")]
    assert main(["predict", str(home / "run"), *files, "-o", str(tmp_path / "out")]) == 0
    with (tmp_path / "out" / "maps.csv").open(encoding="utf-8", newline="") as file:
        rows = [tuple(row.values()) for row in csv.DictReader(file)]
    written = {path.name for path in (tmp_path / "out").iterdir()} - {"maps.csv"}
    assert {row[3] for row in rows} == written
    assert (str(home / "photo.bmp"), "0", "mask", "photo_2_mask.png") in rows
    assert (str(home / "new.npy"), "1", "height", "new_1_height.npy") in rows
    network = load_network(home / "run")
    images = torch.from_numpy(np.load(home / "new.npy"))
    with torch.no_grad():
        mask, shade, height = network(images)
    units = {o: network_units(home, o) for o in ("shade", "height")}
    for k, stems in enumerate((("photo", "new_0"), ("photo_2", "new_1"))):
        for stem in stems:
            with Image.open(tmp_path / "out" / f"{stem}_mask.png") as found:
                assert found.mode == "P"
                assert found.getpalette()[: 3 * 3] == palette(3)
                assert np.array_equal(np.array(found), mask[k].argmax(dim=0).numpy())
                assert found.text == {"0": "0", "1": "1", "2": "2"}
    mean, deviation = units["shade"]
    pixels = np.array(Image.open(tmp_path / "out" / "new_0_shade.png"))
    expected = 255 * (shade[0, 0].double() * deviation[0] + mean[0]).clip(0, 1)
    assert np.abs(pixels - expected.numpy()).max() <= 0.5 + 1e-3
    mean, deviation = units["height"]
    values = np.load(tmp_path / "out" / "new_0_height.npy")
    scale, shift = (torch.tensor(u, dtype=torch.float64)[:, None, None] for u in (deviation, mean))
    assert np.allclose(values, (height[0].double() * scale + shift).numpy(), atol=1e-4)
    with Image.open(tmp_path / "out" / "new_0_height_1.png") as found:
        least, most = float(found.text["black"]), float(found.text["white"])
        shades = np.array(found).astype(np.float64) / 65535
    assert np.allclose(least + shades * (most - least), values[1], atol=1e-3)


def network_units(home: Path, port: str) -> tuple[list[float], list[float]]:
    about = json.loads((home / "run" / "result.json").read_text("utf-8"))["outputs"][port]
    channels = about["channels"]
    return [c["mean"] for c in channels], [c["deviation"] for c in channels]


def test_a_folder_that_holds_something_is_refused(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.txt").write_text("kept", "utf-8")
    command = ["predict", str(home / "run"), str(home / "photo.png"), "-o", str(tmp_path)]
    assert main(command) == 2
    assert f"error[D413]: `{tmp_path}` is not empty" in capsys.readouterr().err
    assert main([*command, "--force"]) == 0
    assert (tmp_path / "mine.txt").read_text("utf-8") == "kept"
    assert "3 maps are in" in capsys.readouterr().err


@pytest.mark.usefixtures("few_digits")
def test_a_network_of_no_maps_has_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = tmp_path / "net.nas"
    spec.write_text(
        "network n(x: [1, 8, 8]) -> (y: [10]) { x -> y : flatten >> linear(10) }", "utf-8"
    )
    quick = ["--option", "epochs=1", "--device", "cpu"]
    command = ["train", str(spec), "--data", "digits", "-o", str(tmp_path / "run"), *quick]
    assert main(command) == 0
    np.save(tmp_path / "x.npy", np.zeros((1, 1, 8, 8), dtype=np.float32))
    capsys.readouterr()
    asked = ["predict", str(tmp_path / "run"), str(tmp_path / "x.npy"), "-o", str(tmp_path / "m")]
    assert main(asked) == 2
    assert "leave it out: the network says nothing of single pixels" in capsys.readouterr().err
    assert not (tmp_path / "m").exists()


def test_numbers_from_0_to_1_are_no_bytes() -> None:
    """They keep their digits; bytes, and runs of before that was recorded, are pictures."""
    values = np.linspace(0, 1, 2 * 4 * 4, dtype=np.float32).reshape(2, 1, 4, 4)
    numbers, pictures = (
        PixelRegression.of_targets(one, "`y`") for one in (values, (255 * values).astype(np.uint8))
    )
    for task, ends in ((numbers, [".png", ".npy"]), (pictures, [".png"])):
        [first, _] = PixelRegression.of_record(task.record()).drawn_truth(torch.from_numpy(values))
        assert [end for end, _ in files_of(first)] == ends
    old = {name: value for name, value in pictures.record().items() if name != "bytes"}
    assert PixelRegression.of_record(old).of_bytes


def test_more_classes_than_a_palette_has_colours_keep_their_numbers() -> None:
    values = np.arange(300).reshape(20, 15)
    [(end, data)] = files_of(Map(values, classes=tuple(map(str, range(300)))))
    with Image.open(io.BytesIO(data)) as found:
        assert (end, np.array(found).tolist()) == (".png", values.tolist())
