"""`bayesnas compare`: strategies side by side, gone on with, not mixed; wrong arguments."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from living import CELLS, lines, snapshot, striped

from bayesnas.cli import main
from bayesnas.commands.values import parse_budgets
from bayesnas.compiler.graph.model import BudgetConstraint
from bayesnas.runtime.network.training import diverged
from bayesnas.runtime.report.files import ComparisonFiles
from bayesnas.runtime.report.sections.comparison import comparison_sections
from bayesnas.runtime.strategies.magnitude import Magnitude

LOOSE = CELLS.replace("tied chain", "chain")  # each cell chooses for itself


pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return striped(tmp_path_factory.mktemp("striped"), train=6, test=2)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "net.nas").write_text(CELLS, encoding="utf-8")
    (folder / "loose.nas").write_text(LOOSE, encoding="utf-8")
    monkeypatch.chdir(folder)
    return folder


def compare(data: Path, *more: str, spec: str = "net.nas") -> int:
    return main(
        ["compare", spec, "--data", f"folder:{data}", "-o", "out", "--device", "cpu", *more]
    )


def times(paths: Iterable[Path]) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in paths}


def test_compare(here: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--strategies", "largest, random", "--seeds", "4", "--budget", "parameters=0.3K")
    assert compare(data, *arguments) == 0
    printed = capsys.readouterr().out
    out = here / "out"
    with (out / "compare.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["strategy"], row["seed"]) for row in rows] == [("largest", "4"), ("random", "4")]
    for row in rows:
        folder = out / f"{row['strategy']}-4"
        found, trained = (
            json.loads((folder / kind / "result.json").read_text(encoding="utf-8"))
            for kind in ("search", "train")
        )
        assert int(row["parameters"]) == found["found"]["parameters"] <= 300
        assert float(row["test_accuracy"]) == trained["test_accuracy"]
        assert int(row["images_trained"]) == found["images_trained"]
        assert (found["strategy"], found["seed"], trained["seed"]) == (row["strategy"], 4, 4)
        assert f"{int(row['parameters']):,}" in printed
    svg = (out / "compare.svg").read_text(encoding="utf-8")
    assert "<svg" in svg
    assert svg.rstrip().endswith("</svg>")
    assert "1 seed, mean ± standard deviation" in printed

    runs = [path for path in out.rglob("*") if path.parent != out and path.is_file()]
    before, table = times(runs), (out / "compare.csv").read_bytes()
    assert compare(data, *arguments) == 0
    assert times(path for path in out.rglob("*") if path.parent != out and path.is_file()) == before
    assert (out / "compare.csv").read_bytes() == table
    assert capsys.readouterr().out == printed


def test_compare_goes_on(here: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From the last checkpoint; what is done is not done again."""
    arguments = ("--strategies", "largest,magnitude", "--seeds", "0")
    with pytest.MonkeyPatch.context() as patch:
        step, count = Magnitude.step, iter(range(10**6))

        def interrupted(self: Magnitude, *rest: Any) -> float:
            if next(count) == 2:
                raise KeyboardInterrupt
            return step(self, *rest)

        patch.setattr(Magnitude, "step", interrupted)
        assert compare(data, *arguments) == 1
    told = "interrupted; without `--force`, the same command goes on with what is done\n"
    assert capsys.readouterr().err.endswith(told)
    assert (here / "out/magnitude-0/search/checkpoint.pt").is_file()
    assert not (here / "out/compare.csv").exists()
    done = times((here / "out/largest-0").rglob("*"))
    assert compare(data, *arguments) == 0
    assert times((here / "out/largest-0").rglob("*")) == done
    assert len((here / "out/compare.csv").read_text(encoding="utf-8").splitlines()) == 3
    history = lines(here / "out/magnitude-0/search/history.jsonl")
    assert [row["round"] for row in history] == [0, 1, 2]


def test_compare_goes_on_after_a_warm_up(here: Path, data: Path) -> None:
    arguments = ("--strategies", "magnitude", "--seeds", "0")
    with pytest.MonkeyPatch.context() as patch:

        def interrupted(*_: object) -> float:
            raise KeyboardInterrupt

        patch.setattr(Magnitude, "step", interrupted)
        assert compare(data, *arguments) == 1
    assert compare(data, *arguments) == 0
    assert (here / "out/compare.csv").is_file()


def test_settings_are_swept(here: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By strategies that use them; more values may come, and what failed stands on the page."""
    strategies = ("--strategies", "magnitude,largest", "--seeds", "0", "--sweep", "epochs=1")
    assert compare(data, *strategies, "--sweep", "learning_rate=0.05") == 0
    names = ["magnitude-epochs=1.0-learning_rate=0.05-0", "largest-0"]
    assert {path.name for path in (here / "out").iterdir() if path.is_dir()} == {*names}
    done = times(path for name in names for path in (here / "out" / name).rglob("*"))
    capsys.readouterr()
    more = ("--sweep", "learning_rate=0.05", "--sweep", "learning_rate=1e-3,0.05")
    assert compare(data, *strategies, *more) == 0
    assert times(path for name in names for path in (here / "out" / name).rglob("*")) == done
    head, *rest = capsys.readouterr().out.splitlines()
    assert head.split()[:4] == ["strategy", "epochs", "learning_rate", "test"]
    rows = {tuple(line.partition("%")[0].split()[:-1]) for line in rest[:3]}
    assert rows == {("largest",), ("magnitude", "1.0", "0.05"), ("magnitude", "1.0", "0.001")}
    assert compare(data, *strategies) == 2
    said = capsys.readouterr().err
    assert "error[D414]: the comparison in `out` was begun otherwise" in said
    assert "  = note: search: `learning_rate` was swept, now " in said

    path = here / "out/compare.csv"
    text = path.read_text("utf-8").replace("seconds\n", "seconds,error\n")
    fault = 'magnitude,1.0,9.0,0,,,,,,,"D602: the loss is nan, at last"\n'
    path.write_text(text + fault, "utf-8")
    [section, _] = comparison_sections(ComparisonFiles.open(here / "out"))
    tables = {b.table.name: b.table.records for b in section.blocks if hasattr(b, "table")}
    swept = [(row["strategy"], row["epochs"], row["learning_rate"]) for row in tables["strategies"]]
    assert sorted(swept, key=str) == [
        ("largest", "", ""),
        ("magnitude", 1.0, 0.001),
        ("magnitude", 1.0, 0.05),
    ]
    assert len(tables["runs"]) == 3
    [failure] = tables["failures"]
    assert failure["learning_rate"] == "9.0"
    assert failure["error"] == "D602: the loss is nan, at last"


def test_compare_tidies_up_after_a_training_killed_at_its_end(here: Path, data: Path) -> None:
    arguments = ("--strategies", "largest", "--seeds", "0")
    assert compare(data, *arguments) == 0
    folder = here / "out/largest-0/train"
    whole = snapshot(folder)
    for name in (".lock", "checkpoint.previous.pt", ".result.json.0a1b2c3d.tmp"):
        (folder / name).write_bytes(b"")
    assert compare(data, *arguments) == 0
    assert snapshot(folder) == whole


def test_what_was_found_is_trained_as_it_was_found(
    here: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a comparison; for `train` it is a spec like any other, and a note says that it changed."""
    arguments = ("--strategies", "largest", "--seeds", "0")
    assert compare(data, *arguments) == 0
    shutil.rmtree(here / "out/largest-0/train")
    found = here / "out/largest-0/search/pruned.nas"
    found.write_text(found.read_text().replace("width = 4", "width = 5"), encoding="utf-8")
    capsys.readouterr()
    assert compare(data, *arguments) == 2
    name = found.relative_to(here)
    assert f"error[D416]: `{name}` is not the file that the run wrote" in capsys.readouterr().err
    assert main(["train", str(name), "--data", f"folder:{data}", "-o", "new"]) == 0
    assert f"note: `{name}` is not as the search wrote it\n" in capsys.readouterr().err


@pytest.mark.parametrize("other", [["--set", "cells=1"], ["--budget", "parameters=150"]], ids=str)
def test_compare_does_not_mix(other: list[str], here: Path, data: Path) -> None:
    arguments = ("--strategies", "largest", "--seeds", "0")
    assert compare(data, *arguments) == 0
    before = snapshot(here)
    assert compare(data, *arguments, *other) == 2
    assert snapshot(here) == before


def test_compare_does_not_mix_ways_to_read(
    here: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Refused before anything is begun for another strategy."""
    assert compare(data, "--strategies", "largest", "--seeds", "0") == 0
    before = snapshot(here)
    for other, said in (
        (["--standardise", "no"], "`standardise` was auto, now no"),
        (["--resize"], "`resize` was False, now True"),
        (["--train-option", "epochs=2"], "train: `epochs` was 1, now 2"),
        (["--set", "width=6"], "values: `width` was not given, now 6"),
    ):
        capsys.readouterr()
        assert compare(data, "--strategies", "random", "--seeds", "0", *other) == 2
        told = capsys.readouterr().err
        assert "error[D414]: the comparison in `out` was begun otherwise" in told
        assert f"  = note: {said}\n" in told
    assert snapshot(here) == before


def test_compare_does_not_mix_test_parts(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = striped(tmp_path / "images", train=6, test=2)
    arguments = ("--strategies", "largest", "--seeds", "0")
    assert compare(data, *arguments) == 0
    before = snapshot(here)
    (data / "test/rows/0.png").unlink()
    capsys.readouterr()
    assert compare(data, *arguments) == 2
    assert "`out/largest-0/train` differs in its test part" in capsys.readouterr().err
    assert snapshot(here) == before


WORDS = """import bayesnas
from torch import nn


@bayesnas.primitive(
    "embed",
    shape=lambda shape, width: (shape[0] * width,),
    flops=lambda shape, output, width: 0,
    parameters={"width": None},
)
class Embed(nn.Module):
    def __init__(self, features, width):
        super().__init__()
        self.table = nn.Embedding(8, width)

    def forward(self, z):
        return self.table(z.long()).flatten(1)
"""
CHOICE = """network net(x: [4]) -> (logits: [3]) {
    node h
    x ~> h : linear(8) | embed(2)
    h -> logits : linear(3)
}
"""


def test_compare_where_no_find_looks_names_up(plugin_folder: Path) -> None:
    """The supernet reads numbers as names, and what is found of it as quantities."""
    (plugin_folder / "plugged.py").write_text(WORDS)
    (plugin_folder / "net.nas").write_text(CHOICE)
    x, y = np.random.default_rng(0).integers(0, 8, (60, 4)), np.arange(60) % 3
    np.savez("data.npz", x=x, y=y)
    command = ["compare", "net.nas", "--data", "npz:data.npz", "-o", "out", "--device", "cpu"]
    command += ["--plugin", "plugged", "--strategies", "largest", "--seeds", "0"]
    assert main(command) == 0
    found = Path("out/largest-0/search/pruned.nas").read_text()
    assert "embed" not in found.partition("network")[2]
    assert main(command) == 0


FOREIGN = {
    "a table": ("compare.csv", "a,b\n"),
    "a figure": ("compare.svg", "<svg/>"),
    "notes": ("compare.json", '{"a": 1}'),
    "a list": ("compare.json", "[1]"),
    "no JSON": ("compare.json", "{" * 10**5),
    "a run": ("largest-0/search/notes.txt", "mine"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_compare_leaves_what_is_not_its_own(
    name: str, here: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, text = FOREIGN[name]
    path = here / "out" / file
    path.parent.mkdir(parents=True)
    path.write_text(text)
    before = snapshot(here)
    assert compare(data, "--strategies", "largest", "--seeds", "0") == 2
    told = capsys.readouterr().err
    assert "error[D413]: `out/" in told
    assert "pass `--force`" in told
    assert snapshot(here) == before


def test_compare_anew_goes_on_without_force(here: Path, data: Path) -> None:
    """What `--force` was to replace is never taken for what it was to become."""
    arguments = ("--strategies", "largest,magnitude", "--seeds", "0")
    assert compare(data, *arguments) == 0
    before = times((here / "out").rglob("result.json"))
    anew = (*arguments, "--train-option", "epochs=3")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Magnitude, "step", interrupting)
        assert compare(data, *anew, "--force") == 1
    assert compare(data, *anew) == 0
    after = times((here / "out").rglob("result.json"))
    assert after.keys() == before.keys()
    assert not after.items() & before.items()


def interrupting(*_: object) -> float:
    raise KeyboardInterrupt


def test_compare_replaces_a_table_if_told_to(here: Path, data: Path) -> None:
    (here / "out").mkdir()
    (here / "out/compare.csv").write_text("a,b\n")
    assert compare(data, "--strategies", "largest", "--seeds", "0", "--force") == 0
    assert (here / "out/compare.csv").read_text().startswith("strategy,")


TRAINED = {"metric": "accuracy", "parameters": 1, "flops": 1, "test_loss": 0.5}
WRONG_RESULTS: dict[str, tuple[str, object, str]] = {
    "a list": ("search", [1], "$: [1] is not"),
    "no metric": ("train", {"parameters": 1, "flops": 1}, "$: 'metric' is"),
    "another metric": ("train", {**TRAINED, "metric": "luck"}, "$.metric: 'luck'"),
    "no accuracy": ("train", TRAINED, "$: 'test_accuracy' is"),
    "an accuracy": ("train", {**TRAINED, "test_accuracy": "all"}, "$.test_accuracy: 'all'"),
}


@pytest.mark.parametrize("name", WRONG_RESULTS)
@pytest.mark.usefixtures("here")
def test_a_wrong_result_is_named(name: str, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--strategies", "largest", "--seeds", "0")
    assert compare(data, *arguments) == 0
    kind, content, entry = WRONG_RESULTS[name]
    file = Path("out/largest-0", kind, "result.json")
    file.write_text(json.dumps(content))
    capsys.readouterr()
    assert compare(data, *arguments) == 2
    told = capsys.readouterr().err
    assert f"error[D416]: `{file}` holds what bayesnas does not write\n" in told
    assert f" = note: at {entry}" in told


def test_compare_again_writes_the_same_figure(here: Path, data: Path) -> None:
    arguments = ("--strategies", "largest", "--seeds", "0")
    assert compare(data, *arguments) == 0
    before = (here / "out/compare.svg").read_bytes()
    assert compare(data, *arguments) == 0
    assert (here / "out/compare.svg").read_bytes() == before


@pytest.mark.parametrize("option", ["--strategies", "--seeds"])
@pytest.mark.parametrize("text", ["", " , "])
@pytest.mark.usefixtures("here")
def test_empty_lists(
    text: str, option: str, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(data, option, text) == 2
    assert " = help: " in capsys.readouterr().err


BAD_ARGUMENTS = {
    "unknown strategy": (
        ["--strategies", "largest,randum"],
        "D231", "invalid value `randum` of `strategy`", "did you mean `random`?",
    ),
    "no strategy at all": (
        ["--strategies", "xyz"],
        "D231", "invalid value `xyz` of `strategy`",
        "write `posterior`, `evidence`, `bayesnas`, `random`, `darts`, `magnitude`, `pgnas` or "
        "`largest`",
    ),
    "seed": (
        ["--seeds", "0,one"],
        "D418", "cannot read the seed `one`",
        "write whole numbers between commas, as in `--seeds 0,1,2`",
    ),
    "negative seed": (
        ["--seeds=-1"],
        "D418", "cannot read the seed `-1`",
        "write whole numbers between commas, as in `--seeds 0,1,2`",
    ),
    "budget": (
        ["--budget", "flops"],
        "D418", "cannot read `--budget flops`",
        "write `--budget flops=60M`, or `parameters=500K`, or `latency=5ms`",
    ),
    "unit of a budget": (
        ["--budget", "flops=60X"],
        "D418", "cannot read `--budget flops=60X`",
        "write `--budget flops=60M`, or `parameters=500K`, or `latency=5ms`",
    ),
    "cost of a budget": (
        ["--budget", "flop=60M"],
        "D418", "cannot read `--budget flop=60M`", "did you mean `flops`?",
    ),
    "unknown cost": (
        ["--budget", "seconds=60"],
        "D418", "cannot read `--budget seconds=60`",
        "a budget is of `parameters`, `flops` or `latency`",
    ),
    "proxy": (
        ["--proxy", "width"],
        "D417", "cannot read `--proxy width`", "write `--proxy NAME=NUMBER`",
    ),
    "parameter of the proxy": (
        ["--proxy", "widht=2"],
        "D410", "network `net` has no parameter `widht`", "did you mean `width`?",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_ARGUMENTS)
def test_bad_arguments(
    name: str, here: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, code, message, remedy = BAD_ARGUMENTS[name]
    before = snapshot(here)
    assert compare(data, *arguments) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert f"error[{code}]: {message}" in told.err
    [helped] = [line for line in told.err.splitlines() if " = help: " in line]
    assert remedy in helped
    assert snapshot(here) == before


def test_a_proxy_with_other_choices_on_the_command_line(
    here: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = snapshot(here)
    assert compare(data, "--proxy", "cells=1", spec="loose.nas") == 2
    told = capsys.readouterr().err
    [line] = [n for n, text in enumerate(LOOSE.splitlines(), 1) if text.startswith("network")]
    assert "error[D435]: the proxy of `net` has other choices than the network itself" in told
    assert f"--> loose.nas:{line}:" in told
    assert " = help: let `--proxy` change widths, sizes and tied cells alone" in told
    assert snapshot(here) == before


def test_amounts_of_budgets() -> None:
    found = parse_budgets(["flops=60M", " parameters <= 1.5K ", "flops = 2G", "parameters=7"])
    assert {b.cost: b.limit for b in found} == {"flops": 2 * 10**9, "parameters": 7}
    assert parse_budgets(["parameters=1.5K"]) == (BudgetConstraint("parameters", 1500),)


FOREIGN_RUNS: dict[str, tuple[list[str], str, str]] = {
    "a search of another space": (
        ["search", "loose.nas", "--strategy", "largest"], "search", "spec",
    ),
    "a search of another seed": (
        ["search", "net.nas", "--strategy", "largest", "--seed", "1"], "search", "seed",
    ),
    "a search by another strategy": (["search", "net.nas"], "search", "settings"),
    "a training": (["train", "net.nas"], "search", "command"),
    "a training of something else": (["train", "net.nas"], "train", "spec"),
}  # fmt: skip


@pytest.mark.parametrize("name", FOREIGN_RUNS)
def test_a_finished_run_of_others_is_not_taken(
    name: str, here: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--strategies", "largest", "--seeds", "0")
    assert compare(data, *arguments) == 0
    command, kind, differs = FOREIGN_RUNS[name]
    place = f"out/largest-0/{kind}"
    shutil.rmtree(place)
    assert main([*command, "--data", f"folder:{data}", "--device", "cpu", "-o", place]) == 0
    before = snapshot(here)
    capsys.readouterr()
    assert compare(data, *arguments) == 2
    told = capsys.readouterr().err
    assert f"error[D414]: the run in `{place}` differs in its {differs}\n" in told
    assert snapshot(here) == before
    assert compare(data, *arguments, "--force") == 0


def test_runs_on_other_data_are_not_taken(
    here: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The folder has the same name, and other pictures."""
    own = here / "data"
    shutil.copytree(data, own)
    arguments = ("--strategies", "largest", "--seeds", "0")
    assert compare(own, *arguments) == 0
    (own / "train/rows/0.png").unlink()
    capsys.readouterr()
    assert compare(own, *arguments) == 2
    told = capsys.readouterr().err
    assert "error[D414]: the run in `out/largest-0/search` differs in its data\n" in told


@pytest.mark.usefixtures("here")
def test_a_rate_that_is_too_high_is_named_where_it_stands(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--option` is of the searches, `--train-option` of the trainings."""
    arguments = ("--strategies", "random", "--seeds", "0", "--option", "learning_rate=0.002")
    with monkeypatch.context() as patch:
        patch.setattr("bayesnas.runtime.supernet.supernet.check_loss", diverge)
        assert compare(data, *arguments) == 1
    told = capsys.readouterr().err
    assert "= help: lower `learning_rate`, for instance `--option learning_rate=0.0002`\n" in told
    monkeypatch.setattr("bayesnas.runtime.network.learning.learner.check_loss", diverge)
    assert compare(data, *arguments) == 1
    told = capsys.readouterr().err
    place = "`--train-option learning_rate=0.005`"
    assert f"= help: lower `learning_rate`, for instance {place}\n" in told


def diverge(*_: object) -> float:
    raise diverged("the loss became nan")


def test_compare_does_not_write_into_a_run(
    here: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(data, "--strategies", "largest", "--seeds", "0") == 0
    (here / "out").rename(here / "before")
    (here / "before/largest-0/train").rename(here / "out")
    before = snapshot(here)
    for more in ((), ("--force",)):
        capsys.readouterr()
        assert compare(data, "--strategies", "largest", "--seeds", "0", *more) == 2
        assert "error[D413]: `out` is the folder of a run" in capsys.readouterr().err
    assert snapshot(here) == before
