"""Commands that are interrupted, by Ctrl-C or SIGTERM; how to go on is said where one can."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from living import striped, write_tiny

from bayesnas.cli import main
from bayesnas.runtime.network.learning.learner import Learner
from bayesnas.runtime.strategies.magnitude import Magnitude

RUN = ("--device", "cpu", "--option", "epochs=2")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_tiny(tmp_path)
    striped(Path("data"), train=4, test=2)


def begin(command: str, *more: str) -> int:
    return main([command, "tiny.nas", "--data", "folder:data", "-o", "run", *RUN, *more])


def interrupt(monkeypatch: pytest.MonkeyPatch, at: int, which: signal.Signals) -> None:
    """The signal comes in the training of this number, counted from 0."""
    whole, count = Learner.epoch, iter(range(10**6))

    def interrupted(*arguments: Any) -> float:
        if next(count) == at:
            os.kill(os.getpid(), which)
        return whole(*arguments)

    monkeypatch.setattr(Learner, "epoch", interrupted)


@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGTERM])
def test_a_training_goes_on(
    which: signal.Signals, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patch:
        interrupt(patch, 1, which)
        assert begin("train") == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == "interrupted; `--resume` goes on with the run in `run`"
    assert Path("run/checkpoint.pt").is_file()
    assert signal.getsignal(signal.SIGTERM) == before
    assert begin("train", "--resume") == 0


def test_nothing_is_advised_before_the_first_step(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def terminated(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("bayesnas.runtime.jobs.train.build", terminated)
    assert begin("train") == 1
    assert capsys.readouterr().err.splitlines()[-1] == "interrupted"


def test_a_first_step_is_kept(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        interrupt(patch, 0, signal.SIGTERM)
        assert begin("train") == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == "interrupted; `--resume` goes on with the run in `run`"
    state = torch.load("run/checkpoint.pt", weights_only=True)
    assert (state["epoch"], state["step"]) == (0, 1)
    assert begin("train", "--resume") == 0


def test_a_search_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def terminated(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Magnitude, "update", terminated)
    assert begin("search", "--strategy", "magnitude", "--option", "warmup_epochs=1") == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == "interrupted; `--resume` goes on with the run in `run`"


@pytest.mark.parametrize("command", ["check", "count"])
def test_what_leaves_nothing_advises_nothing(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("bayesnas.compiler.pipeline.compile_resolved", interrupted)
    assert main([command, "tiny.nas"]) == 1
    assert capsys.readouterr().err == "interrupted\n"


def test_a_process_that_is_terminated(tmp_path: Path) -> None:
    """From outside, while it works: status 1 and one sentence."""
    command = [sys.executable, "-m", "bayesnas", "train", "tiny.nas", "--data", "folder:data"]
    command += ["-o", "run", "--device", "cpu", "--option", "epochs=100000"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while not (tmp_path / "run" / "checkpoint.pt").is_file():
            with pytest.raises(subprocess.TimeoutExpired):  # it has not ended
                process.wait(0.1)
        process.terminate()
        _, told = process.communicate()
    assert process.returncode == 1
    assert told.splitlines()[-1] == "interrupted; `--resume` goes on with the run in `run`"
    assert "Traceback" not in told
