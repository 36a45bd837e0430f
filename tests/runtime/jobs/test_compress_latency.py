"""Channels removed to a latency: what operations take is made up here, by what they read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from coupled import TEXTS
from living import found_network, packaged, striped
from stops import stopped_at_saves
from support import assert_style, compile_text

from bayesnas.cli import main
from bayesnas.compiler.graph.cost import graph_cost
from bayesnas.compiler.graph.model import BudgetConstraint
from bayesnas.compiler.pipeline import Compiled, compile_spec
from bayesnas.compiler.settings import TrainSettings, make_settings
from bayesnas.compiler.slices.counts import kept_cost
from bayesnas.compiler.slices.groups import coupled_slices
from bayesnas.compiler.slices.narrowing import narrowed_graph
from bayesnas.compiler.space.latencies import Measured, works_of
from bayesnas.compiler.space.latency_file import read_latencies
from bayesnas.dsl.diagnostics import DiagnosticError
from bayesnas.runtime.jobs.compression.compress import CompressResult, compress
from bayesnas.runtime.jobs.compression.first import Untrained
from bayesnas.runtime.jobs.compression.pacing import SHARES, Clock
from bayesnas.runtime.jobs.compression.wanted import Compression
from bayesnas.runtime.jobs.costs import latency
from bayesnas.runtime.network.modules import build
from bayesnas.runtime.runs.record import RunOptions
from bayesnas.runtime.weights.choice import Share
from bayesnas.runtime.weights.removal import narrow

CPU = torch.device("cpu")
NET = """\
network net(image: [1, 8, 8]; width = 16) -> (logits: [3]) {
    stem = image : conv(3, width) >> bn >> relu
    a = stem : conv(3, 2 * width) >> bn >> relu >> conv(1, width) >> bn
    b = sum(stem, a)
    b -> logits : relu >> flatten >> linear(3)
}

train { epochs = 1; batch_size = 16 }
"""


def made_up(calls: Mapping[Any, Any], _device: torch.device, _tell: bool = True) -> dict[Any, Any]:
    """1,000 ns a channel that is read; a call takes 500 more, a whole network 7,000."""

    def time(key: Any) -> int:
        if isinstance(key, tuple):
            return 500 + 1000 * sum(shape[0] for shape in key[1])
        return 500 if key == "call" else 7_000

    return {key: Measured(time(key), time(key), time(key)) for key in calls}


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "turns", made_up)
    monkeypatch.setattr("bayesnas.compiler.artifacts.figure.has_dot", lambda: False)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("whole")
    data = striped(home / "data")
    (home / "net.nas").write_text(NET, encoding="utf-8")
    assert (
        main(["train", str(home / "net.nas"), "--data", f"folder:{data}", "-o", str(home / "run")])
        == 0
    )
    return home / "run"


def compressed(whole: Path, out: Path, wanted: Compression, **more: bool) -> CompressResult:
    return compress(whole, wanted, {"epochs": 2}, RunOptions("", out, 2, "cpu", **more))


OTHERS = ("darts_cell", "unet", "vision_blocks", "siamese")


@pytest.mark.parametrize("name", [*TEXTS, *OTHERS])
def test_the_narrowed_graph_is_that_of_the_narrowed_spec(name: str) -> None:
    compiled = compile_text(TEXTS[name]) if name in TEXTS else found_network(packaged(name))
    graph, slices = compiled.graph, coupled_slices(compiled.graph)
    kept = {s: range(0, s.size, 2) for s in slices.removable}
    module, _ = build(graph, "spec.nas", 0)
    smaller = narrow(compiled, module.state_dict(), slices, kept).compiled.graph
    ours = narrowed_graph(graph, slices, kept)
    assert {work for work, _ in works_of(ours)} == {work for work, _ in works_of(smaller)}
    assert graph_cost(ours) == graph_cost(smaller)


def strictly(compiled: Compiled) -> Clock:
    return Clock.of(compiled, (), CPU)


@pytest.mark.parametrize("name", ["residual", "concatenation, summed with one tensor", "scan"])
def test_at_measured_widths_the_pace_is_what_was_measured(name: str) -> None:
    compiled = compile_text(TEXTS[name])
    clock = strictly(compiled)
    for share in SHARES:
        kept = {s: range(max(1, round(share * s.size))) for s in clock.slices.removable}
        cost = kept_cost(compiled.graph, clock.slices, kept)
        assert cost.of("latency") == pytest.approx(clock.takes(kept), abs=1)


@pytest.mark.parametrize("importance", ["evidence", "group_lasso"])
def test_a_network_is_made_as_fast(importance: str, whole: Path, tmp_path: Path) -> None:
    wanted = Compression((Share("latency", 50), Share("parameters", 90)), importance)
    result = compressed(whole, tmp_path / "half", wanted)
    spec = compile_spec(tmp_path / "half" / "compressed.nas")
    table = read_latencies(tmp_path / "half" / "latencies.json")
    took = graph_cost(table.priced(spec.graph)).of("latency")
    assert took == result.after.latency
    assert 0.8 * result.before.of("latency") / 2 < took <= result.before.of("latency") / 2
    told = json.loads((tmp_path / "half" / "result.json").read_text("utf-8"))["compression"]
    assert told["before"]["latency"] == result.before.latency
    assert [row["member"] for row in told["latency"]] == ["before", "after"]
    assert told["latency"][1]["sum"] == took
    assert told["latency"][1]["error"] == pytest.approx(took / 7_000 - 1)


def test_what_was_measured_before_a_first_training_decides_as_well(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = compile_spec(whole / "spec.nas")
    network = Untrained(compiled, make_settings(TrainSettings, compiled.settings("train")))
    wanted, out = Compression((Share("latency", 60),)), tmp_path / "out"
    data = json.loads((whole / "settings.json").read_text("utf-8"))["data"]
    with stopped_at_saves(1), pytest.raises(KeyboardInterrupt):
        compress(network, wanted, {}, RunOptions(data, out, 2, "cpu"))
    first = (out / "steps" / "trained" / "latencies.json").read_text("utf-8")
    table = {row.rstrip(",") for row in first.splitlines() if "median" in row}
    monkeypatch.setattr(latency, "turns", lambda calls, *_: dict.fromkeys(calls, Measured(9, 9, 9)))
    compress(network, wanted, {}, RunOptions(data, out, 2, "cpu", resume=True))
    second = (out / "latencies.json").read_text("utf-8")
    assert table <= {row.rstrip(",") for row in second.splitlines()}


def test_what_was_measured_decides_when_it_is_resumed(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = Compression((BudgetConstraint("latency", 60_000),), steps=2)
    once = compressed(whole, tmp_path / "out", wanted)
    monkeypatch.setattr(latency, "turns", lambda *_: pytest.fail("measured again"))
    again = compressed(whole, tmp_path / "out", wanted, resume=True)
    assert (again.after, again.layers, again.wholes) == (once.after, once.layers, once.wholes)
    assert once.after.of("latency") <= 60_000


def test_refusals(whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DiagnosticError) as caught:
        compressed(whole, tmp_path / "out", Compression((Share("latency", 1),)))
    [diagnostic] = caught.value.diagnostics
    assert_style(diagnostic)
    assert diagnostic.message == "no removal of channels leaves at most 0.655 us"
    assert diagnostic.notes[0].startswith("with 1 channel of each strand, in steps of 1, it takes")
    command = ["compress", str(whole), "-o", str(tmp_path / "out"), "--budget", "latency=50%"]
    assert main([*command, "--family", "kernel"]) == 2
    assert "no mask makes a network faster" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_what_is_measured_slower_than_the_pace_is_chosen_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = strictly(compile_text(TEXTS["residual"]))
    [strand, *_] = clock.slices.removable
    asked: list[int] = []

    def choose(budgets: Any) -> dict[Any, range]:
        asked.append(budgets[0].limit)
        return {strand: range(max(1, min(6, budgets[0].limit // 1000)))}

    monkeypatch.setattr(Clock, "_foretold", lambda _self, kept: 1000 * len(kept[strand]))
    monkeypatch.setattr(Clock, "takes", lambda _self, kept: 1500 * len(kept[strand]))
    assert clock.fitting(choose, [BudgetConstraint("latency", 6000)]) == {strand: range(4)}
    assert asked == [6000, 4000]
    with pytest.raises(DiagnosticError, match="was measured to take at most 1 us"):
        clock.fitting(choose, [BudgetConstraint("latency", 1000)])

    # A little too slow: never the same choice twice.
    monkeypatch.setattr(Clock, "takes", lambda _self, kept: 5980 + 30 * len(kept[strand]))
    assert clock.fitting(choose, [BudgetConstraint("latency", 6100)]) == {strand: range(4)}
