"""What a training leaves is used by the README's script, with torch and the run's folder alone."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from living import striped, write_tiny

from bayesnas import load_network
from bayesnas.cli import main

README = Path(__file__).parents[1] / "README.md"
# Nothing that BayesNAS brings along can be imported, least of all itself.
ALONE = """
import sys
for name in ("bayesnas", "attr", "attrs", "lark", "jsonschema", "PIL", "sklearn", "tqdm"):
    sys.modules[name] = None
sys.path.insert(0, "")
exec(compile(open("use.py", encoding="utf-8").read(), "use.py", "exec"))
"""


def script() -> str:
    [found] = re.findall(r"```py\n(import json\n.*?)```", README.read_text("utf-8"), re.DOTALL)
    return str(found)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    here = tmp_path_factory.mktemp("made")
    spec, data = write_tiny(here), striped(here / "data", train=6, test=2)
    options = ["--option", "epochs=2", "--device", "cpu"]
    arguments = ["--data", f"folder:{data}", "-o", str(here / "run"), *options]
    assert main(["train", str(spec), *arguments]) == 0
    return here / "run"


def test_ten_lines_are_enough(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "elsewhere"
    shutil.copytree(run, out)
    (out / "use.py").write_text(
        script() + "torch.save((pixels, model(pixels)), 'asked.pt')\n", encoding="utf-8"
    )
    command = [sys.executable, "-I", "-c", ALONE]
    done = subprocess.run(command, cwd=out, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"(columns|diagonals|rows) \d+\.\d%\n", done.stdout)
    pixels, outputs = torch.load(out / "asked.pt", weights_only=True)
    assert pixels.dtype == torch.uint8
    torch.testing.assert_close(load_network(run)(pixels), outputs)


def test_the_script_is_short() -> None:
    lines = [line for line in script().splitlines() if line and not line.startswith("#")]
    assert len(lines) <= 10
