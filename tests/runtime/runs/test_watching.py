"""What is told of a run while it works: how far it is, to other terminals, to who listens."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from living import lines, striped, write_tiny

import bayesnas
from bayesnas.cli import main
from bayesnas.runtime.runs.events import Event
from bayesnas.runtime.runs.ownership import lock, unlock
from bayesnas.runtime.runs.progress import EVERY, Pace, Progress, duration

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    write_tiny(home)
    striped(home / "data")
    return home


# ------------------------------------------------------------------------------------- the pace


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_pace_is_of_the_steps_since_the_work_was_taken_up() -> None:
    clock, kept = Clock(), list[Pace]()
    progress = Progress(50, "train", examples=8, keep=kept.append, clock=clock)
    progress.skip(20)
    assert progress.pace.seconds_left is None
    for _ in range(10):
        clock.now += 1.5
        progress.step(loss="0.5")
    pace = progress.pace
    assert (pace.done, pace.total, pace.shown) == (30, 50, {"loss": "0.5"})
    assert pace.seconds_left == pytest.approx(30)
    assert pace.rate == pytest.approx(8 / 1.5)
    assert [p.done for p in kept] == [24, 28]  # every five seconds


def test_without_a_terminal_a_line_is_said_every_minute(
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock = Clock()
    progress = Progress(100, "train", examples=10, memory=lambda: 2 * 10**9, clock=clock)
    for _ in range(50):
        clock.now += EVERY / 20
        progress.step(loss="0.5")
    assert capsys.readouterr().err.splitlines() == [
        "train: 20% (20 of 100 steps), 4 min left, 3 examples a second, loss 0.5, 2.0 GB",
        "train: 40% (40 of 100 steps), 3 min left, 3 examples a second, loss 0.5, 2.0 GB",
    ]


def test_steps_may_be_taken_many_at_once_and_have_a_name(
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock = Clock()
    progress = Progress(4000, "judging", "example", examples=1, clock=clock)
    clock.now += EVERY
    progress.step(3000)
    assert capsys.readouterr().err.splitlines() == [
        "judging: 75% (3,000 of 4,000 examples), 20 s left, 50 examples a second"
    ]


@pytest.mark.parametrize(
    ("seconds", "said"), [(7.6, "8 s"), (99, "99 s"), (150, "2 min"), (7300, "2 h 2 min")]
)
def test_durations_are_said_in_the_unit_that_reads_best(seconds: float, said: str) -> None:
    assert duration(seconds) == said


# ----------------------------------------------------------------------------------- the status


def test_status_tells_runs_at_work_stopped_and_finished(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "runs" / "one"
    line = f"train {home}/tiny.nas --data folder:{home}/data -o {out} --device cpu"
    assert main(line.split()) == 0
    assert not (out / "status.json").exists()
    capsys.readouterr()
    assert main(["status", str(tmp_path / "runs")]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == f"{out}: train, finished"
    assert re.fullmatch(r"  epoch 2, train loss \d\.\d+", told[1])
    shutil.copytree(out, tmp_path / "runs" / ".replaced")
    assert main(["status", str(tmp_path / "runs")]) == 0
    assert capsys.readouterr().out.splitlines() == told
    (out / "result.json").unlink()
    assert main(["status", str(out)]) == 0
    assert capsys.readouterr().out.splitlines()[::2] == [
        f"{out}: train, stopped",
        "  the same command with `--resume` goes on",
    ]
    pace = {"about": "train", "done": 3, "total": 6, "rate": 120.0, "seconds_left": 90.0}
    status = {**pace, "memory": None, "shown": {"loss": "0.7"}, "unit": "step", "time": 0.0}
    (out / "status.json").write_text(json.dumps(status), encoding="utf-8")
    held = lock(out)
    assert main(["status", str(out)]) == 0
    unlock(out, held)
    told = capsys.readouterr().out.splitlines()
    assert told[:2] == [
        f"{out}: train, at work",
        "  50% (3 of 6 steps), 90 s left, 120 examples a second, loss 0.7",
    ]


def test_status_of_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", str(tmp_path)]) == 2
    assert f"error[D415]: no run in `{tmp_path}`" in capsys.readouterr().err


# -------------------------------------------------------------------------------- who listens


def test_listeners_are_told_of_every_row_in_order(home: Path, tmp_path: Path) -> None:
    events: list[Event] = []
    data = f"folder:{home}/data"
    found = bayesnas.search(home / "tiny.nas", data, tmp_path / "s", listeners=[events.append])
    rows = lines(found.folder / "history.jsonl")
    assert [event.kind for event in events] == ["begin", *["row"] * len(rows), "end"]
    assert events[0].numbers["batch_size"] == 16
    for event, row in zip(events[1:-1], rows, strict=True):
        assert event.numbers["holdout_accuracy"] == row["holdout_accuracy"]
        assert len(event.gates) in (0, row["alive"])
        assert event.draw is not None
        assert event.draw().startswith("digraph")
    steps = [event.step for event in events]
    assert steps == sorted(steps)
    assert events[-1].numbers["images_trained"] == found.result.images_trained


class Stub(SimpleNamespace):
    """A tracker that notes what it is told."""

    def __init__(self) -> None:
        super().__init__(params=[], rows=[], config=self, ended=False)

    def init(self, **_: str) -> Stub:
        return self

    def update(self, numbers: dict[str, float]) -> None:
        self.params.append(numbers)

    log_params = update

    def log(self, numbers: dict[str, float], step: int) -> None:
        self.rows.append((step, numbers))

    log_metrics = log

    def finish(self) -> None:
        self.ended = True

    def start_run(self) -> Stub:
        return self

    def __enter__(self) -> Stub:
        return self

    def __exit__(self, *_: Any) -> None:
        self.ended = True


@pytest.mark.parametrize("number", [0, 1])
def test_the_examples_for_other_trackers_run(
    number: int, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub = Stub()
    for name in ("wandb", "mlflow"):
        monkeypatch.setitem(sys.modules, name, stub)
    monkeypatch.chdir(home)
    text = (ROOT / "docs" / "watching.md").read_text("utf-8")
    example = re.findall(r"```py\n(.*?)```", text, re.DOTALL)[number]
    assert '"digits_cell", "digits"' in example
    example = example.replace('"digits_cell", "digits"', '"tiny.nas", "folder:data"')
    exec(compile(example, "watching.md", "exec"), {})
    assert stub.ended
    assert len(stub.params) == 1
    assert len(stub.rows) == 5  # the warm-up, three rounds, the end
    assert any(name.endswith("holdout_loss") for name in stub.rows[0][1])


def test_tensorboard_reads_what_is_logged(home: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    line = f"search {home}/tiny.nas --data folder:{home}/data -o {tmp_path / 'o'} --log tensorboard"
    assert main([*line.split(), "--strategy", "bayesnas"]) == 0
    rows = lines(tmp_path / "o" / "history.jsonl")
    read = EventAccumulator(str(tmp_path / "o" / "tensorboard"), {"histograms": 0})
    read.Reload()
    scalars = read.Scalars("search/holdout_loss")
    assert [s.value for s in scalars[: len(rows)]] == pytest.approx(
        [row["holdout_loss"] for row in rows]
    )
    assert len(read.Histograms("gates")) == len(rows) - 1
    assert set(read.Tags()["images"]) <= {"space"}


def test_a_log_for_a_missing_package_is_refused_before_anything_is_begun(
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("bayesnas.dsl.diagnostics.find_spec", lambda _: None)
    line = f"train {home}/tiny.nas --data folder:{home}/data -o {tmp_path / 'o'} --log tensorboard"
    assert main(line.split()) == 2
    assert "error[D436]: logs for TensorBoard need `tensorboard`" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


# ------------------------------------------------------------------------------------ the doctor


def test_the_doctor_tries_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--device", "cpu", "--threads", "1"]) == 0
    out = capsys.readouterr().out
    assert re.search(rf"bayesnas +{re.escape(bayesnas.__version__)}", out)
    assert re.search(r"training +right", out)
    assert out.splitlines()[-1] == "all is well"


def test_the_doctor_names_what_computes_wrongly(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("bayesnas.commands.beside.selftest.fault", lambda _: "a gradient is off")
    assert main(["doctor", "--device", "cpu", "--threads", "1"]) == 1
    out = capsys.readouterr().out
    assert "a gradient is off; networks take a slower way" in out
    assert out.splitlines()[-1] == "wrong: convolutions"
