"""Compiled steps do what others do; the compiler itself is tried where a machine has one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from living import TINY, found_network, striped
from support import compile_text
from torch import fx

from bayesnas.cli import main
from bayesnas.compiler.settings import TrainSettings
from bayesnas.dsl.diagnostics import DiagnosticError
from bayesnas.runtime.jobs.train import train
from bayesnas.runtime.network import compiled
from bayesnas.runtime.runs.record import RunOptions

NETWORK = found_network(compile_text(TINY))


@pytest.fixture
def data(tmp_path: Path) -> str:
    return f"folder:{striped(tmp_path / 'data')}"


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> list[fx.GraphModule]:
    """What PyTorch hands its compiler, which here runs it as it is."""
    handed: list[fx.GraphModule] = []

    def backend(graph: fx.GraphModule, _inputs: Any) -> Callable[..., Any]:
        handed.append(graph)
        return graph.forward

    torch._dynamo.reset()
    monkeypatch.setattr(compiled, "BACKEND", backend)
    return handed


def options(data: str, out: Path, *, compiling: bool, resume: bool = False) -> RunOptions:
    return RunOptions(data, out, device="cpu", compiling=compiling, resume=resume)


def weights(out: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(out / "weights.pt")
    return state


def test_weights_are_those_without_it_under_the_same_names(
    data: str, graphs: list[fx.GraphModule], tmp_path: Path
) -> None:
    settings = TrainSettings(epochs=2, batch_size=32, average=0.9)
    for name in ("plain", "compiled"):
        train(NETWORK, settings, options(data, tmp_path / name, compiling=name == "compiled"))
    one, other = (weights(tmp_path / name) for name in ("plain", "compiled"))
    assert list(one) == list(other)
    for name in one:
        torch.testing.assert_close(one[name], other[name])
    assert len(graphs) == 1 + 2  # the trial; batches of 32 and of 16
    record = json.loads((tmp_path / "compiled" / "settings.json").read_text("utf-8"))
    assert record["compile"] is True


def test_a_run_goes_on_with_or_without_it(
    data: str, graphs: list[fx.GraphModule], tmp_path: Path
) -> None:
    settings, out = TrainSettings(epochs=1, batch_size=16), tmp_path / "run"
    train(NETWORK, settings, options(data, out, compiling=False))
    train(NETWORK, settings, options(data, out, compiling=True, resume=True))
    assert len(graphs) == 1  # it had ended: the trial alone


def test_what_changes_with_the_epochs_is_not_compiled_for_each(
    data: str, graphs: list[fx.GraphModule], tmp_path: Path
) -> None:
    network = compile_text(
        "network net(image: [1, 8, 8]) -> (logits: [3]) {\n"
        "    a = image : conv(3, 4) >> bn\n    b = a : conv(3) >> bn\n    c = sum(a, b)\n"
        "    c -> logits : global_avg_pool >> linear(3)\n}\n"
    )
    settings = TrainSettings(epochs=6, batch_size=48, drop_path=0.5)
    train(network, settings, options(data, tmp_path / "run", compiling=True))
    assert 1 < len(graphs) <= 4


def test_a_compiler_that_fails_is_told_before_anything_is_written(
    data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def backend(*_: object) -> None:
        raise RuntimeError("no g++")

    monkeypatch.setattr(compiled, "BACKEND", backend)
    with pytest.raises(DiagnosticError) as caught:
        train(NETWORK, TrainSettings(epochs=1), options(data, tmp_path / "run", compiling=True))
    [diagnostic] = caught.value.diagnostics
    assert diagnostic.code == "D613"
    assert diagnostic.message == "PyTorch has no compiler for `cpu` here"
    assert diagnostic.notes[0] == "no g++"
    assert not (tmp_path / "run").exists()


def test_a_network_that_cannot_be_compiled(
    data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def backend(graph: fx.GraphModule, _inputs: Any) -> Callable[..., Any]:
        if len(list(graph.graph.nodes)) > 3:
            raise RuntimeError("too large")
        return graph.forward

    torch._dynamo.reset()
    monkeypatch.setattr(compiled, "BACKEND", backend)
    with pytest.raises(DiagnosticError) as caught:
        train(NETWORK, TrainSettings(epochs=1), options(data, tmp_path / "run", compiling=True))
    [diagnostic] = caught.value.diagnostics
    assert diagnostic.code == "D613"
    assert diagnostic.message == "PyTorch cannot compile this network"


def test_it_is_for_trainings_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", "digits_cell", "--data", "digits", "-o", "x", "--compile"]) == 2
    assert "`bayesnas search` has no option `--compile`" in capsys.readouterr().err
