"""Exported networks compute what the trained ones do, for any number of examples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from living import packaged, striped, write_tiny
from support import graph_of
from torch import Tensor, nn

import bayesnas
from bayesnas import cli
from bayesnas.compiler.emit.pytorch import emit_torch
from bayesnas.compiler.pipeline import compile_spec
from bayesnas.compiler.settings import TrainSettings
from bayesnas.compiler.space.draws import draw_member
from bayesnas.dsl.diagnostics import DiagnosticError
from bayesnas.runtime.data.loading import load_data
from bayesnas.runtime.data.registry import DataOptions, Ports
from bayesnas.runtime.jobs import export as exporting
from bayesnas.runtime.jobs.export import WRITERS, Exported, Subject, export
from bayesnas.runtime.jobs.train import train
from bayesnas.runtime.jobs.trained import TrainedRun, load_network
from bayesnas.runtime.network.modules import load_source, outputs_of
from bayesnas.runtime.runs.record import RunOptions
from bayesnas.runtime.tasks.bundle import Inputs, bundled, tensors


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    spec = compile_spec(write_tiny(folder))
    data = f"folder:{striped(folder / 'data')}"
    train(spec, TrainSettings(epochs=1), RunOptions(data, folder / "run", device="cpu"))
    return folder


@pytest.fixture(scope="module", params=[".onnx", ".pt2"])
def exported(trained: Path, request: pytest.FixtureRequest) -> Exported:
    return export(trained / "run", trained / f"network{request.param}")


def test_a_file_takes_data_as_it_is(trained: Path, exported: Exported) -> None:
    assert exported.difference < 1e-5
    assert exported.examples == "5 examples of the test part"
    spec = compile_spec(trained / "tiny.nas")
    data = load_data(f"folder:{trained / 'data'}", spec.graph, DataOptions())
    network = load_network(trained / "run")
    for count in (1, 4):
        inputs = data.test.inputs[:count]
        expected = network(inputs)
        given = inputs.to(torch.float32) / 255
        torch.testing.assert_close(run_file(exported.out, given), expected, rtol=1e-4, atol=1e-5)


def test_a_file_says_what_it_is(exported: Exported) -> None:
    about = {"classes": "", "input": "", "normalisation": "", "bayesnas": ""}
    if exported.out.suffix == ".pt2":
        torch.export.load(exported.out, extra_files=about)
    else:
        session = onnxruntime.InferenceSession(exported.out, providers=["CPUExecutionProvider"])
        about = session.get_modelmeta().custom_metadata_map
        names = [port.name for port in (*session.get_inputs(), *session.get_outputs())]
        assert names == ["image", "logits"]
    assert json.loads(about["classes"]) == ["columns", "diagonals", "rows"]
    assert json.loads(about["input"]) == {
        "shape": [1, 8, 8], "layout": "NCHW", "dtype": "float32", "scale": "0 to 1",
    }  # fmt: skip
    assert about["normalisation"] == "part of the network"
    assert about["bayesnas"] == bayesnas.__version__


def vectors(folder: Path) -> tuple[Path, np.ndarray[Any, Any]]:
    """A run on vectors of times since 1970, which 32 bits cannot hold apart."""
    (folder / "net.nas").write_text(
        "network net(x: [2]) -> (logits: [2]) { x -> logits : linear(2) }"
    )
    x = np.stack([1.7e9 + np.arange(40.0), np.arange(40.0)], axis=1)
    np.savez(folder / "v.npz", x=x, y=np.arange(40) % 2, x_test=x, y_test=np.arange(40) % 2)
    options = RunOptions(f"npz:{folder / 'v.npz'}", folder / "run", device="cpu")
    train(compile_spec(folder / "net.nas"), TrainSettings(epochs=1), options)
    return folder / "run", x


@pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
def test_numbers_as_they_are(suffix: str, tmp_path: Path) -> None:
    """Of 64 bits where the data are; with the data away, random ones like them are the check."""
    run, x = vectors(tmp_path)
    network = load_network(run)
    normal = torch.from_numpy((x - x.mean(axis=0)) / x.std(axis=0, ddof=1)).to(torch.float32)
    [linear] = [module for module in network.modules() if isinstance(module, nn.Linear)]
    expected = linear(normal)
    torch.testing.assert_close(network(torch.from_numpy(x)), expected, rtol=1e-5, atol=1e-6)
    (tmp_path / "v.npz").unlink()
    found = export(run, tmp_path / f"v{suffix}")
    assert found.examples.startswith("random inputs, ")
    given = torch.from_numpy(x)
    torch.testing.assert_close(run_file(found.out, given), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
def test_answers_far_from_zero_keep_their_digits(suffix: str, tmp_path: Path) -> None:
    (tmp_path / "net.nas").write_text("network net(x: [2]) -> (y: [1]) { x -> y : linear(1) }")
    x = np.random.default_rng(0).normal(size=(40, 2))
    np.savez(tmp_path / "v.npz", x=x, y=1.7e9 + 300 * x.sum(axis=1), x_test=x, y_test=x[:, 0])
    options = RunOptions(f"npz:{tmp_path / 'v.npz'}", tmp_path / "run", device="cpu")
    train(compile_spec(tmp_path / "net.nas"), TrainSettings(epochs=20), options)
    found = export(tmp_path / "run", tmp_path / f"v{suffix}")
    network, task = load_network(tmp_path / "run"), TrainedRun.open(tmp_path / "run").task
    given = torch.from_numpy(x)
    expected = [number for [(_, number)] in task.answers(network(given), 1)]
    answers = run_file(found.out, given)[:, 0].tolist()
    assert answers == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
def test_words_are_checked_with_the_data_away(suffix: str, tmp_path: Path) -> None:
    (tmp_path / "net.nas").write_text(
        "network net(words: [6]) -> (next: [5]) "
        "{ words -> next : embedding(5, 4) >> global_avg_pool >> linear(5) }"
    )
    (tmp_path / "t.txt").write_text("abcd" * 40)
    options = RunOptions(f"text:{tmp_path / 't.txt'}", tmp_path / "run", device="cpu")
    train(compile_spec(tmp_path / "net.nas"), TrainSettings(epochs=1), options)
    (tmp_path / "t.txt").unlink()
    found = export(tmp_path / "run", tmp_path / f"v{suffix}")
    assert found.examples.startswith("random inputs, ")


def run_file(file: Path, inputs: Tensor) -> Tensor:
    if file.suffix == ".pt2":
        return torch.export.load(file).module()(inputs)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {session.get_inputs()[0].name: inputs.numpy()})[0])


# What the cells of packaged specs have and the others below do not.
CELL = """\
import "ops/basic.nas"
import "ops/darts.nas"

network net(image: [3, 8, 8]) -> (y: [3]) {
    a = image : conv(1, 4) >> bn
    b = a : sep_conv(3, 2)
    c = a : factorized_reduce >> bn
    d = a : avg_pool(3, 2)
    e = a : max_pool(3, 2)
    node f
    c ~> f : dil_conv(5)
    d -> f
    g = f : pad_channels(6)
    out = concat(b, e, g)
    out -> y : classifier(3)
}
"""
# Between them they have what the members of all are made of.
EXPORTED = [
    *((name, ".onnx") for name in ("cell", "multiscale", "sequence_tcn", "tabular_mlp")),
    *((name, ".onnx") for name in ("transformer", "unet", "vision_blocks")),
    ("cell", ".pt2"),
    ("dense_motif", ".pt2"),
]


@pytest.mark.parametrize(("name", "suffix"), EXPORTED)
def test_members_of_packaged_specs(name: str, suffix: str) -> None:
    graph = graph_of(CELL) if name == "cell" else packaged(name).graph
    _, member = draw_member(graph, 0)
    module = load_source(emit_torch(member, "spec.nas", statistics="float32")).eval()
    ports = Ports.of(member)

    def drawn(count: int) -> Inputs:
        return bundled({p: torch.rand(count, *shape) for p, shape in ports.inputs.items()})

    _, run = WRITERS[suffix](Subject(module, drawn(2), {}, (*ports.inputs,), (*ports.outputs,)))
    inputs = tensors(drawn(3))
    pairs = zip(outputs_of(run(*inputs)), outputs_of(module(*inputs)), strict=True)
    for found, expected in pairs:
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_ports_called_as_the_exporter_calls_what_is_inside() -> None:
    text = """network n(relu: [3]) -> (linear: [2]) {
        relu -> linear : linear(4) >> relu >> linear(4) >> relu >> linear(2)
    }"""
    module = load_source(emit_torch(graph_of(text), "spec.nas", statistics="float32")).eval()
    x = torch.rand(2, 3)
    file, run = WRITERS[".onnx"](Subject(module, x, {}, ("relu",), ("linear",)))
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    ports = [port.name for port in (*session.get_inputs(), *session.get_outputs())]
    assert ports == ["relu", "linear"]
    torch.testing.assert_close(outputs_of(run(x))[0], module(x), rtol=1e-4, atol=1e-5)


def test_the_command(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = trained / "deploy" / "net.pt2"
    arguments = ["export", str(trained / "run"), "-o", str(out)]
    assert cli.main(arguments) == 0
    assert "written to" in capsys.readouterr().out
    before = out.read_bytes()
    assert cli.main(arguments) == 2
    assert "error[D413]: `" in capsys.readouterr().err
    assert out.read_bytes() == before
    assert cli.main([*arguments, "--force"]) == 0


def test_another_ending(trained: Path) -> None:
    with pytest.raises(DiagnosticError, match=r"error\[D418\]: cannot export to `net\.h5`"):
        export(trained / "run", Path("net.h5"))


def test_nothing_is_written_where_the_file_differs(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "TOLERANCE", -1.0)
    with pytest.raises(DiagnosticError, match=r"error\[D437\]: what was exported differs"):
        export(trained / "run", trained / "wrong.pt2")
    assert not (trained / "wrong.pt2").exists()
