"""Work that may not fit says so beforehand; where memory runs out, the remedy helps."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from living import packaged

from bayesnas.compiler.settings import SearchSettings, TrainSettings
from bayesnas.dsl.diagnostics import DiagnosticError
from bayesnas.runtime.jobs import memory
from bayesnas.runtime.jobs.memory import Demand, watched
from bayesnas.runtime.jobs.search import search
from bayesnas.runtime.jobs.train import train
from bayesnas.runtime.network import training
from bayesnas.runtime.network.memory import Footprint
from bayesnas.runtime.runs.folder import RunOptions
from bayesnas.runtime.supernet import supernet

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
        (16, 2 * GIB, "pass `--option batch_size=4` (about 2.0 GiB)"),
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
        (17 * GIB // 16, "pass `--option recompute=yes --option batch_size=1` (about 1.1 GiB)"),
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
