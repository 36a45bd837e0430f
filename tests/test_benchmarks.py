"""The committed table is of the committed space, and every program says how long it takes."""

from __future__ import annotations

import csv
import math
import os
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from statistics import NormalDist, fmean, pstdev
from typing import Any

import pytest

from bayesnas.compiler.graph.cost import graph_cost
from bayesnas.compiler.pipeline import compile_spec
from bayesnas.compiler.space.choices import member_space
from bayesnas.compiler.space.members import group_costs, prune_to
from bayesnas.compiler.space.prices import Prices, best_member
from benchmarks.quality.calibration import calibration, closeness, orders, tenths
from benchmarks.quality.judge import best_of_random, summary
from benchmarks.quality.spaces import SPACES, Droppable
from benchmarks.quality.table import member_of

ROOM = Path(__file__).parents[1] / "benchmarks"
PROGRAMS = [
    path for path in sorted(ROOM.rglob("*.py")) if "__main__" in path.read_text(encoding="utf-8")
]


def table() -> dict[str, dict[str, str]]:
    lines = (ROOM / "quality/small_cell.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# Made by `python -m benchmarks.quality.table small_cell`")
    return {row["member"]: row for row in csv.DictReader(lines[1:])}


def test_the_table_has_every_member_and_what_it_costs() -> None:
    graph = compile_spec(ROOM / "quality/small_cell.nas").graph
    space, rows = member_space(graph), table()
    members = list(space.members())
    assert len(rows) == len(members) == space.count() == 256
    for member in members[::37]:
        name = "".join(
            str(n)
            for connection in space.connections
            for n, option in enumerate(connection.options)
            if option in member
        )
        cost = graph_cost(prune_to(graph, member))
        row = rows[name]
        assert (int(row["parameters"]), int(row["flops"])) == (cost.parameters, cost.flops)


def test_the_table_is_in_the_order_of_its_selection_scores() -> None:
    scores = [float(row["selection_mean"]) for row in table().values()]
    assert scores == sorted(scores, reverse=True)
    assert all(0 < float(row["test_mean"]) < 1 for row in table().values())


def test_a_member_of_the_table_is_worth_what_the_table_says() -> None:
    space = Droppable()
    graph = space.compiled.graph
    biggest = best_member(member_space(graph), group_costs(graph, "flops"), Prices.of(graph, ()))
    assert biggest is not None
    assert space.member_name(biggest) == "000000"
    assert space.train(biggest, "cpu", quick=False) == pytest.approx(71.91)


def test_what_nothing_reads_makes_no_other_member() -> None:
    """Without an edge from x to a, whatever leads on from a is dead."""
    space = Droppable()
    names = {space.member_name(member_of(space.compiled, name)) for name in ("-31022", "-32032")}
    assert len(names) == 1
    assert names < space.table().keys()
    assert len({space.member_name(member_of(space.compiled, n)) for n in space.table()}) == 88


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.relative_to(ROOM).as_posix())
def test_programs_say_how_long_they_take_and_end_with_json(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    head = text.split('"""')[1]
    module = ".".join(path.relative_to(ROOM.parent).with_suffix("").parts)
    assert f"python -m {module.removesuffix('.__main__')}" in head
    assert "2 cores" in head
    assert "--quick" in head
    assert '"--quick"' in text
    assert "finish(" in text


def row(strategy: str, test: float, **more: Any) -> dict[str, Any]:
    costs = {"images_trained": 10, "images_judged": 5, "seconds": 1.0}
    return {"strategy": strategy, "test": test, "standings": [], **costs, **more}


def test_a_judgement_is_the_share_of_members_that_are_better() -> None:
    table = summary([row("a", 3.0), row("a", 1.0), row("b", 4.0)], [1.0, 2.0, 3.0, 4.0])
    assert (table["a"]["mean"], table["a"]["better_members"]) == (2.0, 0.5)
    assert (table["a"]["worst_seed"], table["a"]["regret"]) == (0.75, 2.0)
    assert (table["b"]["better_members"], table["b"]["regret"]) == (0.0, 0.0)


def test_the_best_of_random_members_by_brute_force() -> None:
    accuracies = [3.0, 1.0, 2.0, 7.0, 2.5]
    every = [max(chosen) for chosen in combinations(accuracies, 3)]
    assert best_of_random(accuracies, 3) == pytest.approx(fmean(every), rel=1e-12)


def judged(*standings: tuple[float, float, float, float], **more: Any) -> dict[str, Any]:
    places = {"space": "small_cell", "budget": "none", "options": []}
    return row("posterior", 0.0, standings=[*standings], **{**places, **more})


def test_pairs_are_counted_by_what_is_said_of_their_order() -> None:
    far, near = 100.0, 0.1  # of an error: sure, and hardly more than a guess
    rows = [
        judged((90.0, 0.0, 1.0, 0.0), (80.0, far, 1.0, 0.0)),  # right
        judged((80.0, 0.0, 1.0, 0.0), (90.0, near, 1.0, 0.0)),  # wrong
        judged((80.0, 0.0, 1.0, 0.0), (80.0, near, 1.0, 0.0)),  # neither
    ]
    guesses, sure = tenths(orders(rows))
    assert (guesses[0], guesses[2]) == (2, 0.25)
    assert guesses[1] == pytest.approx(NormalDist().cdf(near / math.sqrt(2)))
    assert sure == (1, 1.0, 1.0)


def test_options_are_counted_by_the_chance_that_the_best_member_has_them() -> None:
    rows = [judged((1.0, 0.0, 1.0, 0.0), options=[(0.82, True), (0.86, False), (0.05, False)])]
    assert calibration(rows)["the best member has the option"] == [
        (1, 0.05, 0.0),
        (2, pytest.approx(0.84), 0.5),
    ]
    assert not any(calibration([row("random", 0.0)]).values())


def test_a_member_is_close_in_the_accuracy_that_a_loss_is_worth() -> None:
    """Losses spread by 0.1 and are known; accuracies by 1 point: 1 % of 2 nats is 0.2 points."""
    best = max(SPACES["small_cell"].accuracies(None))
    standings = [(best, 2.0, 0.0, 0.9), (best - 2, 2.2, 0.0, 0.1)]
    near, far = (best - 0.19, 2.0, 0.0, 0.6), (best - 0.21, 2.0, 0.0, 0.7)
    for extra, said in ((near, 1.0), (far, 0.0)):
        rows = [judged(*standings), judged(extra)]
        spread = pstdev([best, best - 2, extra[0]]) / pstdev([2.0, 2.2, 2.0])
        assert 0.19 < 0.02 * spread < 0.21
        assert [*closeness(rows)] == [(0.9, 1.0), (0.1, 0.0), (extra[3], said)]


@pytest.mark.parametrize("name", ["small_cell", "macro", "droppable"])
def test_members_have_the_names_of_the_table(name: str) -> None:
    space = SPACES[name]
    if not space.file.exists():
        pytest.skip(f"{name} has no table here")
    for named in [*space.table()][:50]:
        again = space.member_name(space.member(named))
        twice = name == "droppable" and again in space.table()  # some of its networks are
        assert again == named or twice
    limit = space.limit("half")
    worth = space.worth(space.best(limit))
    assert worth == max(space.accuracies(limit))


def test_programs_start_in_the_top_folder_as_documented() -> None:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    command = [sys.executable, "-m", "benchmarks.quality", "--help"]
    run = subprocess.run(
        command, cwd=ROOM.parent, env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert "usage:" in run.stdout
