"""The shell is told what may stand next."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import bayesnas


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("bayesnas re", {"render", "report"}),
        ("bayesnas search darts_cell --lo", {"--log"}),
        ("bayesnas search x --log ", {"tensorboard"}),
        ("bayesnas count darts", {"darts_cell"}),
        ("bayesnas search darts_cell --data di", {"digits"}),
    ],
)
def test_words_are_completed(typed: str, offered: set[str], tmp_path: Path) -> None:
    pytest.importorskip("argcomplete")
    home = str(Path(str(bayesnas.__file__)).parent.parent)
    file = tmp_path / "offered"
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([home, os.environ.get("PYTHONPATH", "")]),
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(file),
        "COMP_LINE": typed,
        "COMP_POINT": str(len(typed)),
    }
    subprocess.run(
        [sys.executable, "-P", "-m", "bayesnas"], env=environment, cwd=tmp_path, check=False
    )
    words = {word.strip() for word in file.read_text("utf-8").split("\n") if word.strip()}
    assert offered <= words
    assert all(word.startswith(typed.rpartition(" ")[2]) for word in words)
