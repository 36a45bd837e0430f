"""Files of a run that anybody may have written: what is wrong is named, nothing else happens."""

from __future__ import annotations

import copy
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import pytest
import torch
from living import snapshot, striped, write_tiny

from bayesnas.cli import main

Change = Callable[[Any], object]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return striped(tmp_path_factory.mktemp("striped"), train=6, test=2)


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("spec"))


def begin(kind: str, spec: Path, folder: Path, out: Path, *more: str) -> int:
    data = ["--data", f"folder:{folder}", "-o", str(out), "--device", "cpu"]
    return main([kind, str(spec), *data, "--option", "epochs=1", *more])


SEARCH = ("--option", "warmup_epochs=1", "--option", "rounds=1", "--strategy")


@pytest.fixture(scope="module")
def trained(spec: Path, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "train"
    assert begin("train", spec, folder, out) == 0
    return out


def lie(whole: Path, out: Path, name: str, change: Change) -> None:
    """A copy of a run that one of its files is wrong in."""
    shutil.copytree(whole, out)
    if name.endswith(".json"):
        data = json.loads((out / name).read_text("utf-8"))
        change(data)
        (out / name).write_text(json.dumps(data), encoding="utf-8")
    else:
        state = copy.deepcopy(torch.load(out / name, weights_only=True))
        change(state)
        torch.save(state, out / name)


def assert_named(out: Path, name: str, entry: str, told: str) -> None:
    """One diagnostic, of this file and entry."""
    assert f"error[D416]: `{out / name}` holds what bayesnas does not write\n" in told
    assert (f" = note: at $.{entry}" if entry else " = note: at $: ") in told
    assert told.count("error[") == 1
    assert " = help: " in told


def put(*path: Any, value: Any) -> Change:
    """What stands at the path becomes the value."""

    def change(data: Any) -> None:
        for key in path[:-1]:
            data = data[key]
        data[path[-1]] = value

    return change


def drop(*path: Any) -> Change:
    def change(data: Any) -> None:
        for key in path[:-1]:
            data = data[key]
        del data[path[-1]]

    return change


def first_weight(state: dict[str, Any]) -> str:
    return next(name for name, tensor in state["model"].items() if tensor.is_floating_point())


def endless(state: dict[str, Any]) -> None:
    state["model"][first_weight(state)].view(-1)[0] = math.inf


def reshaped(state: dict[str, Any]) -> None:
    state["model"][first_weight(state)] = torch.zeros(3)


TRAINED: dict[str, tuple[str, Change, str]] = {
    "no epoch": ("checkpoint.pt", drop("epoch"), ""),
    "an epoch too far": ("checkpoint.pt", put("epoch", value=10**9), "epoch: 1000000000 is"),
    "a step beyond the epoch": ("checkpoint.pt", put("step", value=99), "step: 99 is greater"),
    "a step after the last epoch": ("checkpoint.pt", put("step", value=1), ""),
    "a sum of losses": ("checkpoint.pt", put("losses", value=math.inf), "losses: inf is not"),
    "an order": ("checkpoint.pt", put("order", value=torch.zeros(9)), "order: "),
    "an epoch before the first": ("checkpoint.pt", put("epoch", value=-1), "epoch: -1 is"),
    "an epoch that is a number": ("checkpoint.pt", put("epoch", value=1.0), "epoch: 1.0 is not"),
    "a truth as epoch": ("checkpoint.pt", put("epoch", value=True), "epoch: True is not"),
    "seconds": ("checkpoint.pt", put("seconds", value=math.nan), "seconds: nan is not"),
    "a history too short": ("checkpoint.pt", put("history", value=[]), ""),
    "a history of other rows": ("checkpoint.pt", put("history", 0, value=7), "history[0]: 7"),
    "no model": ("checkpoint.pt", put("model", value=None), "model: None is not"),
    "no weight": ("checkpoint.pt", lambda s: s["model"].pop(first_weight(s)), "model: "),
    "a weight too many": ("checkpoint.pt", put("model", "x", value=torch.ones(1)), "model: "),
    "another shape": ("checkpoint.pt", reshaped, "model["),
    "a weight that is endless": ("checkpoint.pt", endless, "model["),
    "an optimizer of others": (
        "checkpoint.pt", put("optimizer", "state", 999, value={}), "optimizer.state",
    ),
    "momentum of another shape": (
        "checkpoint.pt",
        put("optimizer", "state", 0, "momentum_buffer", value=torch.zeros(7)),
        "optimizer.state['0'].momentum_buffer",
    ),
    "a rate": (
        "checkpoint.pt",
        put("optimizer", "param_groups", 0, "lr", value=math.nan),
        "optimizer.param_groups[0].lr: nan is not",
    ),
    "a short generator": (
        "checkpoint.pt", put("generator", value=torch.zeros(9, dtype=torch.uint8)), "generator: ",
    ),
    "a generator of zeros": (
        "checkpoint.pt", put("generator", value=torch.zeros(5056, dtype=torch.uint8)), "generator",
    ),
    "dropout": ("checkpoint.pt", put("dropout", value=[1, 2]), "dropout: "),
    "no values": ("settings.json", drop("values"), ""),
    "values that are a list": ("settings.json", put("values", value=[1]), "values: [1] is not"),
    "a value": ("settings.json", put("values", "width", value="a"), "values.width: 'a' is not"),
    "a file": ("settings.json", put("file", value=3), "file: 3 is not"),
    "a rate that is no number": (
        "settings.json", put("settings", "learning_rate", value=math.nan), "settings.learning_rate",
    ),
    "an epoch of settings": (
        "settings.json", put("settings", "epochs", value=-1), "settings.epochs: -1 is less",
    ),
    "plugins": ("settings.json", put("plugins", value={"a": 1}), "plugins: {'a': 1} is not"),
}  # fmt: skip


@pytest.mark.parametrize("name", TRAINED)
def test_a_training_is_not_resumed(
    name: str,
    trained: Path,
    spec: Path,
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file, change, entry = TRAINED[name]
    out = tmp_path / "o"
    lie(trained, out, file, change)
    before = snapshot(out)
    assert begin("train", spec, folder, out, "--resume") == 2
    told = capsys.readouterr().err
    if entry:
        assert_named(out, file, entry, told)
    else:
        assert f"error[D416]: `{out / file}` holds what bayesnas does not write\n" in told
    assert snapshot(out) == before


WEIGHTS: dict[str, tuple[str, Change, str]] = {
    "no mean": ("weights.pt", drop("input_mean"), ""),
    "a weight too many": ("weights.pt", put("model", value=[]), ""),
    "a mean of other channels": (
        "weights.pt", put("input_mean", value=torch.zeros(5, 1, 1)), "input_mean.shape",
    ),
    "a deviation": ("weights.pt", put("input_std", value=1.0), "input_std: 1.0 is not"),
    "a type of input": ("result.json", put("input", "dtype", value="x"), "input.dtype: 'x' is"),
    "no hash": ("result.json", put("weights_hash", value=None), "weights_hash: None is"),
    "settings": ("settings.json", put("resize", value="yes"), "resize: 'yes' is not"),
}  # fmt: skip


@pytest.mark.parametrize("command", [("eval",), ("export", "-o", "x.pt2")], ids=lambda c: c[0])
@pytest.mark.parametrize("name", WEIGHTS)
def test_wrong_weights_are_neither_judged_nor_exported(
    name: str,
    command: tuple[str, ...],
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file, change, entry = WEIGHTS[name]
    monkeypatch.chdir(tmp_path)
    lie(trained, tmp_path / "o", file, change)
    assert main([command[0], "o", *command[1:]]) == 2
    assert_named(Path("o"), file, entry, capsys.readouterr().err)
    assert not Path("x.pt2").exists()


@pytest.mark.parametrize("content", [[1, 2], torch.ones(3), 5, "x"], ids=repr)
def test_no_table(content: object, trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "o"
    shutil.copytree(trained, out)
    torch.save(content, out / "weights.pt")
    assert main(["eval", str(out)]) == 2


@pytest.mark.parametrize("classes", [None, 3, [], ["a"]], ids=repr)
def test_classes_of_others(
    classes: object, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "o"
    lie(trained, out, "result.json", put("classes", value=classes))
    assert main(["eval", str(out)]) == 2
    assert "error[D" in capsys.readouterr().err


def test_compressed_weights_are_not_unpacked(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A few kilobytes may stand for any amount of memory."""
    out = tmp_path / "o"
    shutil.copytree(trained, out)
    with ZipFile(trained / "weights.pt") as whole, ZipFile(out / "weights.pt", "w") as archive:
        for part in whole.infolist():
            archive.writestr(part.filename, whole.read(part), ZIP_DEFLATED)
    assert main(["eval", str(out)]) == 2
    assert " = note: its parts are compressed\n" in capsys.readouterr().err


# ------------------------------------------------------------------------------ searches

SEARCHED: dict[str, tuple[str, Change, str]] = {
    "a round too far": ("evidence", put("round", value=10**9), "round: 1000000000 is"),
    "a group": ("evidence", put("removed", "x", value=[1, "dead"]), "removed: 'x' is unknown"),
    "a removal": ("evidence", put("removed", value=[]), "removed: [] is not"),
    "a row": ("evidence", drop("history", 0, "seconds"), "history[0]: "),
    "steps": ("evidence", put("net", "steps", value=10**9), "net.steps: "),
    "steps of another round": ("evidence", put("net", "steps", value=1), ""),
    "an order": ("evidence", put("net", "order", value=[1]), "net.order: "),
    "what is kept": ("evidence", put("net", "kept", value=["x"]), "net.kept[0]: 'x' is unknown"),
    "candidates": ("evidence", put("strategy", "candidates", value="all"), "strategy.candidates"),
    "choices": ("evidence", put("strategy", "choices", value=[3]), "strategy.choices[0]"),
    "random numbers": (
        "random",
        put("strategy", "random", value=[3, [1] * 9, None]),
        "strategy.random[1]",
    ),
    "gates": ("magnitude", put("strategy", "w", value=torch.ones(1)), "strategy.w"),
    "architecture": ("darts", put("strategy", "alpha", value=None), "strategy.alpha"),
    "its optimizer": ("darts", put("strategy", "adam", "state", value=5), "strategy.adam.state"),
    "a step of its optimizer": (
        "darts",
        drop("strategy", "adam", "state", 0, "step"),
        "strategy.adam.state['0']",
    ),
    "losses": ("posterior", put("strategy", "losses", value=[0.5] * 99), "strategy: "),
    "standings": ("posterior", put("strategy", "standings", value=[{}]), "strategy.standings"),
    "posterior": ("bayesnas", drop("strategy", "posterior", "w"), "strategy.posterior: "),
    "report": ("bayesnas", put("strategy", "gate_report", value={-1: {}}), "strategy.gate_report"),
}


@pytest.mark.parametrize("strategy", sorted({strategy for strategy, *_ in SEARCHED.values()}))
def test_a_search_is_not_resumed(
    strategy: str,
    spec: Path,
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole = tmp_path / "whole"
    assert begin("search", spec, folder, whole, *SEARCH, strategy) == 0
    lies = [(change, entry) for name, change, entry in SEARCHED.values() if name == strategy]
    for number, (change, entry) in enumerate(lies):
        out = tmp_path / str(number)
        lie(whole, out, "checkpoint.pt", change)
        capsys.readouterr()
        assert begin("search", spec, folder, out, *SEARCH, strategy, "--resume") == 2
        assert_named(out, "checkpoint.pt", entry, capsys.readouterr().err)
    assert begin("search", spec, folder, whole, *SEARCH, strategy, "--resume") == 0
