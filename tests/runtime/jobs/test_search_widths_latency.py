"""Operations and widths searched under a budget of latency: what operations take is made up here,
by what they are and what they read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from attrs import evolve
from living import TINY, lines, striped, without_seconds, write_tiny
from stops import stopped_in_round
from support import assert_style, compile_text

from bayesnas.cli import main
from bayesnas.compiler.graph.cost import graph_cost
from bayesnas.compiler.graph.model import BudgetConstraint
from bayesnas.compiler.pipeline import Compiled, compile_spec
from bayesnas.compiler.settings import SearchSettings, make_settings
from bayesnas.compiler.slices.counts import kept_cost, kept_costs
from bayesnas.compiler.slices.groups import coupled_slices
from bayesnas.compiler.space.choices import member_space
from bayesnas.compiler.space.latencies import Measured
from bayesnas.compiler.space.latency_file import read_latencies
from bayesnas.compiler.space.members import prune_to
from bayesnas.compiler.space.prices import Prices
from bayesnas.dsl.diagnostics import DiagnosticError
from bayesnas.runtime.jobs.compression.pacing import Clock
from bayesnas.runtime.jobs.costs import latency
from bayesnas.runtime.jobs.search.result import SearchResult
from bayesnas.runtime.jobs.search.search import search
from bayesnas.runtime.jobs.search.space import Space
from bayesnas.runtime.runs.record import RunOptions
from bayesnas.runtime.strategies.widths.costs import least_member

CPU = torch.device("cpu")
SEEN: list[Any] = []  # what was measured


def made_up(calls: Mapping[Any, Any], _device: torch.device, _tell: bool = True) -> dict[Any, Any]:
    """1,000 ns a channel that is read and 300 a letter of what is done; a call takes 500 more."""

    def time(key: Any) -> int:
        if not isinstance(key, tuple):
            return 500
        return 500 + 300 * len(key[0]) + 1000 * sum(shape[0] for shape in key[1])

    SEEN.extend(calls)
    return {key: Measured(time(key), time(key), time(key)) for key in calls}


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    SEEN.clear()
    monkeypatch.setattr(latency, "turns", made_up)
    monkeypatch.setattr("bayesnas.compiler.artifacts.figure.has_dot", lambda: False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return striped(tmp_path_factory.mktemp("striped"))


@pytest.fixture(scope="module")
def space() -> Compiled:
    return compile_text(TINY.replace("width = 2", "width = 4"))


def least(compiled: Compiled) -> int:
    """What the fastest member takes at one channel everywhere."""
    clock, prices = Clock.of(compiled, (), CPU), Prices.of(compiled.graph, ())
    budgets = [BudgetConstraint("latency", 1000)]
    found = least_member(member_space(compiled.graph), prices, clock.slices, budgets)
    assert found is not None
    return found[1].of("latency")


def run(
    space: Compiled, folder: Path, out: Path, limit: int = 0, resume: bool = False, **more: str
) -> SearchResult:
    joint: dict[str, float | str] = {"compress": "yes", "curvature_examples": 16}
    joint |= {"strategy": "bayesnas"}
    settings = make_settings(SearchSettings, {**space.settings("search"), **joint, **more})
    options = RunOptions(f"folder:{folder}", out, seed=3, device="cpu", resume=resume)
    budgets = (BudgetConstraint("latency", limit),) if limit else ()
    return search(Space(space, budgets=budgets), settings, options)


@pytest.mark.parametrize(("strategy", "room"), [("bayesnas", 1.0), ("evidence", 1.6)])
def test_what_is_found_is_as_fast_as_was_asked(
    strategy: str, room: float, space: Compiled, folder: Path, tmp_path: Path
) -> None:
    limit = round(room * least(space))
    result = run(space, folder, tmp_path, limit, strategy=strategy)
    found = compile_spec(tmp_path / "pruned.nas")
    table = read_latencies(tmp_path / "latencies.json")
    took = graph_cost(table.priced(found.graph)).of("latency")
    assert took == result.found.latency
    assert 0.85 * limit < took <= limit < result.supernet.of("latency")
    assert not found.graph.searched()


def test_a_search_goes_on_with_what_was_measured(
    space: Compiled, folder: Path, tmp_path: Path
) -> None:
    limit = round(1.5 * least(space))
    budget = BudgetConstraint("latency", limit)
    timed = evolve(space, graph=evolve(space.graph, budgets=(budget,)))  # the spec's own
    whole = run(timed, folder, tmp_path / "whole")
    with stopped_in_round(2), pytest.raises(KeyboardInterrupt):
        run(timed, folder, tmp_path / "cut")
    begun = read_latencies(tmp_path / "cut" / "latencies.json").operations
    SEEN.clear()
    again = run(timed, folder, tmp_path / "cut", resume=True)
    assert not set(SEEN) & begun.keys()
    assert again.found == whole.found
    for name in ("pruned.nas", "slices.jsonl", "layers.jsonl"):
        assert (tmp_path / "cut" / name).read_text() == (tmp_path / "whole" / name).read_text()
    ends = [without_seconds(lines(tmp_path / name / "history.jsonl")) for name in ("whole", "cut")]
    assert ends[0] == ends[1]


def test_what_edges_take_adds_up_to_the_member(space: Compiled) -> None:
    clock = Clock.of(space, (), CPU)
    for graph in (space.graph, prune_to(space.graph, member_space(space.graph).draw(Random(0)))):
        slices = coupled_slices(graph)
        member = clock.on(graph, slices)
        for kept in ({}, {s: range(s.size // 2) for s in slices.removable}):
            whole = kept_cost(graph, member.slices, kept).of("latency")
            assert whole == pytest.approx(member.takes(kept), rel=0.03)
            edges = kept_costs(graph, member.slices, kept).values()
            assert sum(cost.of("latency") for cost in edges) - (whole - member.pace.call) >= 0
    assert kept_cost(space.graph, clock.slices, {}).latency == clock.takes({})


def test_what_nothing_meets_is_said_before_any_training(
    space: Compiled, folder: Path, tmp_path: Path
) -> None:
    limit = least(space)
    with pytest.raises(DiagnosticError) as caught:
        run(space, folder, tmp_path / "out", limit - 1)
    [diagnostic] = caught.value.diagnostics
    assert_style(diagnostic)
    assert (diagnostic.code, caught.value.status) == ("D604", 2)
    assert f"and takes {limit / 1000:g} us" in diagnostic.notes[1]
    with pytest.raises(DiagnosticError) as caught:
        run(space, folder, tmp_path / "out", 2 * limit, discretize="no")
    [diagnostic] = caught.value.diagnostics
    assert_style(diagnostic)
    assert diagnostic.code == "D232"
    assert not (tmp_path / "out").exists()


def test_a_table_is_refused_where_widths_are_searched(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec, table = str(write_tiny(tmp_path)), str(tmp_path / "latency.json")
    assert main(["measure", spec, "-o", table]) == 0
    command = ["search", spec, "--data", f"folder:{folder}", "-o", str(tmp_path / "out")]
    assert main([*command, "--compress", "--budget", "latency=5ms", "--latencies", table]) == 2
    told = capsys.readouterr().err
    assert "error[D423]: `--latencies` does nothing where widths are searched" in told
    assert not (tmp_path / "out").exists()
