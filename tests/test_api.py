"""What a notebook calls: how data is read there is what the command line can say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from living import snapshot
from PIL import Image
from support import compile_text

import bayesnas
from bayesnas.compiler.pipeline import Compiled
from bayesnas.dsl.diagnostics import DiagnosticError

IMAGES = """\
network net(image: [1, 8, 8]) -> (logits: [2]) {
    node h
    image ~> h : conv(3) | max_pool(3)
    h -> logits : relu >> flatten >> linear(2)
}
"""
ROWS = (
    "network net(row: [3]) -> (logits: [2]) { row ~> logits : linear(2) | linear(4) >> linear(2) }"
)
SHORT: Mapping[str, Any] = {"epochs": 1, "batch_size": 8}
LARGEST: Mapping[str, Any] = {"strategy": "largest"}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures of another size, and rows of numbers, in the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("bayesnas.compiler.artifacts.figure.has_dot", lambda: False)
    for name, shade in (("dark", 40), ("light", 220)):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for k in range(12):
            Image.new("L", (16, 8), shade + k).save(tmp_path / "pictures" / name / f"{k}.png")
    rng = np.random.default_rng(0)
    np.savez("rows.npz", x=rng.integers(0, 9, (40, 3)), y=np.arange(40) % 2)


def images() -> Compiled:
    return compile_text(IMAGES)


def settings(folder: str) -> dict[str, Any]:
    written: dict[str, Any] = json.loads(Path(folder, "settings.json").read_text("utf-8"))
    return written


@pytest.mark.parametrize(
    ("given", "fit", "said"),
    [({"resize": True}, "squeeze", "squeezed"), ({"fit": "pad"}, "pad", "padded with black")],
)
def test_pictures_are_fitted(
    given: dict[str, Any], fit: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bayesnas.search(images(), "folder:pictures", "found", **given, **LARGEST)
    bayesnas.train(images(), "folder:pictures", "trained", **given, **SHORT)
    assert capsys.readouterr().err.count(f"24 images: {said}") == 2
    for folder in ("found", "trained"):
        assert (settings(folder)["resize"], settings(folder)["fit"]) == (True, fit)


def test_pictures_are_not_fitted_unasked() -> None:
    with pytest.raises(DiagnosticError, match="the network takes"):
        bayesnas.train(images(), "folder:pictures", **SHORT)


@pytest.mark.parametrize(
    ("standardise", "plain"), [(None, False), ("auto", False), ("yes", False), ("no", True)]
)
def test_numbers_are_standardised_unless_told_otherwise(standardise: Any, plain: bool) -> None:
    found = bayesnas.search(compile_text(ROWS), "npz:rows.npz", standardise=standardise, **LARGEST)
    trained = bayesnas.train(found, "npz:rows.npz", standardise=standardise, **SHORT)
    mean = trained.network.get_buffer("input_mean")
    assert torch.equal(mean, torch.zeros_like(mean)) == plain
    for folder in (found.folder, trained.folder):
        assert settings(str(folder))["standardise"] == (standardise or "auto")


@pytest.mark.parametrize(
    ("own", "given", "plain"),
    [("auto", "no", True), ("no", "yes", False), ("no", None, True), ("yes", None, False)],
)
def test_a_call_stands_over_what_the_data_says(own: Any, given: Any, plain: bool) -> None:
    with np.load("rows.npz") as file:
        data = bayesnas.data_of_arrays(file["x"], file["y"], standardise=own)
    trained = bayesnas.train(compile_text(ROWS), data, standardise=given, **SHORT)
    mean = trained.network.get_buffer("input_mean")
    assert torch.equal(mean, torch.zeros_like(mean)) == plain
    assert settings(str(trained.folder))["standardise"] == (given or own)


def test_data_that_was_read_is_standardised_anew() -> None:
    compiled = compile_text(ROWS)
    plain = bayesnas.load_data(
        "npz:rows.npz", compiled.graph, bayesnas.DataOptions(standardise="no")
    )
    assert not plain.mean.any()
    trained = bayesnas.train(compiled, plain, standardise="yes", **SHORT)
    mean = plain.train.inputs.mean(dim=0)
    assert torch.allclose(trained.network.get_buffer("input_mean").flatten(), mean)


DIGITS, FOLDER, ROWS_FILE = "digits", "folder:pictures", "npz:rows.npz"


@pytest.mark.parametrize(
    ("data", "given", "code", "message"),
    [
        (FOLDER, {"fit": "stretch"}, "D418", "cannot read `fit = 'stretch'`"),
        (FOLDER, {"resize": "pad"}, "D418", "cannot read `resize = 'pad'`"),
        (ROWS_FILE, {"standardise": False}, "D418", "cannot read `standardise = False`"),
        (DIGITS, {"resize": True}, "D423", "`--resize` does nothing with `digits`"),
        (ROWS_FILE, {"fit": "pad"}, "D423", "`--fit` does nothing with `npz:rows.npz`"),
        (FOLDER, {"download": True}, "D423", "`--download` does nothing with `folder:pictures`"),
        (FOLDER, {"resume": True, "force": True}, "D423", "`--force` does nothing beside"),
    ],
)
@pytest.mark.parametrize("call", [bayesnas.search, bayesnas.train])
def test_what_cannot_be_asked_for(
    call: Any, data: str, given: dict[str, Any], code: str, message: str, tmp_path: Path
) -> None:
    before = snapshot(tmp_path)
    with pytest.raises(DiagnosticError) as caught:
        call(images(), data, "run", **given)
    [diagnostic] = caught.value.diagnostics
    assert diagnostic.code == code
    assert diagnostic.message.startswith(message)
    assert diagnostic.help
    assert snapshot(tmp_path) == before


def test_data_in_memory_is_not_fitted() -> None:
    with np.load("rows.npz") as file:
        data = bayesnas.data_of_arrays(file["x"], file["y"])
    with pytest.raises(DiagnosticError) as caught:
        bayesnas.train(compile_text(ROWS), data, resize=True, data_root="elsewhere")
    assert [found.message for found in caught.value.diagnostics] == [
        "`--resize` does nothing with `arrays`, which is in memory",
        "`--data-root` does nothing with `arrays`, which is in memory",
    ]


@pytest.mark.parametrize(
    ("given", "code", "message"),
    [
        ({"seed": -1}, "D418", "cannot use the seed -1"),
        ({"seed": 1.5}, "D418", "cannot use the seed 1.5"),
        ({"seed": 2**40}, "D418", f"cannot use the seed {2**40}"),
        ({"seed": True}, "D418", "cannot use the seed True"),
        ({"device": None}, "D412", "no device `None` on this machine"),
        ({"epochs": None}, "D231", "invalid value `None` of `epochs`"),
        ({"workers": "2"}, "D418", "cannot read `workers = '2'`"),
        ({"target": 3}, "D418", "cannot read `target = 3`"),
        ({"listeners": None}, "D418", "cannot read `listeners = None`"),
        ({"budget": "flops=60M"}, "D418", "cannot read `budget = 'flops=60M'`"),
        ({"objective": "logits"}, "D418", "cannot read `objective = 'logits'`"),
        ({"latencies": 5}, "D418", "cannot read `latencies = 5`"),
        ({"resume": True, "out": None}, "D414", "nothing to resume without a folder"),
        ({"budget": {"flop": 60}}, "D418", "cannot read `--budget flop=60`"),
        ({"budget": {"flops": "many"}}, "D418", "cannot read `--budget flops=many`"),
        ({"data": np.zeros((4, 3))}, "D501", "a `ndarray` is no data set"),
        ({"data": Path("rows.npz")}, "D501", "a `PosixPath` is no data set"),
    ],
    ids=str,
)
def test_arguments_that_cannot_be(given: dict[str, Any], code: str, message: str) -> None:
    arguments = {"data": "npz:rows.npz", "out": "run", **given}
    with pytest.raises(DiagnosticError) as caught:
        bayesnas.search(compile_text(ROWS), **arguments)
    [diagnostic] = caught.value.diagnostics
    assert (diagnostic.code, diagnostic.message) == (code, message)
    assert diagnostic.help
    assert not Path("run").exists()


def test_a_budget_with_a_unit() -> None:
    budget: Any = {"parameters": "0.01K"}
    found = bayesnas.search(
        compile_text(ROWS), "npz:rows.npz", budget=budget, strategy="random", rounds=1, **SHORT
    )
    assert found.result.found.parameters == 8  # of the smaller member


@pytest.mark.parametrize("value", [1.5, "many", None, True])
def test_parameters_that_are_no_whole_numbers(value: Any) -> None:
    with pytest.raises(DiagnosticError) as caught:
        bayesnas.compile("digits_cell", cells=value)
    [diagnostic] = caught.value.diagnostics
    assert (diagnostic.code, diagnostic.message) == ("D418", f"cannot read `cells = {value!r}`")


@pytest.mark.parametrize("spec", [None, 5, images])
def test_what_is_no_spec(spec: Any) -> None:
    with pytest.raises(DiagnosticError) as caught:
        bayesnas.compile(spec)
    [diagnostic] = caught.value.diagnostics
    assert (diagnostic.code, diagnostic.message) == ("D418", f"cannot read `spec = {spec!r}`")


def test_numbers_of_numpy_and_devices_of_torch() -> None:
    """What a notebook has at hand."""
    device: Any = torch.device("cpu")
    found = bayesnas.search(
        compile_text(ROWS), "npz:rows.npz", "run", seed=np.int64(3), device=device,
        draws=np.int64(2), strategy="random", **SHORT,
    )  # fmt: skip
    assert found.folder == Path("run")
    assert (settings("run")["seed"], settings("run")["settings"]["draws"]) == (3, 2)


def test_a_proxy_is_searched_in_place_of_the_network() -> None:
    text = (
        "network net(row: [3]; width = 4) -> (logits: [2]) { "
        "row ~> logits : linear(2) | linear(width) >> linear(2) }"
    )
    space = compile_text(text)
    found = bayesnas.search(space, "npz:rows.npz", "run", proxy={"width": 2}, **LARGEST)
    assert "width = 4" in found.spec
    assert settings("run")["proxy"] == {"width": 2}
    for proxy, code in (({"width": 4}, "D423"), ({"width": 1.5}, "D418"), (["width"], "D418")):
        with pytest.raises(DiagnosticError) as caught:
            bayesnas.search(space, "npz:rows.npz", proxy=proxy, **LARGEST)  # type: ignore[arg-type]
        assert [d.code for d in caught.value.diagnostics] == [code]


def test_settings_as_python_has_them() -> None:
    found = bayesnas.search(compile_text(ROWS), "npz:rows.npz", compress=False, **LARGEST)
    steps = {"schedule": "steps", "rate_decay": 0.1, "rate_steps": (1, 2)}
    bayesnas.train(found, "npz:rows.npz", "run", epochs=3, nesterov=False, **steps)  # type: ignore[arg-type]
    written = settings("run")["settings"]
    assert (written["nesterov"], written["rate_steps"]) == ("no", "1, 2")
    for steps["rate_steps"] in ([1, 2], range(1, 3), np.array([1, 2]), torch.tensor([1, 2])):
        bayesnas.train(found, "npz:rows.npz", "run", epochs=3, force=True, **steps)  # type: ignore[arg-type]
        assert settings("run")["settings"]["rate_steps"] == "1, 2"
    for epochs, shown in ((True, "yes"), (np.array([1, 2]), "[1, 2]")):
        with pytest.raises(DiagnosticError) as caught:
            bayesnas.train(found, "npz:rows.npz", "other", epochs=epochs)  # type: ignore[arg-type]
        assert caught.value.diagnostics[0].message == f"invalid value `{shown}` of `epochs`"


def test_a_folder_and_a_find_are_specs() -> None:
    found = bayesnas.search(compile_text(ROWS), "npz:rows.npz", "run", **LARGEST)
    again = bayesnas.compile("run")
    assert again.graph.network.nodes == found.compiled.graph.network.nodes
    with pytest.raises(DiagnosticError) as caught:
        bayesnas.search(found, "npz:rows.npz", "other")  # type: ignore[arg-type]
    assert [d.code for d in caught.value.diagnostics] == ["D418"]


def test_a_page_replaces_no_file_unasked() -> None:
    found = bayesnas.search(compile_text(ROWS), "npz:rows.npz", "run", **LARGEST)
    Path("notes.txt").write_text("mine", "utf-8")
    for out, message in (
        ("notes.txt", "`notes.txt` exists"),
        ("pictures", "`pictures` is a folder"),
    ):
        with pytest.raises(DiagnosticError) as caught:
            bayesnas.report(found, out=out)
        [diagnostic] = caught.value.diagnostics
        assert (diagnostic.code, diagnostic.message) == ("D413", message)
    assert Path("notes.txt").read_text("utf-8") == "mine"
    assert bayesnas.report(found, out="notes.txt", force=True).read_text("utf-8").startswith("<!")
    with pytest.raises(DiagnosticError) as caught:
        bayesnas.report([found])  # type: ignore[arg-type]
    [diagnostic] = caught.value.diagnostics
    assert diagnostic.code == "D418"
    assert diagnostic.message.startswith("cannot read `runs = [Found(folder=")
    assert diagnostic.message.endswith("...`")
    assert len(diagnostic.message) < 100


def test_a_call_that_is_refused_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    for call in (bayesnas.search, bayesnas.train):
        with pytest.raises(DiagnosticError):
            call(compile_text(ROWS), "npz:gone.npz")
        with pytest.raises(DiagnosticError):
            call(compile_text(ROWS), "npz:rows.npz", epochs=-1)
    assert list((tmp_path / "temporary").iterdir()) == []
