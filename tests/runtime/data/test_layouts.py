"""Arrays as people save them: names, axes, labels, and whole numbers that are names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import compile_text, graph_of

from bayesnas.compiler.graph.model import Graph
from bayesnas.compiler.operations.plugins import load_plugin
from bayesnas.compiler.settings import TrainSettings, make_settings
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError
from bayesnas.runtime.data.arrays import data_of_arrays
from bayesnas.runtime.data.conventions.axes import rearrangement
from bayesnas.runtime.data.conventions.keys import roles_of
from bayesnas.runtime.data.dataset import Data
from bayesnas.runtime.data.loading import load_data
from bayesnas.runtime.data.registry import DataOptions, Standardise
from bayesnas.runtime.jobs.train import train
from bayesnas.runtime.jobs.trained import TrainedRun, evaluate_run
from bayesnas.runtime.runs.record import RunOptions

Shape = tuple[int, ...]
CLASSES = np.arange(30) % 3


def takes(shape: Shape) -> Graph:
    return graph_of(
        f"network net(x: {list(shape)}) -> (logits: [3]) {{ x -> logits : flatten >> linear(3) }}"
    )


def numbers(shape: Shape, kind: str = "f8") -> Any:
    return np.random.default_rng(0).integers(0, 200, (30, *shape)).astype(kind)


def given(x: Any, y: Any = CLASSES, standardise: Standardise = "auto") -> Data:
    return data_of_arrays(x, y, x, y, "mine", standardise)


def refused(x: Any, shape: Shape) -> Diagnostic:
    with pytest.raises(DiagnosticError) as caught:
        load_data(given(x), takes(shape))
    [found] = caught.value.diagnostics
    return found


# ------------------------------------------------------------------------------ axes

MOVES: dict[str, tuple[Shape, Shape, Any]] = {
    "images": ((9, 8, 3), (3, 9, 8), lambda x: x.transpose(0, 3, 1, 2)),
    "one channel": ((9, 8, 1), (1, 9, 8), lambda x: x.transpose(0, 3, 1, 2)),
    "series": ((24, 6), (6, 24), lambda x: x.transpose(0, 2, 1)),
    "grey": ((9, 8), (1, 9, 8), lambda x: x[:, None]),
    "a series": ((24,), (1, 24), lambda x: x[:, None]),
    "vectors": ((24, 1), (24,), lambda x: x[:, :, 0]),
    "vectors of one channel": ((1, 24), (24,), lambda x: x[:, 0]),
}


@pytest.mark.parametrize("kind", ["u1", "f4", ">f8"])
@pytest.mark.parametrize(("own", "wanted", "move"), MOVES.values(), ids=MOVES)
def test_axes_that_fit_when_moved_are_moved(
    own: Shape, wanted: Shape, move: Any, kind: str
) -> None:
    """The data are those of who moves them by hand, to the bit, and it is said."""
    x = numbers(own, kind)
    found, by_hand = (load_data(given(a), takes(wanted)) for a in (x, move(x)))
    assert by_hand.note == ""
    assert f"are {list(own)} and the network takes {list(wanted)}" in found.note
    for part, other in ((found.train, by_hand.train), (found.test, by_hand.test)):
        assert part.fingerprint() == other.fingerprint()
        assert torch.equal(found.normalize(part.inputs), by_hand.normalize(other.inputs))


def test_axes_are_moved_once() -> None:
    found = load_data(given(numbers((9, 8, 3))), takes((3, 9, 8)))
    assert load_data(found, takes((3, 9, 8))) == found


def test_memory_order_does_not_matter() -> None:
    x = numbers((9, 8, 3), "u1")
    a, b = (load_data(given(z), takes((3, 9, 8))) for z in (x, np.asfortranarray(x)))
    assert a.train.fingerprint() == b.train.fingerprint()


@pytest.mark.parametrize("shape", [(3, 3, 3), (6, 6), (9, 9, 9), (4,), (3, 9, 8)], ids=str)
def test_what_fits_stays_as_it_is(shape: Shape) -> None:
    x = numbers(shape)
    found = load_data(given(x), takes(shape))
    assert (found.train.inputs.numpy() == x).all()
    assert found.note == ""


def test_rows_declared_as_channels_are_remarked_on() -> None:
    found = load_data(given(numbers((32, 32, 3))), takes((32, 32, 3)))
    assert found.train.inputs.shape[1:] == (32, 32, 3)
    assert "where the channels stand last, declare [3, 32, 32]" in found.note


def test_named_data_are_never_moved() -> None:
    with pytest.raises(DiagnosticError) as caught:
        load_data("digits", graph_of(
            "network net(x: [8, 1, 8]) -> (logits: [10]) { x -> logits : flatten >> linear(10) }"
        ))  # fmt: skip
    assert [d.code for d in caught.value.diagnostics] == ["D505"]


REMEDIES: dict[tuple[Shape, Shape], str] = {
    ((32, 32, 3), (3, 64, 64)): "declare `x: [3, 32, 32]`: the channels stand last, it seems, "
    "and are moved to the front",
    ((3, 32, 32), (1, 32, 32)): "declare `x: [3, 32, 32]`",
    ((28, 28), (3, 32, 32)): "declare `x: [1, 28, 28]`: they are taken as a single channel",
    ((784,), (1, 28, 28)): "save `x.reshape(-1, 1, 28, 28)`, or declare `x: [784]`",
    ((28, 28), (784,)): "save `x.reshape(len(x), -1)`",
    ((1, 96, 32), (1, 32, 96)): "declare `x: [1, 96, 32]`, or save `np.swapaxes(x, 2, 3)` if that "
    "is width before height",
    ((16, 16, 16), (3, 8, 8)): "declare `x: [16, 16, 16]` if that is channels, height and width; "
    "where the channels stand last, save `np.moveaxis(x, -1, 1)`",
    ((64, 8, 4), (64, 8, 8)): "declare `x: [64, 8, 4]` if that is channels, height and width; "
    "where the channels stand last, save `np.moveaxis(x, -1, 1)`",
    ((24, 6), (6, 30)): "declare `x: [6, 24]`: the channels stand last, it seems, and are moved "
    "to the front",
    ((6, 24), (6, 30)): "declare `x: [6, 24]`",
    ((5,), (4,)): "declare `x: [5]`",
}


@pytest.mark.parametrize(("own", "wanted"), REMEDIES, ids=str)
def test_remedies_for_shapes(own: Shape, wanted: Shape) -> None:
    found = refused(numbers(own), wanted)
    assert (found.code, found.help) == ("D505", REMEDIES[own, wanted])


@pytest.mark.parametrize(
    ("own", "wanted", "save"),
    [
        ((9, 2, 8), (2, 9, 8), lambda x: np.moveaxis(x, 2, 1)),
        ((1, 9, 8), (1, 8, 9), lambda x: np.swapaxes(x, 2, 3)),
        ((72,), (1, 9, 8), lambda x: x.reshape(-1, 1, 9, 8)),
        ((27,), (3, 3, 3), lambda x: x.reshape(-1, 3, 3, 3)),
        ((54,), (3, 6, 3), lambda x: x.reshape(-1, 6, 3, 3)),
        ((9, 8), (72,), lambda x: x.reshape(len(x), -1)),
    ],
)
def test_what_remedies_say_to_save_fits(own: Shape, wanted: Shape, save: Any) -> None:
    x = numbers(own)
    assert refused(x, wanted).code == "D505"
    assert load_data(given(save(x)), takes(wanted)).train.inputs.shape[1:] == wanted


@pytest.mark.parametrize(
    ("own", "wanted"),
    [((2, 3, 4), (3, 2, 4)), ((2, 3, 4), (3, 4, 2)), ((4,), (4, 1)), ((4, 2), (8,))],
)
def test_no_other_axes_are_moved(own: Shape, wanted: Shape) -> None:
    assert rearrangement(own, wanted) is None


# ------------------------------------------------------------------------------ names of arrays

NAMES = {
    "train_images train_labels test_images test_labels val_images val_labels": "0 1 2 3",
    "x_train y_train x_test y_test": "0 1 2 3",
    "X_train y_train X_test y_test": "0 1 2 3",
    "X Y": "0 1",
    "data labels": "0 1",
    "target data feature_names": "1 0",
    "images targets": "0 1",
    "arr_0 arr_1": "0 1",
    "x y val_images val_labels": "0 1 2 3",
    "x y X train_images": "0 1",
    "testX testY trainX trainY": "2 3 0 1",
}


@pytest.mark.parametrize("files", NAMES)
def test_names_of_arrays(files: str) -> None:
    names = files.split()
    found = roles_of("F", names)
    assert [*found.values()] == [names[int(n)] for n in NAMES[files].split()]
    tested = "val" if "val_images" in found.values() else "test"
    assert [*found] == ["x", "y", f"x_{tested}", f"y_{tested}"][: len(found)]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ("data images labels", "F has `data` and `images`, each of which may be `x`"),
        ("arr_0 arr_1 arr_2 arr_3", "F has no array `x`"),
        ("val_images val_labels", "F has no array `x`"),
        ("images", "F has no array `y`"),
    ],
)
def test_names_that_are_not_clear(files: str, message: str) -> None:
    with pytest.raises(DiagnosticError) as caught:
        roles_of("F", files.split())
    [found] = caught.value.diagnostics
    assert (found.code, found.message) == ("D511", message)
    assert all(f"`{name}`" in found.notes[0] for name in files.split())


def test_an_archive_of_others(tmp_path: Path) -> None:
    path, images = tmp_path / "data.npz", numbers((9, 8, 3), "u1")
    np.savez(path, train_images=images, train_labels=CLASSES[:, None], val_images=images[:2],
             test_images=images[:6], test_labels=CLASSES[:6, None])  # fmt: skip
    found = load_data(f"npz:{path}", takes((3, 9, 8)))
    assert (len(found.train), len(found.test), found.train.inputs.shape[1]) == (30, 6, 3)
    assert found.note == (
        f"of `{path}`, `train_images` as `x`, `train_labels` as `y`, `test_images` as `x_test`, "
        f"`test_labels` as `y_test`; not used of `{path}`: `val_images`; `train_labels` and "
        f"`test_labels` are [N, 1]: one label per example; examples of `npz:{path}` are [9, 8, 3] "
        "and the network takes [3, 9, 8]: the channels stand last, and are moved to the front"
    )


def test_diagnostics_name_arrays_as_the_file_does(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez(path, data=np.zeros((3, 4)), labels=CLASSES)
    with pytest.raises(DiagnosticError) as caught:
        load_data(f"npz:{path}", takes((4,)))
    [found] = caught.value.diagnostics
    assert found.message == f"`{path}` has 3 examples in `data` and 30 labels in `labels`"


# ------------------------------------------------------------------------------ labels

LABELS: dict[str, Any] = {
    "column": CLASSES[:, None],
    "column of floats": CLASSES[:, None].astype(">f4"),
    **{
        f"one-hot {kind}": np.eye(3)[CLASSES].astype(kind) for kind in ("?", "u1", "i8", "f2", "f8")
    },
}


@pytest.mark.parametrize("y", LABELS.values(), ids=LABELS)
def test_columns_and_one_hot_labels_are_classes(y: Any) -> None:
    found = load_data(given(numbers((4,)), y), takes((4,)))
    assert found.task.record() == {"classes": ["0", "1", "2"]}
    assert found.train.targets.tolist() == found.test.targets.tolist() == CLASSES.tolist()
    assert "`y` and `y_test` are " in found.note


TEXTS = np.array(["zebra", "ant", "cat"])


@pytest.mark.parametrize("kind", ["U", "S", "O"])
@pytest.mark.parametrize("shape", [(30,), (30, 1)], ids=str)
def test_texts_are_classes_in_order(kind: str, shape: Shape) -> None:
    labels = TEXTS[CLASSES].reshape(shape).astype(kind)
    if kind == "O":
        labels = labels.astype(object)
    found = load_data(given(numbers((4,)), labels), takes((4,)))
    assert found.task.record() == {"classes": ["ant", "cat", "zebra"]}
    assert found.train.targets.tolist() == [(2, 0, 1)[k] for k in CLASSES]
    assert "the texts in `y` are the classes, in this order: `ant`, `cat` and `zebra`" in found.note


# ------------------------------------------------------------------------------ whole numbers

WORDS = '''
import bayesnas
import torch
from torch import nn


@bayesnas.primitive(
    "embed",
    parameters={"words": None, "width": None},
    shape=lambda shape, words, width: (width, shape[0]),
    flops=lambda shape, output, **parameters: 0,
)
class Embed(nn.Module):
    def __init__(self, features, words, width):
        super().__init__()
        self.table = nn.Embedding(words, width)

    def forward(self, z):
        return self.table(z.long()).transpose(1, 2)


@bayesnas.primitive("one_of", shape=lambda shape: shape, flops=lambda s, o: 0, indices=True)
class OneOf(nn.Module):
    def forward(self, z):
        return z

    def __init__(self, features):
        super().__init__()


@bayesnas.primitive("placed", shape=lambda shape: shape, flops=lambda s, o: 0)
class Placed(nn.Module):
    """Adds to each feature what its position tells."""

    def __init__(self, features):
        super().__init__()
        self.table = nn.Embedding(features, 1)

    def forward(self, z):
        return z + self.table(torch.arange(z.shape[1], device=z.device))[:, 0]
'''


@pytest.fixture
def words(plugin_folder: Path) -> Path:
    (plugin_folder / "plugged.py").write_text(WORDS)
    load_plugin("plugged")
    return plugin_folder


def text_of(first: str) -> str:
    return f"network net(x: [4]) -> (logits: [3]) {{ x -> logits : {first} >> linear(3) }}"


EMBEDDED = "embed(200, 2) >> flatten"


def stay(data: Data, x: Any) -> bool:
    return bool((data.normalize(data.train.inputs).numpy() == x).all())


@pytest.mark.usefixtures("words")
@pytest.mark.parametrize("kind", ["u1", "i2", "i8", ">u4", "f4"])
@pytest.mark.parametrize("first", [EMBEDDED, f"skip >> {EMBEDDED}", "one_of"])
def test_numbers_that_are_looked_up_stay(first: str, kind: str) -> None:
    x = numbers((4,), kind)
    found = load_data(given(x), graph_of(text_of(first)))
    assert stay(found, x.astype("f4"))
    assert "stay as they are; `--standardise yes` standardises them" in found.note


@pytest.mark.usefixtures("words")
def test_numbers_that_are_looked_up_behind_a_node() -> None:
    x = numbers((4,), "i8")
    text = (
        "network net(x: [4]) -> (logits: [3]) { node h; x ~> h : skip; "
        f"h -> logits : {EMBEDDED} >> linear(3) }}"
    )
    assert stay(load_data(given(x), graph_of(text)), x)


@pytest.mark.usefixtures("words")
@pytest.mark.parametrize("first", ["skip", "linear(2)", "placed", "linear(4) >> one_of"])
def test_other_whole_numbers_are_quantities(first: str) -> None:
    x = numbers((4,), "i4")
    found = load_data(given(x), graph_of(text_of(first)))
    normal = found.normalize(found.train.inputs)
    torch.testing.assert_close(normal.mean(dim=0), torch.zeros(4), atol=1e-5, rtol=0)
    assert found.note == (
        "whole numbers are standardised as quantities; pass `--standardise no` if they are names"
    )


@pytest.mark.usefixtures("words")
def test_numbers_that_are_not_whole_are_no_names() -> None:
    x = numbers((4,)) + 0.5
    found = load_data(given(x), graph_of(text_of(EMBEDDED)))
    assert not stay(found, x)
    assert "are not whole: they are standardised" in found.note


@pytest.mark.usefixtures("words")
@pytest.mark.parametrize("kind", ["u1", "i8", "f8"])
def test_standardise_no_and_yes(kind: str) -> None:
    x = numbers((4,), kind)
    assert stay(load_data(given(x, standardise="no"), takes((4,))), x.astype("f4"))
    told = load_data(given(x, standardise="yes"), graph_of(text_of(EMBEDDED)))
    assert not stay(told, x)
    assert told.note == ""


def test_named_data_that_are_not_standardised() -> None:
    graph = graph_of(
        "network net(x: [1, 8, 8]) -> (logits: [10]) { x -> logits : flatten >> linear(10) }"
    )
    found = load_data("digits", graph, DataOptions(standardise="no"))
    assert stay(found, found.train.inputs.numpy().astype("f4") / np.float32(255))


def test_names_that_32_bits_cannot_hold() -> None:
    x = numbers((4,), "i8") + 2**24
    with pytest.raises(DiagnosticError) as caught:
        load_data(given(x, standardise="no"), takes((4,)))
    assert [d.code for d in caught.value.diagnostics] == ["D512"]


def test_an_unknown_word_for_standardise() -> None:
    with pytest.raises(DiagnosticError) as caught:
        given(numbers((4,)), standardise=False)  # type: ignore[arg-type]
    assert [d.code for d in caught.value.diagnostics] == ["D418"]


@pytest.mark.parametrize("kind", ["i8", "u1"])
def test_names_from_training_to_deployment(kind: str, words: Path) -> None:
    """What is trained on names takes names wherever it goes."""
    x = numbers((4,), kind)
    np.savez("names.npz", x=x, y=CLASSES, x_test=x, y_test=CLASSES)
    settings = make_settings(TrainSettings, {"epochs": 1, "batch_size": 16})
    options = RunOptions("npz:names.npz", words / "run", device="cpu")
    result = train(compile_text(text_of(EMBEDDED)), settings, options)
    for data in ("", "npz:names.npz"):
        report, _ = evaluate_run(RunOptions(data, words / "run", device="cpu"))
        assert report.score == result.test
    network = TrainedRun.open(words / "run").network
    right = network(torch.from_numpy(x.astype("i8"))).argmax(dim=1).numpy() == CLASSES
    assert float(right.mean()) == result.test.quality
