"""Outputs that cannot be written: a diagnostic, nothing lost, nothing half written."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from living import snapshot, striped, write_tiny

from bayesnas.cli import main

RUN = ("--data", "folder:data", "--device", "cpu", "--option", "epochs=1")
COMMANDS = {
    "compile": ("compile", "tiny.nas", "--emit", "graph,gamma,torch"),
    "search": ("search", "tiny.nas", *RUN, "--option", "rounds=1", "--strategy", "random"),
    "train": ("train", "tiny.nas", *RUN),
    "compare": ("compare", "tiny.nas", "--strategies", "random", "--seeds", "0", *RUN),
}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bayesnas.compiler.artifacts.figure.has_dot", lambda: False)
    monkeypatch.chdir(tmp_path)
    write_tiny(tmp_path)
    striped(Path("data"), train=4, test=2)


@contextmanager
def no_room(size: int) -> Iterator[None]:
    """No file may be larger, in bytes, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def half_written(folder: Path) -> list[str]:
    return [name for name in snapshot(folder) if name.endswith(".tmp")]


@pytest.mark.parametrize("size", [100, 4000])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk(name: str, size: int, capsys: pytest.CaptureFixture[str]) -> None:
    with no_room(size):
        status = main([*COMMANDS[name], "-o", "out"])
    told = capsys.readouterr().err
    assert status == 1
    assert "error[D419]: cannot read or write `out/" in told
    assert ": file too large\n" in told
    assert "Traceback" not in told
    assert half_written(Path("out")) == []
    begun = {"compile": "--force", "compare": "--force"}.get(name, "--resume")
    more = () if size == 100 else (begun,)  # then not even the settings are there
    assert main([*COMMANDS[name], "-o", "out", *more]) == 0


@pytest.mark.usefixtures("capsys")  # files of pytest's own would find no room
@pytest.mark.parametrize("size", [100, 4000])
def test_a_run_that_was_to_be_replaced(size: int) -> None:
    """It is kept, and the next attempt may replace it."""
    assert main([*COMMANDS["train"], "-o", "out"]) == 0
    before = snapshot(Path("out"))
    for _ in range(2):
        with no_room(size):
            assert main([*COMMANDS["train"], "-o", "out", "--force"]) == 1
        assert snapshot(Path("out/.replaced")) == before
    assert main([*COMMANDS["train"], "-o", "out", "--force"]) == 0
    assert not Path("out/.replaced").exists()


@pytest.mark.usefixtures("capsys")
def test_a_checkpoint_stays_where_the_next_finds_no_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    more = ("--option", "epochs=2")
    assert main([*COMMANDS["train"], "-o", "whole", *more]) == 0
    with monkeypatch.context() as patch, no_room(10**6):
        save, count = torch.save, iter(range(10))

        def later(*arguments: object) -> None:
            if next(count) == 1:
                resource.setrlimit(
                    resource.RLIMIT_FSIZE, (4000, resource.getrlimit(resource.RLIMIT_FSIZE)[1])
                )
            save(*arguments)

        patch.setattr("torch.save", later)
        assert main([*COMMANDS["train"], "-o", "out", *more]) == 1
    assert Path("out/checkpoint.pt").is_file()
    assert half_written(Path("out")) == []
    assert main([*COMMANDS["train"], "-o", "out", *more, "--resume"]) == 0
    assert Path("out/weights.pt").read_bytes() == Path("whole/weights.pt").read_bytes()


def test_an_export_without_room(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*COMMANDS["train"], "-o", "out"]) == 0
    Path("net.pt2").write_bytes(b"old")
    capsys.readouterr()
    with no_room(4000):
        assert main(["export", "out", "-o", "net.pt2", "--force"]) == 1
    assert "error[D419]: cannot read or write `" in capsys.readouterr().err
    assert Path("net.pt2").read_bytes() == b"old"
    assert half_written(Path()) == []


@pytest.mark.parametrize("name", COMMANDS)
def test_an_output_that_is_a_file(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("out").write_text("mine")
    before = snapshot(Path())
    assert main([*COMMANDS[name], "-o", "out", "--force"]) == 2
    assert "error[D413]: `out` is a file\n" in capsys.readouterr().err
    assert main([*COMMANDS[name], "-o", "out/below"]) == 2
    assert "error[D413]: `out` is a file\n" in capsys.readouterr().err
    assert snapshot(Path()) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
@pytest.mark.parametrize("name", COMMANDS)
def test_an_output_that_is_read_only(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("out").mkdir(mode=0o500)
    assert main([*COMMANDS[name], "-o", "out"]) == 1
    assert ": permission denied\n" in capsys.readouterr().err
    assert snapshot(Path("out")) == {}


@pytest.mark.parametrize("name", COMMANDS)
def test_an_output_that_begins_with_a_dash(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It needs `-o=`; without, nothing is done."""
    before = snapshot(Path())
    assert main([*COMMANDS[name], "-o", "-out"]) == 2
    assert "or `-o=-out` where the value begins with a dash" in capsys.readouterr().err
    assert snapshot(Path()) == before
    assert main([*COMMANDS[name], "-o=-out"]) == 0
    assert Path("-out").is_dir()
