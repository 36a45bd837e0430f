"""A share of the campaign, whose whole is `python -m tests.campaign`: docs/reliability.md.

Each in a process of its own: the campaign forks, which no thread of another test outlives.
"""

from __future__ import annotations

import re
from pathlib import Path

from living import run_python

TESTS = Path(__file__).parent
COUNTS = {"kills": 1, "lies": 2, "flips": 2}
SEED = 41187  # its trials need no more than trainings

# What is said of weights that are others than `result.json` says, with hashes and without.
TAMPERED = """\
import sys
from pathlib import Path

import torch
from campaign.runs import SCENES, Workshop, verdict

from bayesnas.runtime.jobs import trained

workshop, scene = Workshop(Path(sys.argv[1])), SCENES[0]
workshop.furnish()
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


def test_a_share(tmp_path: Path) -> None:
    counts = [word for part, count in COUNTS.items() for word in (f"--{part}", str(count))]
    options = ("--native", "0", "--seed", str(SEED), "--jobs", "1", "--keep", str(tmp_path / "c"))
    ended = run_python("-m", "tests.campaign", *counts, *options, folder=TESTS.parent)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    totals = re.findall(r"(\d+) (killed runs|lies|damaged files):", ended.stdout)
    assert sorted(totals) == [("1", "killed runs"), ("2", "damaged files"), ("2", "lies")]
    assert "; 0 faults; " in ended.stdout


def test_another_answer_is_noticed(tmp_path: Path) -> None:
    """The campaign sees what a program would do that does not look at hashes."""
    ended = run_python("-c", TAMPERED, str(tmp_path / "c"), folder=TESTS)
    assert ended.stdout.splitlines() == ["refused", "another answer without a word"], ended.stderr
