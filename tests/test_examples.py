"""Each example's page holds: its data is written, its spec compiles, its commands run."""

from __future__ import annotations

import re
import runpy
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest

from bayesnas.cli import main

ROOT = Path(__file__).parents[1]
FOLDERS = sorted(path.parent for path in (ROOT / "examples").glob("*/README.md"))
SHORT = {
    "search": "--device cpu --option warmup_epochs=0.1 --option rounds=1 --option epochs=0.1 "
    "--option draws=2",
    "train": "--device cpu --option epochs=1",
}


def test_the_list_names_every_example() -> None:
    text = (ROOT / "examples/README.md").read_text("utf-8")
    assert re.findall(r"\]\((\w+)/README.md\)", text) == [
        "images", "table", "series", "text", "two_inputs", "segmentation",
    ]  # fmt: skip
    assert {path.name for path in FOLDERS} == set(re.findall(r"\]\((\w+)/README.md\)", text))


def shorten() -> None:
    """What was written, a tenth of it or so."""
    for number, path in enumerate(sorted(Path("digits").glob("train/*/*.png"))):
        if number % 24:
            path.unlink()
    for file in Path().glob("*.npz"):
        with np.load(file) as arrays:
            np.savez(file, **{name: array[:100] for name, array in arrays.items()})


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_its_commands_run(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / folder.name
    shutil.copytree(folder, home, ignore=shutil.ignore_patterns("*.svg"))
    monkeypatch.chdir(home)
    monkeypatch.setattr("bayesnas.compiler.artifacts.figure.has_dot", lambda: False)
    runpy.run_path(str(home / "data.py"))
    shorten()
    page = (folder / "README.md").read_text("utf-8")
    assert (folder / "space.svg").is_file()
    for shown in re.findall(r"```nas\n(.*?)```", page, re.DOTALL):
        assert shown in (folder / "space.nas").read_text("utf-8")
    if folder.name == "text":  # another Python has another text
        text = Path("manual.txt").read_text("utf-8")
        Path("manual.txt").write_text(text[:20_000], encoding="utf-8")
        assert main(shlex.split("init . --data text:manual.txt --force")) == 0
    for line in re.findall(r"^    (bayesnas .*)$", page, re.M):
        words = shlex.split(line)
        short = shlex.split(SHORT.get(words[1], ""))
        short += ["--set", "width=4"] if words[1] == "search" else []
        assert main([*words[1:], *short]) == 0, line
