"""`bayesnas compare --cluster`: as without it, whatever is lost and whatever fails."""

from __future__ import annotations

import csv
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest
from living import CELLS, SAME, lines, snapshot, striped, without_seconds

from bayesnas.cli import main
from bayesnas.dsl.diagnostics import DiagnosticError
from bayesnas.runtime.jobs.comparison.cluster import Cluster, Place
from bayesnas.runtime.runs.seals import text_hash

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")

# A plugin: the first worker that has saved a checkpoint is killed; who saves leaves a line.
KILLER = """
import os, signal
from pathlib import Path

import bayesnas
from bayesnas.runtime.runs.folder import Run
from torch import nn

@bayesnas.primitive("nothing", shape=lambda shape: shape, flops=lambda shape, output: 0)
class Nothing(nn.Module):
    def __init__(self, features):
        super().__init__()

    def forward(self, z):
        return z

def save(run, state, whole=Run.save_checkpoint):
    whole(run, state)
    with open("saved", "a") as file:
        file.write(f"{os.getpid()} {run.out}\\n")
    try:
        open("killed", "x").close()
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)

if os.getpid() != int(Path("driver").read_text()):
    Run.save_checkpoint = save
"""


@pytest.fixture
def here(plugin_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("bayesnas.compiler.artifacts.figure.has_dot", lambda: False)
    Path("net.nas").write_text(CELLS, encoding="utf-8")
    Path("plugged.py").write_text(KILLER, encoding="utf-8")
    Path("driver").write_text(str(os.getpid()), encoding="utf-8")
    striped(Path("data"), train=6, test=2)
    return plugin_folder


@pytest.fixture
def _ray() -> Iterator[None]:
    """Joined already, so that each command need not start it."""
    with Cluster("local").joined():
        yield


def compare(out: str, *more: str) -> int:
    data = ("--data", "folder:data", "-o", out, "--device", "cpu", "--threads", "1")
    return main(["compare", "net.nas", *data, "--strategies", "magnitude", "--seeds", "0", *more])


def same_runs(one: Path, other: Path) -> bool:
    """Whether both runs have found the same, to the bit."""
    names = [name for name in (*SAME, "network.py") if (one / name).is_file()]
    history = [without_seconds(lines(run / "history.jsonl")) for run in (one, other)]
    texts = [[(run / name).read_bytes() for name in names] for run in (one, other)]
    return bool(names) and history[0] == history[1] and texts[0] == texts[1]


@needs_ray
@pytest.mark.usefixtures("_ray")
def test_a_worker_is_killed_and_a_cell_fails(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The lost cell goes on from its checkpoint, the others are not touched by either."""
    good = ("--sweep", "learning_rate=0.05,0.01")
    assert compare("plain", *good) == 0
    capsys.readouterr()
    bad = ("--sweep", "learning_rate=0.05,0.01,100")
    assert compare("out", *bad, "--plugin", "plugged", "--cluster", "local") == 1
    told = capsys.readouterr()
    notes = [line for line in told.err.splitlines() if line.startswith("note: ")]
    assert [line.split(":")[1] for line in notes] == [" 1 of 3", " 2 of 3", " 3 of 3"]
    assert "failed: magnitude, learning_rate = 100.0, seed 0: D602: " in told.out
    assert "error[D602]: " in told.err
    assert "  = note: of magnitude, learning_rate = 100.0, seed 0\n" in told.err

    names = [f"magnitude-learning_rate={rate}-0" for rate in ("0.05", "0.01")]
    saved = [line.split() for line in (here / "saved").read_text().splitlines()]
    killed, place = saved[0]
    assert [pid for pid, _ in saved].count(killed) == 1
    rounds = len(lines(here / "plain" / names[0] / "search/history.jsonl"))
    assert [out for _, out in saved].count(place) == rounds  # none a second time
    for name in names:
        for kind in ("search", "train"):
            assert same_runs(here / "plain" / name / kind, here / "out" / name / kind)

    with (here / "out/compare.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["learning_rate"] for row in rows] == ["0.05", "0.01", "100.0"]
    assert [row["error"][:5] for row in rows] == ["", "", "D602:"]

    before = snapshot(here / "out" / names[0])
    assert compare("out", *good, "--cluster", "local") == 0
    assert snapshot(here / "out" / names[0]) == before
    table, plain = ((here / out / "compare.csv").read_text() for out in ("out", "plain"))
    assert [row.rpartition(",")[0] for row in table.splitlines()] == [
        row.rpartition(",")[0] for row in plain.splitlines()
    ]


def test_ray_is_not_installed(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bayesnas.dsl.diagnostics.find_spec", lambda _: None)
    before = snapshot(here)
    assert compare("out", "--cluster", "local") == 2
    assert capsys.readouterr().err == (
        "error[D436]: a cluster needs `ray`\n  = help: pip install 'bayesnas[cluster]'\n"
    )
    assert snapshot(here) == before


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nowhere", "host:port"])
def test_an_address_that_does_not_answer(
    address: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = snapshot(here)
    assert compare("out", "--cluster", address) == 2
    assert f"error[D447]: no Ray answers at `{address}`\n" in capsys.readouterr().err
    assert snapshot(here) == before


@contextmanager
def head() -> Iterator[str]:
    """The address of a Ray on this machine, of whose token this process knows nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    ray = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"]
    more = [f"--port={port}", "--num-cpus=1", "--include-dashboard=false", "--disable-usage-stats"]
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": 64 * "0"}
    with subprocess.Popen(
        ray + more,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | token,
        start_new_session=True,
    ) as started:
        assert started.stdout is not None
        try:
            assert any("Ray runtime started" in line for line in started.stdout)
            yield f"127.0.0.1:{port}"
        finally:
            os.killpg(started.pid, signal.SIGKILL)


@needs_ray
def test_a_ray_that_runs_is_joined(here: Path) -> None:
    """By a process of its own: Ray reads what it knows of tokens once."""
    assert compare("plain") == 0
    with head() as address:
        command = [
            sys.executable,
            "-m",
            "bayesnas",
            "compare",
            "net.nas",
            "--data",
            "folder:data",
        ]
        more = ["--strategies", "magnitude", "--seeds", "0", "--device", "cpu", "--threads", "1"]
        done = subprocess.run(
            [*command, *more, "-o", "out", "--cluster", address],
            env=os.environ | {"RAY_AUTH_TOKEN": 64 * "0"},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    for kind in ("search", "train"):
        assert same_runs(here / "plain/magnitude-0" / kind, here / "out/magnitude-0" / kind)


@needs_ray
def test_a_ray_that_asks_for_a_token(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    monkeypatch.delitem(sys.modules, "ray", raising=False)
    tried: list[Mapping[str, str]] = []

    def refusal(_address: str, shown: Mapping[str, str]) -> str:
        tried.append(shown)
        return "InvalidAuthToken: Authentication token is missing or incorrect."

    monkeypatch.setattr("bayesnas.runtime.jobs.comparison.cluster._refusal", refusal)
    monkeypatch.setattr("bayesnas.runtime.jobs.comparison.cluster._check_answer", lambda _: None)
    before = snapshot(here)
    assert compare("out", "--cluster", "head:6379") == 2
    said = capsys.readouterr().err
    assert "the Ray at `head:6379` asks for a token that this machine does not have" in said
    assert "`RAY_AUTH_TOKEN` to what `ray get-auth-token` prints there" in said
    assert tried == [{}, {"RAY_AUTH_MODE": "token"}]
    assert "RAY_AUTH_MODE" not in os.environ
    assert snapshot(here) == before


def test_a_machine_without_the_files(here: Path) -> None:
    """Or with others under the same path."""
    record = here / "compare.json"
    record.write_text("{}", encoding="utf-8")
    Place(here, (), 1, record, text_hash("{}")).enter()
    for folder, told in ((here, "{ }"), (here / "gone", "{}")):
        with pytest.raises(DiagnosticError, match="does not see") as caught:
            Place(folder, (), 1, record, text_hash(told)).enter()
        assert caught.value.diagnostics[0].code == "D448"


BAD_ARGUMENTS = {
    "no cluster": (["--gpus-per-cell", "1"], "D423", "add `--cluster local`"),
    "GPUs": (["--cluster", "local", "--gpus-per-cell", "1.5"], "D418", "write a whole number"),
    "no value": (["--sweep", "lambda_w"], "D418", "write `--sweep NAME=A,B`"),
    "no values": (["--sweep", "lambda_w=,"], "D418", "write `--sweep NAME=A,B`"),
    "value": (["--sweep", "rounds=1,x"], "D231", "write a whole number"),
    "setting": (["--sweep", "round=1,2"], "D230", "did you mean `rounds`?"),
    "strategy": (["--sweep", "strategy=darts"], "D423", "`--strategies` says how to search"),
    "twice": (["--sweep", "rounds=1", "--option", "rounds=2"], "D423", "add its value"),
    "unused": (["--sweep", "lambda_w=1,2"], "D232", "search by `bayesnas`"),
}


@pytest.mark.parametrize("name", BAD_ARGUMENTS)
def test_bad_arguments(name: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments, code, remedy = BAD_ARGUMENTS[name]
    before = snapshot(here)
    assert compare("out", *arguments) == 2
    told = capsys.readouterr().err
    assert f"error[{code}]: " in told
    assert remedy in told
    assert snapshot(here) == before
