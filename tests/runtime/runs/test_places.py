"""A run is gone on with, evaluated and exported from any directory, and after a move."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from living import snapshot, striped, write_tiny

from bayesnas.cli import main
from bayesnas.runtime.data.registry import DataOptions
from bayesnas.runtime.runs.places import data_places, located, own_data
from bayesnas.runtime.runs.seals import sealed

EPOCH = ("--option", "epochs=1", "--device", "cpu")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project: a spec, data as a folder and as arrays, and a run of each by relative paths."""
    here = tmp_path_factory.mktemp("made")
    write_tiny(here)
    striped(here / "data", train=4, test=2)
    x = np.random.default_rng(0).integers(0, 256, (12, 1, 8, 8), dtype=np.uint8)
    np.savez(here / "data" / "a.npz", x=x, y=np.arange(12) % 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        for data, out in (("folder:data", "runs/folder"), ("npz:data/a.npz", "runs/npz")):
            assert main(["train", "tiny.nas", "--data", data, "-o", out, *EPOCH]) == 0
    return here


@pytest.fixture
def project(made: Path, tmp_path: Path) -> Path:
    """A copy of the project in another place; that it was made in is not there."""
    shutil.copytree(made, tmp_path / "moved")
    for settings in (tmp_path / "moved" / "runs").glob("*/settings.json"):
        text = settings.read_text("utf-8")
        told = sealed(json.loads(text.replace(str(made), str(tmp_path / "gone"))))
        settings.write_text(json.dumps(told), encoding="utf-8")
    return tmp_path / "moved"


def told(capsys: pytest.CaptureFixture[str]) -> str:
    """The line with the score."""
    return capsys.readouterr().out.splitlines()[0]


@pytest.mark.parametrize(("run", "data"), [("folder", "folder:data"), ("npz", "npz:data/a.npz")])
def test_from_another_directory(
    run: str,
    data: str,
    made: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(made)
    assert main(["eval", f"runs/{run}"]) == 0
    first = told(capsys)
    assert f"examples of {data}" in first  # as the user calls it
    monkeypatch.chdir(tmp_path)
    assert main(["eval", str(made / "runs" / run)]) == 0
    assert told(capsys) == first
    shutil.copytree(made / "runs" / run, tmp_path / "elsewhere")
    assert main(["eval", "elsewhere"]) == 0
    assert told(capsys) == first


def test_after_the_whole_project_moved(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project / "data")
    assert main(["eval", "../runs/folder"]) == 0
    assert "examples of folder:data" in told(capsys)


def test_gone_on_with_from_another_directory(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However the path of spec, data and run are spelled."""
    shutil.copytree(made / "runs" / "folder", tmp_path / "run")
    before = snapshot(tmp_path / "run")
    monkeypatch.chdir(made / "runs")
    arguments = ["--data", "folder:../data", "-o", str(tmp_path / "run"), *EPOCH]
    assert main(["train", "../tiny.nas", *arguments, "--resume"]) == 0
    after = snapshot(tmp_path / "run")
    assert after["weights.pt"] == before["weights.pt"]
    assert after["network.py"] == before["network.py"]


def test_data_that_moved_is_named(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project)
    (project / "data").rename(project / "pictures")
    for run, code, name in (
        ("folder", "D502", "folder:data"),
        ("npz", "D510", "npz:data/a.npz"),
    ):
        capsys.readouterr()
        assert main(["eval", f"runs/{run}"]) == 2
        error = capsys.readouterr().err
        assert f"error[{code}]: no fol" in error or f"error[{code}]: no file" in error
        assert f" = note: the run was made with `{name}`\n" in error
        assert " = help: say where the data lies now: `--data`\n" in error
    assert main(["eval", "runs/folder", "--data", "folder:pictures"]) == 0
    run = ["-o", "runs/folder", "--data", "folder:pictures", *EPOCH]
    assert main(["train", "tiny.nas", *run, "--resume"]) == 0
    assert main(["eval", "runs/folder"]) == 0  # what goes on with a run tells it
    assert told(capsys).endswith("examples of folder:pictures")


def test_other_data_of_that_name_is_not_gone_on_with(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project)
    shutil.rmtree(project / "data")
    striped(project / "data", train=5, test=2)
    run = ["-o", "runs/folder", "--data", "folder:data", *EPOCH]
    assert main(["train", "tiny.nas", *run, "--resume"]) == 2
    assert "was begun with another data\n" in capsys.readouterr().err


def test_settings_say_where_the_data_lies(made: Path) -> None:
    settings = json.loads((made / "runs" / "npz" / "settings.json").read_text("utf-8"))
    assert settings["data"] == "npz:data/a.npz"
    assert settings["data_paths"] == [str(made / "data" / "a.npz"), "../../data/a.npz"]


def test_names_without_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert located("digits") == "digits"
    assert located("folder:a") == f"folder:{tmp_path / 'a'}"
    places = data_places("cifar10", DataOptions(root=Path("there")), tmp_path / "run")
    assert places == {"data_paths": [], "data_root": str(tmp_path / "there")}
    settings = {"data": "cifar10", "resize": True, "fit": "pad", **places}
    for root, expected in (("data", tmp_path / "there"), ("here", Path("here"))):
        name, options = own_data(settings, tmp_path, DataOptions(root=Path(root)))
        assert (name, options) == ("cifar10", DataOptions(True, root=expected, fit="pad"))
