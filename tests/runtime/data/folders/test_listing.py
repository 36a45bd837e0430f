"""Image files below folders: all of them, in order, fast, and in little memory."""

from __future__ import annotations

import os
import time
import tracemalloc
from pathlib import Path

import pytest

from bayesnas.runtime.data.folders.listing import Files, Findings, images_below

MANY, EACH = 20_000, 1_000  # files, and of them in a folder


def test_files_come_in_the_order_of_a_walk(tmp_path: Path) -> None:
    for name in ("b.png", "a.JPG", "z/2.png", "z/10.png", "c/x/1.gif", "c/0.bmp"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for name in ("notes.txt", ".hidden.png", "Thumbs.db", ".png", "z/a.png.part"):
        (tmp_path / name).touch()
    for name in (".git", "__MACOSX", "empty"):
        (tmp_path / name).mkdir()
    (tmp_path / ".git/1.png").touch()
    (tmp_path / "circle").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "linked.png").symlink_to(tmp_path / "b.png")
    findings = Findings()
    found = images_below(tmp_path, findings)
    names = ("a.JPG", "b.png", "linked.png", "c/0.bmp", "c/x/1.gif", "z/10.png", "z/2.png")
    assert [*found] == [tmp_path / name for name in names]
    assert findings.skipped == {"files that are no images": 5}
    assert (found[-1], found[1:3]) == (tmp_path / "z/2.png", [tmp_path / n for n in names[1:3]])
    with pytest.raises(IndexError):
        found[len(names)]


def test_names_are_what_the_system_has(tmp_path: Path) -> None:
    for name in ("ünï.png", "日本.png", "new\nline.png"):
        (tmp_path / name).touch()
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.png"))).touch()
    found = [*images_below(tmp_path, Findings())]
    assert {*found} == {*tmp_path.iterdir()}
    assert all(path.is_file() for path in found)


def test_parts_are_joined(tmp_path: Path) -> None:
    for name in ("a/1.png", "a/2.png", "b/1.png", "c/d/1.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    parts = [images_below(tmp_path / name, Findings()) for name in ("a", "gone", "b", "c")]
    assert [*Files.joined(parts)] == [path for part in parts for path in part]
    assert [*Files.joined([])] == []


def test_many_files_take_little_time_and_memory(tmp_path: Path) -> None:
    """`python -m benchmarks.listing` lists a million."""
    for folder in range(MANY // EACH):
        at = tmp_path / f"class_{folder}"
        at.mkdir()
        for n in range(EACH):
            os.close(os.open(at / f"image_{n:08}.png", os.O_CREAT))
    tracemalloc.start()
    before = time.process_time()
    found = images_below(tmp_path, Findings())
    spent = time.process_time() - before
    held, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (len(found), found[MANY - 1].name) == (MANY, "image_00000999.png")
    names = MANY * len("image_00000000.png")
    assert held < names + 16 * MANY
    assert most < 2 * names + 100 * EACH + 40 * MANY  # arrays grow, and are copied once
    assert spent < 20 * MANY / 10**6 * 10  # tracing makes it slower; a million has 20 s
