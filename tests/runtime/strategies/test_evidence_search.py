"""Searches by the strategy `evidence`, end to end, on two tied cells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from attrs import evolve
from living import CELLS, SAME, budget, images, lines, watch_judge, without_seconds
from support import compile_text, is_member

from bayesnas.compiler.artifacts.graph_file import graph_from_json
from bayesnas.compiler.graph.cost import graph_cost
from bayesnas.compiler.graph.model import BudgetConstraint
from bayesnas.compiler.pipeline import compile_spec
from bayesnas.compiler.settings import SearchSettings
from bayesnas.compiler.space.choices import Member, MemberSpace, dropped, member_space
from bayesnas.compiler.space.members import prune_to
from bayesnas.compiler.space.prices import Prices
from bayesnas.runtime.jobs.search import search as search_module
from bayesnas.runtime.jobs.search.result import SearchResult
from bayesnas.runtime.jobs.search.search import search
from bayesnas.runtime.jobs.search.space import Space
from bayesnas.runtime.runs.record import RunOptions
from bayesnas.runtime.strategies import interface as strategy_module
from bayesnas.runtime.strategies.evidence import Evidence, Look
from bayesnas.runtime.strategies.sampling import draw_members

# Two tied cells; into h[0] a connection that may be dropped, into h[1] one of two.
SPACE = compile_text(CELLS)


def cost(member: Member) -> int:
    return graph_cost(prune_to(SPACE.graph, member)).parameters


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pictures, and data at hand."""
    monkeypatch.setattr("bayesnas.compiler.artifacts.figure.has_dot", lambda: False)
    monkeypatch.setattr(search_module, "load_data", lambda *_, **__: images())


QUICK: dict[str, float | str] = {
    "strategy": "evidence", "warmup_epochs": 1, "rounds": 3, "epochs": 1, "batch_size": 16,
}  # fmt: skip


def run(
    out: Path, *budgets: BudgetConstraint, resume: bool = False, **settings: float | str
) -> SearchResult:
    chosen = SearchSettings(**(QUICK | settings))  # type: ignore[arg-type]
    options = RunOptions("images", out, seed=3, device="cpu", resume=resume)
    return search(Space(SPACE, budgets=budgets), chosen, options)


def left(out: Path) -> Member:
    rows = lines(out / "gates.jsonl")
    return frozenset(row["group"] for row in rows if row["removed_by"] is None)


@pytest.mark.parametrize("limit", [None, 250, 130])
def test_one_member_is_left(limit: int | None, tmp_path: Path) -> None:
    result = run(tmp_path / "o", *(budget("parameters", limit) if limit else ()), draws=1)
    member = left(tmp_path / "o")
    assert is_member(member_space(SPACE.graph), member)
    assert result.operations_left == len(member)
    assert graph_cost(compile_spec(tmp_path / "o" / "pruned.nas").graph) == result.found
    assert result.found == graph_cost(prune_to(SPACE.graph, member))
    assert limit is None or result.found.parameters <= limit
    assert {row["removed_by"] for row in lines(tmp_path / "o" / "gates.jsonl")} == {
        "evidence",
        None,
    }


def test_all_files_tell_the_same_removals(tmp_path: Path) -> None:
    out = tmp_path / "o"
    run(out)
    told = {
        group: (row["round"], reason)
        for row in lines(out / "history.jsonl")
        for group, reason in row["removed"].items()
    }
    for row in lines(out / "gates.jsonl"):
        expected = told.get(row["group"], (None, None))
        assert (row["removed_in_round"], row["removed_by"]) == expected
    graph, found = graph_from_json((out / "graph.json").read_text(encoding="utf-8"), "graph.json")
    rounds = {
        e.id: told[e.searched_gate.group][0]
        for e in graph.searched()
        if e.searched_gate.group in told
    }
    assert dict(found.removed) == rounds
    alive = [row["alive"] for row in lines(out / "history.jsonl")]
    assert alive[0] == 7
    assert alive == sorted(alive, reverse=True)
    assert alive[-1] == len(left(out))


@pytest.mark.parametrize("limit", [None, 200])
def test_several_operations_may_stay(limit: int | None, tmp_path: Path) -> None:
    """What is left meets `retain` and the budget, all together."""
    out = tmp_path / "o"
    result = run(out, *(budget("parameters", limit) if limit else ()), discretize="no")
    graph = compile_spec(out / "pruned.nas").graph
    for node in ("body[0].h[1]", "body[1].h[1]"):
        if node in graph.network:
            assert len(graph.connections(node)) <= 1
    assert limit is None or result.found.parameters <= limit
    kept = left(out)
    assert any(member <= kept for member in member_space(SPACE.graph).members())


def test_nothing_goes_that_is_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `discretize = no`, once the constraints hold."""

    def changes(_: Look, space: MemberSpace) -> dict[str, float]:
        return {option: -1.0 if "->h[1]" in option else -2.0 for option in space.options()}

    monkeypatch.setattr(Look, "changes", changes)
    run(tmp_path / "o", discretize="no")
    space = member_space(SPACE.graph).restricted(left(tmp_path / "o"))
    assert {c.target: len(c.options) for c in space.connections} == {
        "body.h[0]": 3,
        "body.h[1]": 2,
    }


def test_no_constraint_takes_what_it_does_not_concern(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`retain 1 into h[1]` says nothing about h[0]."""

    def changes(_: Look, space: MemberSpace) -> dict[str, float]:
        return {option: -2.0 if "->h[1]" in option else -1.0 for option in space.options()}

    monkeypatch.setattr(Look, "changes", changes)
    run(tmp_path / "o", discretize="no")
    into = [group for group in left(tmp_path / "o") if "->h[0]" in group]
    assert len(into) == 3


@pytest.mark.parametrize("limit", [None, 250])
def test_a_way_to_the_output_is_left(
    limit: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the evidence says: here it says that nothing shall come from `a`."""

    def changes(_: Look, space: MemberSpace) -> dict[str, float]:
        return {option: 1.0 if "a->" in option else -1.0 for option in space.options()} | {
            "body.a->h[0]:dropped": -2.0
        }

    monkeypatch.setattr(Look, "changes", changes)
    run(tmp_path / "o", *(budget("parameters", limit) if limit else ()))
    assert Prices.of(SPACE.graph, ()).life.alive(left(tmp_path / "o"))


def test_nothing_is_missed_and_all_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `discretize = no`, while the evidence rises."""
    monkeypatch.setattr(Look, "changes", lambda _, space: dict.fromkeys(space.options(), 1.0))
    run(tmp_path / "o", discretize="no")
    assert is_member(member_space(SPACE.graph), left(tmp_path / "o"))


def test_a_choice_that_does_not_change_is_taken(tmp_path: Path) -> None:
    result = run(tmp_path / "o", rounds=40, epochs=0, draws=1)
    assert result.rounds < 40
    assert is_member(member_space(SPACE.graph), left(tmp_path / "o"))


@pytest.mark.parametrize("draws", [0, 6])
@pytest.mark.parametrize("limit", [None, 370, 200])  # inside 200 one member alone is drawn
def test_drawn_members_are_judged(
    draws: int, limit: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def drawn(*arguments: Any) -> list[Member]:
        asked.append(arguments[-1])
        return draw_members(*arguments)

    asked: list[int] = []
    losses = watch_judge(monkeypatch)
    monkeypatch.setattr(strategy_module, "draw_members", drawn)
    out = tmp_path / "o"
    result = run(out, *(budget("parameters", limit) if limit else ()), draws=draws)
    member = left(out)
    assert asked == [draws or 24]
    assert len(losses) <= 1 + asked[0]
    if limit == 200:
        assert not losses
    else:
        assert len(losses) > 1
        assert losses[member] == min(losses.values())
    assert limit is None or all(cost(m) <= limit for m in losses)
    assert limit is None or result.found.parameters <= limit
    history = lines(out / "history.jsonl")
    assert {*history[-1]["removed"].values()} <= {"judged"}
    assert all({*row["removed"].values()} <= {"evidence"} for row in history[:-1])


@pytest.mark.parametrize(("draws", "reasons"), [(0, {"evidence"}), (3, {"evidence", "judged"})])
def test_where_several_may_stay_a_member_is_drawn_if_asked(
    draws: int, reasons: set[str], tmp_path: Path
) -> None:
    run(tmp_path / "o", discretize="no", draws=draws)
    rows = lines(tmp_path / "o" / "gates.jsonl")
    assert {row["removed_by"] for row in rows} - {None, "dead"} <= reasons
    assert is_member(member_space(SPACE.graph), left(tmp_path / "o")) or not draws


# -------------------------------------------------------------------------------------- resumed


# 48 images train in 3 steps an epoch: the warm-up ends after 3, the rounds after 6, 9 and 12.
@pytest.mark.parametrize(
    ("step", "settings"),
    [(3, {}), (8, {"draws": 1}), (10, {"draws": 4}), (7, {"discretize": "no"})],
    ids=str,
)
def test_a_resumed_search_ends_as_an_undisturbed_one(
    step: int, settings: dict[str, Any], tmp_path: Path
) -> None:
    limits = budget("parameters", 250)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    expected = run(whole, *limits, **settings)
    with pytest.MonkeyPatch.context() as patch:
        one_step, count = Evidence.step, iter(range(10**6))

        def interrupted(self: Evidence, *arguments: Any) -> float:
            if next(count) == step:
                raise KeyboardInterrupt
            return one_step(self, *arguments)

        patch.setattr(Evidence, "step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(cut, *limits, **settings)
    assert not (cut / "result.json").exists()
    torch.manual_seed(999)
    found = run(cut, *limits, resume=True, **settings)
    plain = {"seconds": 0, "figure": "", "advice": ""}
    assert evolve(found, **plain) == evolve(expected, **plain)
    for name in SAME:
        assert (cut / name).read_bytes() == (whole / name).read_bytes(), name
    histories = [without_seconds(lines(out / "history.jsonl")) for out in (whole, cut)]
    assert histories[0] == histories[1]


def test_dropped_is_an_option() -> None:
    """What the tests above rest on."""
    space = member_space(SPACE.graph)
    assert [c.name for c in space.connections if dropped(c) in space.options()] == ["body.a->h[0]"]
