"""Names that are odd, on the command line and in what is written: as spec, data, folder, output."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest
from living import TINY, striped
from support import parse_text

from bayesnas.cli import main

SPACE = """
network net(image: [3, 8, 8]) -> (logits: [3]) {
    node a
    image ~> a : conv(3) | conv(1)
    a -> logits : global_avg_pool >> linear(3)
}
"""
LINES = "x\nop y = conv(3)\n\x1b[31m|`\u202e#.nas"
BYTES = os.fsdecode(b"b\xff\xfe.nas")
ODD = {"line breaks and escapes": LINES, "no UTF-8": BYTES}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("bayesnas.compiler.artifacts.figure.has_dot", lambda: False)


@pytest.fixture(params=ODD.values(), ids=ODD)
def name(request: pytest.FixtureRequest) -> str:
    found = str(request.param)
    Path(found).write_text(SPACE, encoding="utf-8")
    return found


def steers(text: str) -> bool:
    return any(c in text for c in ("\x1b", "\u202e", "\udcff"))


# ------------------------------------------------------------------------------ what is written


def test_a_sample_says_where_it_comes_from_in_a_comment(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sample", name]) == 0
    text = capsys.readouterr().out
    assert [line[0] for line in text.splitlines()[:2]] == ["#", "#"]
    parsed = parse_text(text)
    assert [type(d).__name__ for d in parsed.definitions] == ["Network"]
    assert not steers(text)
    out = os.fsdecode(b"out\xff.nas")
    assert main(["sample", name, "-o", out]) == 0
    assert Path(out).read_text(encoding="utf-8") == text


def test_what_is_compiled_is_not_changed_by_a_name(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for spec, out in ((name, "odd"), ("plain.nas", "plain")):
        Path(spec).write_text(SPACE, encoding="utf-8")
        assert main(["compile", spec, "-o", out, "--emit", "graph,gamma,torch,plain,dot"]) == 0
    assert not steers(capsys.readouterr().out)
    for path in Path("plain").iterdir():
        odd = (Path("odd") / path.name).read_text(encoding="utf-8")
        assert len(odd.splitlines()) == len(path.read_text(encoding="utf-8").splitlines())
        assert not steers(odd)
    for source in ("supernet.py", "plain.py"):
        trees = [ast.parse(Path(folder, source).read_text("utf-8")) for folder in ("odd", "plain")]
        names = [[getattr(n, "name", None) for n in tree.body] for tree in trees]
        assert names[0] == names[1]
    [row] = [r for r in Path("odd/gamma.md").read_text("utf-8").splitlines() if "image → a" in r]
    assert row.replace(r"\|", "").count("|") == 6
    assert main(["render", "odd/graph.json", "-o", "again.dot"]) == 0


@pytest.mark.parametrize("command", ["check", "count"])
def test_names_on_the_terminal(command: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, name]) == 0
    assert main([command, f"gone{name}"]) == 2
    Path(name).write_text(SPACE.replace("conv(3)", "konv(3)"), encoding="utf-8")
    assert main([command, name]) == 2
    told = capsys.readouterr()
    assert not steers(told.out + told.err)
    assert " --> " in told.err


def test_a_spec_steers_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    text = SPACE.replace("node a", "node a\x1b[31m # \u202e")
    Path("spec.nas").write_text(text, encoding="utf-8")
    assert main(["check", "spec.nas"]) == 2
    told = capsys.readouterr().err
    assert not steers(told)
    assert "error[D102]: unexpected character `\\x1b`\n" in told


def test_wrong_arguments_steer_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "spec.nas", "--\x1b[31m"]) == 2
    assert not steers(capsys.readouterr().err)


# ------------------------------------------------------------------------------ runs


@pytest.mark.parametrize("odd", [LINES[:-4], BYTES[:-4]], ids=ODD)
def test_a_run_of_odd_names(odd: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Spec, data, classes and folder alike."""
    striped(Path(odd), train=3, test=2)
    for part in ("train", "test"):
        Path(odd, part, "rows").rename(Path(odd, part, odd))
    Path(f"{odd}.nas").write_text(TINY, encoding="utf-8")
    run = ["--data", f"folder:{odd}", "--device", "cpu", "--option", "epochs=1"]
    assert main(["train", f"{odd}.nas", "-o", f"{odd}.run", *run]) == 0
    assert main(["eval", f"{odd}.run"]) == 0
    told = capsys.readouterr()
    assert not steers(told.out + told.err)


def test_the_header_of_what_a_search_found(capsys: pytest.CaptureFixture[str]) -> None:
    striped(Path("data\nop y = conv(3)"), train=3, test=2)
    Path(LINES).write_text(SPACE, encoding="utf-8")
    run = ["--data", "folder:data\nop y = conv(3)", "-o", "run", "--device", "cpu"]
    assert main(["search", LINES, *run, "--strategy", "largest"]) == 0
    text = Path("run/pruned.nas").read_text(encoding="utf-8")
    assert [type(d).__name__ for d in parse_text(text).definitions] == ["Network"]
    assert not steers(text + capsys.readouterr().err)


# ------------------------------------------------------------------------------ terminals


def test_compare_on_a_terminal_of_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    striped(Path("data"), train=3, test=2)
    Path("größe.nas").write_text(SPACE + "train { epochs = 1 }\n", encoding="utf-8")
    told = {name: BytesIO() for name in ("stdout", "stderr")}
    for name, written in told.items():
        monkeypatch.setattr(sys, name, TextIOWrapper(written, "ascii", write_through=True))
    status = main([
        "compare", "größe.nas", "--data", "folder:data", "-o", "out", "--device", "cpu",
        "--strategies", "largest", "--seeds", "0,1",
    ])  # fmt: skip
    assert main(["check", "größe.nas"]) == 0
    out, err = (written.getvalue() for written in told.values())
    assert rb"gr\xf6\xdfe.nas" in out
    assert (status, b"Traceback" in err) == (0, False)
    assert b"2 seeds, mean +- standard deviation" in out
    assert b"% +- " in out
    assert "größe.nas" in json.loads(Path("out/largest-0/search/settings.json").read_text())["spec"]


def in_ascii(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    command = [sys.executable, "-m", "bayesnas", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, check=False)


def test_a_process_on_a_terminal_of_ascii() -> None:
    """Locale and streams alike: what is found, and what is not."""
    Path("größe.nas").write_text(SPACE, encoding="utf-8")
    ended = in_ascii("count", "größe.nas")
    assert ended.returncode == 0
    assert rb"gr\xf6\xdfe.nas" in ended.stdout
    ended = in_ascii("check", "müll.nas")
    assert (ended.returncode, b"Traceback" in ended.stderr) == (2, False)
    assert rb"no spec at `m\xfcll.nas`" in ended.stderr


# ------------------------------------------------------------------------------ outputs

OUTPUTS = {"sample": ("sample", ".nas"), "render": ("render", ".svg")}


@pytest.mark.parametrize(("command", "ending"), OUTPUTS.values(), ids=OUTPUTS)
@pytest.mark.parametrize("force", [[], ["--force"]], ids=["", "forced"])
def test_an_output_that_is_a_folder(
    force: list[str], command: str, ending: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("spec.nas").write_text(SPACE, encoding="utf-8")
    Path(f"out{ending}").mkdir()
    assert main([command, "spec.nas", "-o", f"out{ending}", *force]) == 2
    assert f"error[D413]: `out{ending}` is a folder\n" in capsys.readouterr().err
    assert sorted(path.name for path in Path().rglob("*")) == sorted(["spec.nas", f"out{ending}"])


@pytest.mark.parametrize(("command", "ending"), OUTPUTS.values(), ids=OUTPUTS)
def test_an_output_that_begins_with_a_dash(command: str, ending: str) -> None:
    Path("spec.nas").write_text(SPACE, encoding="utf-8")
    assert main([command, "spec.nas", f"--out=-out{ending}"]) == 0
    assert list(Path().glob("-out*"))


@pytest.mark.parametrize(("command", "ending"), OUTPUTS.values(), ids=OUTPUTS)
def test_an_output_where_nothing_can_be_written(
    command: str, ending: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("spec.nas").write_text(SPACE, encoding="utf-8")
    Path("shut").mkdir()
    Path("shut").chmod(0o500)
    assert main([command, "spec.nas", "-o", f"spec.nas/out{ending}"]) == 2
    assert "error[D413]: `spec.nas` is a file\n" in capsys.readouterr().err
    if os.geteuid():
        assert main([command, "spec.nas", "-o", f"shut/out{ending}"]) == 1
        assert "error[D419]: cannot read or write `" in capsys.readouterr().err
    assert sorted(path.name for path in Path().rglob("*")) == ["shut", "spec.nas"]
