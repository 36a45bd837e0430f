"""The command line: what every wrong input is told, and that it touches nothing.

Commands run in an empty folder, which is compared before and after.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest
from attrs import frozen
from living import TINY, snapshot, striped, write_tiny
from support import MARK, deadline, marked, network

import bayesnas
from bayesnas.cli import compile_main, main
from bayesnas.compiler.pipeline import compile_spec

COMMANDS = (
    "compile",
    "check",
    "fmt",
    "render",
    "search",
    "train",
    "compress",
    "eval",
    "predict",
    "demo",
)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder the command runs in."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def no_dot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return striped(tmp_path_factory.mktemp("striped"), train=4, test=2)


@frozen
class Ended:
    """How a command ended."""

    status: int
    out: str
    err: str


Run: TypeAlias = Callable[..., Ended]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: object) -> Ended:
        status = main([str(a) for a in arguments])
        captured = capsys.readouterr()
        return Ended(status, captured.out, captured.err)

    return call


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def assert_refused(ended: Ended, code: str, message: str, status: int = 2) -> None:
    """One diagnostic with a remedy, and no word on stdout."""
    assert ended.status == status, ended
    assert ended.out == ""
    assert f"error[{code}]: {message}" in ended.err
    assert " = help: " in ended.err
    assert "Traceback" not in ended.err
    assert ended.err.count("error[") == 1


def work(command: str, spec: object, data: object = "digits") -> list[object]:
    """A command on a spec, with what else it needs."""
    if command in ("search", "train"):
        return [command, spec, "--data", data, "-o", "run", "--device", "cpu"]
    return [command, spec]


ON_A_SPEC = ("compile", "check", "render", "search", "train")


# -------------------------------------------------------------------------------------- bad specs


def body(lines: str) -> str:
    return network(lines)


BAD_SPECS = {
    "syntax": (
        "D101",
        "`>` between operations",
        body("x -> y : conv(3) > relu".replace("> relu", f"{MARK}> relu")),
    ),
    "unknown node": ("D203", "`z` is not a node of `net`", body(f"x -> y : relu\n{MARK}z -> y")),
    "unknown operation": ("D202", "unknown operation `cnv`", body(f"x -> y : {MARK}cnv(3)")),
    "unknown parameter": (
        "D205",
        "`k` is no parameter or loop variable here",
        body(f"x -> y : conv({MARK}k)"),
    ),
    "unknown motif": ("D211", "unknown motif `cell`", body(f"{MARK}p = cell(x)\np -> y")),
    "unknown import": (
        "D111",
        "nothing to import at `ops/gone.nas`",
        f'{MARK}import "ops/gone.nas"\n' + body("x -> y : relu"),
    ),
    "import from outside": (
        "D110",
        "invalid import path `../secret.nas`",
        f'{MARK}import "../secret.nas"\n' + body("x -> y : relu"),
    ),
    "cycle": (
        "D213",
        "a cycle: `a` depends on itself",
        body(f"node a, b\nx -> a\n{MARK}a -> b : relu\nb -> a : relu\nb -> y"),
    ),
    "no way to the output": (
        "D214",
        "`a` of `net` has no way to an output",
        body(f"x -> y : relu\n{MARK}a = x : conv(3)"),
    ),
    "nothing arrives": (
        "D215",
        "nothing arrives at `a` of `net`",
        body(f"x -> y : relu\nnode {MARK}a\na -> y"),
    ),
    "shapes at a sum": (
        "D302",
        "cannot sum [4, 8, 8] and [6, 8, 8] at `y`",
        body(f"x -> y : conv(3)\n{MARK}x -> y : conv(3, 6)"),
    ),
    "shape of the output": (
        "D303",
        "output `y` is declared as [4, 8, 8] and arrives as [6, 8, 8]",
        f"network net(x: [4, 8, 8]) -> ({MARK}y: [4, 8, 8]) {{ x -> y : conv(3, 6) }}",
    ),
    "operation on the wrong shape": (
        "D301",
        "`linear` needs a vector [features], got [4, 8, 8]",
        body(f"{MARK}x -> y : linear(4)"),
    ),
    "wrong setting": (
        "D230",
        "unknown train setting `epoch`",
        body("x -> y : relu") + f"train {{ {MARK}epoch = 3 }}",
    ),
    "value of a setting": (
        "D231",
        "invalid value `0` of `rounds`",
        body("x -> y : relu") + f"search {{ {MARK}rounds = 0 }}",
    ),
}


@pytest.mark.parametrize("command", ON_A_SPEC)
@pytest.mark.parametrize("name", BAD_SPECS)
def test_a_bad_spec(name: str, command: str, here: Path, run: Run) -> None:
    code, message, text = BAD_SPECS[name]
    snippet = marked(text)
    (here / "bad.nas").write_text(snippet.text)
    before = snapshot(here)
    ended = run(*work(command, "bad.nas"))
    assert_refused(ended, code, message)
    assert f"--> bad.nas:{snippet.line}:{snippet.column}\n" in ended.err
    assert f"{snippet.line} | {snippet.text.splitlines()[snippet.line - 1]}\n" in ended.err
    assert "^" in ended.err
    assert snapshot(here) == before


@pytest.mark.parametrize("command", ON_A_SPEC)
def test_a_missing_spec(command: str, here: Path, run: Run) -> None:
    (here / "near.nas").write_text(body("x -> y : relu"))
    before = snapshot(here)
    ended = run(*work(command, "gone.nas"))
    assert_refused(ended, "D401", "no spec at `gone.nas`")
    assert "near.nas" in ended.err
    assert "digits_cell" in ended.err
    assert snapshot(here) == before


@pytest.mark.parametrize("command", ON_A_SPEC)
def test_a_spec_that_cannot_be_read(command: str, here: Path, run: Run) -> None:
    (here / "folder.nas").mkdir()
    (here / "binary.nas").write_bytes(b"\xff\xfe\x00")
    before = snapshot(here)
    assert_refused(run(*work(command, "folder.nas")), "D415", "no search in `folder.nas`")
    assert_refused(run(*work(command, "binary.nas")), "D402", "`binary.nas` is not UTF-8 text")
    assert snapshot(here) == before


def test_a_folder_names_what_is_made_of_it(
    here: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of its name, whatever stands behind a dot."""
    (here / "lr0.01").mkdir()
    (here / "lr0.01" / "pruned.nas").write_text(body("x -> y : relu"))
    assert run("compile", "lr0.01", "--emit", "graph").status == 0
    assert names(here / "build") == ["lr0.01"]
    monkeypatch.chdir(here / "lr0.01")
    assert run("compile", ".", "--emit", "graph").status == 0
    assert names(here / "lr0.01" / "build") == ["lr0.01"]


@pytest.mark.parametrize("command", ON_A_SPEC)
def test_a_folder_stands_for_what_its_search_has_found(command: str, here: Path, run: Run) -> None:
    (here / "runs").mkdir()
    record = {"command": "search", "file": "spec.nas", "versions": {"bayesnas": "0"}}
    (here / "runs" / "settings.json").write_text(json.dumps(record))
    for name in ("runs", "runs/pruned.nas"):
        ended = run(*work(command, name))
        assert_refused(ended, "D415", "the search in `runs` has not ended")
        assert "finish it: the same command with `--resume`" in ended.err
    (here / "runs" / "pruned.nas").write_text(body("§"))
    assert "--> runs/pruned.nas:2:1" in run(*work(command, "runs")).err


def test_a_folder_does_not_hide_a_packaged_spec(here: Path, run: Run) -> None:
    """A run may lie in it: `search digits_cell -o digits_cell --resume`."""
    (here / "digits_cell").mkdir()
    (here / "digits_cell" / "mine.nas").write_text(body("x -> y : relu"))
    assert run("check", "digits_cell").status == 0
    ended = run("check", "./digits_cell")
    assert_refused(ended, "D415", "no search in `digits_cell`")
    assert "name a spec in it, such as `digits_cell/mine.nas`" in ended.err


def test_all_errors_of_a_spec_at_once(here: Path, run: Run) -> None:
    (here / "bad.nas").write_text(body("x -> y : cnv(3)\nz -> y\nx -> y : conv()"))
    ended = run("check", "bad.nas")
    assert ended.status == 2
    for code, line in (("D202", 2), ("D203", 3), ("D204", 4)):
        assert f"error[{code}]" in ended.err
        assert f"--> bad.nas:{line}:" in ended.err
    assert ended.err.rstrip().endswith("3 errors")


# -------------------------------------------------------------------------------------- compile

WRITTEN = ("gamma.json", "gamma.md", "graph.dot", "graph.json", "supernet.py")


def test_compile(here: Path, run: Run, no_dot: None) -> None:  # noqa: ARG001
    write_tiny(here)
    ended = run("compile", "tiny.nas", "-o", "out")
    assert ended.status == 0
    assert names(here / "out") == sorted(WRITTEN)
    space = compile_spec("tiny.nas")
    rows = dict(line.rsplit("  ", 1) for line in ended.out.splitlines() if line.startswith("  "))
    found = {name.strip(): value.strip() for name, value in rows.items()}
    assert found["searched operations"] == str(len(space.graph.searched()))
    assert found["tied groups"] == str(len(space.graph.groups()))
    assert set(found) == {
        "nodes", "i' nodes", "searched operations", "tied groups", "parameters",
        "FLOPs per example",
    }  # fmt: skip
    assert "`dot` is not installed" in ended.err
    assert "Graphviz" in ended.err


def test_compile_under_its_own_name(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_tiny(here)
    assert compile_main(["tiny.nas", "-o", "out", "--emit", "torch"]) == 0
    assert names(here / "out") == ["supernet.py"]
    assert compile_main(["gone.nas"]) == 2
    assert "error[D401]" in capsys.readouterr().err


def test_compile_goes_to_build_by_itself(here: Path, run: Run) -> None:
    write_tiny(here)
    assert run("compile", "tiny.nas", "--emit", "ast, graph").status == 0
    assert sorted(snapshot(here / "build")) == ["tiny", "tiny/ast.json", "tiny/graph.json"]


def test_a_network_without_search_is_no_supernet(here: Path, run: Run) -> None:
    (here / "plain.nas").write_text(body("x -> y : relu"))
    assert run("compile", "plain.nas", "-o", "out", "--emit", "torch,gamma").status == 0
    assert names(here / "out") == ["network.py"]


def test_there_is_no_gamma_without_choices(here: Path, run: Run) -> None:
    (here / "plain.nas").write_text(body("x -> y : relu"))
    before = snapshot(here)
    said = "`--emit gamma` has nothing to write: the spec has no choices"
    assert_refused(run("compile", "plain.nas", "-o", "out", "--emit", "gamma"), "D418", said)
    assert snapshot(here) == before


def test_emit_schedule_and_plain_source(here: Path, run: Run) -> None:
    write_tiny(here)
    emits = "schedule,slices,plain,torch"
    assert run("compile", "tiny.nas", "-o", "out", "--emit", emits).status == 0
    assert names(here / "out") == ["plain.py", "schedule.txt", "slices.txt", "supernet.py"]
    assert (here / "out/slices.txt").read_text().startswith("slices of `tiny`: ")
    assert (here / "out/schedule.txt").read_text().startswith("schedule of `")
    assert "ScheduledEdge" not in (here / "out/plain.py").read_text()


@pytest.mark.parametrize("emit", ["", ",", "torch,svg", "TORCH", "all"])
def test_wrong_emit(emit: str, here: Path, run: Run) -> None:
    write_tiny(here)
    before = snapshot(here)
    assert_refused(run("compile", "tiny.nas", "--emit", emit), "D418", "cannot emit `")
    assert snapshot(here) == before


def test_an_output_folder_that_holds_something(here: Path, run: Run) -> None:
    write_tiny(here)
    (here / "out").mkdir()
    (here / "out" / "mine.txt").write_text("mine")
    before = snapshot(here)
    ended = run("compile", "tiny.nas", "-o", "out", "--emit", "torch")
    assert_refused(ended, "D413", "`out` is not empty")
    assert "--force" in ended.err
    assert_refused(run("compile", "tiny.nas", "-o", "tiny.nas"), "D413", "`tiny.nas` is a file")
    assert snapshot(here) == before
    assert run("compile", "tiny.nas", "-o", "out", "--emit", "torch", "--force").status == 0
    assert names(here / "out") == ["mine.txt", "supernet.py"]


def test_an_output_folder_below_a_file(here: Path, run: Run) -> None:
    write_tiny(here)
    before = snapshot(here)
    ended = run("compile", "tiny.nas", "-o", "tiny.nas/out", "--emit", "torch")
    assert_refused(ended, "D413", "`tiny.nas` is a file")
    assert snapshot(here) == before


# -------------------------------------------------------------------------------------- --set


@pytest.mark.parametrize(
    "text", ["cells", "cells=", "=3", "cells=x", "cells=1.5", "1x=3", "cells==3", "", "cells=3=4"]
)
@pytest.mark.parametrize("command", ["compile", "render", "search", "train"])
def test_set_that_cannot_be_read(text: str, command: str, here: Path, run: Run) -> None:
    write_tiny(here)
    before = snapshot(here)
    ended = run(*work(command, "tiny.nas"), "--set", text)
    assert_refused(ended, "D417", f"cannot read `--set {text}`")
    assert snapshot(here) == before


@pytest.mark.parametrize("command", ["compile", "render", "search", "train"])
def test_set_of_an_unknown_parameter(command: str, here: Path, run: Run) -> None:
    write_tiny(here)
    before = snapshot(here)
    ended = run(*work(command, "tiny.nas"), "--set", "cels=3")
    assert_refused(ended, "D410", "network `tiny` has no parameter `cels`")
    assert "did you mean `cells`?" in ended.err
    assert snapshot(here) == before


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("cells=0", "D222"),
        ("cells=-1", "D222"),
        ("width=0", "D301"),
        ("cells=9999999999999", "D221"),
    ],
)
def test_set_of_a_value_that_cannot_be(text: str, code: str, here: Path, run: Run) -> None:
    write_tiny(here)
    before = snapshot(here)
    ended = run("compile", "tiny.nas", "--set", text)
    assert ended.status == 2
    assert f"error[{code}]" in ended.err
    assert " = help: " in ended.err
    assert "--> tiny.nas:" in ended.err
    assert snapshot(here) == before


def test_a_parameter_without_a_value(here: Path, run: Run) -> None:
    (here / "open.nas").write_text(
        "network net(x: [4, 8, 8]; width) -> (y: [4, 8, 8]) { x -> y : conv(3, width) }"
    )
    assert_refused(
        run("check", "open.nas"), "D411", "parameter `width` of network `net` has no value"
    )
    assert run("compile", "open.nas", "--set", "width=4", "--emit", "torch").status == 0


def test_which_network(here: Path, run: Run) -> None:
    text = body("x -> y : relu") + body("x -> y : conv(3)").replace("net(", "other(")
    (here / "two.nas").write_text(text)
    arguments = ["compile", "two.nas", "--emit", "torch", "-o", "out", "--network"]
    ended = run(*arguments, "othr")
    assert_refused(ended, "D216", "no network `othr`")
    assert "did you mean `other`?" in ended.err
    assert run(*arguments, "other").status == 0


# -------------------------------------------------------------------------------------- check


def test_check_of_several(here: Path, run: Run) -> None:
    write_tiny(here)
    (here / "bad.nas").write_text(body("x -> y : cnv"))
    ended = run("check", "tiny.nas", "bad.nas", "digits_cell", "gone.nas")
    assert ended.status == 2
    assert ended.out == "tiny.nas: ok\ndigits_cell: ok\n"
    assert "error[D202]" in ended.err
    assert "error[D401]" in ended.err
    assert run("check", "tiny.nas", "dense_motif").status == 0


def test_check_of_very_many_networks(here: Path, run: Run) -> None:
    one = "network n{}(x: [4]) -> (y: [4]) {{ x -> y }}\n"
    (here / "many.nas").write_text("".join(map(one.format, range(500))))
    with deadline(10.0):
        assert run("check", "many.nas").out == "many.nas: ok\n"


# -------------------------------------------------------------------------------------- render


def test_render(here: Path, run: Run, no_dot: None) -> None:  # noqa: ARG001
    write_tiny(here)
    ended = run("render", "tiny.nas")
    assert (ended.status, ended.out) == (0, "written to tiny.dot\n")
    assert "`dot` is not installed" in ended.err
    assert names(here) == ["tiny.dot", "tiny.nas"]
    assert (here / "tiny.dot").read_text(encoding="utf-8").startswith("digraph tiny {")
    assert run("render", "digits_cell", "-o", "new/figure.dot").status == 0
    assert (here / "new" / "figure.dot").is_file()


def test_render_with_relays(here: Path, run: Run, no_dot: None) -> None:  # noqa: ARG001
    write_tiny(here)
    assert run("render", "tiny.nas").status == 0
    assert run("render", "tiny.nas", "--relays", "-o", "relays.svg").status == 0
    plain, relays = ((here / f"{name}.dot").read_text("utf-8") for name in ("tiny", "relays"))
    assert "shape=ellipse" not in plain
    assert "shape=ellipse" in relays


def test_render_of_a_graph(here: Path, run: Run, no_dot: None) -> None:  # noqa: ARG001
    write_tiny(here)
    assert run("compile", "tiny.nas", "-o", "out", "--emit", "graph").status == 0
    assert run("render", "tiny.nas").status == 0
    ended = run("render", "out/graph.json", "-o", "again.svg")
    assert (ended.status, ended.out) == (0, "written to again.dot\n")
    assert (here / "again.dot").read_bytes() == (here / "tiny.dot").read_bytes()


def test_render_of_the_largest_graph_we_ship(run: Run, no_dot: None) -> None:  # noqa: ARG001
    assert run("compile", "darts_cell", "-o", "out", "--emit", "graph").status == 0
    assert run("render", "out/graph.json").status == 0


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": "bayesnas-graph"}'])
def test_render_of_what_is_no_graph(text: str, here: Path, run: Run) -> None:
    (here / "graph.json").write_text(text)
    before = snapshot(here)
    ended = run("render", "graph.json")
    assert_refused(ended, "D403", "`graph.json` is no graph of bayesnas")
    assert snapshot(here) == before


def test_render_of_a_missing_graph(here: Path, run: Run) -> None:
    ended = run("render", "gone.json")
    assert ended.status == 2
    assert "cannot read `gone.json`" in ended.err or "no spec at `gone.json`" in ended.err
    assert " = help: " in ended.err
    assert snapshot(here) == {}


@pytest.mark.parametrize("name", ["figure.gif", "figure", "figure.SVG"])
def test_render_to_an_unknown_ending(name: str, here: Path, run: Run) -> None:
    write_tiny(here)
    before = snapshot(here)
    assert_refused(run("render", "tiny.nas", "-o", name), "D420", f"cannot draw `{name}`")
    assert snapshot(here) == before


@pytest.mark.parametrize("there", ["figure.svg", "figure.dot"])
def test_render_over_a_file(there: str, here: Path, run: Run, no_dot: None) -> None:  # noqa: ARG001
    """The figure, and the source that is written beside it."""
    write_tiny(here)
    (here / there).write_text("mine")
    before = snapshot(here)
    ended = run("render", "tiny.nas", "-o", "figure.svg")
    assert_refused(ended, "D413", f"`{there}` exists")
    assert snapshot(here) == before
    assert run("render", "tiny.nas", "-o", "figure.svg", "--force").status == 0


# -------------------------------------------------------------------------------------- data


@pytest.mark.parametrize("command", ["search", "train"])
class TestWrongData:
    def refused(
        self, here: Path, run: Run, command: str, data: object, code: str, message: str
    ) -> Ended:
        write_tiny(here)
        before = snapshot(here.parent)
        ended: Ended = run(*work(command, "tiny.nas", data))
        assert_refused(ended, code, message)
        assert snapshot(here.parent) == before
        return ended

    def test_unknown(self, command: str, here: Path, run: Run) -> None:
        ended = self.refused(here, run, command, "digit", "D501", "unknown data `digit`")
        assert "did you mean `digits`?" in ended.err

    def test_no_folder(self, command: str, here: Path, run: Run) -> None:
        self.refused(here, run, command, "folder:gone", "D502", "no folder `gone`")

    def test_a_folder_spelt_alike(self, command: str, here: Path, run: Run) -> None:
        (here / "photos").mkdir()
        ended = self.refused(here, run, command, "folder:photo", "D502", "no folder `photo`")
        assert "did you mean `photos`?" in ended.err

    def test_empty_folder(self, command: str, here: Path, run: Run) -> None:
        for part in ("train", "test"):
            for name in ("a", "b"):
                (here / "data" / part / name).mkdir(parents=True)
        self.refused(here, run, command, "folder:data", "D503", "no images in `data/train`")

    def test_unreadable_image(self, command: str, here: Path, run: Run) -> None:
        striped(here / "data", 2, 1)
        path = Path("data/train/rows/1.png")
        path.write_bytes(b"no image")
        message = "cannot read an image of `folder:data`"
        ended = self.refused(here, run, command, "folder:data", "D504", message)
        assert f"  = note: `{path}`: " in ended.err

    def test_image_size(self, command: str, here: Path, run: Run, data: Path) -> None:
        text = TINY.replace("[1, 8, 8]", "[1, 16, 16]")
        (here / "large.nas").write_text(text)
        before = snapshot(here)
        ended = run(*work(command, "large.nas", f"folder:{data}"))
        assert_refused(ended, "D505", f"`{data / 'train/columns/0.png'}` is [1, 8, 8]")
        assert "--resize" in ended.err
        assert snapshot(here) == before

    def test_number_of_classes(self, command: str, here: Path, run: Run) -> None:
        message = "`digits` has 10 classes, the network predicts 3"
        ended = self.refused(here, run, command, "digits", "D506", message)
        assert "--> tiny.nas:14:" in ended.err

    def test_cifar10_is_not_there(self, command: str, here: Path, run: Run) -> None:
        message = "CIFAR-10 is not at `data`"
        ended = self.refused(here, run, command, "cifar10", "D507", message)
        assert "--download" in ended.err

    def test_a_network_that_classifies_nothing(self, command: str, here: Path, run: Run) -> None:
        (here / "map.nas").write_text(body("x ~> y : relu | skip"))
        before = snapshot(here)
        ended = run(*work(command, "map.nas"))
        assert_refused(ended, "D430", "`y` is [")
        assert snapshot(here) == before


# -------------------------------------------------------------------------------------- options


def test_the_epochs_that_are_wanted_are_a_setting(here: Path, run: Run) -> None:
    write_tiny(here)
    data = striped(here / "data")
    quick = [f"--option={one}" for one in ("rounds=1", "draws=2", "curvature_examples=16")]
    search = work("search", "tiny.nas", f"folder:{data}")
    assert run(*search, "--wanted-epochs", 70, *quick).status == 0
    settings = json.loads((here / "run/settings.json").read_text("utf-8"))["settings"]
    assert (settings["wanted_epochs"], settings["rounds"]) == (70, 1)
    ended = run(*search, "--force", "--strategy", "random", "--wanted-epochs", 70)
    assert_refused(ended, "D232", "`random` does not use the setting `wanted_epochs`")


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("epochs", "D418", "cannot read `--option epochs`"),
        ("epochs=", "D418", "cannot read `--option epochs=`"),
        ("=3", "D418", "cannot read `--option =3`"),
        ("epoch=3", "D230", "unknown {} setting `epoch`"),
        ("epochs=-1", "D231", "invalid value `-1` of `epochs`"),
        ("batch_size=1.5", "D231", "invalid value `1.5` of `batch_size`"),
        ("epochs=many", "D231", "invalid value `many` of `epochs`"),
        ("epochs=inf", "D231", "invalid value `inf` of `epochs`"),
        ("epochs=nan", "D231", "invalid value `nan` of `epochs`"),
        ("learning_rate=nan", "D231", "invalid value `nan` of `learning_rate`"),
        ("learning_rate=0", "D231", "invalid value `0` of `learning_rate`"),
        ("augment=turn", "D231", "invalid value `turn` of `augment`"),
    ],
)
@pytest.mark.parametrize("command", ["search", "train"])
def test_wrong_options(
    text: str, code: str, message: str, command: str, here: Path, run: Run, data: Path
) -> None:
    write_tiny(here)
    before = snapshot(here)
    ended = run(*work(command, "tiny.nas", f"folder:{data}"), "--option", text)
    assert_refused(ended, code, message.format(command))
    assert snapshot(here) == before


LONG = "1," + "9" * 5000


@pytest.mark.parametrize("value", ["60,30", "30,30", "0", "-3", "1.5", "3 5", "often", LONG])
def test_wrong_epochs_of_a_schedule(value: str, here: Path, run: Run, data: Path) -> None:
    write_tiny(here)
    before = snapshot(here)
    ended = run(*work("train", "tiny.nas", f"folder:{data}"), "--option", f"rate_steps={value}")
    assert_refused(ended, "D231", f"invalid value `{value}` of `rate_steps`")
    assert 'write rising epochs, as in `rate_steps = "30, 60"`' in ended.err
    assert snapshot(here) == before


@pytest.mark.parametrize("command", ["search", "train"])
def test_the_list_of_options(command: str, run: Run) -> None:
    """As the remedy for a wrong option says it: nothing else is needed."""
    ended = run(command, "digits_cell", "--option", "help")
    assert ended.status == 0
    for name in ("epochs", "learning_rate", "augment"):
        assert name in ended.out


@pytest.mark.parametrize("command", ["search", "train"])
def test_an_unknown_device(command: str, here: Path, run: Run, data: Path) -> None:
    write_tiny(here)
    before = snapshot(here)
    for name in ("banana", "cuda:99"):
        ended = run(*work(command, "tiny.nas", f"folder:{data}"), "--device", name)
        assert_refused(ended, "D412", f"no device `{name}` on this machine")
    assert snapshot(here) == before


@pytest.mark.parametrize("command", ["search", "train"])
@pytest.mark.parametrize("count", ["-1", "100000"])
def test_no_processes(command: str, count: str, here: Path, run: Run, data: Path) -> None:
    write_tiny(here)
    ended = run(*work(command, "tiny.nas", f"folder:{data}"), "--workers", count)
    assert_refused(ended, "D418", f"cannot read `workers = {count}`")
    assert "write a number from 0 to 256" in ended.err


@pytest.mark.parametrize("command", ["search", "train"])
def test_no_threads(command: str, here: Path, run: Run, data: Path) -> None:
    write_tiny(here)
    before = snapshot(here)
    for count in ("0", "-2"):
        ended = run(*work(command, "tiny.nas", f"folder:{data}"), "--threads", count)
        assert_refused(ended, "D418", f"cannot use {count} threads")
    assert snapshot(here) == before


@pytest.mark.parametrize("command", ["search", "train"])
def test_a_seed_that_is_too_large(command: str, here: Path, run: Run, data: Path) -> None:
    write_tiny(here)
    before = snapshot(here)
    ended = run(*work(command, "tiny.nas", f"folder:{data}"), "--seed", 10**30)
    assert ended.status == 2
    assert " = help: " in ended.err
    assert snapshot(here) == before


@pytest.mark.parametrize("command", ["search", "train"])
def test_a_run_that_is_there(command: str, here: Path, run: Run, data: Path) -> None:
    write_tiny(here)
    (here / "run").mkdir()
    (here / "run" / "mine.txt").write_text("mine")
    before = snapshot(here)
    arguments = work(command, "tiny.nas", f"folder:{data}")
    assert_refused(run(*arguments), "D413", "`run` is not empty")
    ended = run(*arguments, "--force")
    assert_refused(ended, "D413", "`run` is not the folder of a run and will not be replaced")
    assert_refused(run(*arguments, "--resume"), "D414", "nothing to resume in `run`")
    assert snapshot(here) == before


def test_no_run_to_evaluate(here: Path, run: Run) -> None:
    assert_refused(run("eval", "gone"), "D415", "no run in `gone`")
    assert snapshot(here) == {}


def test_a_demo_over_something(here: Path, run: Run) -> None:
    (here / "mine.txt").write_text("mine")
    before = snapshot(here)
    assert_refused(run("demo", "-o", "."), "D413", "`.` is not empty")
    assert snapshot(here) == before


# -------------------------------------------------------------------------------------- the work


def test_a_spec_becomes_a_trained_network(here: Path, run: Run, data: Path, no_dot: None) -> None:  # noqa: ARG001
    """The whole path, from the space to the number and the number again."""
    write_tiny(here)
    folder = f"folder:{data}"
    ended = run(*work("search", "tiny.nas", folder), "--option", "rounds=2")
    assert ended.status == 0
    assert "run/pruned.nas" in ended.out
    assert "supernet" in ended.out
    assert "`dot` is not installed" in ended.err
    assert "\r" not in ended.err  # plain lines where there is no terminal
    ended = run("train", "run/pruned.nas", "--data", folder, "-o", "trained", "--device", "cpu")
    assert ended.status == 0
    assert ended.out.startswith("test accuracy ")
    assert "of 6 examples" in ended.out
    again = run("eval", "trained", "--device", "cpu")
    assert again.status == 0
    assert again.out.split(" of ")[0] == ended.out.split(" of ")[0]
    assert run("check", "run/pruned.nas").status == 0
    assert run("render", "run/graph.json", "-o", "found.svg").status == 0
    assert json.loads((here / "run" / "settings.json").read_text())["settings"]["rounds"] == 2


def test_a_pruning_that_would_leave_nothing(
    here: Path,
    run,
    data: Path,
    no_dot: None,  # noqa: ARG001
) -> None:
    write_tiny(here)
    arguments = work("search", "tiny.nas", f"folder:{data}")
    settings = ("strategy=bayesnas", "discretize=no", "lambda_w=10", "prune_fraction=1")
    ended = run(*arguments, *(word for text in settings for word in ("--option", text)))
    assert ended.status == 1
    assert "error[D601]: " in ended.err
    assert "lambda_w" in ended.err.partition(" = help: ")[2]
    assert ended.out == ""
    assert "pruned.nas" not in snapshot(here / "run")
    assert [name for name in snapshot(here / "run") if name.startswith(".")] == []


def test_a_loss_that_is_not_finite(here: Path, run: Run, data: Path) -> None:
    write_tiny(here)
    options = ["learning_rate=100", "weight_decay=1", "epochs=200"]
    given = [part for option in options for part in ("--option", option)]
    ended = run(*work("train", "tiny.nas", f"folder:{data}"), *given)
    assert ended.status == 1
    assert re.search(r"error\[D602\]: .* not finite after epoch \d+\n", ended.err)
    assert " = help: lower `learning_rate`" in ended.err
    assert "weights.pt" not in snapshot(here / "run")


def test_an_interruption(here: Path, run: Run, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    write_tiny(here)
    monkeypatch.setattr("bayesnas.runtime.jobs.train.train", interrupted)
    ended = run(*work("train", "tiny.nas", f"folder:{data}"))
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.splitlines()[-1] == "interrupted"  # nothing was kept that could go on


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), "D603"),
        (MemoryError("Unable to allocate 8 TiB"), "D603"),
        (MemoryError(), "D603"),
        (OSError(28, "No space left on device", "run/weights.pt"), "D419"),
    ],
    ids=str,
)
def test_a_machine_that_fails(
    error: Exception, code: str, here: Path, run: Run, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    write_tiny(here)
    monkeypatch.setattr("bayesnas.runtime.jobs.train.train", fail)
    ended = run(*work("train", "tiny.nas", f"folder:{data}"))
    assert ended.status == 1
    assert f"error[{code}]: " in ended.err
    assert " = help: " in ended.err


def test_a_fault_of_ours_is_not_hidden(
    here: Path, run: Run, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    write_tiny(here)
    monkeypatch.setattr("bayesnas.runtime.jobs.train.train", fail)
    with pytest.raises(RuntimeError, match="mat1"):
        run(*work("train", "tiny.nas", f"folder:{data}"))


# -------------------------------------------------------------------------------------- help


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"bayesnas {bayesnas.__version__}\n"


@pytest.mark.parametrize("command", [*COMMANDS, ""])
def test_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([*([command] if command else []), "--help"])
    assert caught.value.code == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert f"usage: bayesnas {command}".rstrip() in shown.out
    if not command:
        assert all(name in shown.out for name in COMMANDS)


# -------------------------------------------------------------------------------------- the API


def test_the_public_names_are_there() -> None:
    for name in bayesnas.__all__:
        assert getattr(bayesnas, name) is not None
    with pytest.raises(AttributeError, match="`nonsense`"):
        _ = bayesnas.nonsense
