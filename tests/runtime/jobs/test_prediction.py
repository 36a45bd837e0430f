"""A trained network on new data: judged by the run's own classes, and asked about files."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from living import snapshot, striped
from PIL import Image

from bayesnas import load_network
from bayesnas.cli import main
from bayesnas.compiler.pipeline import compile_loaded
from bayesnas.compiler.settings import TrainSettings
from bayesnas.dsl.diagnostics import DiagnosticError, Source
from bayesnas.dsl.loader import load_text
from bayesnas.runtime.data.dataset import Data
from bayesnas.runtime.data.folders.listing import Findings
from bayesnas.runtime.data.registry import DataOptions
from bayesnas.runtime.jobs.prediction import Fault, Prediction, listed, predictions
from bayesnas.runtime.jobs.train import train
from bayesnas.runtime.jobs.trained import TrainedRun, evaluate_run
from bayesnas.runtime.runs.record import RunOptions
from bayesnas.runtime.tasks.scores import Report

CLASSES = ("columns", "diagonals", "rows")
SPEC = """\
network net(image: [1, 8, 8]) -> (logits: [3]) {
    image -> logits : conv(3, 8) >> relu >> flatten >> linear(3)
}
train { epochs = 8; batch_size = 16; learning_rate = 0.05; augment = none }
"""


def trained_on(data: str, out: Path, options: DataOptions | None = None) -> None:
    compiled = compile_loaded(load_text(Source("net.nas", SPEC), out.parent))
    settings = TrainSettings(**compiled.settings("train"))
    options = options or DataOptions()
    train(compiled, settings, RunOptions(data, out, device="cpu", data_options=options))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stripes in class folders alone, and a run that was trained on four fifths of them."""
    home = tmp_path_factory.mktemp("home")
    striped(home / "both", train=20, test=1)
    shutil.move(home / "both" / "train", home / "stripes")
    trained_on(f"folder:{home / 'stripes'}", home / "run")
    return home


@pytest.fixture(autouse=True)
def work(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder to work in; the run is as it was afterwards."""
    monkeypatch.chdir(tmp_path)
    before = snapshot(home)
    yield tmp_path
    assert snapshot(home) == before


def judged(home: Path, data: str = "", options: DataOptions | None = None) -> tuple[Report, Data]:
    options = options or DataOptions()
    return evaluate_run(RunOptions(data, home / "run", device="cpu", data_options=options))


def examples(home: Path, data: str) -> list[int]:
    """Of each class, in what is judged; that all is told by the run's classes."""
    report, found = judged(home, data)
    assert report.confusion is not None
    assert report.confusion.classes == CLASSES
    assert report.confusion.counts.sum() == len(found.test)
    return [int(count) for count in report.confusion.examples]


def copied(home: Path, target: Path, *names: str) -> Path:
    for name in names:
        shutil.copytree(home / "stripes" / name, target / name)
    return target


def images(home: Path, name: str) -> np.ndarray:
    paths = sorted((home / "stripes" / name).iterdir())
    return np.stack([np.array(Image.open(path)) for path in paths])[:, None]


def refusal(caught: pytest.ExceptionInfo[DiagnosticError]) -> tuple[str, str]:
    [found] = caught.value.diagnostics
    assert found.help
    return found.code, found.message


# ------------------------------------------------------------------------------ judged


def test_numbers_by_class_are_written_and_come_again(home: Path) -> None:
    written = json.loads((home / "run" / "result.json").read_text("utf-8"))
    report, _ = judged(home)
    assert report.confusion is not None
    assert report.confusion.record() == written["test_by_class"]
    assert report.score.quality == written["test_accuracy"] > 0.8


@pytest.mark.parametrize(
    ("part", "names", "counts"),
    [
        ("", ("rows",), [0, 0, 20]),
        ("", ("rows", "diagonals"), [0, 20, 20]),
        ("test", ("rows", "columns"), [20, 0, 20]),
        ("val", ("diagonals",), [0, 20, 0]),
        ("train", ("diagonals",), [0, 20, 0]),
    ],
)
def test_new_folders_are_judged_whole_by_the_classes_of_the_run(
    home: Path, work: Path, part: str, names: tuple[str, ...], counts: list[int]
) -> None:
    """Fewer folders would be numbered otherwise by themselves: rows first, of a single class."""
    copied(home, work / "new" / part, *names)
    report, found = judged(home, "folder:new")
    assert report.confusion is not None
    assert report.confusion.examples.tolist() == counts
    assert report.score.quality > 0.8
    assert found.task.strata_names == CLASSES


def test_the_test_part_of_new_data_is_judged_and_others_are_named(home: Path, work: Path) -> None:
    copied(home, work / "new" / "train", "rows")
    copied(home, work / "new" / "test", "columns")
    report, found = judged(home, "folder:new")
    assert report.confusion is not None
    assert report.confusion.examples.tolist() == [20, 0, 0]
    assert found.note == "`test` is judged; `train` is not used: 20 images"


def test_what_the_run_was_trained_on_is_not_judged(home: Path, work: Path) -> None:
    """Its own data, named or moved, is judged on the fifth that was held out, as without a name."""
    own, _ = judged(home)
    shutil.copytree(home / "stripes", work / "moved")
    for data in (f"folder:{home / 'stripes'}", "folder:moved"):
        report, found = judged(home, data)
        assert report.score == own.score
        assert len(found.test) == 12
        assert "its test part alone is judged, 12 of 60 examples" in found.note


@pytest.mark.parametrize(
    ("make", "code", "message"),
    [
        (lambda new: copied_as(new / "zebras"), "D506",
         "`new` has a class that the run was not trained on"),
        (lambda new: copied_as(new / "test" / "zebras"), "D506",
         "`new/test` has a class that the run was not trained on"),
        (lambda new: new.mkdir(), "D502", "no class folders in `new`"),
        (lambda _: None, "D502", "no folder `new`"),
        (lambda new: copied_as(new), "D502", "no class folders in `new`"),
        (lambda new: (new / "rows").mkdir(parents=True), "D503", "no images in `new`"),
    ],
)  # fmt: skip
def test_folders_that_cannot_be_judged(
    home: Path, work: Path, make: Callable[[Path], object], code: str, message: str
) -> None:
    make(work / "new")
    with pytest.raises(DiagnosticError) as caught:
        judged(home, "folder:new")
    assert refusal(caught) == (code, message)


@pytest.mark.parametrize("data", ["folder:new", "npz:new.npz"])
def test_no_remedy_changes_the_spec_of_a_trained_network(home: Path, work: Path, data: str) -> None:
    (work / "new/rows").mkdir(parents=True)
    Image.new("L", (9, 8)).save("new/rows/0.png")
    np.savez("new.npz", x=np.zeros((2, 1, 8, 9), dtype=np.uint8), y=["rows"] * 2)
    with pytest.raises(DiagnosticError) as caught:
        judged(home, data)
    assert refusal(caught)[0] == "D505"
    remedies = {
        "folder:new": "pass `--resize` to fit the images to the network",
        "npz:new.npz": "save the examples as [N, 1, 8, 8]",
    }
    assert caught.value.diagnostics[0].help == remedies[data]


def test_own_data_read_otherwise_is_judged_on_what_was_held_out(work: Path) -> None:
    chance = np.random.default_rng(0)
    for name in CLASSES:
        (work / "wide" / name).mkdir(parents=True)
        for k in range(10):
            pixels = chance.integers(0, 256, (8, 12), dtype=np.uint8)
            Image.fromarray(pixels).save(work / "wide" / name / f"{k}.png")
    trained_on("folder:wide", work / "own", DataOptions(resize=True, fit="crop"))
    parts = []
    for fit in ("crop", "squeeze"):
        options = DataOptions(resize=True, fit=fit)
        run = RunOptions("folder:wide", work / "own", device="cpu", data_options=options)
        _, data = evaluate_run(run)
        parts.append(data.test)
    assert [len(part) for part in parts] == [6, 6]  # a fifth of thirty
    assert not torch.equal(parts[0].inputs, parts[1].inputs)


def copied_as(target: Path) -> None:
    target.mkdir(parents=True)
    Image.fromarray(np.zeros((8, 8), dtype=np.uint8)).save(target / "0.png")


def test_arrays_are_judged_whole_or_on_their_test_part(home: Path) -> None:
    rows, columns = images(home, "rows"), images(home, "columns")
    x, y = np.concatenate([rows, columns]), ["rows"] * 20 + ["columns"] * 20
    np.savez("all.npz", x=x, y=y)
    np.savez("one.npz", x=rows, y=["rows"] * 20)
    np.savez("parts.npz", x=x, y=y, x_test=columns, y_test=["columns"] * 20)
    np.savez("last.npz", x=np.moveaxis(x, 1, -1), y=y)
    assert examples(home, "npz:all.npz") == [20, 0, 20]
    assert examples(home, "npz:last.npz") == [20, 0, 20]
    assert examples(home, "npz:one.npz") == [0, 0, 20]
    assert examples(home, "npz:parts.npz") == [20, 0, 0]
    np.savez("numbers.npz", x=rows, y=[2] * 20)
    with pytest.raises(DiagnosticError, match="was not trained on: `2`"):
        judged(home, "npz:numbers.npz")


@pytest.mark.parametrize("kind", ["shares", "floating point", "whole numbers"])
def test_pixels_of_another_type_are_the_same_pixels(home: Path, kind: str) -> None:
    x = images(home, "rows")
    given = {
        "shares": x / np.float32(255),
        "floating point": x * 1.0,
        "whole numbers": x.astype(int),
    }
    np.savez("bytes.npz", x=x, y=["rows"] * 20)
    np.savez("given.npz", x=given[kind], y=["rows"] * 20)
    first, second = (judged(home, f"npz:{name}.npz")[0] for name in ("bytes", "given"))
    assert second.score.quality == first.score.quality
    assert second.score.loss == pytest.approx(first.score.loss, rel=1e-5)


def test_pixels_of_no_scale_are_refused(home: Path) -> None:
    np.savez("odd.npz", x=images(home, "rows") / 16, y=["rows"] * 20)
    with pytest.raises(DiagnosticError) as caught:
        judged(home, "npz:odd.npz")
    assert refusal(caught)[0] == "D513"


def test_own_arrays_of_any_scale_are_judged_on_their_test_part(home: Path, work: Path) -> None:
    """Numbers as the training had them: whole ones of no byte stay what they are."""
    x = np.concatenate([images(home, name) for name in CLASSES]).astype(np.int64) - 100
    np.savez("own.npz", x=x, y=np.repeat([0, 1, 2], 20))
    trained_on("npz:own.npz", work / "run")
    own, _ = judged(work)
    named, found = judged(work, f"npz:{work / 'own.npz'}")
    assert (named.score, len(found.test)) == (own.score, 12)
    np.savez("new.npz", x=x[40:].astype(np.float32), y=[2] * 20)
    report, _ = judged(work, "npz:new.npz")
    assert report.confusion is not None
    assert report.confusion.examples.tolist() == [0, 0, 20]
    assert report.score.quality > 0.8


# ------------------------------------------------------------------------------ asked


def outcomes(home: Path, *files: str | Path, top: int = 1) -> list[Prediction | Fault]:
    run = TrainedRun.open(home / "run")
    findings = Findings()
    work = listed([Path(file) for file in files], findings)
    counted: list[int] = []
    found = list(predictions(run, work, DataOptions(), top, counted.append, findings))
    assert sum(counted) == len(work)
    return found


@pytest.mark.parametrize("batch", [500, 7])
def test_predictions_are_those_of_the_network_in_order(
    home: Path, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TrainedRun, "at_once", batch)
    x = images(home, "rows")
    np.save("x.npy", x)
    np.savez("x.npz", images=x / 255)
    np.save("one.npy", x[3])
    expected = load_network(home / "run")(torch.from_numpy(x)).softmax(dim=1)
    found = outcomes(home, home / "stripes" / "rows", "x.npy", "x.npz", "one.npy", top=3)
    assert len(found) == 61
    for k, outcome in enumerate(found):
        assert isinstance(outcome, Prediction)
        p = expected[3 if k == 60 else k % 20]
        assert [name for name, _ in outcome.answers] == [CLASSES[c] for c in p.argsort().flip(0)]
        numbers = [number for _, number in outcome.answers]
        assert numbers == pytest.approx(sorted(p.tolist(), reverse=True), abs=1e-5)
        assert outcome.example == (None if k < 20 else 0 if k == 60 else k % 20)


def test_files_that_cannot_be_read_are_faults_and_others_are_answered(
    home: Path, work: Path
) -> None:
    good = home / "stripes" / "rows" / "0.png"
    (work / "text.png").write_text("no image")
    (work / "empty").mkdir()
    Image.new("L", (9, 8)).save("wide.png")
    np.save("nan.npy", np.full((2, 1, 8, 8), np.nan))
    np.save("odd.npy", np.zeros((2, 5)))
    np.savez("none.npz", a=np.zeros(3), b=np.zeros(3))
    (work / "cut.npy").write_bytes(b"\x93NUMPY")
    names = [
        "gone.png",
        "text.png",
        "empty",
        "wide.png",
        "nan.npy",
        "odd.npy",
        "none.npz",
        "cut.npy",
    ]
    found = outcomes(home, good, *names, good)
    assert [str(outcome.file) for outcome in found] == [str(good), *names, str(good)]
    faults = [outcome for outcome in found if isinstance(outcome, Fault)]
    assert [str(fault.file) for fault in faults] == names
    assert [fault.size for fault in faults] == [name == "wide.png" for name in names]
    for fault, reason in zip(faults, [
        "no such file", "it is no image of a format that is read: BMP", "no images in it",
        "it is [1, 8, 9], the network takes",
        "has 128 numbers that are not finite", "is [2, 5], the network takes [1, 8, 8]",
        "has no array `x`", "is not an .npy file",
    ], strict=True):  # fmt: skip
        assert reason in fault.reason


def test_images_are_fitted_as_in_the_training(home: Path, work: Path) -> None:
    """A run that padded pads, unless it is told otherwise."""
    for name in CLASSES:
        (work / "wide" / name).mkdir(parents=True)
        for k, image in enumerate(images(home, name)[:4, 0]):
            Image.fromarray(image).resize((24, 8)).save(work / "wide" / name / f"{k}.png")
    trained_on("folder:wide", work / "run", DataOptions(resize=True, fit="pad"))
    reading = TrainedRun.open(work / "run").reading
    assert reading(DataOptions()) == DataOptions(resize=True, fit="pad")
    assert reading(DataOptions(resize=True)) == DataOptions(resize=True, fit="pad")
    assert reading(DataOptions(fit="crop")) == DataOptions(resize=True, fit="crop")
    assert len(outcomes(work, "wide")) == 12
    assert all(isinstance(outcome, Prediction) for outcome in outcomes(work, "wide"))
    plain = TrainedRun.open(home / "run").reading
    assert plain(DataOptions(resize=True)) == DataOptions(resize=True)


def test_pictures_for_a_network_that_takes_other_numbers(home: Path, work: Path) -> None:
    x = np.concatenate([images(home, name) for name in CLASSES]) / 16 - 3
    np.savez("own.npz", x=x, y=np.repeat([0, 1, 2], 20))
    trained_on("npz:own.npz", work / "run")
    with pytest.raises(DiagnosticError, match="the network takes numbers of another scale"):
        outcomes(work, home / "stripes")
    np.save("x.npy", x)
    assert len(outcomes(work, "x.npy")) == 60


# ------------------------------------------------------------------------------ on the terminal


def test_predictions_on_the_terminal(
    home: Path, capsys: pytest.CaptureFixture[str], work: Path
) -> None:
    run, rows = str(home / "run"), home / "stripes" / "rows"
    np.save("x.npy", images(home, "rows")[:2])
    shutil.copy(rows / "0.png", "a,b.png")
    assert main(["predict", run, "a,b.png", "x.npy", "--top", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" ")[0] for line in lines] == ["a,b.png:", "x.npy[0]:", "x.npy[1]:"]
    assert all(line.count("%") == 2 for line in lines)
    assert main(["predict", run, "a,b.png", "x.npy", "gone.png", "--csv", "--top", "9"]) == 1
    ended = capsys.readouterr()
    table = list(csv.DictReader(ended.out.splitlines()))
    assert list(table[0]) == ["file", "example", "rank", "class", "probability"]
    assert [row["file"] for row in table] == ["a,b.png"] * 3 + ["x.npy"] * 6
    assert [row["rank"] for row in table] == ["1", "2", "3"] * 3
    assert sum(float(row["probability"]) for row in table) == pytest.approx(3)
    assert "error[D504]: cannot read a file" in ended.err
    assert "`gone.png`: no such file" in ended.err
    assert main(["predict", run, "x.npy", "--top", "0"]) == 2
    assert "error[D418]" in capsys.readouterr().err
    Image.new("L", (9, 8)).save("wide.png")
    assert main(["predict", run, *["wide.png"] * 7]) == 1
    ended = capsys.readouterr()
    assert "error[D505]: 7 files of another size" in ended.err
    assert "and 2 more" in ended.err
    for fitted in (["--resize"], ["--fit", "pad"]):
        assert main(["predict", run, "wide.png", *fitted]) == 0
        assert "wide.png" in capsys.readouterr().out
    (work / "wide/rows").mkdir(parents=True)
    shutil.move("wide.png", "wide/rows/0.png")
    assert main(["eval", run, "--data", "folder:wide", "--fit", "pad", "--device", "cpu"]) == 0
    assert "padded with black to the spec's size" in capsys.readouterr().err


def test_what_is_done_to_pictures_is_said_once(
    home: Path, capsys: pytest.CaptureFixture[str], work: Path
) -> None:
    """As `search` and `train` say it, beside the answers, and of those that have one."""
    run = str(home / "run")
    assert main(["predict", run, str(home / "stripes" / "rows" / "0.png")]) == 0
    assert capsys.readouterr().err == ""
    (work / "new").mkdir()
    for k in range(3):
        Image.new("RGB", (9, 8)).save(f"new/{k}.png")
    Image.new("RGBA", (8, 8)).save("new/a.png")
    Path("new/notes.txt").write_text("no image")
    assert main(["predict", run, "new", "--csv", "--fit", "crop"]) == 0
    ended = capsys.readouterr()
    assert len(ended.out.splitlines()) == 5
    assert ended.err.splitlines() == [
        "note: 4 images: colour made grey; 3 images: cropped in the middle to the spec's size; "
        "1 image: transparency laid on white; skipped: 1 files that are no images"
    ]
    assert main(["predict", run, "new"]) == 1
    note, error, *_ = capsys.readouterr().err.splitlines()
    assert note.startswith("note: 1 image: transparency laid on white; 1 image: colour made grey")
    assert error == "error[D505]: 3 files of another size"


def test_what_is_done_to_arrays_is_said(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x = images(home, "rows")
    np.save("first.npy", x)
    np.save("last.npy", x.transpose(0, 2, 3, 1))
    assert main(["predict", str(home / "run"), "first.npy", "last.npy"]) == 0
    ended = capsys.readouterr()
    assert ended.err == "note: 1 file: the channels stand last, and are moved to the front\n"
    rows = [line.partition(": ")[2] for line in ended.out.splitlines()]
    assert rows[:20] == rows[20:]


def test_evaluation_on_the_terminal(
    home: Path, capsys: pytest.CaptureFixture[str], work: Path
) -> None:
    run = str(home / "run")
    copied(home, work / "new", "rows", "columns")
    report, _ = judged(home, "folder:new")
    capsys.readouterr()
    assert main(["eval", run, "--data", "folder:new", "--device", "cpu"]) == 0
    ended = capsys.readouterr()
    assert "there are no test examples of `diagonals`: the accuracy says nothing" in ended.err
    assert f"test accuracy {report.score.quality:.2%} of 40 examples" in ended.out
    assert "balanced accuracy" in ended.out
    assert main(["eval", run, "--data", "folder:new", "--csv", "--device", "cpu"]) == 0
    ended = capsys.readouterr()
    table = {row["class"]: row for row in csv.DictReader(ended.out.splitlines())}
    assert list(table) == list(CLASSES)
    assert table["diagonals"]["recall"] == ""
    assert report.confusion is not None
    assert float(table["rows"]["recall"]) == report.confusion.recall[2]
    assert [int(table["rows"][f"answered {name}"]) for name in CLASSES] == (
        report.confusion.counts[2].tolist()
    )
