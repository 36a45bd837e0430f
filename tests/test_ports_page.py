"""The page on several inputs and outputs, followed to the letter."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import bayesnas
from bayesnas.cli import main

PAGE = Path(__file__).parents[1] / "docs/ports.md"
FAST = {"search": ["warmup_epochs=1", "rounds=1", "draws=2"], "train": ["epochs=1"]}


def write_flats() -> None:
    """The reader's own arrays."""
    random = np.random.default_rng(0)
    np.savez(
        "flats.npz",
        photo=random.integers(0, 256, (40, 8, 8), dtype=np.uint8),
        facts=random.normal(size=(40, 5)).astype(np.float32),
        price=random.normal(size=40).astype(np.float32),
        district=random.integers(0, 3, 40),
    )


def test_every_step_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_flats()
    text = PAGE.read_text("utf-8")
    script, calls = re.findall(r"```py\n(.*?)```", text, re.DOTALL)
    names: dict[str, Any] = {"bayesnas": bayesnas}
    exec(compile(script, "scenes.py", "exec"), names)
    for line in re.findall(r"^ {4}bayesnas (.*)$", text, re.MULTILINE):
        words = shlex.split(line.partition("  #")[0])
        more = [word for option in FAST.get(words[0], ()) for word in ("--option", option)]
        assert main([*words, *more]) == 0, line
    exec(compile(calls.replace('* 2"}', '* 2"}, epochs=1'), "calls.py", "exec"), names)
    one_by_one = names["trained"].network(*names["data"].test.inputs.ports.values())
    torch.testing.assert_close((names["label"], names["mask"]), one_by_one)
    assert Path("scenes.onnx").exists()
