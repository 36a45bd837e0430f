"""A share of the campaign, whose whole is `python -m tests.campaign`: docs/reliability.md."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from campaign.runs import SCENES, Workshop, verdict
from campaign.whole import campaign

from bayesnas.runtime.jobs import trained

COUNTS = {"kills": 2, "lies": 4, "flips": 4}
SEED = 41187  # its trials need no more than trainings


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("campaign")


def test_a_share(root: Path) -> None:
    figures = campaign(COUNTS, SEED, 1, root)
    assert figures.faults == []
    assert {part: came.total() for part, came in figures.came.items()} == COUNTS


@pytest.mark.parametrize("checked", [True, False])
def test_another_answer_is_noticed(
    checked: bool, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The campaign sees what a program would do that does not look at hashes."""
    if not checked:
        monkeypatch.setattr(trained, "check_file", lambda *_: None)
    workshop, scene = Workshop(root), SCENES[0]
    workshop.furnish()
    bench = scene.set_up(workshop)
    file = bench / "run" / "weights.pt"
    state = torch.load(file, weights_only=True)
    constant = {name: tensor * 0 for name, tensor in state.items() if name != "input_std"}
    torch.save(state | constant, file)
    came = verdict(workshop, scene, bench, "run/weights.pt")
    assert came == ("refused" if checked else "another answer without a word")
