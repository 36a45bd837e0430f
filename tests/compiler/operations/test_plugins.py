"""Primitives from Python: registered, checked against their modules, emitted, refused."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from support import graph_of, network, refused

from bayesnas.cli import main
from bayesnas.compiler.emit.pytorch import emit_torch
from bayesnas.compiler.emit.schedule import schedule
from bayesnas.compiler.graph.cost import graph_cost
from bayesnas.compiler.operations.plugins import load_plugin, loaded_plugins
from bayesnas.compiler.operations.primitives import PRIMITIVES
from bayesnas.dsl.diagnostics import DiagnosticError
from bayesnas.runtime.network.modules import build, load_source

PLUGIN = '''
import bayesnas
from torch import nn


def declared(shape, ratio):
    if len(shape) != 3:
        raise bayesnas.ShapeError(f"`scale` needs a map, got {list(shape)}", "use it on maps")
    return shape


@bayesnas.primitive(
    "scale", parameters={"ratio": 2}, shape=declared, flops=lambda s, o, ratio: s[0] * ratio
)
class Scale(nn.Module):
    """Scales each channel."""

    def __init__(self, channels, ratio):
        super().__init__()
        self.inner = nn.Conv2d(channels, channels * ratio, 1, bias=False)
        self.outer = nn.Conv2d(channels * ratio, channels, 1, bias=False)

    def forward(self, z):
        return self.outer(self.inner(z))
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory; what is registered and imported in it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before, modules = dict(PRIMITIVES), set(sys.modules)
    yield tmp_path
    PRIMITIVES.clear()
    PRIMITIVES.update(before)
    for name in set(sys.modules) - modules:
        if name.startswith("plugged"):
            del sys.modules[name]


def plug(folder: Path, text: str, name: str = "plugged") -> None:
    (folder / f"{name}.py").write_text(text)
    load_plugin(name)


def test_a_registered_module_is_a_primitive(folder: Path) -> None:
    plug(folder, PLUGIN)
    assert loaded_plugins() == ["plugged"]
    assert PRIMITIVES["scale"].summary == "Scales each channel."
    graph = graph_of(network("    x ~> y : scale | scale(3) >> relu | skip"))
    assert graph_cost(graph).parameters == 4 * 4 * (2 + 2 + 3 + 3)
    assert graph_cost(graph).flops == 4 * 2 + 4 * 3
    assert "import plugged\n" in emit_torch(graph, "spec.nas").source
    module, _ = build(graph, "spec.nas", seed=0)
    assert sum(p.numel() for p in module.parameters()) == graph_cost(graph).parameters
    assert module(torch.zeros(2, 4, 8, 8)).shape == (2, 4, 8, 8)


OWN_WAYS = """
import bayesnas
from torch import nn


@bayesnas.primitive("mirrored_norm", shape=lambda s: s, flops=lambda s, o: 0)
class MirroredNorm(nn.BatchNorm2d):
    def __init__(self, channels):
        super().__init__(channels, affine=False)

    def forward(self, z):
        return -super().forward(z)


@bayesnas.primitive("doubled", shape=lambda s: s, flops=lambda s, o: 0)
class Doubled(nn.Sequential):
    def __init__(self, channels):
        super().__init__(nn.ReLU(), nn.Sigmoid())

    def forward(self, z):
        return 2 * super().forward(z)
"""


def test_a_schedule_keeps_to_what_a_subclass_does(folder: Path) -> None:
    plug(folder, OWN_WAYS)
    graph = graph_of(network("    x ~> y : mirrored_norm | doubled | conv(3) >> mirrored_norm"))
    plain, scheduled = (
        load_source(emit_torch(graph, "spec.nas", plan)) for plan in (None, schedule(graph))
    )
    scheduled.load_state_dict(plain.state_dict())
    x = torch.randn(3, 4, 8, 8)
    torch.testing.assert_close(scheduled(x), plain(x))


def test_source_without_its_primitives_imports_no_plugin(folder: Path) -> None:
    plug(folder, PLUGIN)
    assert "plugged" not in emit_torch(graph_of(network("    y = x : relu")), "s").source


def test_what_is_called_like_the_plugin_is_renamed(folder: Path) -> None:
    plug(folder, PLUGIN)
    text = "op plugged = scale >> relu\nmotif Plugged(a) -> (b) {\n    b = a : plugged\n}\n"
    graph = graph_of(text + network("    y = Plugged(x)"))
    module, _ = build(graph, "spec.nas", seed=0)
    assert module(torch.zeros(2, 4, 8, 8)).shape == (2, 4, 8, 8)


def test_its_shape_rule_refuses_inputs(folder: Path) -> None:
    plug(folder, PLUGIN)
    text = "network n(x: [3]) -> (y: [3]) {\n    y = x : scale\n}"
    [diagnostic] = refused(text)
    assert (diagnostic.code, diagnostic.message) == ("D301", "`scale` needs a map, got [3]")
    assert diagnostic.help == "use it on maps"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "    return shape",
            "    return (shape[0] + 1, *shape[1:])",
            "the shape rule of `scale` says [5, 8, 8], and its module returns [4, 8, 8]",
        ),
        ("    return shape", "    return shape / 2", "`scale` fails on [4, 8, 8]: TypeError"),
        ("channels * ratio, channels, 1", "3, channels, 1", "`scale` fails on [4, 8, 8]: Runtime"),
        ("(self, channels, ratio)", "(self, channels)", "`scale` fails on [4, 8, 8]: TypeError"),
    ],
)
def test_a_rule_that_its_module_contradicts(folder: Path, old: str, new: str, message: str) -> None:
    plug(folder, PLUGIN.replace(old, new))
    [diagnostic] = refused(network("    y = x : scale"))
    assert diagnostic.code == "D301"
    assert message in diagnostic.message


def test_a_flop_rule_that_fails(folder: Path) -> None:
    plug(folder, PLUGIN.replace("s[0] * ratio", "s[7]"))
    with pytest.raises(
        DiagnosticError, match=r"error\[D433\]: the FLOP rule of `scale` fails: IndexError"
    ):
        graph_cost(graph_of(network("    y = x : scale")))


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('"scale", ', '"conv", ', "there is a primitive `conv` already"),
        ('"scale", ', '"chain", ', "`chain` cannot be a name"),
        ('"scale", ', '"a-b", ', "`a-b` cannot be a name"),
        ('{"ratio": 2}', '{"ratio": 0.5}', "the default of `ratio` is no whole number"),
        ('{"ratio": 2}', '{"for": 2}', "`for` cannot be a parameter's name"),
    ],
)
def test_what_cannot_be_registered(folder: Path, old: str, new: str, reason: str) -> None:
    with pytest.raises(DiagnosticError) as caught:
        plug(folder, PLUGIN.replace(old, new))
    [diagnostic] = caught.value.diagnostics
    assert diagnostic.code == "D433"
    assert diagnostic.message.endswith(reason)


@pytest.mark.parametrize(
    ("name", "text", "message", "note"),
    [
        ("plugged_none", None, "cannot import the plugin `plugged_none`", "ModuleNotFoundError"),
        ("plugged_bad", "1 / 0", "cannot import the plugin `plugged_bad`", "ZeroDivisionError"),
        ("plugged_exit", "raise SystemExit(3)", "cannot import the plugin `plugged_exit`", "3at "),
        ("plugged_syntax", "x =", "cannot import the plugin `plugged_syntax`", "SyntaxError"),
        ("plugged_void", "x = 1", "the plugin `plugged_void` registers no primitive", ""),
        ("plugged.py", PLUGIN, "`plugged.py` is no module", ""),
        ("../plugged", PLUGIN, "`../plugged` is no module", ""),
    ],
)
def test_plugins_that_cannot_be_loaded(
    folder: Path, name: str, text: str | None, message: str, note: str
) -> None:
    if text is not None and name.isidentifier():
        (folder / f"{name}.py").write_text(text)
    with pytest.raises(DiagnosticError) as caught:
        load_plugin(name)
    [diagnostic] = caught.value.diagnostics
    assert (diagnostic.code, diagnostic.message) == ("D432", message)
    assert note in "".join(diagnostic.notes)


def test_a_run_says_which_plugin_it_needs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "plugged.py").write_text(PLUGIN)
    (folder / "s.nas").write_text(
        "network n(image: [1, 8, 8]) -> (logits: [10]) {\n"
        "    image -> logits : conv(3, 4, 2) >> scale >> global_avg_pool >> linear(10)\n}\n"
    )
    options = ["--data", "digits", "-o", "run", "--option", "epochs=1"]
    assert main(["train", "s.nas", "--plugin", "plugged", *options]) == 0
    assert main(["eval", "run", "--plugin", "plugged"]) == 0
    del PRIMITIVES["scale"]
    assert main(["eval", "run"]) == 2
    assert "error[D434]: the run in `run` uses the plugin `plugged`" in capsys.readouterr().err
