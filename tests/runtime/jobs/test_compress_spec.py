"""Specs trained, then made smaller: as by both commands, gone on with, refused before any work."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
from living import lines, snapshot, striped, without_seconds, write_tiny
from stops import same_weights, stopped_at_saves
from support import assert_style

from bayesnas.cli import main
from bayesnas.compiler.graph.model import BudgetConstraint
from bayesnas.compiler.pipeline import compile_spec
from bayesnas.compiler.settings import TrainSettings, make_settings
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError
from bayesnas.runtime.jobs.compression.compress import compress
from bayesnas.runtime.jobs.compression.first import Untrained
from bayesnas.runtime.jobs.compression.wanted import Compression
from bayesnas.runtime.jobs.costs import latency
from bayesnas.runtime.jobs.train import train
from bayesnas.runtime.report.files import RunFiles
from bayesnas.runtime.report.sections.making import command_of
from bayesnas.runtime.runs.record import RunOptions
from bayesnas.runtime.weights.choice import Limits, Share

NET = """\
network net(image: [1, 8, 8]; width = 6) -> (logits: [3]) {
    stem = image : conv(3, width) >> bn >> relu
    a = stem : conv(3, 2 * width) >> bn >> relu >> conv(1, width) >> bn
    b = sum(stem, a)
    b -> logits : relu >> flatten >> linear(3)
}

train { epochs = 2; batch_size = 16 }
"""
HALF = Compression((Share("flops", 50),))

pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"folder:{striped(tmp_path_factory.mktemp('striped'))}"


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("spec") / "net.nas"
    path.write_text(NET, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def network(spec: Path) -> Untrained:
    compiled = compile_spec(spec)
    return Untrained(compiled, make_settings(TrainSettings, compiled.settings("train")))


@pytest.mark.parametrize("name", ["evidence", "bayesnas"])
def test_it_is_what_both_commands_do_wherever_it_stopped(
    name: str, network: Untrained, data: str, tmp_path: Path
) -> None:
    wanted = Compression(HALF.budgets, name)
    train(network.compiled, network.settings, RunOptions(data, tmp_path / "run", 1, "cpu"))
    both = RunOptions(data, tmp_path / "both", 1, "cpu")
    compress(tmp_path / "run", wanted, {"epochs": 4}, both)
    out = tmp_path / "out"
    for number, saves in enumerate((1, 2)):  # in the first training, and in what follows
        options = RunOptions(data, out, 1, "cpu", resume=number > 0)
        with (
            stopped_at_saves(saves + number),
            pytest.raises(KeyboardInterrupt, match=f"`--resume` goes on .* `{out}`"),
        ):
            compress(network, wanted, {"epochs": 4}, options)
    compress(network, wanted, {"epochs": 4}, RunOptions(data, out, 1, "cpu", resume=True))
    assert same_weights(out, tmp_path / "both")
    assert same_weights(out / "steps" / "trained", tmp_path / "run")
    histories = [lines(run / "history.jsonl") for run in (out, tmp_path / "both")]
    assert without_seconds(histories[0]) == without_seconds(histories[1])


def test_the_command_can_be_given_again_from_the_page(
    spec: Path, data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = "--budget flops=60% --train-option epochs=1 --option epochs=1 --set width=5"
    more = "--least 2 --round-to 2 --keep logits.2 --device cpu"
    given = ["compress", str(spec), "--data", data, "-o", "out", *line.split(), *more.split()]
    monkeypatch.chdir(tmp_path)
    assert main(given) == 0
    first = lines(tmp_path / "out" / "steps" / "trained" / "history.jsonl")
    assert (len(first), len(lines(tmp_path / "out" / "history.jsonl"))) == (1, 1)
    again = shlex.split(command_of(RunFiles.open(tmp_path / "out")))
    assert again[:3] == ["bayesnas", "compress", str(tmp_path / "out" / "steps" / "trained")]
    again[again.index("-o") + 1] = "again"
    assert main([*again[1:], "--device", "cpu"]) == 0
    assert same_weights(tmp_path / "out", tmp_path / "again")


def test_another_compression_is_replaced(network: Untrained, data: str, tmp_path: Path) -> None:
    options = {"epochs": 1}
    out = tmp_path / "out"
    compress(network, HALF, options, RunOptions(data, out, 1, "cpu"))
    with pytest.raises(DiagnosticError, match="D413"):
        compress(network, HALF, options, RunOptions(data, out, 2, "cpu"))
    compress(network, HALF, options, RunOptions(data, out, 2, "cpu", force=True))
    compress(network, HALF, options, RunOptions(data, tmp_path / "straight", 2, "cpu"))
    assert same_weights(out, tmp_path / "straight")


# -------------------------------------------------------------------------------------- refusals


def refusal(network: Untrained, data: str, folder: Path, wanted: Compression) -> Diagnostic:
    """What is said, before anything is written."""
    before = snapshot(folder)
    with pytest.raises(DiagnosticError) as caught:
        compress(network, wanted, {}, RunOptions(data, folder / "out", 2, "cpu"))
    assert snapshot(folder) == before
    [diagnostic] = caught.value.diagnostics
    assert_style(diagnostic)
    return diagnostic


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        (Compression((BudgetConstraint("parameters", 3),)), "D609"),
        (Compression((BudgetConstraint("flops", 3),), families=("row",)), "D609"),
        (Compression(HALF.budgets, limits=Limits(layers=("sten",))), "D608"),
        (Compression((Share("latency", 50),), families=("kernel",)), "D609"),
        (Compression(HALF.budgets, "taylo"), "D610"),
    ],
)
def test_what_cannot_be_is_said_before_the_training(
    wanted: Compression, code: str, network: Untrained, data: str, tmp_path: Path
) -> None:
    assert refusal(network, data, tmp_path, wanted).code == code


def test_the_remedy_names_the_limits_that_bind(
    network: Untrained, data: str, tmp_path: Path
) -> None:
    limits = Limits(least=2, round_to=16)
    told = refusal(network, data, tmp_path, Compression(HALF.budgets, limits=limits))
    assert told.help == "raise the budget, or lower `--least`, or lower `--round-to`"


def test_no_weight_may_be_masked(network: Untrained, data: str, tmp_path: Path) -> None:
    limits = Limits(layers=("stem", "a", "logits"))
    wanted = Compression((Share("flops", 100),), limits=limits, families=("row",))
    told = refusal(network, data, tmp_path, wanted)
    assert told.message == "nothing of `net` may go, by the family `row`"


def test_a_time_that_cannot_be_met_is_said_before_the_training(
    network: Untrained, data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = latency.turns
    calls = list[int]()

    def counted(works: Any, *more: Any) -> Any:
        calls.append(len(works))
        return measured(works, *more)

    monkeypatch.setattr(latency, "turns", counted)
    wanted = Compression((BudgetConstraint("latency", 1),))
    assert refusal(network, data, tmp_path, wanted).code == "D609"
    assert calls


def test_a_space_is_searched_first(
    data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_tiny(tmp_path)
    command = ["compress", str(path), "--data", data, "-o", str(tmp_path / "out")]
    assert main([*command, "--budget", "flops=50%"]) == 2
    said = capsys.readouterr().err
    assert "error[D607]: channels are removed from a network, and `tiny` is a space" in said
    assert "search it first" in said
    assert not (tmp_path / "out").exists()


def test_what_the_command_refuses(
    spec: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["-o", str(tmp_path / "out"), "--budget", "flops=50%"]
    assert main(["compress", str(spec), *out]) == 2
    assert "error[D405]: `bayesnas compress` needs data to train `net` on" in (
        capsys.readouterr().err
    )
    assert main(["compress", str(tmp_path), *out, "--set", "width=3", "--recipe", "quick"]) == 2
    said = capsys.readouterr().err
    assert f"error[D423]: `--set` does nothing with a run, and `{tmp_path}` is no spec" in said
    assert "error[D423]: `--recipe` does nothing" in said
    assert main(["compress", str(tmp_path / "gone.nas"), *out, "--data", "digits"]) == 2
    assert "error[D401]" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
