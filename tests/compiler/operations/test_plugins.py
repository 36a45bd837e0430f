"""Primitives from Python: registered, checked against their modules, emitted, refused."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from support import graph_of, network, refused
from torch import Tensor, nn

from bayesnas.cli import main
from bayesnas.compiler.emit.pytorch import emit_torch
from bayesnas.compiler.emit.schedule import schedule, schedule_text
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
def folder(plugin_folder: Path) -> Path:
    return plugin_folder


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


TRAITS = """
import bayesnas
import torch
from torch import nn


@bayesnas.primitive(
    "half",
    parameters={"which": None},
    domains={"which": (0, 1)},
    shape=lambda s, which: (s[0] // 2, *s[1:]),
    flops=lambda s, o, which: 0,
    pure=True,
    overwritable=True,
)
class Half(nn.Module):
    def __init__(self, channels, which):
        super().__init__()
        self.which = which

    def forward(self, z):
        return z.chunk(2, dim=1)[self.which].clone()


@bayesnas.primitive("steady", shape=lambda s: s, flops=lambda s, o: 0, normalises=True)
class Steady(nn.BatchNorm2d):
    def __init__(self, channels):
        super().__init__(channels, eps=0.1, momentum=None, track_running_stats=False)


class CubeInPlace(nn.Module):
    def __init__(self, channels, rounds):
        super().__init__()

    def forward(self, z):
        return z.pow_(3)


class FastCube(nn.Module):
    def __init__(self, channels, rounds):
        super().__init__()

    def forward(self, z):
        return z * z * z


@bayesnas.primitive(
    "cube",
    parameters={"rounds": 1},
    shape=lambda s, rounds: s,
    flops=lambda s, o, rounds: 0,
    in_place=CubeInPlace,
    fast=FastCube,
)
class Cube(nn.Module):
    def __init__(self, channels, rounds):
        super().__init__()

    def forward(self, z):
        return z**3
"""


def test_its_traits_are_used_as_ours_are(folder: Path) -> None:
    """Pure ones are told apart by their numbers; a shared tensor is not written over."""
    plug(folder, TRAITS)
    graph = graph_of(
        network(
            "    x ~> y : half(0) >> cube >> conv(1, 4) | half(1) >> cube >> conv(1, 4)\n"
            "           | half(0) >> conv(3, 4) >> steady | conv(1) >> cube | half(0) >> conv(1, 4)"
        )
    )
    plan = schedule(graph)
    text = schedule_text(graph, plan)
    assert "  half: 2 runs for 4\n" in text
    assert "x >> half(0), once for 3" in text
    assert "[half(0)] >> cube fast >> conv(1, width = 4); gate in the sum" in text
    assert "[half(0)] >> conv(3, width = 4) >> steady; gate in the scale" in text
    assert ": conv(1, width = 4) >> cube in place; gate in the sum" in text
    plain, scheduled = (load_source(emit_torch(graph, "spec.nas", p)) for p in (None, plan))
    scheduled.load_state_dict(plain.state_dict())
    gates = torch.tensor([0.5, -1.0, 2.0, 3.0, 0.7])
    for rows in (gates, torch.stack([gates, 2 * gates, gates - 1])):
        results = []
        for module in (plain, scheduled):
            x = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(0))
            leaves = [x.requires_grad_(), *module.parameters()]
            y = module(x, rows)
            results.append([y, *torch.autograd.grad(y.square().mean(), leaves)])
        for one, other in zip(*results, strict=True):
            torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("half(2)", "`which` of `half` is 2; write 1 or less"),
        ("half(0 - 1)", "`which` of `half` is -1; write 0 or more"),
        ("cube(0 - 1)", "`rounds` of `cube` is -1; write 0 or more"),
    ],
)
def test_numbers_outside_its_domains(folder: Path, call: str, message: str) -> None:
    plug(folder, TRAITS)
    [diagnostic] = refused(network(f"    y = x : {call}"))
    assert f"{diagnostic.message}; {diagnostic.help}" == message


def test_parameters_without_a_domain_take_zero(folder: Path) -> None:
    plug(folder, TRAITS)
    assert graph_of(network("    y = x : cube(0)")).searched() == []


def test_what_is_not_pure(folder: Path) -> None:
    plug(folder, PLUGIN.replace('"scale", ', '"scale", pure=True, '))
    [diagnostic] = refused(network("    y = x : scale"))
    assert diagnostic.message == "`Scale` is said to be pure and holds numbers of its own"


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
        ("(self.inner(z))", "(self.inner(z.mul_(2)))", "`Scale` writes over its input, which"),
        (
            "return self.outer",
            "return nn.ReLU(inplace=True)(z) + self.outer",
            "`Scale` writes over",
        ),
        ("nn.Conv2d(channels, ", "nn.LazyConv2d(", "`Scale` leaves sizes to the first input"),
    ],
)
def test_a_rule_that_its_module_contradicts(folder: Path, old: str, new: str, message: str) -> None:
    plug(folder, PLUGIN.replace(old, new))
    [diagnostic] = refused(network("    y = x : scale"))
    assert diagnostic.code == "D301"
    assert message in diagnostic.message


@pytest.mark.parametrize(
    ("rule", "reason"),
    [("s[7]", "fails: IndexError"), ("s[0] - 1_000", "says -9")],
    ids=["an index", "a negative cost"],
)
def test_a_flop_rule_that_is_wrong(folder: Path, rule: str, reason: str) -> None:
    plug(folder, PLUGIN.replace("s[0] * ratio", rule))
    with pytest.raises(DiagnosticError, match=rf"error\[D433\]: the FLOP rule of `scale` {reason}"):
        graph_cost(graph_of(network("    y = x : scale")))


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('"scale", ', '"conv", ', "there is a primitive `conv` already"),
        ('"scale", ', '"chain", ', "`chain` cannot be a name"),
        ('"scale", ', '"a-b", ', "`a-b` cannot be a name"),
        ('{"ratio": 2}', '{"ratio": 0.5}', "the default of `ratio` is no whole number"),
        ('{"ratio": 2}', '{"for": 2}', "`for` cannot be a parameter's name"),
        ('{"ratio": 2}', '{"class": 2}', "`class` cannot be a parameter's name"),
        ('{"ratio": 2}', '{"channels": 2}', "the parameter `channels` is given by the input"),
        (
            '{"ratio": 2}',
            '{"ratio": 2}, domains={"rate": (1, 2)}',
            "`rate` of `domains` is no parameter",
        ),
        (
            '{"ratio": 2}',
            '{"ratio": 2}, domains={"ratio": 3}',
            "the domain of `ratio` is no pair of whole numbers, least and most",
        ),
        (
            '{"ratio": 2}',
            '{"ratio": 2}, domains={"ratio": (3, None)}',
            "the default of `ratio` lies outside its domain",
        ),
        (
            '{"ratio": 2}',
            '{"ratio": 2}, in_place=nn.ReLU',
            "`ReLU` does not stand in `plugged`",
        ),
        (
            '{"ratio": 2}',
            '{"ratio": 2}, indices="no"',
            "`indices` is neither True nor False",
        ),
        ('{"ratio": 2}', '{"ratio": 2}, indices=0', "`indices` is neither True nor False"),
        ('{"ratio": 2}', '{"ratio": 2}, pure=1', "`pure` is neither True nor False"),
        (
            '{"ratio": 2}',
            '{"ratio": 2}, normalises=True',
            "`Scale` does not normalise: it is no nn.BatchNorm1d or nn.BatchNorm2d with their own "
            "forward pass",
        ),
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
        ("plugged_line", "\n\nx =", "cannot import the plugin `plugged_line`", "plugged_line.py:3"),
        ("network", PLUGIN, "a plugin cannot be called `network`", ""),
        ("network.ops", None, "a plugin cannot be called `network.ops`", ""),
        ("plugged_void", "x = 1", "the plugin `plugged_void` registers nothing", ""),
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


STRIDED = """
import bayesnas
from torch import nn


@bayesnas.primitive(
    "halved",
    shape=lambda s: (s[0], -(-s[1] // 2), -(-s[2] // 2)),
    flops=lambda s, o: s[0] * o[0] * o[1] * o[2],
)
class Halved(nn.Conv2d):
    def __init__(self, channels):
        super().__init__(channels, channels, 1, stride=2, bias=False)
"""


def test_a_strided_convolution_of_a_plugin_runs_without_a_stride(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PyTorch's own is wrong on some CPUs: tests/runtime/network/test_native.py."""
    plug(folder, STRIDED)
    graph = graph_of("network net(x: [4, 8, 8]) -> (y: [4, 4, 4]) { x -> y : halved }")
    [(plain, _), (scheduled, _)] = (build(graph, "spec.nas", 0, way) for way in (False, True))
    x, calls = torch.randn(3, 4, 8, 8), []
    right = nn.functional.conv2d(x, next(plain.parameters()), stride=2)
    original = nn.functional.conv2d

    def noted(z: Tensor, *others: Any, **named: Any) -> Tensor:
        calls.append(z.shape)
        assert "stride" not in named
        return original(z, *others, **named)

    monkeypatch.setattr(nn.functional, "conv2d", noted)
    for module in (plain, scheduled):
        torch.testing.assert_close(module(x), right)
    assert calls == [(3, 4, 4, 4)] * 2


@pytest.mark.usefixtures("few_digits")
def test_a_run_says_which_plugin_it_needs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "plugged.py").write_text(PLUGIN)
    (folder / "s.nas").write_text(
        "network n(image: [1, 8, 8]) -> (logits: [10]) {\n"
        "    image -> logits : conv(3, 4, 2) >> scale >> global_avg_pool >> linear(10)\n}\n"
    )
    options = ["--data", "digits", "-o", "run", "--option", "epochs=1"]
    assert main(["train", "s.nas", "--plugin", "plugged", *options]) == 0
    assert main(["eval", "run", "--plugin", "plugged"]) == 0
    assert (folder / "run/plugins/plugged.py").read_text() == PLUGIN
    (folder / "plugged.py").write_text(f"{PLUGIN}\n# edited\n")
    assert main(["eval", "run", "--plugin", "plugged"]) == 2
    said = capsys.readouterr().err
    assert "error[D414]: the run in `run` differs in its plugin" in said
    (folder / "plugged.py").write_text(PLUGIN)
    del PRIMITIVES["scale"]
    assert main(["eval", "run"]) == 2
    assert "error[D434]: the run in `run` uses the plugin `plugged`" in capsys.readouterr().err


@pytest.mark.usefixtures("few_digits")
def test_a_run_with_what_a_notebook_defines_says_that_no_file_has_it(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", cells)
    exec(PLUGIN, vars(cells))
    (folder / "s.nas").write_text(
        "network n(image: [1, 8, 8]) -> (logits: [10]) {\n"
        "    image -> logits : conv(3, 4, 2) >> scale >> global_avg_pool >> linear(10)\n}\n"
    )
    options = ["--data", "digits", "-o", "run", "--option", "epochs=1"]
    assert main(["train", "s.nas", *options]) == 0
    note = "note: primitives or data of a notebook or script are in no file of their own"
    assert note in capsys.readouterr().err
    assert main(["eval", "run"]) == 0
    capsys.readouterr()
    del PRIMITIVES["scale"]
    assert main(["eval", "run"]) == 2
    assert capsys.readouterr().err == (
        "error[D434]: the run in `run` uses primitives or data of a notebook or script\n"
        "  = help: run what defines them first, or train with them in a file: `--plugin`\n"
    )
