"""Arrays of one's own: how they are read and split, what is wrong with them, and work on them."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from living import snapshot
from support import assert_style, compile_text, graph_of

from bayesnas.compiler.graph.model import Graph
from bayesnas.compiler.pipeline import compile_spec
from bayesnas.compiler.settings import SearchSettings, TrainSettings, make_settings
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError
from bayesnas.runtime.data.arrays import data_of_arrays
from bayesnas.runtime.data.dataset import Batches, Data
from bayesnas.runtime.data.loading import load_data
from bayesnas.runtime.jobs.search.search import search
from bayesnas.runtime.jobs.train import train
from bayesnas.runtime.jobs.trained import evaluate_run
from bayesnas.runtime.runs.record import RunOptions

Arrays = dict[str, Any]


def takes(shape: tuple[int, ...], classes: int = 3) -> Graph:
    return graph_of(
        f"network net(x: {list(shape)}) -> (logits: [{classes}]) "
        f"{{ x -> logits : flatten >> linear({classes}) }}"
    )


def arrays(shape: tuple[int, ...] = (4,), count: int = 30, classes: int = 3) -> Arrays:
    """Noise round a pattern of each class, of any scale and offset."""
    chance = np.random.default_rng(0)
    y = np.arange(count) % classes
    patterns = chance.normal(size=(classes, *shape))
    return {"x": 100 + 7 * (patterns[y] + 0.5 * chance.normal(size=(count, *shape))), "y": y}


def with_test(shape: tuple[int, ...] = (4,)) -> Arrays:
    test = arrays(shape, 12)
    return {**arrays(shape), "x_test": test["x"], "y_test": test["y"]}


def save(path: Path, given: Arrays) -> str:
    np.savez(path, **given)
    return f"npz:{path}"


def load(path: Path, given: Arrays, shape: tuple[int, ...] = (4,), classes: int = 3) -> Data:
    return load_data(save(path / "data.npz", given), takes(shape, classes))


def refused(name: str, shape: tuple[int, ...] = (4,), classes: int = 3) -> Diagnostic:
    with pytest.raises(DiagnosticError) as caught:
        load_data(name, takes(shape, classes))
    [found] = caught.value.diagnostics
    assert caught.value.status == 2
    assert found.help
    return found


# -------------------------------------------------------------------------------------- reading


@pytest.mark.parametrize("shape", [(4,), (2, 9), (2, 5, 6)], ids=str)
def test_examples_of_every_rank(shape: tuple[int, ...], tmp_path: Path) -> None:
    given = with_test(shape)
    data = load(tmp_path, given, shape)
    assert (len(data.train), len(data.test), data.note) == (30, 12, "")
    assert (data.task.classes, data.augment) == (("0", "1", "2"), "none")
    assert (data.train.inputs.numpy() == given["x"]).all()
    assert (data.test.targets.numpy() == given["y_test"]).all()
    assert data.train.targets.dtype == torch.int64


@pytest.mark.parametrize("shape", [(4,), (2, 9), (2, 5, 6)], ids=str)
def test_standardised_by_the_training_part_alone(shape: tuple[int, ...], tmp_path: Path) -> None:
    given = with_test(shape)
    given["x_test"] = given["x_test"] + 1000
    data = load(tmp_path, given, shape)
    axes = (0, *range(2, len(shape) + 1))
    mean, std = (f(given["x"], axis=axes, keepdims=True) for f in (np.mean, _deviation))
    for part, key in ((data.train, "x"), (data.test, "x_test")):
        normal = data.normalize(part.inputs)
        assert normal.dtype == torch.float32
        np.testing.assert_allclose(normal.numpy(), (given[key] - mean) / std, rtol=1e-4, atol=1e-4)


def _deviation(x: Any, **options: Any) -> Any:
    return np.std(x, ddof=1, **options)


def test_offsets_that_32_bits_cannot_hold(tmp_path: Path) -> None:
    given = arrays()
    given["x"][:, 0] = 1.7e9 + np.arange(30)  # seconds since 1970
    given["x"][:, 1] = 3.25  # a constant
    given |= {"x_test": given["x"], "y_test": given["y"]}
    normal = load(tmp_path, given).normalize(torch.from_numpy(given["x"]))
    assert len(normal[:, 0].unique()) == 30
    assert (normal[:, 1] == 0).all()
    assert float(normal[:, 0].std()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("kind", ["bool", "u1", "i1", "u2", ">i4", "i8", "f2", ">f4", "f8", "g"])
def test_any_type_of_number(kind: str, tmp_path: Path) -> None:
    given = arrays()
    x = given["x"] = (given["x"] > 100).astype(kind)
    given |= {"x_test": x, "y_test": given["y"]}
    data = load(tmp_path, {**given, "y": given["y"].astype(">i2")})
    assert data.train.inputs.dtype in (torch.uint8, torch.float32, torch.float64)
    x = x.astype(float)
    expected = (x - x.mean(axis=0)) / _deviation(x, axis=0)
    found = data.normalize(data.train.inputs)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-6)
    assert (data.train.targets.numpy() == given["y"]).all()


def test_bytes_are_images_like_those_of_folders(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 256, (30, 1, 5, 6), dtype=np.uint8)
    data = load(tmp_path, {"x": x, "y": arrays()["y"], "x_test": x, "y_test": arrays()["y"]},
                (1, 5, 6))  # fmt: skip
    assert float(data.mean) == pytest.approx(float(x.mean()) / 255, rel=1e-5)


def test_labels_may_be_whole_floats(tmp_path: Path) -> None:
    given = arrays()
    found = load(tmp_path, {**given, "y": given["y"].astype(float)})
    assert found.train.targets.dtype == torch.int64


def test_nothing_is_shifted(tmp_path: Path) -> None:
    data = load(tmp_path, arrays())
    [(inputs, labels)] = Batches(data, data.train, 100, "auto", torch.Generator().manual_seed(0))
    sums = data.normalize(data.train.inputs).sum(dim=1)
    assert sorted(inputs.sum(dim=1).tolist()) == pytest.approx(sorted(sums.tolist()), abs=1e-6)
    assert sorted(labels.tolist()) == sorted(data.train.targets.tolist())


# -------------------------------------------------------------------------------- without a test


@pytest.mark.parametrize(
    ("counts", "held"), [((10, 20, 5), (2, 4, 1)), ((2, 3, 1), (1, 1, 0)), ((50, 50), (10, 10))]
)
def test_a_fifth_of_every_class_is_the_test_part(
    counts: tuple[int, ...], held: tuple[int, ...], tmp_path: Path
) -> None:
    y = np.random.default_rng(1).permutation(np.repeat(np.arange(len(counts)), counts))
    x = np.arange(len(y), dtype=float)[:, None]
    data = load(tmp_path, {"x": x, "y": y}, (1,), len(counts))
    assert tuple(data.test.targets.bincount(minlength=len(counts)).tolist()) == held
    numbers = [part.inputs[:, 0].long() for part in (data.train, data.test)]
    assert sorted(torch.cat(numbers).tolist()) == list(range(len(y)))
    for part, number in zip((data.train, data.test), numbers, strict=True):
        assert (part.targets.numpy() == y[number.numpy()]).all()
    assert data.note == (
        f"`{tmp_path / 'data.npz'}` has no `x_test`: {sum(held)} of its {len(y)} examples, "
        "of every class a fifth and in every run the same, are the test part"
    )


def test_validation_stands_in_for_the_test(tmp_path: Path) -> None:
    given = with_test()
    named = {key.replace("_test", "_val"): array for key, array in given.items()}
    data = load(tmp_path, named)
    assert (data.test.inputs.numpy() == given["x_test"]).all()
    assert data.note == f"`{tmp_path / 'data.npz'}` has no `x_test`: `x_val` is the test part"
    few = {"x_val": given["x"][:3], "y_val": given["y"][:3]}
    assert len(load(tmp_path, {**given, **few}).test) == 12
    del named["y_val"]
    found = refused(save(tmp_path / "data.npz", named))
    assert found.message == f"`{tmp_path / 'data.npz'}` has no array `y_val`"
    assert found.help == "save `x_val` and `y_val` both, or neither"


def test_the_test_part_is_the_same_at_every_call(tmp_path: Path) -> None:
    first = load(tmp_path, arrays())
    np.random.seed(5)
    torch.manual_seed(5)
    again = load(tmp_path, arrays())
    assert torch.equal(first.test.inputs, again.test.inputs)
    assert torch.equal(first.train.targets, again.train.targets)


# -------------------------------------------------------------------------------------- wrong files


def _archive(path: Path, member: str, content: bytes) -> None:
    save(path, arrays())
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(member, content)


def _array_bytes(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def _flip(path: Path) -> None:
    save(path, arrays())
    content = bytearray(path.read_bytes())
    content[300] ^= 0xFF
    path.write_bytes(bytes(content))


NO_FILES: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_bytes(b"x,y\n1,2\n"),
    "a pickle": lambda path: path.write_bytes(pickle.dumps({"x": [1], "y": [0]})),
    "an empty archive": lambda path: zipfile.ZipFile(path, "w").close(),
    "a cut archive": lambda path: (save(path, arrays()), path.write_bytes(path.read_bytes()[:400])),
    "an array": lambda path: path.write_bytes(_array_bytes(np.zeros(3))),
    "a flipped bit": _flip,
}


@pytest.mark.parametrize("make", NO_FILES.values(), ids=NO_FILES)
def test_a_file_that_holds_no_arrays(make: Callable[[Path], object], tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    make(path)
    before = snapshot(tmp_path)
    found = refused(f"npz:{path}")
    assert found.code in ("D510", "D511")
    assert f"`{path}`" in found.message
    assert_style(found)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("make", [Path.mkdir, lambda _: None], ids=["a folder", "nothing"])
def test_no_file(make: Callable[[Path], object], tmp_path: Path) -> None:
    make(tmp_path / "data.npz")
    found = refused(f"npz:{tmp_path / 'data.npz'}")
    assert (found.code, found.message) == ("D510", f"no file `{tmp_path / 'data.npz'}`")
    assert found.help == "name a file that `numpy.savez` wrote"


class Bomb:
    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return Path.touch, (Path("exploded"),)  # type: ignore[return-value]


@pytest.mark.parametrize("key", ["x", "y"])
def test_objects_are_not_read(key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    bombs = np.array([Bomb() for _ in range(30)], dtype=object)
    found = refused(save(tmp_path / "data.npz", {**arrays(), key: bombs}))
    assert (found.code, found.message) == (
        "D512",
        f"`{key}` in `{tmp_path / 'data.npz'}` holds Python objects, not numbers",
    )
    assert found.help == "save an array of numbers, `astype(float)`, or of texts, `astype(str)`"
    assert_style(found)
    assert not (tmp_path / "exploded").exists()


def test_a_member_that_is_no_array(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x.npy", "no array")
        file.writestr("y.npy", _array_bytes(np.zeros(3, dtype=int)))
    assert refused(f"npz:{path}").code in ("D510", "D512")


# ------------------------------------------------------------------------------------ wrong arrays


def changed(key: str, change: Callable[[Any], Any]) -> Arrays:
    given = with_test()
    return {**given, key: change(given[key].copy())}


def put(value: float, *where: int) -> Callable[[Any], Any]:
    def change(array: Any) -> Any:
        array = array.astype(float)
        array[where or slice(None)] = value
        return array

    return change


def without(*keys: str) -> Arrays:
    return {key: array for key, array in with_test().items() if key not in keys}


# What is given, the code, and the message, in which `F` stands for the file.
WRONG: dict[str, tuple[Arrays, str, str]] = {
    "no x": (without("x", "x_test"), "D511", "`F` has no array `x`"),
    "no y": (without("y"), "D511", "`F` has no array `y`"),
    "no x_test": (without("x_test"), "D511", "`F` has no array `x_test`"),
    "no y_test": (without("y_test"), "D511", "`F` has no array `y_test`"),
    "nothing": ({"z": np.zeros(3)}, "D511", "`F` has no array `x`"),
    "text": (changed("x", lambda x: x.astype(str)), "D512", "`x` in `F` holds `<U32`, not numbers"),
    "complex": (changed("x", lambda x: x * 1j), "D512",
                "`x` in `F` holds `complex128`, not numbers"),
    "a number": (changed("x", lambda _: np.array(1.0)), "D512", "`x` in `F` is []"),
    "a row": (changed("x", lambda x: x[:, 0]), "D512", "`x` in `F` is [30]"),
    "films": (changed("x", lambda x: x.reshape(30, 1, 1, 2, 2)), "D512",
              "`x` in `F` is [30, 1, 1, 2, 2]"),
    "no examples": (changed("x", lambda x: x[:0]), "D512", "`x` in `F` is empty: [0, 4]"),
    "no features": (changed("x", lambda x: x[:, :0]), "D512", "`x` in `F` is empty: [30, 0]"),
    "no labels": (changed("y", lambda y: y[:0]), "D512", "`y` in `F` is empty: [0]"),
    "no test": (changed("x_test", lambda x: x[:0]), "D512", "`x_test` in `F` is empty: [0, 4]"),
    "lengths": (changed("y", lambda y: y[:-1]), "D512",
                "`F` has 30 examples in `x` and 29 labels in `y`"),
    "test lengths": (changed("x_test", lambda x: x[1:]), "D512",
                     "`F` has 11 examples in `x_test` and 12 labels in `y_test`"),
    "two columns": (changed("y", lambda y: np.stack([y, y], 1)), "D512",
                    "`y` in `F` is [30, 2], not [N]"),
    "a row of labels": (changed("y", lambda y: y[None]), "D512",
                        "`F` has 30 examples in `x` and 1 labels in `y`"),
    "a label of none": (changed("y", lambda y: np.eye(3)[y] * [1, 1, 0]), "D514",
                        "`y` in `F` has the label `y2` in no examples"),
    "a label of all": (changed("y", lambda y: np.eye(3)[y].clip([1, 0, 0], 1)), "D514",
                       "`y` in `F` has the label `y0` in all examples"),
    "numbers for classes": (changed("y", lambda y: y + 0.5), "D506",
                            "`npz:F` has a number to predict per example, the network predicts 3"),
    "more numbers": (changed("y", lambda y: np.stack([y, y], 1) * 1.5), "D512",
                     "`y_test` in `F` has 1 numbers per example, `y` has 2"),
    "one number": (changed("y", lambda y: np.full(len(y), 0.5)), "D514",
                   "`y` in `F` is 0.5 in all examples"),
    "a number too large": (changed("y", lambda y: np.where(np.arange(30) == 3, -1e300, y + 0.5)),
                           "D514", "`y` in `F` has -1e+300 in example 3 (counted from 0), which is "
                           "too large"),
    "numbers too small": (changed("y", lambda y: (y + 0.5) * 1e-200), "D514",
                          "`y` in `F` varies by 2e-200 at most, which is too little to compute "
                          "with"),
    "soft labels": (changed("y", lambda y: 0.1 + 0.7 * np.eye(3)[y]), "D514",
                    "`y` in `F` has soft labels: shares of several classes"),
    "an empty column": (changed("y", lambda y: np.eye(4)[y]), "D514",
                        "`y` in `F` has 4 columns, and no example of class 3"),
    "other columns": ({**with_test(), "y": np.eye(3)[arrays()["y"]],
                       "y_test": np.eye(4)[np.arange(12) % 4]},
                      "D514", "`y_test` in `F` has 4 columns, `y` has 3"),
    "test shape": (changed("x_test", lambda x: x[:, 1:]), "D512",
                   "`F` has examples [4] in `x` and [3] in `x_test`"),
    "a NaN": (changed("x", put(np.nan, 7, 2)), "D513", "`x` in `F` has a NaN or infinity"),
    "infinity": (changed("x_test", put(-np.inf, 3)), "D513",
                 "`x_test` in `F` has 4 numbers that are not finite"),
    "too large": (changed("x", put(1e39, 5)), "D513",
                  "`x` in `F` has 1e+39, which is too large for the 32 bits of a network's "
                  "numbers"),
    "one part named": (changed("y", lambda y: np.array(["a", "b", "c"])[y]), "D514",
                       "`y_test` in `F` holds numbers, `y` texts"),
    "other names": ({**arrays(), "y": np.array(["a", "b", "c"])[arrays()["y"]],
                     "x_test": np.ones((1, 4)), "y_test": np.array(["d"])}, "D514",
                    "`y_test` in `F` has the label `d`, which those to learn from have not"),
    "no name": (changed("y", lambda y: np.array(["a", "", "c"])[y]), "D514",
                "`y` in `F` has no label in example 1 (counted from 0)"),
    "one name": (changed("y", lambda y: np.full(len(y), "a")), "D514",
                 "`y` in `F` has a single class, `a`"),
    "bytes of no text": (changed("y", lambda y: np.array([b"\xff", b"b", b"c"])[y]), "D514",
                         "`y` in `F` holds bytes that are no text"),
    "dates": (changed("y", lambda y: y.astype("M8[s]")), "D514",
              "`y` in `F` holds `datetime64[s]`, not numbers of classes"),
    "examples last": ({"x": np.zeros((4, 30)), "y": arrays()["y"]}, "D512",
                      "`F` has 4 examples in `x` and 30 labels in `y`"),
    "NaN labels": (changed("y", put(np.nan, 3)), "D514",
                   "`y` in `F` has a number that is not finite in example 3 (counted from 0)"),
    "endless labels": (changed("y", put(np.inf, 3)), "D514",
                       "`y` in `F` has a number that is not finite in example 3 (counted from 0)"),
    "negative": (changed("y", lambda y: y - 1), "D514", "`y` in `F` has the label -1"),
    "from one": (changed("y", lambda y: y + 1), "D514",
                 "`y` in `F` has labels up to 3 and none that is 0"),
    "a gap": (changed("y", lambda y: np.where(np.arange(30) == 3, 255, y)), "D514",
              "`y` in `F` has labels up to 255 and none that is 3"),
    "huge": (changed("y", lambda y: y.astype(np.uint64) + np.uint64(2**63)), "D514",
             f"`y` in `F` has the label {2**63 + 2}"),
    "one class": (changed("y", put(0)), "D514", "`y` in `F` has a single class, 0"),
    "unknown class": (changed("y_test", put(3, 0)), "D514",
                      "`y_test` in `F` has the label 3, those to learn from go up to 2"),
    "nothing to hold": ({"x": np.eye(3, 4), "y": np.arange(3)}, "D514",
                        "`y` in `F` has one example a class: none can be held out for the test"),
}  # fmt: skip


@pytest.mark.parametrize(("given", "code", "message"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_with_arrays(given: Arrays, code: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    found = refused(save(path, given))
    assert (found.code, found.message) == (code, message.replace("F`", f"{path}`"))
    assert_style(found)


def test_the_place_of_a_number_that_is_none(tmp_path: Path) -> None:
    found = refused(save(tmp_path / "data.npz", changed("x", put(np.nan, 7, 2))))
    assert found.notes == ("the first stands in example 7 (counted from 0)",)


@pytest.mark.parametrize("shape", [(5,), (4, 1), (1, 2, 2)], ids=str)
def test_examples_that_do_not_fit_the_network(shape: tuple[int, ...], tmp_path: Path) -> None:
    name = save(tmp_path / "data.npz", arrays())
    found = refused(name, shape)
    assert (found.code, found.message) == (
        "D505",
        f"examples of `{name}` are [4], the network takes {list(shape)}",
    )
    assert "declare `x: [4]`" in found.help
    assert found.span is not None
    assert (found.span.line, found.span.column) == (1, 13)


@pytest.mark.parametrize("classes", [2, 4])
def test_another_number_of_classes(classes: int, tmp_path: Path) -> None:
    name = save(tmp_path / "data.npz", arrays())
    found = refused(name, classes=classes)
    assert (found.code, found.message) == (
        "D506",
        f"`{name}` has 3 classes, the network predicts {classes}",
    )


# -------------------------------------------------------------------------------------- work

HEAD = "search { warmup_epochs = 1; rounds = 1; epochs = 1; batch_size = 16; lambda_w = 0.05 }\n"
TABLE = (
    HEAD
    + """
network table(x: [5]; width = 4) -> (logits: [3]) {
    stem = x : linear(width) >> bn
    node h[2]
    for k in 0..2 { {stem, h[..k]} ~> h[k] : linear(width) >> bn >> relu | leaky_relu | skip }
    all = concat(stem, h)
    all -> logits : dropout(5) >> linear(3)
}
"""
)
SERIES = (
    HEAD
    + """
choice ops = depthwise_conv(3, 1, 2) >> conv(1) >> bn | max_pool(3) >> bn | avg_pool(3) >> bn | skip
motif cell(a; width, stride = 1) -> (out) {
    b = a : conv(1, width, stride) >> bn
    node h[2]
    for k in 0..2 { {b, h[..k]} ~> h[k] : ops }
    retain 1 into h
    out = concat(h)
}
network series(x: [2, 12]; width = 2) -> (logits: [3]) {
    body = tied chain cell(x; width = width) times 2 reduce at 1
    p = body : conv(1, expand = 2) >> hard_swish >> pad_channels(20)
    p -> logits : global_avg_pool >> linear(3)
}
"""
)


WORK = {"table": (TABLE, (5,)), "series": (SERIES, (2, 12))}


@pytest.mark.parametrize(("text", "shape"), WORK.values(), ids=WORK)
def test_a_search_and_a_training(
    text: str,
    shape: tuple[int, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """From arrays to a network that was found, trained, and judged again to the same number."""
    monkeypatch.setattr("bayesnas.compiler.artifacts.figure.has_dot", lambda: False)
    data = save(tmp_path / "data.npz", arrays(shape, 90))
    space = compile_text(text)
    settings = make_settings(SearchSettings, space.settings("search"))
    found = search(space, settings, RunOptions(data, tmp_path / "search", device="cpu"))
    assert 0 < found.operations_left <= found.operations
    pruned = compile_spec(tmp_path / "search" / "pruned.nas")
    schedule = make_settings(TrainSettings, {"epochs": 8, "batch_size": 16})
    result = train(pruned, schedule, RunOptions(data, tmp_path / "train", device="cpu"))
    assert result.test.quality > 0.6  # 0.33 by chance
    assert (
        evaluate_run(RunOptions("", tmp_path / "train", device="cpu"))[0].score.quality
        == result.test.quality
    )
    said = capsys.readouterr().err
    assert said.count("has no `x_test`: 18 of its 90 examples") == 3


def test_labels_of_few_test_examples_are_read_as_those_of_the_training_part() -> None:
    x, one_hot = np.zeros((6, 4), np.float32), np.eye(3)[[0, 1, 2, 0, 1, 2]]
    data = data_of_arrays(x, one_hot, x[:1], one_hot[1:2])
    assert data.test.targets.tolist() == [1]
    data = data_of_arrays(x, one_hot.argmax(axis=1), x[:3], np.eye(3))
    assert data.test.targets.tolist() == [0, 1, 2]
    numbers = np.linspace(0, 1.5, 12).reshape(6, 2)
    data = data_of_arrays(x, numbers, x[:2], np.eye(2))
    assert data.test.targets.shape == (2, 2)


@pytest.mark.parametrize("command", ["search", "train"])
def test_vectors_are_not_shifted(command: str, tmp_path: Path) -> None:
    options = RunOptions(save(tmp_path / "data.npz", arrays((5,))), tmp_path / "o", device="cpu")
    space, work = (
        compile_text(TABLE),
        {
            "search": partial(search, settings=make_settings(SearchSettings, {"augment": "shift"})),
            "train": partial(train, settings=make_settings(TrainSettings, {"augment": "shift"})),
        }[command],
    )
    with pytest.raises(DiagnosticError) as caught:
        work(space, options=options)
    assert [d.code for d in caught.value.diagnostics] == ["D515"]
    assert not (tmp_path / "o").exists()
