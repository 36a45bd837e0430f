"""What is installed is what stands in the tree: no module and no data file is forgotten."""

from __future__ import annotations

import tarfile
from pathlib import Path
from zipfile import ZipFile

import pytest
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[1]
ROOMS = ("dsl", "compiler", "runtime", "specs")


def files_of(folder: Path) -> dict[str, bytes]:
    """Content by path below a folder, without what Python itself leaves there."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a wheel that is built from the tree, without its metadata."""
    [path] = WheelBuilder(str(ROOT)).build(
        directory=str(tmp_path_factory.mktemp("dist")), versions=["standard"]
    )
    with ZipFile(path) as archive:
        return {
            name: archive.read(name)
            for name in archive.namelist()
            if not name.partition("/")[0].endswith(".dist-info")
        }


def test_a_wheel_holds_every_file_of_the_tree_and_no_other(wheel: dict[str, bytes]) -> None:
    tree = {f"bayesnas/{name}": data for name, data in files_of(ROOT / "bayesnas").items()}
    for room in ROOMS:
        tree |= {f"bayesnas/{room}/{name}": data for name, data in files_of(ROOT / room).items()}
    assert sorted(wheel) == sorted(tree)
    assert wheel == tree


def test_a_source_archive_holds_every_room(tmp_path: Path) -> None:
    [path] = SdistBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    rooms = ("bayesnas", *ROOMS, "tests", "docs")
    assert {f"{room}/{name}" for room in rooms for name in files_of(ROOT / room)} <= names
    assert {"pyproject.toml", "hatch_build.py", "README.md", "LICENSE", "Makefile"} <= names


def test_every_folder_of_modules_is_a_package(wheel: dict[str, bytes]) -> None:
    folders = {name.rpartition("/")[0] for name in wheel if name.endswith(".py")}
    assert {f"{folder}/__init__.py" for folder in folders} <= wheel.keys()
