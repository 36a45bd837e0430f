"""Each objective from arrays to a network that was found, trained, judged, asked and exported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from support import compile_text

from bayesnas.compiler.pipeline import compile_spec
from bayesnas.compiler.settings import SearchSettings, TrainSettings, make_settings
from bayesnas.runtime.data.arrays import data_of_arrays
from bayesnas.runtime.data.folders.listing import Findings
from bayesnas.runtime.data.registry import DataOptions
from bayesnas.runtime.jobs.export import TOLERANCE, export
from bayesnas.runtime.jobs.prediction import Prediction, predictions
from bayesnas.runtime.jobs.search.search import search
from bayesnas.runtime.jobs.train import train
from bayesnas.runtime.jobs.trained import TrainedRun
from bayesnas.runtime.runs.record import RunOptions
from bayesnas.runtime.tasks.parts import Array
from bayesnas.runtime.tasks.regression import Regression

SPACE = """
search {{ warmup_epochs = 2; rounds = 1; epochs = 1; batch_size = 16; lambda_w = 0.05 }}
network table(x: [5]; width = 6) -> (out: [{outputs}]) {{
    stem = x : linear(width) >> bn
    node h[2]
    for k in 0..2 {{ {{stem, h[..k]}} ~> h[k] : linear(width) >> bn >> relu | leaky_relu | skip }}
    both = concat(stem, h)
    both -> out : linear({outputs})
}}
"""


def examples(kind: str) -> tuple[Array, Array]:
    """Examples whose first features tell the targets."""
    x = np.random.default_rng(0).normal(size=(120, 5))
    targets = {
        "a number": 1000 + 50 * (2 * x[:, 0] + x[:, 1] ** 2),
        "numbers": np.stack([1e-3 * x[:, 0], 100 + x[:, 1]], axis=1),
        "labels": (x[:, :3] > [0, 0.5, -0.5]).astype(int),
        "a single logit": np.where(x[:, 0] > 0, "yes", "no"),
    }
    return x, targets[kind]


OBJECTIVES = {
    "a number": (1, "R2", "bayesnas"),
    "numbers": (2, "R2", "evidence"),
    "labels": (3, "mAP", "posterior"),
    "a single logit": (1, "accuracy", "darts"),
}


@pytest.mark.parametrize(
    ("kind", "outputs", "metric", "strategy"),
    [(kind, *about) for kind, about in OBJECTIVES.items()],
    ids=OBJECTIVES,
)
def test_from_arrays_to_answers(
    kind: str,
    outputs: int,
    metric: str,
    strategy: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bayesnas.compiler.artifacts.figure.has_dot", lambda: False)
    x, y = examples(kind)
    path = tmp_path / "data.npz"
    np.savez(path, x=x, y=y)
    space = compile_text(SPACE.format(outputs=outputs))
    settings = make_settings(SearchSettings, space.settings("search") | {"strategy": strategy})
    search(space, settings, RunOptions(f"npz:{path}", tmp_path / "search", device="cpu"))
    found = compile_spec(tmp_path / "search" / "pruned.nas")
    schedule = make_settings(TrainSettings, {"epochs": 25, "batch_size": 16})
    out = tmp_path / "train"
    result = train(found, schedule, RunOptions(f"npz:{path}", out, device="cpu"))
    assert result.task.metric == metric
    assert result.test.quality > 0.7

    trained = TrainedRun.open(out)
    assert trained.task == result.task
    files = [tmp_path / "x.npy"]
    np.save(files[0], x)
    said = predictions(trained, files, DataOptions(), 1, lambda _: None, Findings())
    answers = [one.answers for one in said if isinstance(one, Prediction)]
    if isinstance(trained.task, Regression):
        values = np.array([[number for _, number in row] for row in answers])
        residual = values - y.reshape(values.shape)
        assert (residual.std(axis=0) < 0.6 * y.std(axis=0)).all()
        assert (np.abs(residual.mean(axis=0)) < 0.2 * y.std(axis=0)).all()
    elif kind == "a single logit":
        assert np.mean([row[0][0] for row in answers] == y) > 0.8
    assert export(out, tmp_path / "net.pt2").difference < TOLERANCE
    if isinstance(trained.task, Regression):
        loaded = torch.export.load(tmp_path / "net.pt2").module()
        np.testing.assert_allclose(loaded(torch.from_numpy(x)).detach(), values, rtol=1e-4)


def test_data_in_memory_is_judged_in_the_units_of_the_training(tmp_path: Path) -> None:
    """New data with other units of its own tells no other R2 of the same examples."""
    x, y = examples("a number")
    schedule = make_settings(TrainSettings, {"epochs": 5, "batch_size": 16})
    space = compile_text(SPACE.format(outputs=1))
    data = data_of_arrays(x[:80], y[:80], x[80:], y[80:])
    result = train(space, schedule, RunOptions(data, tmp_path / "o", device="cpu"))
    trained = TrainedRun.open(tmp_path / "o")
    other = data_of_arrays(x[20:], y[20:], x[80:], y[80:])
    judged = trained.judged_data(other)
    assert judged.task == result.task
