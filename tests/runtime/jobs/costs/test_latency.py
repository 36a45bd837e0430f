"""Latencies measured here, and searches that are held to them."""

from __future__ import annotations

import json
import shlex
import time
from pathlib import Path
from threading import Thread

import pytest
import torch
from living import TINY, found_network, packaged, striped, write_tiny
from support import compile_text

from bayesnas.cli import main
from bayesnas.commands.values import parse_budgets
from bayesnas.compiler.graph.cost import graph_cost
from bayesnas.compiler.pipeline import compile_spec
from bayesnas.compiler.space.latencies import Latencies, works_of
from bayesnas.compiler.space.latency_file import latencies_json, read_latencies
from bayesnas.runtime.jobs.costs import latency
from bayesnas.runtime.report.files import RunFiles
from bayesnas.runtime.report.sections.making import command_of

CPU = torch.device("cpu")
SEARCH = (
    "search tiny.nas --data folder:data --device cpu --strategy random "
    "--option warmup_epochs=0 --option epochs=0 --option rounds=1 --option draws=2 -o run"
)


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "RUNS", 3)
    monkeypatch.setattr(latency, "DRAWN", 2)
    monkeypatch.setattr("bayesnas.compiler.artifacts.figure.has_dot", lambda: False)


@pytest.mark.parametrize("name", ["vision_blocks", "siamese", "text", "table"])
def test_everything_in_a_space_is_measured(name: str) -> None:
    space = compile_spec(name) if name == "text" else packaged(name)
    table = latency.measure(space, CPU, 2)
    assert list(table.operations) == [work for work, _ in works_of(space.graph)]
    for measured in (table.call, *table.operations.values()):
        assert 0 <= measured.low <= measured.median <= measured.high
    assert [whole.member for whole in table.wholes] == [
        "random, seed 0",
        "random, seed 1",
        "the biggest",
    ]
    assert all(whole.whole > 0 for whole in table.wholes)
    assert table.error is not None
    assert (table.batch, table.about["device"]) == (2, "cpu")


def test_a_network_without_a_search_is_measured_whole() -> None:
    network = found_network(compile_text(TINY))
    table = latency.measure(network, CPU, 1)
    [whole] = table.wholes
    assert whole.member == "the network"
    assert whole.sum == graph_cost(table.priced(network.graph)).latency


def test_other_work_on_the_processor_is_told() -> None:
    assert latency.busy(0.95) == ""
    assert latency.busy(0.4).startswith("other work took the processor for 60% of the time")


def test_one_thread_is_not_timed_while_others_work() -> None:
    other = Thread(target=lambda: sum(range(2_000_000)))
    clock, process = latency.clock_of(1), time.process_time_ns
    own, all_of_them = clock(), process()
    other.start()
    other.join()
    assert clock() - own < (process() - all_of_them) / 2
    assert latency.clock_of(2) is time.perf_counter_ns


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A spec, its data and a table of it."""
    home = tmp_path_factory.mktemp("home")
    write_tiny(home)
    striped(home / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.setattr(latency, "RUNS", 3)
        assert main(["measure", "tiny.nas", "-o", "latency.json", "--batch", "4"]) == 0
    return home


def table_of(home: Path) -> Latencies:
    return read_latencies(home / "latency.json")


def test_a_table_that_is_there_stays(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (home / "latency.json").read_bytes()
    file = str(home / "latency.json")
    assert main(["measure", str(home / "tiny.nas"), "-o", file]) == 2
    assert "error[D413]" in capsys.readouterr().err
    assert (home / "latency.json").read_bytes() == before


@pytest.mark.parametrize("batch", ["0", "-1", "1000000"])
def test_batches_that_cannot_be(batch: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["measure", "digits_cell", "--batch", batch]) == 2
    assert f"error[D418]: cannot measure a batch of {batch}\n" in capsys.readouterr().err


def test_members_are_counted_by_their_time(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(home)
    assert main(["count", "tiny.nas"]) == 0
    assert "latency" not in capsys.readouterr().out
    assert main(["count", "tiny.nas", "--latencies", "latency.json"]) == 0
    assert "\n  latency               " in capsys.readouterr().out
    assert main(["sample", "tiny.nas", "--latencies", "latency.json"]) == 0
    assert " FLOPs per example, " in capsys.readouterr().out.splitlines()[1]


def test_a_search_keeps_to_a_budget_of_latency(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(home)
    space = compile_spec("tiny.nas").priced(table_of(home))
    whole = graph_cost(space.graph).of("latency")
    limit = whole * 3 // 4 // 1000  # microseconds
    words = [*shlex.split(SEARCH), "--budget", f"latency={limit}us"]
    assert main(words) == 2
    assert "error[D611]: a budget of latency, and no latencies\n" in capsys.readouterr().err
    assert main([*words, "--latencies", "latency.json"]) == 0
    result = json.loads(Path("run/result.json").read_text("utf-8"))
    assert 0 < result["found"]["latency"] <= 1000 * limit
    assert result["supernet"]["latency"] == whole
    assert "latency" in capsys.readouterr().out
    kept = read_latencies(Path("run/latencies.json"))
    assert latencies_json(kept) == latencies_json(table_of(home))
    command = shlex.split(command_of(RunFiles.open(Path("run"))))
    assert command[command.index("--latencies") + 1] == "run/latencies.json"
    [budget] = parse_budgets([command[command.index("--budget") + 1]])
    assert (budget.cost, budget.limit) == ("latency", 1000 * limit)
    other = json.loads(Path("latency.json").read_text("utf-8"))
    other["call"]["median"] += 1
    Path("other.json").write_text(json.dumps(other), "utf-8")
    assert main([*words, "--latencies", "other.json", "--resume"]) == 2
    assert "differs in its table of latencies\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        ("latency=5", "latency is a time"),
        ("latency=5M", "latency is a time"),
        ("flops=5ms", "flops is no time"),
    ],
)
def test_budgets_in_the_wrong_unit(
    budget: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["search", "digits_cell", "--data", "digits", "-o", "x", "--budget", budget]) == 2
    told = capsys.readouterr().err
    assert f"error[D418]: cannot read `--budget {budget}`: {message}\n" in told
