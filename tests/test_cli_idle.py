"""Options that do nothing are refused, with what they are for, before anything is begun."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest
from living import snapshot, striped, write_tiny

from bayesnas.cli import main

SHORT = "--device cpu --option epochs=1"
OWN = "without `--data`: the run's own data is read as in its training"
OTHER = "leave it out, or name other data with `--data`"
FITS = "leave it out: it is for `folder:PATH` or `csv:FILE`"
STREAMS, FETCHES = "leave it out: it is for `folder:PATH`", "leave it out: it is for `cifar10`"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A spec, its data, a run that was trained on them, and arrays."""
    home = tmp_path_factory.mktemp("home")
    write_tiny(home)
    striped(home / "data", train=4, test=2)
    np.save(home / "x.npy", np.zeros((2, 1, 8, 8), np.uint8))
    np.savez(home / "x.npz", x=np.zeros((6, 1, 8, 8), np.uint8), y=np.arange(6) % 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        assert main(shlex.split(f"train tiny.nas --data folder:data -o run {SHORT}")) == 0
    return home


IDLE = {
    "eval run --resize": ("--resize", OWN, OTHER),
    "eval run --fit pad": ("--fit", OWN, OTHER),
    "eval run --download": ("--download", "with `folder:data`", FETCHES),
    "eval run --data-root elsewhere": ("--data-root", "with `folder:data`", FETCHES),
    "eval run --data npz:x.npz --fit crop": ("--fit", "with `npz:x.npz`", FITS),
    "eval run --data folder:data/test --download": (
        "--download", "with `folder:data/test`", FETCHES,
    ),
    "predict run x.npy x.npz --resize": (
        "--resize", "with arrays", "leave it out: examples in arrays have the network's shape",
    ),
    "train tiny.nas -o o --data digits --resize": ("--resize", "with `digits`", FITS),
    "train tiny.nas -o o --data cifar10 --fit pad": ("--fit", "with `cifar10`", FITS),
    "search tiny.nas -o o --data npz:x.npz --fit pad": ("--fit", "with `npz:x.npz`", FITS),
    "search tiny.nas -o o --data digits --download": ("--download", "with `digits`", FETCHES),
    "compare tiny.nas -o o --data digits --data-root x": ("--data-root", "with `digits`", FETCHES),
    "train tiny.nas -o o --data digits --stream": ("--stream", "with `digits`", STREAMS),
    "compare tiny.nas -o o --data npz:x.npz --workers 2": (
        "--workers", "with `npz:x.npz`", STREAMS,
    ),
    "train tiny.nas -o run --data folder:data --resume --force": (
        "--force", "beside `--resume`",
        "leave one out: `--resume` goes on with the run there, `--force` replaces it",
    ),
    "search tiny.nas -o o --data folder:data --strategy random --option strategy=evidence": (
        "--option strategy", "beside `--strategy`",
        "leave it out: `--strategy` says how to search",
    ),
    "compare tiny.nas -o o --data folder:data --option strategy=evidence": (
        "--option strategy", "beside `--strategies`",
        "leave it out: `--strategies` says how to search",
    ),
    "search tiny.nas -o o --data folder:data --proxy width=2": (
        "--proxy", "with the network's own values",
        "leave it out, or give a parameter another value than the network has",
    ),
}  # fmt: skip


@pytest.mark.parametrize("line", IDLE)
def test_an_option_that_does_nothing(
    line: str, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    option, where, remedy = IDLE[line]
    monkeypatch.chdir(home)
    before = snapshot(home)
    assert main(shlex.split(line)) == 2
    ended = capsys.readouterr()
    assert ended.err == f"error[D423]: `{option}` does nothing {where}\n  = help: {remedy}\n"
    assert ended.out == ""
    assert snapshot(home) == before


def test_all_of_them_at_once(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(home)
    line = "train tiny.nas -o o --data digits --resize --fit pad --download --data-root x"
    assert main(line.split()) == 2
    said = capsys.readouterr().err
    for option in ("--resize", "--fit", "--download", "--data-root"):
        assert f"`{option}` does nothing with `digits`" in said


@pytest.mark.parametrize(
    "line",
    [
        "eval run --data folder:data --resize",
        "predict run x.npy data/test/rows --fit crop",
        "predict run data --resize",
    ],
)
def test_an_option_that_does_something(
    line: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    assert main([*line.split(), "--device", "cpu"]) == 0


def test_files_that_are_missing_are_told_before_options(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(home)
    assert main(["predict", "run", "gone.png", "--resize", "--device", "cpu"]) == 1
    assert "`gone.png`: no such file" in capsys.readouterr().err
