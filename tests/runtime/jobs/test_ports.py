"""Networks of two inputs and two outputs: searched by each strategy, trained, asked, exported."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from support import compile_text

import bayesnas
from bayesnas import cli
from bayesnas.compiler.pipeline import Compiled
from bayesnas.compiler.settings import STRATEGIES
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError
from bayesnas.runtime.data.arrays import data_of_arrays
from bayesnas.runtime.data.dataset import Data
from bayesnas.runtime.data.loading import load_data
from bayesnas.runtime.jobs.trained import load_network
from bayesnas.runtime.tasks.bundle import Bundle
from bayesnas.runtime.tasks.parts import Array
from bayesnas.runtime.tasks.several import Several

SPEC = """\
motif cell(x) -> (out) {
    node h
    x ~> h : conv(3) >> bn | max_pool(3) >> bn
    {x, h} ~> out : conv(1) >> bn | skip
}

network two(image: [1, 6, 6], depth: [2, 6, 6]; width = 3) -> (label: [3], mask: [2, 6, 6]) {
    node both
    image -> both : conv(3, width) >> bn
    depth -> both : conv(3, width) >> bn
    y = cell(both)
    y -> label : global_avg_pool >> linear(3)
    y -> mask : conv(1, 2)
}

learn { label = classification; mask = classification(ignored = 9) * 0.5 }

search { warmup_epochs = 1; rounds = 1; epochs = 0.5; batch_size = 16 }

train { epochs = 2; batch_size = 16 }
"""
FAST = ("draws=2", "curvature_examples=16")


def arrays(count: int = 48, seed: int = 0) -> dict[str, Array]:
    """Pictures in which a bar is bright and near; where it is tells the class."""
    random = np.random.default_rng(seed)
    label = np.arange(count) % 3
    image = random.integers(0, 60, (count, 6, 6)).astype(np.uint8)
    mask = np.zeros((count, 6, 6), np.uint8)
    for n, k in enumerate(label):
        mask[n, 2 * k : 2 * k + 2] = 1
    image += 120 * mask
    depth = random.normal(size=(count, 6, 6, 2)) - mask[..., None]
    mask[:, 0, 0] = 9
    return {"image": image, "depth": depth.astype(np.float32), "label": label, "mask": mask}


def with_test(**changes: Array) -> dict[str, Array]:
    """Arrays with a test part; ``changes`` stand over some, None for one that is left out."""
    test = {f"{name}_test": array for name, array in arrays(12, seed=1).items()}
    every = arrays() | test | changes
    return {name: array for name, array in every.items() if array is not None}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("two.nas").write_text(SPEC, "utf-8")
    np.savez("scenes.npz", **with_test())


def run(*words: str) -> None:
    assert cli.main([*words, *(["--threads", "1"] if words[0] in ("search", "train") else [])]) == 0


def read(path: str) -> Any:
    return json.loads(Path(path).read_text("utf-8"))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_searches(strategy: str) -> None:
    options = [o for o in FAST if o.partition("=")[0] in STRATEGIES[strategy].settings]
    more = [word for option in options for word in ("--option", option)]
    run("search", "two.nas", "--data", "npz:scenes.npz", "-o", "run", "--strategy", strategy, *more)
    result = read("run/result.json")
    assert result["learned"] == {"label": "classification * 1", "mask": "classification * 0.5"}
    total = result["holdout_label_loss"] + 0.5 * result["holdout_mask_loss"]
    assert result["holdout_loss"] == pytest.approx(total, rel=1e-5)
    assert 0 <= result["holdout_mask_mean_iou"] <= 1
    found = bayesnas.compile("run/pruned.nas")
    assert [str(o) for o in found.graph.objectives] == [
        "label = classification",
        "mask = classification(ignored = 9) * 0.5",
    ]


def test_a_training_and_all_that_comes_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    fixed = re.sub(r"~> (\w+) : (.*) \|.*", r"-> \1 : \2", SPEC)
    Path("net.nas").write_text(fixed, "utf-8")
    run("train", "net.nas", "--data", "npz:scenes.npz", "-o", "run", "--option", "epochs=8")
    told = capsys.readouterr().out
    assert "test objective -" in told
    assert "label accuracy " in told
    assert "mask mean_iou" in told
    run("eval", "run")
    assert "\nmask:\nbalanced accuracy" in capsys.readouterr().out
    Path("new.npz").write_bytes(Path("scenes.npz").read_bytes())
    run("predict", "run", "new.npz")
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith("new.npz[0]: label: 0 ")
    run("predict", "run", "new.npz", "--csv", "--top", "2")
    header, *rows = [line.split(",") for line in capsys.readouterr().out.splitlines()]
    assert header == ["file", "example", "output", "rank", "answer", "value"]
    assert [row[:4] for row in rows[:4]] == [
        ["new.npz", "0", output, rank] for output in ("label", "mask") for rank in "12"
    ]
    check_exports()
    run("compress", "run", "-o", "half", "--budget", "parameters=80%", "--importance", "taylor")
    assert set(read("half/result.json")["outputs"]) == {"label", "mask"}
    capsys.readouterr()
    run("status", "run", "half")
    told = capsys.readouterr().out.splitlines()
    assert "run: train, finished" in told
    assert "half: compress, finished" in told


def check_exports() -> None:
    network, given = load_network("run"), with_test()
    image = torch.from_numpy(given["image_test"])[:, None]
    depth = torch.from_numpy(given["depth_test"]).permute(0, 3, 1, 2)
    with torch.no_grad():
        expected = network(image, depth)
    run("export", "run", "-o", "net.onnx")
    session = onnxruntime.InferenceSession("net.onnx", providers=["CPUExecutionProvider"])
    assert [one.name for one in session.get_inputs()] == ["image", "depth"]
    assert [one.name for one in session.get_outputs()] == ["label", "mask"]
    inputs = {"image": (image / 255).numpy(), "depth": depth.numpy()}
    for found, right in zip(session.run(None, inputs), expected, strict=True):
        torch.testing.assert_close(torch.from_numpy(found), right, rtol=1e-4, atol=1e-5)
    run("export", "run", "-o", "net.pt2")
    loaded = torch.export.load("net.pt2").module()
    for found, right in zip(loaded(image / 255, depth), expected, strict=True):
        torch.testing.assert_close(found, right, rtol=1e-4, atol=1e-5)


def test_a_command_says_what_is_learned() -> None:
    """It stands over the spec, and in all that comes of the run."""
    more = ["--objective", "mask=regression(sigma=0.5)*2", "--objective", "label=classification"]
    np.savez("numbers.npz", **with_test(mask=numbers(48), mask_test=numbers(12)))
    run("train", "two.nas", "--data", "npz:numbers.npz", "-o", "run", *more)
    settings, result = read("run/settings.json"), read("run/result.json")
    assert settings["objectives"]["mask"] == "regression(sigma = 0.5) * 2"
    assert result["outputs"]["mask"]["sigma"] == 0.5
    assert "test_mask_psnr" in result
    run("eval", "run")
    with pytest.raises(DiagnosticError, match="D235"):
        bayesnas.train("two.nas", "npz:scenes.npz", objective={"masc": "classification"})


def numbers(count: int) -> Array:
    random = np.random.default_rng(2)
    maps = random.normal(size=(count, 2, 6, 6)).astype(np.float32)
    maps[:, :, 0, 0] = np.nan
    return maps


def test_strategies_are_compared() -> None:
    more = ["--strategies", "random,largest", "--seeds", "0", "--option", "draws=2"]
    run("compare", "two.nas", "--data", "npz:scenes.npz", "-o", "all", *more)
    head = Path("all/compare.csv").read_text("utf-8").splitlines()[0].split(",")
    assert {"test_objective", "test_label_accuracy", "test_mask_mean_iou"} <= {*head}


# -------------------------------------------------------------------------------------- the data


def two() -> Compiled:
    return compile_text(SPEC)


def in_memory(given: dict[str, Array]) -> Data:
    x, y = ({n: given[n] for n in names} for names in (("depth", "image"), ("mask", "label")))
    return data_of_arrays(x, y)


def test_arrays_by_port_in_any_order() -> None:
    data = load_data(in_memory(arrays()), two().graph)
    assert isinstance(data.train.inputs, Bundle)
    assert list(data.train.inputs.ports) == ["image", "depth"]
    assert isinstance(data.task, Several)
    assert [output.port for output in data.task.outputs] == ["label", "mask"]
    normal = data.normalize(data.train.inputs)
    assert isinstance(normal, Bundle)
    for tensor in normal.ports.values():
        assert tensor.dtype == torch.float32
        assert float(tensor.mean()) == pytest.approx(0, abs=1e-5)


def test_what_is_learned_follows_from_the_data_where_nothing_is_said() -> None:
    silent = compile_text(SPEC.partition("learn {")[0])
    given = arrays()
    given["mask"] %= 9
    data = load_data(in_memory(given), silent.graph)
    assert "taken from the data: `learn { label = classification; mask = class" in data.note


def refused(graph: Any, given: dict[str, Array] | Data, folder: Path) -> Diagnostic:
    if isinstance(given, dict):
        np.savez(folder / "s.npz", **given)
        given = f"npz:{folder / 's.npz'}"
    with pytest.raises(DiagnosticError) as caught:
        load_data(given, graph)
    [found] = caught.value.diagnostics
    assert found.help
    return found


BAD: dict[str, tuple[Callable[[], dict[str, Array]], str, str]] = {
    "a port without data": (lambda: with_test(depth=None), "D520", "has no array `depth`"),
    "half a test part": (lambda: with_test(mask_test=None), "D511", "has no array `mask_test`"),
    "a mask of another size": (
        lambda: with_test(mask_test=np.zeros((12, 5, 6), int)),
        "D512",
        "has masks of 5 x 6, those to learn from are 6 x 6",
    ),
    "masks of another size than the output": (
        lambda: with_test(
            mask=np.arange(48 * 16).reshape(48, 4, 4) % 2,
            mask_test=np.arange(12 * 16).reshape(12, 4, 4) % 2,
        ),
        "D506",
        "are 4 x 4, `mask` is 6 x 6",
    ),
    "a label outside": (
        lambda: with_test(mask_test=np.full((12, 6, 6), 7)),
        "D514",
        "has the label 7, the classes go up to 1",
    ),
    "a class too many": (
        lambda: with_test(mask=np.arange(48 * 36).reshape(48, 6, 6) % 4),
        "D506",
        "",
    ),
    "a constant target": (
        lambda: with_test(mask=np.zeros((48, 6, 6), int)),
        "D514",
        "a single class",
    ),
    "too few examples of one": (
        lambda: with_test(depth=arrays(40)["depth"]),
        "D512",
        "has 48 examples in `image` and 40 examples in `depth`",
    ),
    "too few targets": (
        lambda: with_test(label=np.arange(40) % 3),
        "D512",
        "and 40 labels in `label`",
    ),
    "an input of another shape": (
        lambda: with_test(depth=np.ones((48, 2, 5, 5)), depth_test=np.ones((12, 2, 5, 5))),
        "D505",
        "`depth` of `npz:",
    ),
}


@pytest.mark.parametrize(("given", "code", "message"), BAD.values(), ids=BAD)
def test_bad_arrays(
    given: Callable[[], dict[str, Array]], code: str, message: str, tmp_path: Path
) -> None:
    found = refused(two().graph, given(), tmp_path)
    assert found.code == code
    assert message in found.message


def test_data_of_no_port(tmp_path: Path) -> None:
    given = arrays()
    x = {name: given[name] for name in ("image", "depth")}
    data = data_of_arrays(x | {"dephts": given["depth"]}, {n: given[n] for n in ("label", "mask")})
    found = refused(two().graph, data, tmp_path)
    assert found.code == "D521"
    assert "has data for `dephts`" in found.message


def test_a_test_part_that_is_called_otherwise(tmp_path: Path) -> None:
    """Else a part of what was to be learned would be the test part; other arrays may be there."""
    given = arrays()
    found = refused(two().graph, given | {"image_tset": given["image"]}, tmp_path)
    assert (found.code, found.help) == ("D521", "call it `image_test`, or leave it out")
    assert found.message.endswith("has an array `image_tset`, which is of no port")
    np.savez(tmp_path / "s.npz", **with_test(image_tset=given["image"], names=np.arange(9)))
    data = load_data(f"npz:{tmp_path / 's.npz'}", two().graph)
    assert "not used of" in data.note
    assert "`image_tset` and `names`" in data.note


def test_data_of_one_array_for_two_inputs(tmp_path: Path) -> None:
    data = data_of_arrays(arrays()["image"], arrays()["label"])
    assert refused(two().graph, data, tmp_path).code == "D520"


# -------------------------------------------------------------------------------------- one port


def test_numbers_of_classes_are_predicted_as_numbers_where_that_is_said() -> None:
    text = "network n(x: [64]) -> (y: [1]) { x -> y : linear(1) }\nlearn { y = regression }"
    data = load_data("digits", compile_text(text).graph)
    assert data.task.metric == "R2"
    assert data.train.targets.shape[1:] == (1,)
    assert sorted(set(data.train.targets.flatten().tolist())) == list(range(10))


def test_rows_with_a_single_1_are_labels_where_that_is_said() -> None:
    text = "network n(x: [2]) -> (y: [3]) { x -> y : linear(3) }"
    x, y = np.random.default_rng(0).normal(size=(30, 2)), np.eye(3, dtype=int)[np.arange(30) % 3]
    graph = compile_text(text).graph
    assert load_data(data_of_arrays(x, y), graph).task.metric == "accuracy"
    said = compile_text(f"{text}\nlearn {{ y = multilabel }}").graph
    assert load_data(data_of_arrays(x, y), said).task.metric == "mAP"


def test_arrays_called_by_the_ports_of_a_plain_network(tmp_path: Path) -> None:
    np.savez(tmp_path / "p.npz", pixels=np.ones((9, 4)), kind=np.arange(9) % 3)
    text = "network n(pixels: [4]) -> (kind: [3]) { pixels -> kind : linear(3) }"
    data = load_data(f"npz:{tmp_path / 'p.npz'}", compile_text(text).graph)
    assert not isinstance(data.train.inputs, Bundle)
    assert data.task.metric == "accuracy"
