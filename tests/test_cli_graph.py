"""The command line on a graph that was compiled before."""

from __future__ import annotations

from pathlib import Path

import pytest
from living import snapshot
from support import network

from bayesnas.cli import main

SPEC = "op three = conv(3) >> bn\n" + network("x ~> y : three | skip\nretain 1 into y")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder the command runs in, with a spec and what was compiled from it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/nonexistent")  # no pictures, which take long
    Path("net.nas").write_text(SPEC, encoding="utf-8")
    assert main(["compile", "net.nas", "-o", "first"]) == 0
    return tmp_path


def test_a_graph_compiles_to_what_its_spec_compiles_to(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compile", "first/graph.json", "-o", "second"]) == 0
    assert snapshot(here / "second") == snapshot(here / "first")
    assert "network `net` of first/graph.json\n" in capsys.readouterr().out


def test_a_graph_is_drawn() -> None:
    assert main(["render", "first/graph.json", "-o", "drawn.dot"]) == 0
    assert Path("drawn.dot").read_text("utf-8") == Path("first/graph.dot").read_text("utf-8")


def test_what_a_search_found_is_kept() -> None:
    text = Path("first/graph.json").read_text("utf-8")
    found = text.replace('"flops": 0}', '"flops": 0, "gamma": 0.5, "removed": 3}')
    assert found.count("gamma") == 2
    Path("found.json").write_text(found, encoding="utf-8")
    assert main(["compile", "found.json", "-o", "second", "--emit", "graph,dot"]) == 0
    assert Path("second/graph.json").read_text("utf-8") == found
    drawn = Path("second/graph.dot").read_text("utf-8")
    assert "γ 0.5" not in drawn  # it was removed
    assert "3: skip" in drawn


ONLY_SPECS = {
    "--set": (["--set", "n=3"], ["--set"]),
    "--network": (["--network", "net"], ["--network"]),
    "--emit ast": (["--emit", "graph,ast"], ["--emit ast"]),
    "all": (["--set", "n=3", "--network", "x", "--emit", "ast"],
            ["--set", "--network", "--emit ast"]),
}  # fmt: skip


@pytest.mark.parametrize("what", ONLY_SPECS)
def test_what_only_a_spec_can_give(
    what: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options, named = ONLY_SPECS[what]
    before = snapshot(here)
    assert main(["compile", "first/graph.json", "-o", "second", *options]) == 2
    said = capsys.readouterr().err
    for option in named:
        message = (
            f"error[D422]: `{option}` needs a spec, and `first/graph.json` is a compiled graph"
        )
        assert message in said
        assert f"help: name the spec it was compiled from, or leave `{option}` out" in said
    assert said.count("error[") == len(named)
    assert snapshot(here) == before


def test_render_needs_a_spec_for_a_network(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["render", "first/graph.json", "-o", "x.dot", "--network", "net"]) == 2
    assert "error[D422]: `--network` needs a spec" in capsys.readouterr().err


WRONG = {
    "no JSON": ("{", "D403", "no JSON at line 1, column 2"),
    "another JSON": ("[3]", "D403", "at $: [3] is not of type 'object'"),
    "no UTF-8": (b"\xff", "D402", "is not UTF-8 text (byte 0)"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_no_graph(what: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content, code, reason = WRONG[what]
    Path("g.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    before = snapshot(here)
    assert main(["compile", "g.json", "-o", "second"]) == 2
    said = capsys.readouterr().err
    assert f"error[{code}]: `g.json`" in said
    assert reason in said
    assert snapshot(here) == before


def test_no_such_graph(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", "gone.json"]) == 2
    said = capsys.readouterr().err
    assert "error[D402]: cannot read `gone.json`: no such file or directory" in said
    assert "help: name a readable file that holds a graph" in said


def test_one_network_that_is_too_large_is_enough(capsys: pytest.CaptureFixture[str]) -> None:
    one = network("node h[1000000]\nx -> y")
    text = "".join(one.replace("net(", f"net{k}(") for k in range(3))
    Path("large.nas").write_text(text, encoding="utf-8")
    assert main(["check", "large.nas"]) == 2
    assert capsys.readouterr().err.count("error[D224]") == 1
