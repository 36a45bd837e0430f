"""Columns of a table that name images: inputs of their own, beside a row of all other columns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support import assert_style, graph_of

from bayesnas.compiler.graph.model import Graph
from bayesnas.compiler.pipeline import compile_spec
from bayesnas.compiler.settings import TrainSettings
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError
from bayesnas.runtime.data.folders.listing import Findings
from bayesnas.runtime.data.loading import load_data
from bayesnas.runtime.data.registry import DataOptions
from bayesnas.runtime.jobs.prediction import Prediction, predictions
from bayesnas.runtime.jobs.train import train
from bayesnas.runtime.jobs.trained import TrainedRun, evaluate_run
from bayesnas.runtime.runs.record import RunOptions
from bayesnas.runtime.tasks.bundle import Bundle

BOTH = """network flats(row: [3], photo: [3, 4, 6]) -> (price: [1]) {
    light = photo : global_avg_pool
    both = concat(row, light)
    both -> price : linear(1)
}"""
PRICE = DataOptions(target=("price",))


@pytest.fixture(scope="module")
def flats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of 20 flats, the photo of each in a folder beside it, as bright as its number."""
    folder = tmp_path_factory.mktemp("flats")
    (folder / "photos").mkdir()
    rows = ["photo,size,kind,price"]
    for n in range(20):
        Image.fromarray(np.full((4, 6, 3), 10 * n, np.uint8)).save(folder / f"photos/{n}.png")
        rows.append(f"photos/{n}.png,{50 + n},{'loft' if n % 2 else 'house'},{3.5 * n}")
    (folder / "flats.csv").write_text("\n".join(rows), encoding="utf-8")
    return folder / "flats.csv"


def takes(port: str) -> Graph:
    return graph_of(
        f"network n({port}) -> (price: [1]) {{ photo -> price : flatten >> linear(1) }}"
    )


def refused(data: str, graph: Graph, options: DataOptions = PRICE) -> Diagnostic:
    with pytest.raises(DiagnosticError) as caught:
        load_data(data, graph, options)
    [found] = caught.value.diagnostics
    assert_style(found)
    return found


def test_an_image_and_a_row_are_inputs_by_port(flats: Path) -> None:
    data = load_data(f"csv:{flats}", graph_of(BOTH), PRICE)
    assert "images that `photo` names" in data.note
    assert isinstance(data.train.inputs, Bundle)
    assert isinstance(data.mean, Bundle)
    assert list(data.train.inputs.ports) == ["row", "photo"]
    for part in (data.train, data.test):
        row, photo = part.inputs.ports.values()  # type: ignore[union-attr]
        number = row[:, 0] - 50
        assert photo.dtype == torch.uint8
        assert torch.equal(photo[:, 0, 0, 0].double(), 10 * number)
        assert torch.equal(part.targets[:, 0], 3.5 * number)
    assert data.mean.ports["row"][1:].tolist() == [0, 0]  # categories stay 0 and 1
    assert data.mean.ports["photo"].shape == (3,)


def test_images_alone_are_the_one_input_whatever_their_column_is_called(flats: Path) -> None:
    graph = graph_of("network n(x: [1, 2, 3]) -> (y: [2]) { x -> y : flatten >> linear(2) }")
    data = load_data(f"csv:{flats}", graph, DataOptions(target=("kind",), resize=True))
    assert isinstance(data.train.inputs, torch.Tensor)
    assert data.train.inputs.shape[1:] == (1, 2, 3)
    assert data.task.strata_names == ("house", "loft")
    assert "20 images: squeezed to the spec's size" in data.note


def test_a_training_on_them_is_judged_and_asked(flats: Path, tmp_path: Path) -> None:
    (tmp_path / "flats.nas").write_text(BOTH, encoding="utf-8")
    options = RunOptions(f"csv:{flats}", tmp_path / "run", device="cpu", data_options=PRICE)
    settings = TrainSettings(epochs=1, batch_size=8)
    trained = train(compile_spec(tmp_path / "flats.nas"), settings, options)
    for name in ("", f"csv:{flats}"):  # its own data, and the same by name
        judged, _ = evaluate_run(RunOptions(name, tmp_path / "run", device="cpu"))
        assert judged.score.loss == pytest.approx(trained.test.loss, rel=1e-6)
    rows = flats.read_text("utf-8").splitlines()
    new = flats.parent / "new.csv"
    new.write_text("\n".join(row.rpartition(",")[0] for row in rows[:4]), encoding="utf-8")
    run = TrainedRun.open(tmp_path / "run")
    found = list(predictions(run, [new], DataOptions(), 1, lambda _: None, Findings()))
    own = load_data(f"csv:{flats}", run.compiled.graph, PRICE).test
    answers = run.task.answers(run.network(*own.inputs.ports.values()), 1)  # type: ignore[union-attr]
    assert [one.example for one in found if isinstance(one, Prediction)] == [0, 1, 2]
    assert {len(row) for row in answers} == {1}


def edited(flats: Path, old: str, new: str) -> str:
    path = flats.parent / "edited.csv"
    path.write_text(flats.read_text("utf-8").replace(old, new), encoding="utf-8")
    return f"csv:{path}"


def test_what_is_wrong_with_them_is_said(flats: Path) -> None:
    graph, place = takes("photo: [3, 4, 6]"), f"`{flats.parent / 'edited.csv'}`"
    found = refused(edited(flats, "photos/3.png", ""), graph)
    assert (found.code, found.message) == (
        "D513",
        f"{place} names no image in `photo`, example 3 (counted from 0)",
    )
    found = refused(edited(flats, "photos/3.png", "photos/gone.png"), graph)
    assert found.code == "D504"
    assert found.message == f"cannot read an image of `photo` of {place}"
    assert "gone.png" in found.notes[0]
    found = refused(f"csv:{flats}", takes("photo: [3, 4, 4]"))
    assert (found.code, found.message, found.help) == (
        "D505",
        "`photos/0.png` is [3, 4, 6], the network takes [3, 4, 4]",
        "declare the image as [3, 4, 6], or pass `--resize` to fit the images to the network",
    )
    two = graph_of(
        BOTH.replace("photo: ", "front: [3, 4, 6], photo: ").replace(
            "both ->", "front -> price : flatten >> linear(1); both ->"
        )
    )
    found = refused(f"csv:{flats}", two)
    assert (found.code, found.message, found.notes) == (
        "D520",
        f"`{flats}` has no column for the input `front`",
        ("none names images",),
    )
    resized = DataOptions(target=("price",), resize=True)
    found = refused(
        f"csv:{flats}", graph_of("network n(x: [3]) -> (y: [1]) { x -> y : linear(1) }"), resized
    )
    assert (found.code, found.message) == ("D423", "`--resize` does nothing without images")
