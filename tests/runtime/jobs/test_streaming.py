"""Runs on images that are read when they are needed: those of images in memory, to the bit."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from living import lines, striped, without_seconds, write_tiny

from bayesnas.compiler.pipeline import Compiled, compile_spec
from bayesnas.compiler.settings import SearchSettings, TrainSettings, make_settings
from bayesnas.dsl.diagnostics import DiagnosticError
from bayesnas.runtime.data.registry import DataOptions
from bayesnas.runtime.jobs.search.search import search
from bayesnas.runtime.jobs.train import train
from bayesnas.runtime.jobs.trained import evaluate_run
from bayesnas.runtime.runs.record import RunOptions

MIXED = {"augment": "shift_flip", "cutout": 3, "mixup": 0.2, "holdout": 0.25, "keep": "best"}


pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return striped(tmp_path_factory.mktemp("striped"), train=16, test=2)


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    return compile_spec(write_tiny(tmp_path_factory.mktemp("spec")))


def options(folder: Path, out: Path, workers: int | None, **more: Any) -> RunOptions:
    """Streamed by so many processes; None: in memory."""
    read = DataOptions(stream=workers is not None, workers=workers)
    return RunOptions(f"folder:{folder}", out, seed=3, device="cpu", data_options=read, **more)


def training(space: Compiled, **settings: Any) -> TrainSettings:
    return make_settings(TrainSettings, {**space.settings("train"), **settings})


def after(monkeypatch: pytest.MonkeyPatch, steps: int, action: Any) -> None:
    """Something happens after that step, counted from 1."""
    step, count = torch.optim.SGD.step, iter(range(1, 10**6))

    def disturbed(self: torch.optim.SGD, *arguments: Any) -> None:
        step(self, *arguments)
        if next(count) == steps:
            action()

    monkeypatch.setattr(torch.optim.SGD, "step", disturbed)


def interrupt() -> None:
    """As a batch system does it: the processes that decode are told as well."""
    for child in multiprocessing.active_children():
        assert child.pid is not None
        os.kill(child.pid, signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGINT)


def test_a_training_and_one_resumed_by_other_processes(
    space: Compiled, folder: Path, tmp_path: Path
) -> None:
    """Begun by one process, interrupted in the middle of an epoch, ended by two."""
    settings, memory, out = training(space, **MIXED), tmp_path / "memory", tmp_path / "streamed"
    train(space, settings, options(folder, memory, None))
    with pytest.MonkeyPatch.context() as patch:
        after(patch, 5, interrupt)  # 3 steps an epoch
        with pytest.raises(KeyboardInterrupt):
            train(space, settings, options(folder, out, 1))
    train(space, settings, options(folder, out, 2, resume=True))
    for name in ("weights.pt", "network.py", "spec.nas"):
        assert (out / name).read_bytes() == (memory / name).read_bytes(), name
    histories = [without_seconds(lines(at / "history.jsonl")) for at in (memory, out)]
    assert histories[0] == histories[1]
    reports = [evaluate_run(options(folder, out, workers))[0] for workers in (None, 2)]
    assert reports[0].record("test") == reports[1].record("test")


@pytest.mark.parametrize("strategy", ["posterior", "bayesnas", "darts"])
def test_a_search(strategy: str, space: Compiled, folder: Path, tmp_path: Path) -> None:
    given = {"strategy": strategy, "rounds": 2, "epochs": 0.5, "draws": 2}
    settings = make_settings(SearchSettings, {**space.settings("search"), **given})
    for name, workers in (("memory", None), ("streamed", 2)):
        search(space, settings, options(folder, tmp_path / name, workers))
    for name in ("pruned.nas", "gates.jsonl", "spec.nas"):
        found = [(tmp_path / at / name).read_bytes() for at in ("memory", "streamed")]
        assert found[0] == found[1], name
    histories = [
        without_seconds(lines(tmp_path / at / "history.jsonl")) for at in ("memory", "streamed")
    ]
    assert histories[0] == histories[1]


def test_an_image_that_breaks_in_the_midst(space: Compiled, tmp_path: Path) -> None:
    """The diagnostic names it, the last checkpoint is kept, and the mended image ends the run."""
    root, out = striped(tmp_path / "images", train=16, test=2), tmp_path / "out"
    path = root / "train/rows/7.png"
    whole = path.read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        after(patch, 3, lambda: path.write_bytes(whole[:60]))  # at the end of the first epoch
        with pytest.raises(DiagnosticError) as caught:
            train(space, training(space), options(root, out, 1))
    [said] = caught.value.diagnostics
    assert (said.code, said.message) == ("D504", f"cannot read an image of `folder:{root}`")
    assert said.notes[0].startswith(f"`{path}`: ")
    assert said.notes[1] == f"the last good checkpoint is kept in `{out}`"
    assert torch.load(out / "checkpoint.pt", weights_only=True)["epoch"] == 1
    path.write_bytes(whole)
    train(space, training(space), options(root, out, 1, resume=True))
    train(space, training(space), options(root, tmp_path / "whole", None))
    assert (out / "weights.pt").read_bytes() == (tmp_path / "whole/weights.pt").read_bytes()
