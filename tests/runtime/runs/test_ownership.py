"""Folders of runs: what is ours is replaced when the new run has ended, all else is left alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from attrs import evolve
from living import TINY, snapshot, striped, write_tiny

from bayesnas.compiler.pipeline import Compiled, compile_spec
from bayesnas.compiler.settings import TrainSettings
from bayesnas.dsl.diagnostics import DiagnosticError
from bayesnas.runtime.data.loading import load_data
from bayesnas.runtime.jobs.train import TrainResult, train
from bayesnas.runtime.network.learning import learner
from bayesnas.runtime.runs.folder import Run
from bayesnas.runtime.runs.ownership import check_out, lock
from bayesnas.runtime.runs.record import RunOptions

SETTINGS = TrainSettings(epochs=2, batch_size=16)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return striped(tmp_path_factory.mktemp("striped"))


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    return compile_spec(write_tiny(tmp_path_factory.mktemp("spec")))


@pytest.fixture(scope="module")
def done(
    space: Compiled, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, TrainResult]:
    out = tmp_path_factory.mktemp("runs") / "whole"
    return out, run(space, folder, out)


def run(
    space: Compiled, folder: Path, out: Path, *, resume: bool = False, force: bool = False
) -> TrainResult:
    options = RunOptions(f"folder:{folder}", out, 3, "cpu", resume, force)
    return train(space, SETTINGS, options)


def refusal(caught: pytest.ExceptionInfo[DiagnosticError]) -> tuple[str, str, int]:
    [diagnostic] = caught.value.diagnostics
    assert diagnostic.help
    return diagnostic.code, diagnostic.message, caught.value.status


def test_a_run_is_replaced_once_the_new_one_has_ended(
    space: Compiled, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two failures in between lose nothing of it."""
    out = tmp_path / "o"
    run(space, folder, out)
    before = snapshot(out)

    def fail(*_: object) -> float:
        raise MemoryError

    for _ in range(2):
        with monkeypatch.context() as patch:
            patch.setattr(learner, "check_loss", fail)
            with pytest.raises(DiagnosticError, match="out of memory"):
                run(space, folder, out, force=True)
        assert snapshot(out / ".replaced") == before
    run(space, folder, out, force=True)
    assert ".replaced" not in snapshot(out)


@pytest.mark.parametrize("names", [("settings.json", "spec.nas"), ("settings.json",)], ids=len)
def test_a_run_without_a_checkpoint_begins_again(
    names: tuple[str, ...],
    done: tuple[Path, TrainResult],
    space: Compiled,
    folder: Path,
    tmp_path: Path,
) -> None:
    """As a process leaves it that was killed before the first one, while it wrote."""
    out = tmp_path / "o"
    out.mkdir()
    for name in names:
        (out / name).write_bytes((done[0] / name).read_bytes())
    (out / ".spec.nas.0a1b2c3d.tmp").write_bytes(b"half")
    assert run(space, folder, out, resume=True).test == done[1].test
    assert (out / "spec.nas").read_bytes() == (done[0] / "spec.nas").read_bytes()
    assert not [name for name in snapshot(out) if name.startswith(".")]


def test_what_a_killed_run_leaves_first_is_no_obstacle(
    space: Compiled, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "o"
    out.mkdir()
    (out / ".settings.json.0a1b2c3d.tmp").write_bytes(b"half")
    (out / ".lock").write_bytes(b"")
    run(space, folder, out)


@pytest.mark.parametrize("settings", ["{}", "[1]", '{"editor.fontSize": 14}', "{" * 10**5])
def test_the_settings_of_others_are_no_run(settings: str, tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text(settings)
    before = snapshot(tmp_path)
    with pytest.raises(DiagnosticError) as caught:
        check_out(tmp_path, resume=False, force=True)
    message = f"`{tmp_path}` is not the folder of a run and will not be replaced"
    assert refusal(caught) == ("D413", message, 2)
    assert snapshot(tmp_path) == before


def test_what_a_run_reads_is_not_replaced(done: tuple[Path, TrainResult]) -> None:
    with pytest.raises(DiagnosticError) as caught:
        check_out(done[0], resume=False, force=True, inputs=[done[0] / "spec.nas"])
    message = f"`{done[0] / 'spec.nas'}` lies in `{done[0]}`, which `--force` would replace"
    assert refusal(caught) == ("D413", message, 2)


def test_one_run_at_a_time(space: Compiled, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "o"
    out.mkdir()
    held = lock(out)
    with pytest.raises(DiagnosticError) as caught:
        run(space, folder, out)
    assert refusal(caught) == ("D413", f"another run is at work in `{out}`", 2)
    held.release()


def test_other_data_of_the_same_name_is_not_resumed(
    done: tuple[Path, TrainResult], space: Compiled, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "o"
    shutil.copytree(done[0], out)
    data = load_data(f"folder:{folder}", space.graph)
    other = evolve(data, train=data.train.subset(torch.arange(len(data.train)).flip(0)))
    with pytest.raises(DiagnosticError) as caught:
        train(space, SETTINGS, RunOptions(other, out, seed=3, device="cpu", resume=True))
    assert refusal(caught) == ("D414", f"the run in `{out}` differs in its data", 2)


def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    done: tuple[Path, TrainResult], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("checkpoint.pt", "checkpoint.previous.pt"):
        (tmp_path / name).write_bytes((done[0] / "checkpoint.pt").read_bytes())
    whole = Run(tmp_path).checkpoint({"type": "object"})
    data = bytearray((tmp_path / "checkpoint.pt").read_bytes())
    middle = len(data) // 2
    data[middle : middle + 512] = bytes(512)  # a sector
    (tmp_path / "checkpoint.pt").write_bytes(data)
    again = Run(tmp_path).checkpoint({"type": "object"})
    assert whole is not None
    assert again is not None
    assert again["epoch"] == whole["epoch"]
    assert "going on from the checkpoint before it" in capsys.readouterr().err


def test_an_edited_import_is_another_spec(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "own.nas").write_text("op own = conv(3) >> bn\n")
    spec = tmp_path / "tiny.nas"
    spec.write_text('import "own.nas"\n' + TINY.replace("= sep(3)", "= sep(3) | own"))
    run(compile_spec(spec), folder, tmp_path / "o")
    (tmp_path / "own.nas").write_text("op own = conv(1) >> bn\n")
    with pytest.raises(DiagnosticError) as caught:
        run(compile_spec(spec), folder, tmp_path / "o", resume=True)
    message = f"the run in `{tmp_path / 'o'}` differs in its spec"
    assert refusal(caught) == ("D414", message, 2)
