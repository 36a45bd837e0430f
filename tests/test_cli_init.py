"""`bayesnas init`: whatever the data, a spec that fits it and commands that run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from living import snapshot, striped
from PIL import Image

from bayesnas.cli import main
from bayesnas.dsl.diagnostics import Source
from bayesnas.dsl.printing.formatter import format_source

SHORT = (
    "--device cpu --option warmup_epochs=0.2 --option rounds=1 --option epochs=0.2 "
    "--option draws=2 --set width=4"
)


def save(path: Path, shape: tuple[int, ...], count: int = 40, kind: str = "float32") -> str:
    """Noise of two classes, the second brighter; the name of the data."""
    chance = np.random.default_rng(0)
    labels = np.arange(count) % 2
    lift = labels.reshape(-1, *[1] * len(shape))
    np.savez(path, x=(chance.random((count, *shape)) * 100 + 100 * lift).astype(kind), y=labels)
    return f"npz:{path}"


def columns(path: Path) -> str:
    """A table of a number, a word and what follows from both."""
    rows = [(k % 17, "red" if k % 2 else "blue", k % 17 + 3 * (k % 2)) for k in range(60)]
    lines = ["size,colour,price", *(",".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines), encoding="utf-8")
    return f"csv:{path}"


def text_file(path: Path) -> str:
    path.write_text("a line of words, and another\n" * 80, encoding="utf-8")
    return f"text:{path}"


def folder(root: Path, sizes: tuple[tuple[int, int], ...], mode: str) -> str:
    """Class folders of plain images of these sizes, eleven of one class for two of the other."""
    for name, count, shade in (("dark", 11, 20), ("light", 2, 220)):
        (root / name).mkdir(parents=True)
        for k in range(count):
            size = sizes[k % len(sizes)]
            Image.new("L", size, shade + k).convert(mode).save(root / name / f"{k}.png")
    return f"folder:{root}"


def pairs(root: Path, size: tuple[int, int], white: int = 1, mode: str = "L") -> str:
    """Noise with a brighter square each, six to learn and two to test, and masks of them."""
    chance = np.random.default_rng(0)
    for part, count in (("train", 6), ("test", 2)):
        for name in ("images", "masks"):
            (root / part / name).mkdir(parents=True)
        for k in range(count):
            mask = np.zeros(size, np.uint8)
            mask[2 + k : 8 + k, 3:9] = 1
            picture = (chance.random(size) * 99 + 100 * mask).astype(np.uint8)
            Image.fromarray(picture).save(root / part / "images" / f"{k}.png")
            Image.fromarray(mask * white).convert(mode).save(root / part / "masks" / f"{k}.png")
    return f"folder:{root}"


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        ("table", "[7]"),
        ("series", "[3, 24]"),
        ("series, channels last", "[3, 24]"),
        ("images", "[3, 16, 16]"),
        ("images, channels last", "[3, 16, 16]"),
        ("images without channels", "[1, 12, 12]"),
        ("files of one size", "[1, 20, 16]"),
        ("files of many sizes", "[3, 48, 48]"),
        ("digits", "[1, 8, 8]"),
        ("columns", "[3]"),
        ("text", "[64]"),
    ],
)
def test_the_spec_fits_and_its_commands_run(
    kind: str,
    shape: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    data = {
        "table": lambda: save(Path("x.npz"), (7,)),
        "series": lambda: save(Path("x.npz"), (3, 24)),
        "series, channels last": lambda: save(Path("x.npz"), (24, 3)),
        "images": lambda: save(Path("x.npz"), (3, 16, 16), kind="uint8"),
        "images, channels last": lambda: save(Path("x.npz"), (16, 16, 3), kind="uint8"),
        "images without channels": lambda: save(Path("x.npz"), (12, 12), kind="uint8"),
        "files of one size": lambda: folder(Path("my photos"), ((16, 20),), "L"),
        "files of many sizes": lambda: folder(Path("photos"), ((60, 80), (90, 50)), "RGB"),
        "digits": lambda: "digits",
        "columns": lambda: columns(Path("t.csv")),
        "text": lambda: text_file(Path("t.txt")),
    }[kind]()
    more = ["--target", "price"] if kind == "columns" else []
    assert main(["init", "start", "--data", data, *more]) == 0
    told = capsys.readouterr().out
    text = (tmp_path / "start" / "space.nas").read_text("utf-8")
    assert f"of {shape}" in told
    assert re.search(rf"\(\w+: {re.escape(shape)};", text)
    assert text == format_source(Source("space.nas", text))
    assert ("class_weights = balanced" in text) == kind.startswith("files")
    commands = re.findall(r"^    (bayesnas .*)$", told, re.M)
    assert [f"#     {command}" in text for command in commands] == [True] * 3
    if kind == "files of many sizes":  # the others: tests/test_examples.py
        options = iter((SHORT, "--device cpu --option epochs=1", "--device cpu"))
        for command in commands:
            assert main(shlex.split(f"{command} {next(options)}")[1:]) == 0


@pytest.mark.parametrize(
    ("size", "white", "mode", "ports", "told"),
    [
        ((20, 16), 1, "L", "image: [1, 20, 16]; [2, 20, 16]", "2 classes per pixel"),
        ((20, 16), 255, "L", "image: [1, 20, 16]; [2, 20, 16]", "2 classes per pixel"),
        ((20, 16), 3, "L", "image: [1, 20, 16]; [4, 20, 16]", "4 classes per pixel"),
        ((18, 21), 1, "L", "image: [1, 16, 16]; [2, 16, 16]", "2 classes per pixel"),
        ((20, 16), 200, "RGB", "image: [1, 20, 16]; [3, 20, 16]", "numbers per pixel"),
    ],
    ids=["classes", "black and white", "a gap", "no multiples of four", "colours"],
)
def test_images_with_masks_have_a_network_that_ends_in_a_map(
    size: tuple[int, int],
    white: int,
    mode: str,
    ports: str,
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    data = pairs(Path("scans"), size, white, mode)
    assert main(["init", "start", "--data", data]) == 0
    said = capsys.readouterr().out
    text = Path("start/space.nas").read_text("utf-8")
    source, answer = ports.split("; ")
    assert f"network scans({source}; width = 8) -> (answer: {answer})" in text
    assert f"has 6 examples of {source.partition(': ')[2]} to train on" in said
    assert told in said
    assert text == format_source(Source("space.nas", text))
    commands = re.findall(r"^    (bayesnas .*)$", said, re.M)
    assert ("--resize" in commands[0]) == (size == (18, 21))
    if size == (18, 21):
        options = iter((SHORT, "--device cpu --option epochs=1", "--device cpu"))
        for command in commands:
            assert main(shlex.split(f"{command} {next(options)}")[1:]) == 0


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("pictures", "error[D501]: unknown data `pictures`"),
        ("folder:empty", "error[D502]: `empty` is empty"),
        ("folder:pairs", "error[D503]: no images in `pairs/train/images`"),
        ("texts", "help: write `folder:texts`"),
        ("folder:texts", "error[D503]: no images in `texts`"),
        ("npz:gone.npz", "error[D510]: no file `gone.npz`"),
    ],
)
def test_data_that_cannot_be_learned_from_leaves_nothing(
    data: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("empty", "texts/a", "texts/b", "pairs/train/images", "pairs/train/masks"):
        Path(name).mkdir(parents=True)
    Path("texts/a/notes.txt").write_text("none", encoding="utf-8")
    before = snapshot(tmp_path)
    assert main(["init", "start", "--data", data]) == 2
    assert message in capsys.readouterr().err
    assert snapshot(tmp_path) == before


def arrays(path: Path, **more: np.ndarray) -> str:
    """Pictures and facts of forty things, their kind and their value."""
    chance = np.random.default_rng(0)
    kind = np.arange(40) % 3
    given = {
        "picture": chance.random((40, 3, 12, 12)) + kind[:, None, None, None],
        "wave": chance.random((40, 2, 30)),
        "facts": chance.random((40, 4)),
        "kind": kind,
        "value": chance.random(40),
    }
    np.savez(path, **given, **more)
    return f"npz:{path}"


def test_arrays_of_any_names_are_ports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    data = arrays(Path("things.npz"), number=np.arange(40))  # which no port takes
    line = ["init", "start", "--data", data]
    assert main([*line, *(["--target", "kind", "--target", "value", "--target", "kind"])]) == 0
    said, noted = capsys.readouterr()
    assert "`number`" in noted
    text = Path("start/space.nas").read_text("utf-8")
    header = text[text.index("network things(") :].split("{")[0]
    assert " ".join(header.split()).replace("( ", "(").replace(" )", ")") == (
        "network things(picture: [3, 12, 12], wave: [2, 30], facts: [4]; layers = 2, width = 8)"
        " -> (kind: [3], value: [1])"
    )
    assert "has 32 examples of [3, 12, 12], [2, 30], [4] to train on" in said
    assert text == format_source(Source("space.nas", text))
    commands = re.findall(r"^    (bayesnas .*)$", said, re.M)
    assert not any("--target" in command for command in commands)
    options = iter((SHORT, "--device cpu --option epochs=1", "--device cpu"))
    for command in commands:
        assert main(shlex.split(f"{command} {next(options)}")[1:]) == 0


def test_one_input_has_several_outputs_and_a_test_part_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = {"facts": np.random.default_rng(0).random((20, 4)), "tags": np.eye(4)[[0, 1, 2, 3] * 5]}
    rows["tags"][::2, 3] = 1
    rows["size"] = rows["facts"][:, 0]
    np.savez("rows.npz", **rows, **{f"{name}_test": array[:6] for name, array in rows.items()})
    targets = ["--target", "tags", "--target", "size"]
    assert main(["init", "start", "--data", "npz:rows.npz", *targets]) == 0
    assert "has 20 examples of [4] to train on" in capsys.readouterr().out
    text = Path("start/space.nas").read_text("utf-8")
    assert "network rows(facts: [4]; layers = 2, width = 32) -> (tags: [4], size: [1])" in text
    assert "reader" not in text


@pytest.mark.parametrize(
    ("names", "more", "message"),
    [
        ((), {}, "or name the arrays that are predicted: `--target NAME`"),
        (("price",), {}, "error[D511]: `things.npz` has no array `price`"),
        (
            ("picture", "wave", "facts", "kind"),
            {},
            "error[D511]: `things.npz` has no array to predict",
        ),
        (("kind",), {"my facts": np.ones((40, 2))}, "error[D520]: `my facts` in `things.npz`"),
        (
            ("kind", "mask"),
            {"mask": np.tile(np.arange(40)[:, None, None] % 2, (12, 12))},
            "error[D512]: `mask` of `things.npz` has targets a pixel",
        ),
    ],
)
def test_arrays_that_cannot_be_ports_are_named(
    names: tuple[str, ...],
    more: dict[str, np.ndarray],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    data = arrays(Path("things.npz"), **more)
    before = snapshot(tmp_path)
    targets = [word for name in names for word in ("--target", name)]
    assert main(["init", "start", "--data", data, *targets]) == 2
    assert message in capsys.readouterr().err
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("numbers", [False, True])
def test_arrays_with_a_target_a_pixel_end_in_a_map(
    numbers: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    x = np.random.default_rng(0).random((10, 1, 12, 16))
    np.savez(tmp_path / "maps.npz", x=x, y=x if numbers else (x[:, 0] > 0.5).astype(int))
    line = ["init", str(tmp_path / "start"), "--data", f"npz:{tmp_path / 'maps.npz'}"]
    assert main(line) == 0
    assert ("numbers per pixel" if numbers else "2 classes per pixel") in capsys.readouterr().out
    text = (tmp_path / "start" / "space.nas").read_text("utf-8")
    assert f"(answer: [{1 if numbers else 2}, 12, 16])" in text


def test_what_is_made_of_a_table_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    data = columns(Path("t.csv"))
    assert main(["init", "start", "--data", data, "--target", "price"]) == 0
    assert "note: `t.csv`: 3 features of 2 columns" in capsys.readouterr().err


def test_a_spec_that_is_there_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    striped(tmp_path / "data", train=2, test=1)
    (tmp_path / "start").mkdir()
    (tmp_path / "start" / "space.nas").write_text("mine", encoding="utf-8")
    line = ["init", str(tmp_path / "start"), "--data", f"folder:{tmp_path / 'data'}"]
    assert main(line) == 2
    assert f"error[D413]: `{tmp_path / 'start' / 'space.nas'}` exists" in capsys.readouterr().err
    assert (tmp_path / "start" / "space.nas").read_text("utf-8") == "mine"
    assert main([*line, "--force"]) == 0
