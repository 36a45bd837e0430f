"""The tutorial, followed to the letter on a small folder of images."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bayesnas.cli import main

TUTORIAL = Path(__file__).parents[1] / "docs/tutorial.md"


def images(folder: Path) -> None:
    random = np.random.default_rng(0)
    for part, count in (("train", 20), ("test", 4)):
        for shade, name in ((60, "cats"), (160, "dogs")):
            (folder / part / name).mkdir(parents=True)
            for k in range(count):
                pixels = random.normal(shade, 40, (40, 48, 3)).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / part / name / f"{k}.png")


def new_ones() -> None:
    """What its user has later: pictures of nobody knows what, some in class folders, arrays."""
    shutil.copytree("images/test/dogs", "photos")
    shutil.copy("photos/0.png", "photo.png")
    shutil.copytree("images/test/dogs", "more/dogs")
    x = np.full((6, 3, 32, 32), 60, dtype=np.uint8)
    np.save("examples.npy", x)
    np.savez("more.npz", x=x, y=["cats"] * 6)


def steps() -> list[tuple[str, str]]:
    text = TUTORIAL.read_text("utf-8")
    command = re.compile(r"^ {4}bayesnas (.*)$", re.MULTILINE)
    found = []
    for part in re.split(r"(```nas\n.*?```)", text, flags=re.DOTALL):
        if part.startswith("```nas\n"):
            found.append(("spec", part.removeprefix("```nas\n").removesuffix("```")))
        else:
            found += [("command", line) for line in command.findall(part)]
    return found


def test_every_step_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    images(tmp_path / "images")
    new_ones()
    for kind, text in steps():
        if kind == "spec":
            Path("space.nas").write_text(text, "utf-8")
        else:
            assert main(shlex.split(text)) == 0, text
    written = ("runs/train/weights.pt", "runs/search/search.svg", "runs/random/network.py")
    dot = Path("network.svg").exists()  # without Graphviz the .dot is written alone
    assert all(Path(name).exists() for name in written if dot or not name.endswith(".svg"))


def test_the_specs_of_the_tutorial_are_canonical(tmp_path: Path) -> None:
    for kind, text in steps():
        if kind == "spec":
            (tmp_path / "space.nas").write_text(text, "utf-8")
            assert main(["fmt", "--check", str(tmp_path / "space.nas")]) == 0
