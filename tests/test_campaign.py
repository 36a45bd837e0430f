"""A share of the campaign, whose whole is `python -m tests.campaign`: docs/reliability.md.

In a process of its own: the campaign forks, which no thread of another test outlives.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
COUNTS = {"kills": 1, "lies": 2, "flips": 2}
SEED = 41187  # its trials need no more than trainings

# The share, started as documented; then, by what it has loaded and made, what is said of weights
# that are others than `result.json` says, with hashes and without.
SCRIPT = """\
import runpy, sys
from pathlib import Path

try:
    runpy.run_module("tests.campaign", run_name="__main__", alter_sys=True)
except SystemExit as end:
    print("status", end.code)

import torch
from campaign.runs import SCENES, Workshop, verdict

from bayesnas.runtime.jobs import trained

workshop, scene = Workshop(Path(sys.argv[-1]).absolute()), SCENES[0]
for checked in (True, False):
    if not checked:
        trained.check_file = lambda *_: None
    bench = scene.set_up(workshop)
    file = bench / "run" / "weights.pt"
    state = torch.load(file, weights_only=True)
    constant = {name: tensor * 0 for name, tensor in state.items() if name != "input_std"}
    torch.save(state | constant, file)
    print(verdict(workshop, scene, bench, "run/weights.pt"))
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the process prints."""
    folder = str(tmp_path_factory.mktemp("made") / "c")
    counts = [word for part, count in COUNTS.items() for word in (f"--{part}", str(count))]
    options = ["--native", "0", "--seed", str(SEED), "--jobs", "1", "--keep", folder]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT, *counts, *options],
        cwd=TESTS.parent,
        env=environment | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_a_share(told: str) -> None:
    assert "status 0\n" in told
    totals = re.findall(r"(\d+) (killed runs|lies|damaged files):", told)
    assert sorted(totals) == [("1", "killed runs"), ("2", "damaged files"), ("2", "lies")]
    assert "; 0 faults; " in told


def test_another_answer_is_noticed(told: str) -> None:
    """The campaign sees what a program would do that does not look at hashes."""
    assert told.splitlines()[-2:] == ["refused", "another answer without a word"]
