"""Every strategy on one small space: members inside budgets, resumed alike; proxies."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from attrs import evolve
from living import CELLS, budget, images, lines, snapshot, watch_judge
from support import assert_style, compile_text, is_member
from torch import Tensor
from torch.nn.functional import cross_entropy

from bayesnas.compiler.graph.cost import graph_cost
from bayesnas.compiler.graph.model import BudgetConstraint, CostName
from bayesnas.compiler.pipeline import Compiled, compile_spec
from bayesnas.compiler.settings import STRATEGIES, SearchSettings
from bayesnas.compiler.space.choices import Member, dropped, member_space
from bayesnas.compiler.space.members import dead_groups, prune_to, reach
from bayesnas.compiler.space.prices import Prices
from bayesnas.dsl.diagnostics import DiagnosticError
from bayesnas.runtime.jobs.search import search as search_module
from bayesnas.runtime.jobs.search.result import SearchResult
from bayesnas.runtime.jobs.search.search import search
from bayesnas.runtime.jobs.search.space import Space
from bayesnas.runtime.runs.record import RunOptions
from bayesnas.runtime.strategies.darts import Darts
from bayesnas.runtime.strategies.interface import Problem
from bayesnas.runtime.strategies.magnitude import Magnitude
from bayesnas.runtime.strategies.posterior.strategy import Posterior
from bayesnas.runtime.strategies.random_members import RandomChoice
from bayesnas.runtime.strategies.registry import strategy_class
from bayesnas.runtime.supernet.supernet import Supernet
from bayesnas.runtime.tasks.bundle import Inputs

CPU = torch.device("cpu")
LOOSE = CELLS.replace("tied chain", "chain")  # each cell chooses for itself
SPACE = compile_text(CELLS)
LIMIT = 250  # of parameters; members have from 63 to more than 600


pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.fixture
def _at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_module, "load_data", lambda *_, **__: images())


def run(
    space: Space, name: str, out: Path, resume: bool = False, **settings: float | str
) -> SearchResult:
    values = {**space.wanted.settings("search"), "strategy": name, **settings}
    options = RunOptions("images", out, seed=3, device="cpu", resume=resume)
    return search(space, SearchSettings(**values), options)


def left(out: Path) -> Member:
    rows = lines(out / "gates.jsonl")
    return frozenset(row["group"] for row in rows if row["removed_by"] is None)


def cost(member: Member, name: CostName = "parameters", space: Compiled = SPACE) -> int:
    return graph_cost(prune_to(space.graph, member)).of(name)


def living(space: Compiled = SPACE) -> list[Member]:
    prices = Prices.of(space.graph, ())
    return [m for m in member_space(space.graph).members() if prices.life.alive(m)]


def network_of(member: Member) -> Member:
    return member.difference(dead_groups(SPACE.graph, member))


def problem_of(name: str, *budgets: BudgetConstraint) -> Problem:
    settings = SearchSettings(batch_size=16, strategy=name)
    net = Supernet(SPACE.graph, "net", images(), settings, 3, CPU)
    return Problem(net, Prices.of(SPACE.graph, budgets), settings, 3)


# -------------------------------------------------------------------------------------- all of them


@pytest.mark.usefixtures("_at_hand")
@pytest.mark.parametrize(
    ("name", "limits"),
    [
        (name, limits)
        for name in STRATEGIES
        for limits in ((), budget("parameters", LIMIT), budget("flops", 20_000))
    ],
)
def test_a_member_inside_the_budget_is_found(
    name: str, limits: tuple[BudgetConstraint, ...], tmp_path: Path
) -> None:
    out = tmp_path / "o"
    result = run(Space(SPACE, budgets=limits), name, out)
    member = left(out)
    assert is_member(member_space(SPACE.graph), member)
    assert result.found == graph_cost(prune_to(SPACE.graph, member))
    assert result.found == graph_cost(compile_spec(out / "pruned.nas").graph)
    for limit in limits:
        assert result.found.of(limit.cost) <= limit.limit
    assert result.strategy == name
    assert (result.images_trained > 0) == strategy_class(name).trains
    told = {g: row["round"] for row in lines(out / "history.jsonl") for g in row["removed"]}
    gates = lines(out / "gates.jsonl")
    assert {row["group"]: row["removed_in_round"] for row in gates} == {
        group: told.get(group) for group in SPACE.graph.groups()
    }


@pytest.mark.usefixtures("_at_hand")
@pytest.mark.parametrize(
    "name",
    [
        "evidence",
        "bayesnas",
        "random",
        "darts",
        "magnitude",
        "largest",
    ],
)
def test_two_budgets(name: str, tmp_path: Path) -> None:
    limits = (*budget("parameters", LIMIT), *budget("flops", 20_000))
    found = run(Space(SPACE, budgets=limits), name, tmp_path / "o").found
    assert found.parameters <= LIMIT
    assert found.flops <= 20_000


@pytest.mark.usefixtures("_at_hand")
@pytest.mark.parametrize("name", ["evidence", "largest", "magnitude"])
def test_the_budget_of_the_spec(name: str, tmp_path: Path) -> None:
    """`--budget` of the same cost stands over it."""
    text = CELLS.replace("    stem =", "    budget parameters <= 250\n    stem =")
    space = compile_text(text)
    assert run(Space(space), name, tmp_path / "spec").found.parameters <= 250
    lower = Space(space, budgets=budget("parameters", 150))
    assert run(lower, name, tmp_path / "given").found.parameters <= 150
    assert Space(space, budgets=budget("flops", 9)).limits[0].cost == "flops"
    assert len(Space(space, budgets=budget("flops", 9)).limits) == 2
    assert lower.limits == budget("parameters", 150)


@pytest.mark.usefixtures("_at_hand")
@pytest.mark.parametrize("name", STRATEGIES)
def test_no_member_fits_a_budget(name: str, tmp_path: Path) -> None:
    with pytest.raises(DiagnosticError) as caught:
        run(Space(SPACE, budgets=budget("parameters", 10)), name, tmp_path / "o")
    [found] = caught.value.diagnostics
    assert (found.code, caught.value.status) == ("D604", 2)
    assert found.message == "no member of the space was found inside the budget"
    least = reach(SPACE.graph).smallest
    assert found.notes == (
        "budget: parameters <= 10",
        f"the smallest member found has {least.parameters:,} parameters and {least.flops:,} FLOPs",
    )
    assert_style(found)
    assert not (tmp_path / "o").exists()


@pytest.mark.usefixtures("_at_hand")
def test_every_member_loses_an_input(tmp_path: Path) -> None:
    """No budget is to blame."""
    text = "node h {a, b} ~> h : conv(1) | skip retain 1 into h h -> y : global_avg_pool"
    space = compile_text(f"network net(a: [3, 8, 8], b: [3, 8, 8]) -> (y: [3]) {{ {text} }}")
    with pytest.raises(DiagnosticError) as caught:
        run(Space(space), "posterior", tmp_path / "o")
    [found] = caught.value.diagnostics
    assert (found.code, caught.value.status) == ("D601", 2)
    assert found.message == "no member of the space was found that joins all inputs and outputs"
    assert_style(found)


def test_a_budget_of_free_operations_alone() -> None:
    smallest = min(map(cost, living()))
    assert Prices.of(SPACE.graph, budget("parameters", smallest))


@pytest.mark.usefixtures("_at_hand")
def test_a_budget_of_just_one_member(tmp_path: Path) -> None:
    limit = sorted(set(map(cost, living())))[-2]
    space = Space(SPACE, budgets=budget("parameters", limit))
    assert run(space, "largest", tmp_path / "o").found.parameters == limit


SAME = ("pruned.nas", "gates.jsonl", "graph.json", "gamma.json", "gamma.md", "supernet.py")


# 48 images train in 3 steps an epoch: the warm-up ends after 3, the rounds after 6 and 9.
@pytest.mark.usefixtures("_at_hand")
@pytest.mark.parametrize("name", ["bayesnas", "random", "darts", "magnitude", "pgnas"])
def test_a_resumed_search_ends_as_an_undisturbed_one(name: str, tmp_path: Path) -> None:
    space = Space(SPACE, budgets=budget("parameters", LIMIT) if name != "bayesnas" else ())
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    expected = run(space, name, whole)
    with pytest.MonkeyPatch.context() as patch:
        step, count = strategy_class(name).step, iter(range(10**6))

        def interrupted(self: object, *arguments: Any) -> float:
            if next(count) == 7:
                raise KeyboardInterrupt
            return step(self, *arguments)  # type: ignore[arg-type]

        patch.setattr(strategy_class(name), "step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(space, name, cut)
    torch.manual_seed(999)
    found = run(space, name, cut, resume=True)
    plain = {"seconds": 0, "figure": "", "advice": ""}
    assert evolve(found, **plain) == evolve(expected, **plain)
    for file in SAME:
        assert (cut / file).read_bytes() == (whole / file).read_bytes(), file


# -------------------------------------------------------------------------------------- each


@pytest.mark.usefixtures("_at_hand")
@pytest.mark.parametrize(
    ("cost_name", "limit"),
    [("parameters", None), ("parameters", 400), ("parameters", 150), ("flops", 20_000)],
)
def test_the_largest_is_the_largest_that_fits(
    cost_name: CostName, limit: int | None, tmp_path: Path
) -> None:
    limits = budget(cost_name, limit) if limit else ()
    result = run(Space(SPACE, budgets=limits), "largest", tmp_path / "o")
    sizes = [cost(m, cost_name) for m in living()]
    expected = max(size for size in sizes if limit is None or size <= limit)
    assert result.found.of(cost_name) == expected
    assert (result.rounds, result.images_trained) == (1, 0)


@pytest.mark.usefixtures("_at_hand")
@pytest.mark.parametrize("name", ["evidence", "random"])
def test_with_one_draw_nothing_is_judged(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = watch_judge(monkeypatch)
    run(Space(SPACE), name, tmp_path / "one", draws=1, epochs=14)
    assert not losses
    run(Space(SPACE), name, tmp_path / "many", draws=12, epochs=14)
    assert len(losses) > 1


@pytest.mark.usefixtures("_at_hand")
@pytest.mark.parametrize("limits", [(), budget("parameters", LIMIT)])
def test_what_is_believed_of_members_is_written(
    limits: tuple[BudgetConstraint, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "o"
    run(Space(SPACE, budgets=limits), "posterior", out, draws=12, epochs=14)
    rows = lines(out / "members.jsonl")
    assert [row["loss"] for row in rows] == sorted(row["loss"] for row in rows)
    assert frozenset(rows[0]["member"]) >= left(out)
    assert rows[0]["better"] == 0
    assert sum(row["best"] for row in rows) <= 1 + 1e-9
    members = [frozenset(row["member"]) for row in rows]
    assert len(members) == len(set(map(network_of, members)))
    inside = [m for m in living() if not limits or cost(m) <= LIMIT]
    assert len(members) == min(12, len(set(map(network_of, inside))))
    for row, member in zip(rows, members, strict=True):
        assert is_member(member_space(SPACE.graph), member)
        assert row["parameters"] == cost(member)
        assert not limits or row["parameters"] <= LIMIT
        assert row["best"] <= row["close"]
        assert row["error"] > 0
    (biggest,) = [row for row in rows if row["biggest"]]
    assert biggest["parameters"] == max(map(cost, inside))
    all_undecided = [row for row in rows[1:] if row["better"] >= 0.25]
    undecided = all_undecided[:3]
    specs = sorted(path.name for path in out.glob("runner_up_*.nas"))
    assert specs == [f"runner_up_{n}.nas" for n in range(1, len(undecided) + 1)]
    for name, row in zip(specs, undecided, strict=True):
        assert graph_cost(compile_spec(out / name).graph).parameters == row["parameters"]
    said = capsys.readouterr().err
    assert "by the posterior the chance that its loss is within 1 % of the best's is" in said
    chance = "less than 1%" if biggest["better"] < 0.01 else f"{biggest['better']:.0%}"
    told = f", and that the biggest member is better is {chance}"
    assert (told in said) == (biggest is not rows[0])
    assert all(f"`{name}`" in said for name in specs)
    count = len(all_undecided)
    assert (f"between it and {count} others" in said) == (count > 1)
    assert ("the best of them are" in said) == (count > 3)


@pytest.mark.usefixtures("_at_hand")
def test_members_are_trained_and_judged_without_what_nothing_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else what is judged is not what is kept: of nothing, too, a bias makes something."""
    whole_losses, whole_step = Supernet.losses, Posterior.learn_member
    seen: dict[str, set[Member]] = {"judged": set(), "trained": set()}

    def losses(net: Supernet, member: Member, *rest: Any) -> Tensor:
        seen["judged"].add(member)
        return whole_losses(net, member, *rest)

    def step(strategy: Posterior, inputs: Inputs, targets: Tensor, member: Member) -> float:
        seen["trained"].add(member)
        return whole_step(strategy, inputs, targets, member)

    monkeypatch.setattr(Supernet, "losses", losses)
    monkeypatch.setattr(Posterior, "learn_member", step)
    space = compile_text(CELLS.replace("retain", "# retain"))
    run(Space(space), "posterior", tmp_path / "o", draws=12, epochs=14)
    assert any(dead_groups(space.graph, member) for member in living(space))
    for members in seen.values():
        assert len(members) > 5
        assert not any(dead_groups(space.graph, member) for member in members)


@pytest.mark.usefixtures("_at_hand")
@pytest.mark.parametrize("draws", [0, 5])
def test_random_takes_the_best_of_those_it_judged(
    draws: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = watch_judge(monkeypatch)
    out = tmp_path / "o"
    run(Space(SPACE, budgets=budget("parameters", LIMIT)), "random", out, draws=draws)
    assert 1 < len(losses) <= (draws or 24)
    assert all(cost(member) <= LIMIT for member in losses)
    assert losses[left(out)] == min(losses.values())
    assert {r for row in lines(out / "history.jsonl") for r in row["removed"].values()} == {
        "judged"
    }


def test_random_trains_one_member_a_step() -> None:
    problem = problem_of("random")
    strategy, members = RandomChoice(problem), set()
    for inputs, labels in problem.net.batches(4):
        strategy.step(inputs, labels, True)
        members.add(frozenset(problem.net.state()["kept"]))
    assert all(is_member(member_space(SPACE.graph), member) for member in members)
    assert len(members) > 1
    assert strategy.update(1, 2).reasons == {}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("limit", [None, LIMIT])
def test_magnitude_keeps_the_largest(seed: int, limit: int | None) -> None:
    problem = problem_of("magnitude", *(budget("parameters", limit) if limit else ()))
    strategy = Magnitude(problem)
    generator = torch.Generator().manual_seed(seed)
    strategy.w = torch.randn(
        len(problem.net.gates.groups), generator=generator, dtype=torch.float64
    )
    size = dict(zip(problem.net.gates.groups, strategy.w.abs().tolist(), strict=True))
    assert strategy.update(1, 2).reasons == {}
    removed = strategy.update(2, 2).reasons
    fitting = [m for m in living() if limit is None or cost(m) <= limit]
    expected = max(fitting, key=lambda m: sum(size[group] for group in m))
    assert problem.net.gates.groups.keys() - removed == expected
    assert {*removed.values()} == {"magnitude"}
    weights = dict(zip(problem.net.gates.groups, strategy.w.tolist(), strict=True))
    expected_rows = [weights[edge.searched_gate.group] for edge in SPACE.graph.searched()]
    assert [row["w"] for row in strategy.rows()] == expected_rows


def test_gates_of_magnitude_descend() -> None:
    """By plain gradient steps, once the search has begun; before that they stay."""
    problem = problem_of("magnitude")
    strategy = Magnitude(problem)
    start = strategy.w.clone()
    [first, second] = problem.net.batches(2)
    strategy.step(*first, False)
    assert torch.equal(strategy.w, start)
    module = deepcopy(problem.net.module).train()
    w = start.clone().requires_grad_()
    state = torch.get_rng_state()  # of dropout
    cross_entropy(module(second[0], problem.net.gates.spread(w.float())), second[1]).backward()
    torch.set_rng_state(state)
    strategy.step(*second, True)
    assert w.grad is not None
    expected = start - problem.settings.gate_learning_rate * w.grad
    assert torch.allclose(strategy.w, expected, atol=1e-7)
    assert not torch.equal(strategy.w, start)


def softmax_of(strategy: Darts) -> dict[str, float]:
    """By hand, over each connection's options."""
    chances = {}
    for connection in member_space(SPACE.graph).connections:
        options = list(connection.options)
        if connection.target not in strategy.space.retained:
            options.append(dropped(connection))
        weights = {o: float(strategy.alpha[strategy.places[o]].detach().exp()) for o in options}
        chances |= {o: weight / sum(weights.values()) for o, weight in weights.items()}
    return chances


def test_gates_of_darts_are_a_softmax() -> None:
    problem = problem_of("darts")
    strategy = Darts(problem)
    with torch.no_grad():
        strategy.alpha.copy_(torch.linspace(-2, 2, len(strategy.alpha)))
    chances = softmax_of(strategy)
    assert len(chances) == len(problem.net.gates.groups) + 1  # one connection may be dropped
    expected = [chances[edge.searched_gate.group] for edge in SPACE.graph.searched()]
    assert strategy.gates().tolist() == pytest.approx(expected)
    removed = strategy.update(2, 2).reasons
    assert [row["w"] for row in strategy.rows()] == pytest.approx(expected)
    [free] = [c for c in member_space(SPACE.graph).connections if dropped(c) in chances]

    def value(member: Member) -> float:
        kept = {*member} if member.intersection(free.options) else {*member, dropped(free)}
        return sum(chances[option] for option in kept)

    assert problem.net.gates.groups.keys() - removed == max(living(), key=value)


def test_darts_steps_on_held_out_examples() -> None:
    problem = problem_of("darts")
    strategy = Darts(problem)
    before = strategy.alpha.detach().clone()
    for inputs, labels in problem.net.batches(1):
        strategy.step(inputs, labels, False)
    assert torch.equal(strategy.alpha.detach(), before)
    assert problem.net.trained == 16
    for inputs, labels in problem.net.batches(1):
        strategy.step(inputs, labels, True)
    assert (strategy.alpha.detach() != before).all()
    assert problem.net.trained == 16 + 16 + len(problem.net.held_part)  # 12 examples, no more


# -------------------------------------------------------------------------------------- proxies


@pytest.mark.usefixtures("_at_hand")
@pytest.mark.parametrize("name", ["magnitude", "largest"])
@pytest.mark.parametrize("values", [{"width": 2}, {"cells": 1}, {"width": 2, "cells": 1}], ids=str)
def test_a_search_in_a_smaller_network(name: str, values: dict[str, int], tmp_path: Path) -> None:
    """The spec is of the wanted network, and so is the budget."""
    out, limits = tmp_path / "o", budget("parameters", LIMIT)
    proxy = compile_text(CELLS, **values)
    result = run(Space(SPACE, proxy, limits), name, out)
    assert result.supernet == graph_cost(SPACE.graph)
    assert result.found == graph_cost(prune_to(SPACE.graph, left(out)))
    assert result.found.parameters <= LIMIT
    found = compile_spec(out / "pruned.nas").graph
    assert found.node("stem").shape == (4, 8, 8)
    assert graph_cost(found) == result.found
    assert len(lines(out / "gates.jsonl")) == len(proxy.graph.searched())
    record = json.loads((out / "settings.json").read_text(encoding="utf-8"))
    assert record["proxy"] == dict(proxy.values)
    assert record["budgets"] == {"parameters": LIMIT}
    graph = json.loads((out / "graph.json").read_text(encoding="utf-8"))
    assert len([e for e in graph["edges"] if e.get("gate") is not None]) == len(
        SPACE.graph.searched()
    )


@pytest.mark.usefixtures("_at_hand")
@pytest.mark.parametrize(
    ("name", "width"),
    [("evidence", 3), ("evidence", 2), ("posterior", 2), ("random", 2), ("darts", 2), ("pgnas", 2)],
)
def test_other_strategies_in_a_smaller_network(name: str, width: int, tmp_path: Path) -> None:
    space = Space(SPACE, compile_text(CELLS, width=width), budget("parameters", LIMIT))
    result = run(space, name, tmp_path / "o")
    assert result.found == graph_cost(prune_to(SPACE.graph, left(tmp_path / "o")))
    assert result.found.parameters <= LIMIT


@pytest.mark.usefixtures("_at_hand")
def test_a_proxy_with_other_choices(tmp_path: Path) -> None:
    space = Space(compile_text(LOOSE), compile_text(LOOSE, cells=1))
    with pytest.raises(DiagnosticError) as caught:
        run(space, "largest", tmp_path / "o")
    [found] = caught.value.diagnostics
    assert (found.code, caught.value.status) == ("D435", 2)
    assert found.message == "the proxy of `net` has other choices than the network itself"
    assert found.help == "let `--proxy` change widths, sizes and tied cells alone"
    assert found.span is not None
    assert CELLS.splitlines()[found.span.line - 1].startswith("network net")
    assert_style(found)
    assert snapshot(tmp_path) == {}


@pytest.mark.usefixtures("_at_hand")
@pytest.mark.parametrize(
    ("other", "differs"),
    [
        (Space(SPACE), "proxy"),
        (Space(SPACE, compile_text(CELLS, width=3), budget("parameters", 250)), "proxy"),
        (Space(SPACE, compile_text(CELLS, width=2), budget("parameters", 300)), "budgets"),
        (Space(SPACE, compile_text(CELLS, width=2), budget("flops", 20_000)), "budgets"),
    ],
    ids=["none", "proxy", "limit", "cost"],
)
def test_a_search_is_not_resumed_in_another_space(
    other: Space, differs: str, tmp_path: Path
) -> None:
    out = tmp_path / "o"
    begun = Space(SPACE, compile_text(CELLS, width=2), budget("parameters", 250))
    run(begun, "largest", out)
    before = snapshot(out)
    with pytest.raises(DiagnosticError) as caught:
        run(other, "largest", out, resume=True)
    [found] = caught.value.diagnostics
    assert found.code == "D414"
    assert found.message == f"the run in `{out}` differs in its {differs}"
    assert_style(found)
    assert snapshot(out) == before
    run(begun, "largest", out, resume=True, recompute="yes")
