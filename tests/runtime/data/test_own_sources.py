"""Data of one's own: functions that a plugin registers, and data sets of torch's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support import assert_style, compile_text
from torch.utils.data import DataLoader, Dataset, TensorDataset

import bayesnas
from bayesnas.compiler.operations.plugins import load_plugin
from bayesnas.compiler.settings import TrainSettings, make_settings
from bayesnas.dsl.diagnostics import DiagnosticError
from bayesnas.runtime.data.registry import DataOptions, data_source
from bayesnas.runtime.jobs.train import train
from bayesnas.runtime.jobs.trained import evaluate_run
from bayesnas.runtime.runs.record import RunOptions

WAVES = """
import numpy as np
import bayesnas

@bayesnas.data_source("waves", "COUNT")
def waves(request):
    x = np.random.default_rng(0).normal(size=(int(request.argument), 4))
    return bayesnas.data_of_arrays(x, (x[:, 0] > 0).astype(int))

@bayesnas.data_source("nothing")
def nothing(request):
    return 3

@bayesnas.data_source("closed")
def closed(request):
    raise bayesnas.DiagnosticError("no waves today")

@bayesnas.data_source("broken")
def broken(request):
    raise ValueError("not today")
"""
NET = "network n(x: [4]) -> (y: [2]) { x -> y : linear(2) }"


@pytest.fixture
def waves(plugin_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bayesnas.runtime.data.registry._OWN", {})
    monkeypatch.setattr("bayesnas.compiler.operations.plugins._OTHERS", set())
    (plugin_folder / "own_waves.py").write_text(WAVES, encoding="utf-8")
    load_plugin("own_waves")


@pytest.mark.usefixtures("waves")
def test_a_source_of_a_plugin_is_data_by_its_name(tmp_path: Path) -> None:
    """A run says which plugin it came from, and is judged again with it."""
    settings = make_settings(TrainSettings, {"epochs": 20, "batch_size": 32})
    options = RunOptions("waves:300", tmp_path / "o", device="cpu")
    result = train(compile_text(NET), settings, options)
    assert result.test.quality > 0.9
    report, data = evaluate_run(RunOptions("", tmp_path / "o", device="cpu"))
    assert (report.score, data.name) == (result.test, "waves:300")


@pytest.mark.usefixtures("waves")
@pytest.mark.parametrize(
    ("name", "message", "remedy", "status"),
    [
        ("closed", "no waves today", "see the plugin that says so", 2),
        ("broken", "the plugin `own_waves` fails: ValueError: not today", "mend the plugin", 1),
    ],
)
def test_a_source_may_refuse_or_fail(
    name: str, message: str, remedy: str, status: int, tmp_path: Path
) -> None:
    options = RunOptions(name, tmp_path / "o", device="cpu")
    with pytest.raises(DiagnosticError) as caught:
        train(compile_text(NET), TrainSettings(), options)
    [found] = caught.value.diagnostics
    assert (found.code, found.message, found.help) == ("D605", message, remedy)
    assert caught.value.status == status
    assert not (tmp_path / "o").exists()
    assert str(caught.value).startswith(f"error[D605]: {message}\n")


@pytest.mark.usefixtures("waves")
def test_a_run_needs_the_plugin_of_its_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_settings(TrainSettings, {"epochs": 1})
    train(compile_text(NET), settings, RunOptions("waves:60", tmp_path / "o", device="cpu"))
    with monkeypatch.context() as forgotten:
        forgotten.setattr("bayesnas.compiler.operations.plugins._OTHERS", set())
        with pytest.raises(DiagnosticError) as caught:
            evaluate_run(RunOptions("", tmp_path / "o", device="cpu"))
    [found] = caught.value.diagnostics
    assert (found.code, found.help) == ("D434", "add `--plugin own_waves`")


@pytest.mark.usefixtures("waves")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("waves", "unknown data `waves`"),
        ("nothing", "the source of `nothing` returned a `int`, which is no data set"),
    ],
)
def test_what_no_source_loads(name: str, message: str) -> None:
    with pytest.raises(DiagnosticError) as caught:
        bayesnas.load_data(name, compile_text(NET).graph, DataOptions())
    [found] = caught.value.diagnostics
    assert (found.code, found.message) == ("D501", message)
    assert_style(found)


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("digits", "there is data called `digits` already"),
        ("two words", "`two words` cannot be a name"),
    ],
)
def test_words_that_cannot_be_registered(word: str, reason: str) -> None:
    with pytest.raises(DiagnosticError) as caught:
        data_source(word)(lambda request: request)  # type: ignore[arg-type, return-value]
    [found] = caught.value.diagnostics
    assert (found.code, found.message) == ("D433", f"cannot register the data `{word}`: {reason}")


class Pictures(Dataset[tuple[Image.Image, int]]):
    """As torchvision's: pictures, numbers of classes, and their names."""

    classes = ("dog", "cat")

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return Image.new("RGB", (4, 3), (index, 0, 255)), index % 2


def test_pictures_of_a_dataset_are_bytes_and_classes_have_names() -> None:
    data = bayesnas.data_of_dataset(Pictures(), Pictures(), name="pets")
    assert data.task.record() == {"classes": ["cat", "dog"]}
    assert data.train.inputs.dtype == torch.uint8
    assert data.train.targets.tolist() == [1, 0] * 5
    space = compile_text(
        "network n(x: [3, 3, 4]) -> (y: [2]) { x -> y : global_avg_pool >> linear(2) }"
    )
    read = bayesnas.load_data(data, space.graph)
    assert read.train.inputs[7, :, 0, 0].tolist() == [7, 0, 255]
    assert "20 examples of `pets` are read once and kept in memory" in read.note


def test_tensors_of_a_dataset_are_what_they_are() -> None:
    x, y = torch.randn(12, 3), torch.randn(12)
    data = bayesnas.data_of_dataset(TensorDataset(x, y))
    whole = torch.cat([data.train.targets, data.test.targets]).flatten()
    assert sorted(whole.tolist()) == sorted(y.to(torch.float64).tolist())
    assert data.task.metric == "R2"


@pytest.mark.parametrize(
    ("dataset", "message", "remedy"),
    [
        (DataLoader(TensorDataset(torch.zeros(2, 1))),
         "`train` of `dataset` is a `DataLoader`, not map-style",
         "give the data set itself: `loader.dataset`"),
        (TensorDataset(torch.zeros(2, 1)), "`train` of `dataset` has items that are no pairs",
         "let each item be an example and its target"),
        ([], "`train` of `dataset` is empty", "give some examples"),
        ([(np.zeros(2), 0), (np.zeros(3), 1)],
         "examples of `train` of `dataset` cannot be stacked",
         "give all of them one shape and type"),
    ],
)  # fmt: skip
def test_what_is_no_dataset(dataset: object, message: str, remedy: str) -> None:
    with pytest.raises(DiagnosticError) as caught:
        bayesnas.data_of_dataset(dataset)  # type: ignore[arg-type]
    [found] = caught.value.diagnostics
    assert (found.code, found.message, found.help) == ("D512", message, remedy)
    assert_style(found)
