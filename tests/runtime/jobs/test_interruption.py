"""Runs that are interrupted anywhere: they end with the files of one that was not."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from living import SAME, lines, striped, without_seconds, write_tiny

from bayesnas.compiler.pipeline import Compiled, compile_spec
from bayesnas.compiler.settings import SearchSettings, TrainSettings, make_settings
from bayesnas.dsl.diagnostics import DiagnosticError
from bayesnas.runtime.jobs.search.search import search
from bayesnas.runtime.jobs.train import train
from bayesnas.runtime.runs import interruption
from bayesnas.runtime.runs.record import RunOptions

Job = Callable[[Path, bool], object]


pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return striped(tmp_path_factory.mktemp("striped"), train=12, test=2)


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    return compile_spec(write_tiny(tmp_path_factory.mktemp("spec")))


def training(space: Compiled, folder: Path, **settings: float | str) -> Job:
    """Of 36 examples: 3 steps an epoch, the last one smaller."""
    chosen = make_settings(TrainSettings, {**space.settings("train"), **settings})
    data = f"folder:{folder}"
    return lambda out, resume: train(
        space, chosen, RunOptions(data, out, seed=3, device="cpu", resume=resume)
    )


def searching(space: Compiled, folder: Path, strategy: str) -> Job:
    """Of 29 examples: 2 steps a pass; rounds of 3 end in the middle of one."""
    given: dict[str, float | str] = {"strategy": strategy, "rounds": 2, "epochs": 1.5, "draws": 2}
    chosen = make_settings(SearchSettings, {**space.settings("search"), **given})
    data = f"folder:{folder}"
    return lambda out, resume: search(
        space, chosen, RunOptions(data, out, seed=3, device="cpu", resume=resume)
    )


def signals(monkeypatch: pytest.MonkeyPatch, *steps: int, action: Callable[[], None]) -> None:
    """Something happens in these of all the steps that follow, counted from 0."""
    step, count = torch.optim.SGD.step, iter(range(10**6))

    def disturbed(self: torch.optim.SGD, *arguments: Any) -> None:
        step(self, *arguments)
        if next(count) in steps:
            action()

    monkeypatch.setattr(torch.optim.SGD, "step", disturbed)


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def cut(job: Job, out: Path, every: int) -> list[str]:
    """Run to the end, interrupted after every so many steps; what was said each time."""
    told: list[str] = []
    while not (out / "result.json").is_file():
        with pytest.MonkeyPatch.context() as patch:
            signals(patch, every - 1, action=interrupt)
            torch.manual_seed(999)
            try:
                job(out, bool(told))
            except KeyboardInterrupt as error:
                told.append(str(error))
    return told


def checkpoint(out: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(out / "checkpoint.pt", weights_only=True)
    return state


def test_a_training_cut_after_every_step(space: Compiled, folder: Path, tmp_path: Path) -> None:
    job, whole, out = training(space, folder), tmp_path / "whole", tmp_path / "cut"
    job(whole, False)
    assert cut(job, out, every=1) == 6 * [f"`--resume` goes on with the run in `{out}`"]
    for name in ("weights.pt", "network.py"):
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name
    histories = [without_seconds(lines(at / "history.jsonl")) for at in (whole, out)]
    assert histories[0] == histories[1]


@pytest.mark.parametrize(
    ("strategy", "every"),
    [
        ("evidence", 1),
        ("bayesnas", 2),
        ("posterior", 2),
        ("random", 2),
        ("darts", 2),
        ("magnitude", 2),
    ],
)
def test_a_search_cut_again_and_again(
    strategy: str,
    every: int,
    space: Compiled,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bayesnas.runtime.strategies.posterior.strategy.LEAST", 1)
    job, whole, out = searching(space, folder, strategy), tmp_path / "whole", tmp_path / "cut"
    job(whole, False)
    assert len(cut(job, out, every)) == 8 // every
    for name in SAME:
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name
    histories = [without_seconds(lines(at / "history.jsonl")) for at in (whole, out)]
    assert histories[0] == histories[1]
    states = [checkpoint(at) for at in (whole, out)]
    for name, tensor in states[0]["net"]["model"].items():
        assert torch.equal(states[1]["net"]["model"][name], tensor), name
    assert states[0]["strategy"].keys() == states[1]["strategy"].keys()


class Killed(BaseException):
    """Nothing is done after it."""


def test_a_killed_training_goes_on_from_the_last_five_minutes(
    space: Compiled, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, whole, out = training(space, folder), tmp_path / "whole", tmp_path / "cut"
    job(whole, False)

    def killed() -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(interruption, "INTERVAL", 0.0)  # each step takes longer
        signals(patch, 4, action=killed)
        with pytest.raises(Killed):
            job(out, False)
    state = checkpoint(out)
    assert (state["epoch"], state["step"], len(state["history"])) == (1, 1, 1)
    job(out, True)
    assert (out / "weights.pt").read_bytes() == (whole / "weights.pt").read_bytes()


def test_an_absurd_loss_is_not_saved(
    space: Compiled, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signals(monkeypatch, 3, action=interrupt)
    loss = "bayesnas.runtime.network.learning.learner.check_loss"
    monkeypatch.setattr(loss, lambda *_: 1e9)
    with pytest.raises(KeyboardInterrupt):
        training(space, folder)(tmp_path / "o", False)
    state = checkpoint(tmp_path / "o")
    assert (state["epoch"], state["step"]) == (1, 0)  # of the end of an epoch


def test_weights_that_are_not_finite_are_not_saved(
    space: Compiled, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> str:
        return "`w` has 1 of 2 numbers that are not finite"

    def broken_and_interrupted() -> None:
        monkeypatch.setattr("bayesnas.runtime.network.training.non_finite", broken)
        interrupt()

    signals(monkeypatch, 0, action=broken_and_interrupted)
    with pytest.raises(DiagnosticError) as caught:
        training(space, folder, learning_rate=0.03)(tmp_path / "o", False)
    [found] = caught.value.diagnostics
    message = "`w` has 1 of 2 numbers that are not finite after step 1 of epoch 1"
    assert (found.code, found.message) == ("D602", message)
    assert found.help == "lower `learning_rate`, for instance `--option learning_rate=0.003`"
    assert not (tmp_path / "o" / "checkpoint.pt").exists()
