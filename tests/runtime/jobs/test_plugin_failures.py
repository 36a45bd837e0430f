"""What plugins raise while networks run: said with its place in the plugin, wherever it happens."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import assert_style, compile_text

from bayesnas.cli import main
from bayesnas.compiler.operations.plugins import load_plugin
from bayesnas.compiler.pipeline import Compiled
from bayesnas.compiler.settings import SearchSettings, TrainSettings, make_settings
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError
from bayesnas.runtime.data.registry import DataOptions
from bayesnas.runtime.jobs.export import export
from bayesnas.runtime.jobs.failures import plugins_named
from bayesnas.runtime.jobs.search.search import search
from bayesnas.runtime.jobs.train import train
from bayesnas.runtime.jobs.trained import evaluate_run
from bayesnas.runtime.runs.record import RunOptions

PLUGIN = """
import bayesnas
import torch
from torch import nn

FAILS = ""


class Backward(torch.autograd.Function):
    @staticmethod
    def forward(context, z):
        return z.clone()

    @staticmethod
    def backward(context, gradient):
        raise ValueError("backwards")  # BACKWARD


@bayesnas.primitive("moody", shape=lambda shape: shape, flops=lambda shape, output: 0)
class Moody(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(features))
        if FAILS == "made" and self.bias.device.type != "meta":
            raise ValueError("not today")  # MADE

    def forward(self, z):
        if z.device.type == "meta":
            return z
        if FAILS == "forward":
            raise ValueError("not today.\\nsecond line")  # FORWARD
        if FAILS == "exit":
            raise SystemExit(3)  # EXIT
        if FAILS == "backward":
            return Backward.apply(z + self.bias)
        if FAILS == "memory":
            raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
        if FAILS == "later":
            return z, z
        return z + self.bias
"""
SPACE = """
network net(x: [4]) -> (logits: [2]) {
    node h
    x -> h : moody
    h ~> logits : linear(2) | linear(8) >> relu >> linear(2)
}
"""


@pytest.fixture
def fails(plugin_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Lets the plugin fail from now on; data lie beside it."""
    (plugin_folder / "plugged.py").write_text(PLUGIN)
    load_plugin("plugged")
    x, y = np.random.default_rng(0).normal(size=(40, 4)), np.arange(40) % 2
    np.savez("data.npz", x=x, y=y, x_test=x, y_test=y)
    return lambda when: monkeypatch.setattr("plugged.FAILS", when)


def space() -> Compiled:
    return compile_text(SPACE)


def options(**more: Any) -> RunOptions:
    return RunOptions("npz:data.npz", Path("run"), device="cpu", **more)


def searched() -> object:
    return search(space(), make_settings(SearchSettings, {"epochs": 1, "rounds": 1}), options())


def trained(resume: bool = False) -> object:
    return train(space(), make_settings(TrainSettings, {"epochs": 1}), options(resume=resume))


def diagnosed(work: Callable[[], object]) -> Diagnostic:
    with pytest.raises(DiagnosticError) as caught:
        work()
    [found] = caught.value.diagnostics
    assert (found.code, caught.value.status) == ("D605", 1)
    assert_style(found)
    return found


def line_of(mark: str) -> int:
    [line] = [n for n, text in enumerate(PLUGIN.splitlines(), 1) if text.endswith(f"# {mark}")]
    return line


FAILURES = {
    "made": ("ValueError: not today", "MADE", "__init__"),
    "forward": ("ValueError: not today", "FORWARD", "forward"),
    "exit": ("SystemExit: 3", "EXIT", "forward"),
    "backward": ("ValueError: backwards", "BACKWARD", "backward"),
}


@pytest.mark.parametrize("work", [searched, trained])
@pytest.mark.parametrize("when", FAILURES)
def test_a_failure_has_its_place(
    when: str, work: Callable[[], object], fails: Callable[[str], None]
) -> None:
    fails(when)
    reason, mark, function = FAILURES[when]
    found = diagnosed(work)
    assert found.message == f"the plugin `plugged` fails: {reason}"
    [note] = found.notes
    assert note.endswith(f"plugged.py:{line_of(mark)}, in `{function}`")


@pytest.mark.parametrize("when", ["made", "forward"])
def test_a_failure_after_the_training(when: str, fails: Callable[[str], None]) -> None:
    trained()
    fails(when)
    for work in (
        lambda: evaluate_run(RunOptions("", Path("run"), device="cpu")),
        lambda: export(Path("run"), Path("net.pt2")),
    ):
        assert diagnosed(work).message == "the plugin `plugged` fails: ValueError: not today"
    assert not Path("net.pt2").exists()


def test_a_resumed_run_fails_alike(fails: Callable[[str], None]) -> None:
    trained()
    fails("forward")
    assert "not today" in diagnosed(lambda: trained(resume=True)).message


def test_what_a_plugin_returned_fails_behind_it(fails: Callable[[str], None]) -> None:
    fails("later")
    found = diagnosed(trained)
    assert found.message.startswith("a network with the plugin `plugged` fails: TypeError: ")
    assert found.notes[0].startswith("not in the plugin's own code")


def test_memory_is_no_fault_of_a_plugin(fails: Callable[[str], None]) -> None:
    fails("memory")
    with pytest.raises(DiagnosticError) as caught:
        trained()
    assert [found.code for found in caught.value.diagnostics] == ["D603"]


@pytest.mark.usefixtures("fails")
def test_other_failures_are_raised_as_they_are() -> None:
    with pytest.raises(ValueError, match="ours"), plugins_named():
        raise ValueError("ours")


def test_the_command_line_says_it(
    fails: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("spec.nas").write_text(SPACE)
    fails("forward")
    status = main(["train", "spec.nas", "--plugin", "plugged", "--data", "npz:data.npz", "-o", "o"])
    printed = capsys.readouterr().err
    assert status == 1
    assert "error[D605]: the plugin `plugged` fails: ValueError: not today" in printed
    assert "Traceback" not in printed


# ------------------------------------------------------------------------------ embeddings

TABLE = """
import bayesnas
from torch import nn


@bayesnas.primitive("table", shape=lambda shape: (4 * shape[0],), flops=lambda shape, output: 0)
class Table(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.rows = nn.Embedding(6, 4)

    def forward(self, z):
        return self.rows(z.long()).flatten(1)
"""
LOOKS_UP = """
network net(x: [4]) -> (logits: [2]) {
    node h
    x -> h : table
    h ~> logits : linear(2) | linear(8) >> relu >> linear(2)
}
"""
HAS = "an embedding has 6 rows, for numbers from 0 to 5; "


@pytest.fixture
def ids(plugin_folder: Path) -> Callable[..., None]:
    """Saves data whose ids go from ``least`` to ``most``; a plugin that looks them up is loaded."""
    (plugin_folder / "tabled.py").write_text(TABLE)
    load_plugin("tabled")

    def save(least: int, most: int, name: str = "data.npz") -> None:
        x = np.full((40, 4), 2)
        x[-1] = least, most, 2, 2
        y = np.arange(40) % 2
        np.savez(name, x=x, y=y, x_test=x, y_test=y)

    return save


def looked_up(command: str, *more: str) -> Diagnostic:
    compiled = compile_text(LOOKS_UP)
    read = DataOptions(standardise="yes" if "yes" in more else "auto")
    run = options(data_options=read)

    def work() -> object:
        if command == "train":
            return train(compiled, make_settings(TrainSettings, {"epochs": 1}), run)
        return search(compiled, make_settings(SearchSettings, {"epochs": 1, "rounds": 1}), run)

    return diagnosed(work)


@pytest.mark.parametrize("command", ["search", "train"])
def test_ids_beyond_an_embedding(command: str, ids: Callable[..., None]) -> None:
    """The range of all ids is told, whichever were met first."""
    ids(0, 4999)
    found = looked_up(command)
    assert found.message == "the plugin `tabled` fails: IndexError: index out of range in self"
    assert found.notes[1] == HAS + "those of `npz:data.npz` go from 0 to 4,999"
    assert found.help == "number what they name from 0 to 5, or give the embedding 5,000 rows"


def test_ids_below_an_embedding(ids: Callable[..., None]) -> None:
    ids(-3, 5)
    found = looked_up("train")
    assert found.notes[1] == HAS + "those of `npz:data.npz` go from -3 to 5"
    assert found.help == "number what they name from 0 to 5"


def test_ids_that_were_standardised(ids: Callable[..., None]) -> None:
    ids(0, 5)
    found = looked_up("train", "yes")
    assert found.notes[1].startswith(HAS + "it was asked for -")
    assert found.help == (
        "pass `--standardise no`, which leaves the numbers of `npz:data.npz` as they are"
    )


def test_ids_of_new_data(ids: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    ids(0, 5)
    ids(0, 8, "new.npz")
    settings = make_settings(TrainSettings, {"epochs": 1})
    train(compile_text(LOOKS_UP), settings, options())
    found = diagnosed(lambda: evaluate_run(RunOptions("npz:new.npz", Path("run"), device="cpu")))
    assert found.notes[1] == HAS + "those of `npz:new.npz` go from 0 to 8"
    capsys.readouterr()
    assert main(["predict", "run", "new.npz", "--plugin", "tabled", "--device", "cpu"]) == 1
    said = capsys.readouterr().err
    assert f"  = note: {HAS}it was asked for 0 to 8\n" in said
    assert "  = help: number what they name from 0 to 5, or give the embedding 9 rows\n" in said
