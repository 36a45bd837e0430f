"""Work that may not fit says so beforehand; where memory runs out, the remedy helps."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from attrs import evolve
from living import packaged, striped, write_tiny

from bayesnas.cli import main
from bayesnas.compiler.pipeline import compile_spec
from bayesnas.compiler.settings import SearchSettings, TrainSettings
from bayesnas.dsl.diagnostics import DiagnosticError
from bayesnas.runtime.jobs import memory
from bayesnas.runtime.jobs.memory import Demand, fitted, watched
from bayesnas.runtime.jobs.search.search import search
from bayesnas.runtime.jobs.train import train
from bayesnas.runtime.network import training
from bayesnas.runtime.network.learning.learner import Learner
from bayesnas.runtime.network.memory import Footprint
from bayesnas.runtime.runs.folder import Run
from bayesnas.runtime.runs.record import AutoBatch, RunOptions
from bayesnas.runtime.supernet import supernet

DIGITS = packaged("digits_cell")
GIB = 2**30
FOOTPRINT = Footprint(weights=GIB, step=GIB // 4, derivative=1, direction=1, forward=1)
LEAN = Footprint(weights=GIB, step=GIB // 16, derivative=1, direction=1, forward=1)


def test_nothing_is_said_where_it_fits_or_nothing_is_known() -> None:
    assert Demand(FOOTPRINT, 16, 5 * GIB).warning() == ""
    assert Demand(FOOTPRINT, 16, None).warning() == ""


def test_what_does_not_fit_is_said_with_figures() -> None:
    assert Demand(FOOTPRINT, 16, 4 * GIB, LEAN).warning() == (
        "a training step takes about 5.0 GiB with batch_size = 16, and 4.0 GiB are free: the "
        "system may end the work without a word; pass `--option batch_size=8` (about 3.0 GiB) or "
        "`--option recompute=yes` (about 2.0 GiB)"
    )


@pytest.mark.parametrize(
    ("batch_size", "free", "remedy"),
    [
        (16, 2 * GIB, "pass `--option batch_size=2` (about 1.5 GiB)"),  # room for what shapes miss
        (16, 64 * GIB, "pass `--option batch_size=8` (about 3.0 GiB)"),  # the estimate was wrong
        (16, None, "pass `--option batch_size=8` (about 3.0 GiB)"),
        (16, GIB, "make the network narrower or its images smaller: no smaller batch would do"),
        (1, 64 * GIB, "make the network narrower or its images smaller: no smaller batch would do"),
    ],
)
def test_remedies(batch_size: int, free: int | None, remedy: str) -> None:
    assert Demand(FOOTPRINT, batch_size, free).remedy() == remedy


@pytest.mark.parametrize(
    ("free", "said"),
    [
        (
            4 * GIB,
            "pass `--option batch_size=8` (about 3.0 GiB) or "
            "`--option recompute=yes` (about 2.0 GiB)",
        ),
        (17 * GIB // 12 + 1, "pass `--option recompute=yes --option batch_size=1` (about 1.1 GiB)"),
        (GIB, "make the network narrower or its images smaller: no smaller batch would do"),
    ],
)
def test_recomputing_is_advised_as_far_as_it_fits(free: int, said: str) -> None:
    assert Demand(FOOTPRINT, 16, free, LEAN).remedy() == said


def test_recomputing_is_advised_where_it_helps() -> None:
    cpu = torch.device("cpu")
    cells, plain = packaged("darts_cell").graph, packaged("tabular_mlp").graph
    assert Demand.of(cells, SearchSettings(), cpu).recomputed == Footprint.of(cells, True)
    assert Demand.of(plain, SearchSettings(), cpu).recomputed is None
    assert Demand.of(cells, TrainSettings(), cpu).recomputed is None  # no such setting
    twice = Demand.of(cells, SearchSettings(recompute="yes"), cpu)
    assert (twice.recomputed, twice.footprint) == (None, Footprint.of(cells, True))


@pytest.mark.parametrize("work", ["search", "train"])
def test_a_search_and_a_training_say_so(
    work: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The note comes before any step; D603 has the remedy, and faults of ours are not hidden."""

    def failing(*_: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 9 bytes")

    monkeypatch.setattr(memory, "free_memory", lambda _device: 2**20)
    monkeypatch.setattr(supernet, "predict", failing)
    monkeypatch.setattr(training, "predict", failing)
    compiled, options = packaged("digits_cell"), RunOptions("digits", tmp_path / "run")
    do = {
        "search": lambda: search(compiled, SearchSettings(warmup_epochs=1, rounds=1), options),
        "train": lambda: train(compiled, TrainSettings(epochs=1), options),
    }
    with pytest.raises(DiagnosticError) as caught:
        do[work]()
    [found] = caught.value.diagnostics
    assert (found.code, caught.value.status) == ("D603", 1)
    assert "1 MiB were free when the work began" in found.notes
    assert "pass `--option batch_size=" in (found.help or "")
    assert "note: a training step takes about" in capsys.readouterr().err


def test_other_failures_pass() -> None:
    with pytest.raises(RuntimeError, match="something else"), watched(Demand(FOOTPRINT, 1, None)):
        raise RuntimeError("something else")


# ------------------------------------------------------------------------------ a batch that fits


def room_for(examples: int) -> int:
    """Free bytes into which a batch of so many examples of the digits' cells fits, and no more."""
    return int(Footprint.of(DIGITS.graph).step_bytes(examples) / 0.75) + 1


@pytest.mark.parametrize(
    ("most", "size", "fits", "examples", "batch"),
    [
        (None, 64, 1000, 1000, 64),  # of the settings
        (None, 64, 1000, 3000, 150 // 8 * 8),  # a twentieth of the examples
        (None, 64, 1000, 10**6, 256),
        (None, 64, 50, 10**6, 48),  # of the memory, in eights
        (None, 64, 20, 10**6, 20),
        (512, 64, 1000, 10**6, 512),
        (16, 64, 1000, 10**6, 16),
        (512, 64, 1000, 100, 96),  # of the examples
        (None, 64, 0, 10**6, 1),
    ],
)
def test_the_largest_batch_that_fits(
    most: int | None,
    size: int,
    fits: int,
    examples: int,
    batch: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda _device: room_for(fits))
    options = RunOptions("digits", tmp_path, device="cpu", batch=AutoBatch(most))
    settings = fitted(TrainSettings(batch_size=size), DIGITS.graph, examples, options)
    assert settings == TrainSettings(batch_size=batch)
    assert capsys.readouterr().err.startswith(f"note: batch_size = {batch}, of ")


def test_without_a_word_the_batch_stays(tmp_path: Path) -> None:
    settings, options = TrainSettings(batch_size=7), RunOptions("digits", tmp_path, device="cpu")
    assert fitted(settings, DIGITS.graph, 1000, options) == settings


def test_a_run_goes_on_with_the_batch_it_began_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever is free or asked for by then; the weights are those of a run without a break."""
    monkeypatch.chdir(tmp_path)
    write_tiny(tmp_path)
    striped(tmp_path / "data")
    words = ["train", "tiny.nas", "--data", "folder:data", "--device", "cpu"]
    words += ["--option", "epochs=2", "--batch-size", "auto:40"]
    assert main([*words, "-o", "whole"]) == 0
    monkeypatch.setattr(Run, "save_checkpoint", ended(Run.save_checkpoint))
    with pytest.raises(EndedError):
        main([*words, "-o", "parts"])
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(memory, "free_memory", lambda _device: 1)
    capsys.readouterr()
    assert main([*words[:-1], "auto:16", "-o", "parts", "--resume"]) == 0
    said = "note: batch_size = 40, with which the run was begun: `--resume` keeps it\n"
    assert said in capsys.readouterr().err
    settings = json.loads(Path("parts/settings.json").read_text("utf-8"))["settings"]
    assert settings["batch_size"] == 40
    one, other = (torch.load(f"{run}/weights.pt") for run in ("whole", "parts"))
    assert all(torch.equal(one[name], other[name]) for name in one)


class EndedError(BaseException):
    """The process ends here."""


def ended(save: Callable[[Run, Any], None]) -> Callable[[Run, Any], None]:
    def once(run: Run, state: Any) -> None:
        save(run, state)
        raise EndedError

    return once


def test_memory_that_runs_out_leaves_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(learner: Learner, rate: float) -> None:
        step(learner, rate)
        if (out / "checkpoint.pt").exists():
            raise MemoryError("DefaultCPUAllocator: can't allocate memory: you tried 9 bytes")

    out, step = tmp_path / "run", Learner._step
    monkeypatch.setattr(Learner, "_step", failing)
    write_tiny(tmp_path)
    options = RunOptions(f"folder:{striped(tmp_path / 'data')}", out, device="cpu")
    with pytest.raises(DiagnosticError) as caught:
        train(compile_spec(tmp_path / "tiny.nas"), TrainSettings(epochs=2, batch_size=8), options)
    [found] = caught.value.diagnostics
    assert found.code == "D603"
    assert found.help == "pass `--option batch_size=4` (about 0 MiB)"
    assert found.notes[-1] == (
        "the last checkpoint is kept: `--resume` goes on from it, at the same batch_size, where "
        "more is free"
    )
    monkeypatch.undo()
    again = evolve(options, resume=True)
    train(compile_spec(tmp_path / "tiny.nas"), TrainSettings(epochs=2, batch_size=8), again)
    history = (out / "history.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(row)["epoch"] for row in history] == [1, 2]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--batch-size", "many"], "D418", "cannot read `--batch-size many`"),
        (["--batch-size", "auto:"], "D418", "cannot read `--batch-size auto:`"),
        (["--batch-size=-3"], "D418", "cannot read `--batch-size -3`"),
        (["--batch-size", "0"], "D231", "invalid value `0` of `batch_size`"),
        (["--batch-size", "auto:0"], "D231", "invalid value `0` of `batch_size`"),
        (
            ["--batch-size", "8", "--option", "batch_size=8"],
            "D423",
            "`--option batch_size` does nothing beside `--batch-size`",
        ),
    ],
)
def test_batch_sizes_that_cannot_be(
    words: list[str], code: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["train", "digits_cell", "--data", "digits", "-o", "no_run"]
    assert main([*given, *words]) == 2
    assert f"error[{code}]: {message}\n" in capsys.readouterr().err
