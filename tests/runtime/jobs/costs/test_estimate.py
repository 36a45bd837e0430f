"""What is foretold of searches and trainings, against what they do."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from living import TINY, found_network, striped, write_tiny
from support import compile_text

import bayesnas
from bayesnas.cli import main
from bayesnas.commands.beside.estimating import parse_bytes
from bayesnas.compiler.graph.cost import graph_cost
from bayesnas.compiler.settings import SearchSettings, TrainSettings
from bayesnas.compiler.space.prices import Prices
from bayesnas.dsl.diagnostics import DiagnosticError
from bayesnas.runtime.data.dataset import Data
from bayesnas.runtime.data.loading import load_data
from bayesnas.runtime.data.registry import DataOptions
from bayesnas.runtime.jobs.costs import estimate as job
from bayesnas.runtime.jobs.costs.estimate import Timing, estimate, timed
from bayesnas.runtime.jobs.search.space import Space
from bayesnas.runtime.network.memory import Footprint
from bayesnas.runtime.runs.record import RunOptions
from bayesnas.runtime.strategies.interface import Problem
from bayesnas.runtime.strategies.registry import strategy_class
from bayesnas.runtime.supernet.supernet import Supernet

CPU = torch.device("cpu")
SPACE = compile_text(TINY)
FEW = {"warmup_epochs": 1.0, "epochs": 1.0, "rounds": 2, "batch_size": 8, "augment": "none"}


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "STEPS", 2)
    monkeypatch.setattr("bayesnas.compiler.artifacts.figure.has_dot", lambda: False)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A spec and its data."""
    home = tmp_path_factory.mktemp("home")
    write_tiny(home)
    striped(home / "data")
    return home


@pytest.fixture(scope="module")
def data(home: Path) -> Data:
    return load_data(f"folder:{home / 'data'}", SPACE.graph, DataOptions())


@pytest.mark.parametrize("name", ["random", "bayesnas", "evidence", "posterior", "largest"])
def test_a_search_looks_at_as_many_examples_as_foretold(
    name: str, data: Data, tmp_path: Path
) -> None:
    values = {} if name == "largest" else {**FEW, "draws": 3}
    settings = SearchSettings(strategy=name, **values)  # type: ignore[arg-type]
    net = Supernet(SPACE.graph, "tiny", data, settings, 0, CPU)
    strategy = strategy_class(name)(Problem(net, Prices.of(SPACE.graph, ()), settings, 0))
    found = bayesnas.search(SPACE, data, tmp_path / "run", device="cpu", strategy=name, **values)
    rounds = settings.rounds if strategy.trains else 1
    looks = strategy.looks(rounds, found.result.images_trained)
    foretold = looks.forward + looks.gradient + looks.curvature
    assert found.result.images_evaluated == pytest.approx(foretold, rel=0.35)


def test_steps_memory_and_costs_are_those_of_the_work(data: Data) -> None:
    search, train = SearchSettings(**FEW), TrainSettings(epochs=3, batch_size=8)  # type: ignore[arg-type]
    options = RunOptions(data, Path(), device="cpu")
    result = estimate(Space(SPACE), search, train, options, 2**30)
    searched, trained = result.phases
    assert (result.examples, result.tested, result.memory) == (48, 18, 2**30)
    assert searched.cost == graph_cost(SPACE.graph)
    assert trained.cost.parameters < searched.cost.parameters
    footprint = Footprint.of(SPACE.graph)
    assert searched.step_bytes == footprint.step_bytes(8)
    assert searched.steps == (5, 2 * 5)  # 38 examples
    assert trained.steps == (3 * 6,)
    for phase in result.phases:
        assert all(seconds > 0 for seconds in phase.step_seconds)
        total = sum(s * n for s, n in zip(phase.step_seconds, phase.steps, strict=True))
        assert phase.seconds == pytest.approx(total + phase.looks_seconds)
        assert phase.looks_seconds > 0
    assert (searched.largest_batch, trained.largest_batch) == (38, 48)


def test_a_batch_that_does_not_fit_is_scaled_up_to(
    data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = found_network(SPACE)
    footprint = Footprint.of(network.graph)
    room = footprint.step_bytes(4)
    monkeypatch.setattr("bayesnas.runtime.jobs.memory.free_memory", lambda _: room)
    train = TrainSettings(epochs=2, batch_size=16)
    options = RunOptions(data, Path(), device="cpu")
    [phase] = estimate(Space(network), SearchSettings(), train, options, room).phases
    assert (phase.batch_size, phase.steps, phase.measured_bytes) == (16, (6,), None)
    assert phase.largest_batch == 4
    assert phase.step_bytes == footprint.step_bytes(16)


def test_a_head_that_is_only_trained_with_takes_memory_and_is_no_cost(data: Data) -> None:
    text = (
        "network net(image: [1, 8, 8]) -> (logits: [3], middle: [3]) {\n"
        "    a = image : conv(3, 4) >> relu\n"
        "    a -> middle : conv(3, 64) >> relu >> global_avg_pool >> linear(3)\n"
        "    a -> logits : global_avg_pool >> linear(3)\n"
        "}\n"
        "learn { middle = auxiliary * 0.4 }\n"
    )
    network = compile_text(text)
    train, options = TrainSettings(epochs=1, batch_size=8), RunOptions(data, Path(), device="cpu")
    [phase] = estimate(Space(network), SearchSettings(), train, options, 2**30).phases
    assert phase.cost == graph_cost(network.graph)
    assert phase.step_bytes == Footprint.of(network.training).step_bytes(8)
    assert phase.step_bytes > 2 * Footprint.of(network.graph).step_bytes(8)


def test_work_without_steps_takes_none() -> None:
    assert timed(iter(()), CPU) == Timing(0.0, None)


def test_what_is_printed(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(home)
    words = ["estimate", "tiny.nas", "--data", "folder:data", "--strategy", "random"]
    words += ["--device", "cpu", "--recipe", "quick"]
    before = {*home.rglob("*")}
    assert main([*words, "--memory", "8 GiB"]) == 0
    told = capsys.readouterr().out
    for name in ("parameters", "memory of a step", "time of a step", "together"):
        assert f"\n{name} " in told
    assert "search: the supernet" in told
    assert "\nlargest batch in 8.0 GiB " in told
    assert main([*words, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["search"]["cost"]["parameters"] == graph_cost(SPACE.graph).parameters
    assert record["training"]["batch_size"] == 48  # all there are; 128 by the recipe
    assert {*home.rglob("*")} == before


def test_latencies_are_shown_without_a_budget(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(home)
    table = str(tmp_path / "latency.json")
    assert main(["measure", "tiny.nas", "-o", table, "--device", "cpu"]) == 0
    words = ["estimate", "tiny.nas", "--data", "folder:data", "--strategy", "largest"]
    assert main([*words, "--device", "cpu", "--latencies", table]) == 0
    [row] = [r for r in capsys.readouterr().out.splitlines() if r.startswith("latency, sum of ope")]
    supernet, biggest = re.findall(r"[\d.]+ (?:us|ms)", row)
    assert supernet != biggest


@pytest.mark.parametrize("widths", [[], ["--compress"]])
def test_a_budget_that_nothing_meets_is_refused_as_a_search_refuses_it(
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    widths: list[str],
) -> None:
    monkeypatch.chdir(home)
    words = ["tiny.nas", "--data", "folder:data", "--budget", "parameters=1", *widths]
    said = []
    for command in (["estimate"], ["search", "-o", "run"]):
        assert main([*command, *words]) == 2
        said.append(capsys.readouterr().err)
    assert said[0] == said[1]
    assert said[0].startswith("error[D604]: no member of the space ")


@pytest.mark.parametrize(
    ("text", "size"),
    [("8GiB", 2**33), ("500 MB", 5 * 10**8), ("1.5gib", 3 * 2**29), ("64kb", 64_000)],
)
def test_sizes_of_memory(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "8", "GiB", "-1GiB", "0GiB", "8 parsecs", "9" * 400 + "GiB"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(DiagnosticError) as caught:
        parse_bytes(text)
    [diagnostic] = caught.value.diagnostics
    assert (diagnostic.code, diagnostic.message) == ("D418", f"cannot read `--memory {text}`")
    assert diagnostic.help == "write a number and a unit, as in `--memory 8GiB`"


def test_what_is_for_a_search_alone_is_refused(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(home)
    fixed = (
        "network net(x: [1, 8, 8]) -> (y: [3]) {\n    x -> y : global_avg_pool >> linear(3)\n}\n"
    )
    Path("fixed.nas").write_text(fixed, encoding="utf-8")
    words = ["estimate", "fixed.nas", "--data", "folder:data"]
    assert main([*words, "--strategy", "random"]) == 2
    assert "error[D423]" in capsys.readouterr().err
    assert main([*words, "--option", "rounds=3"]) == 2
    assert "error[D230]: unknown train setting `rounds`" in capsys.readouterr().err
