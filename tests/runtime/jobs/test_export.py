"""Exported networks compute what the trained ones do, for any number of examples."""

from __future__ import annotations

from pathlib import Path

import onnxruntime
import pytest
import torch
from living import OTHERS, PACKAGED, packaged, striped, write_tiny
from torch import Tensor, nn

from bayesnas import cli
from bayesnas.compiler.emit.pytorch import emit_torch
from bayesnas.compiler.pipeline import compile_spec
from bayesnas.compiler.settings import TrainSettings
from bayesnas.compiler.space.members import draw_member
from bayesnas.dsl.diagnostics import DiagnosticError
from bayesnas.runtime.data.loading import load_data
from bayesnas.runtime.data.registry import DataOptions
from bayesnas.runtime.jobs import export as exporting
from bayesnas.runtime.jobs.export import WRITERS, export
from bayesnas.runtime.jobs.train import train
from bayesnas.runtime.jobs.trained import Deployed, load_network
from bayesnas.runtime.network.modules import load_source
from bayesnas.runtime.runs.folder import RunOptions


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    spec = compile_spec(write_tiny(folder))
    data = f"folder:{striped(folder / 'data')}"
    train(spec, TrainSettings(epochs=1), RunOptions(data, folder / "run", device="cpu"))
    return folder


@pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
def test_a_file_takes_data_as_it_is(trained: Path, suffix: str) -> None:
    found = export(trained / "run", trained / f"network{suffix}")
    assert found.difference < 1e-5
    spec = compile_spec(trained / "tiny.nas")
    data = load_data(f"folder:{trained / 'data'}", spec.graph, DataOptions())
    network = load_network(trained / "run")
    for count in (1, 4):
        inputs = data.test.inputs[:count]
        expected = network(data.normalize(inputs))
        given = inputs.to(torch.float32) / 255
        torch.testing.assert_close(run_file(found.out, given), expected, rtol=1e-4, atol=1e-5)


def run_file(file: Path, inputs: Tensor) -> Tensor:
    if file.suffix == ".pt2":
        return torch.export.load(file).module()(inputs)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {"input": inputs.numpy()})[0])


@pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
@pytest.mark.parametrize("name", PACKAGED | OTHERS)
def test_members_of_packaged_specs(name: str, suffix: str) -> None:
    graph = packaged(name).graph
    _, member = draw_member(graph, 0)
    network = load_source(emit_torch(member, "spec.nas"))
    shape = member.node(member.root.inputs[0]).shape or ()
    mean, std = torch.zeros(shape[0]), torch.ones(shape[0])
    module = Deployed(nn.Sequential(network), mean, std, len(shape)).eval()
    _, run = WRITERS[suffix](module, torch.rand(2, *shape))
    inputs = torch.rand(3, *shape)
    torch.testing.assert_close(run(inputs), module(inputs), rtol=1e-4, atol=1e-5)


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
