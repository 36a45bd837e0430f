"""Files: whole or absent, with the permissions that their user expects."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from living import snapshot

from bayesnas.dsl.files import half_written, write_bytes, write_text


def test_files_are_written_whole(tmp_path: Path) -> None:
    write_text(tmp_path / "a" / "b.txt", "γ\n")
    assert (tmp_path / "a" / "b.txt").read_bytes() == "γ\n".encode()
    write_text(tmp_path / "a" / "b.txt", "")
    assert snapshot(tmp_path) == {"a": None, "a/b.txt": b""}


class FullDiskError(OSError):
    pass


@pytest.mark.parametrize("error", [FullDiskError, KeyboardInterrupt])
@pytest.mark.parametrize("step", ["os.fsync", "pathlib.Path.replace"])
def test_a_failing_write_leaves_what_was(
    step: str, error: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_text(tmp_path / "kept.txt", "old")
    before = snapshot(tmp_path)

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(step, fail)
    for name in ("kept.txt", "new.txt"):
        with pytest.raises(error):
            write_bytes(tmp_path / name, b"new")
    assert snapshot(tmp_path) == before


def test_a_folder_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        write_text(tmp_path / "folder", "text")
    assert snapshot(tmp_path) == {"folder": None}


def test_permissions_are_the_users(tmp_path: Path) -> None:
    """By the umask where the file is new, as they were where it is replaced."""
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "new.txt", "")
    finally:
        os.umask(before)
    assert (tmp_path / "new.txt").stat().st_mode & 0o777 == 0o640
    (tmp_path / "new.txt").chmod(0o600)
    write_text(tmp_path / "new.txt", "again")
    assert (tmp_path / "new.txt").stat().st_mode & 0o777 == 0o600


def test_what_a_killed_process_leaves_is_known(tmp_path: Path) -> None:
    assert half_written(tmp_path / ".spec.nas.0a1b2c3d.tmp") == "spec.nas"
    assert half_written(tmp_path / ".spec.nas") is None
    assert half_written(tmp_path / "spec.nas.0a1b2c3d.tmp") is None
