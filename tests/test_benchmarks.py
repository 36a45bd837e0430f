"""The committed table is of the committed space, and every program says how long it takes."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bayesnas.compiler.graph.cost import graph_cost
from bayesnas.compiler.pipeline import compile_spec
from bayesnas.compiler.space.choices import member_space
from bayesnas.compiler.space.members import prune_to

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


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_programs_say_how_long_they_take_and_end_with_json(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    head = text.split('"""')[1]
    assert f"python -m {'.'.join(path.relative_to(ROOM.parent).with_suffix('').parts)}" in head
    assert "2 cores" in head
    assert "--quick" in head
    assert '"--quick"' in text
    assert "finish(" in text


@pytest.mark.parametrize("program", ["benchmarks.quality.small", "tests.campaign"])
def test_programs_start_in_the_top_folder_as_documented(program: str) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    command = [sys.executable, "-m", program, "--help"]
    run = subprocess.run(
        command, cwd=ROOM.parent, env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert "usage:" in run.stdout
