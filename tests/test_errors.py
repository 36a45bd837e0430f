"""The catalogue of diagnostics, `docs/errors.md`, is whole and shows what a user meets.

A section is a code, what it means, an example, and what is printed. Files of an example follow a
comment that names them; a ``nas`` block without one is ``spec.nas``, which is checked unless a
``console`` block says what to do. ``...`` in what is printed stands for anything within a line.
What no small example provokes is provoked by a function here.

Shown texts are written anew, to be read before they are kept, by ``python -m pytest
tests/test_errors.py`` with ``REWRITE=1`` in the environment.
"""

from __future__ import annotations

import inspect
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from attrs import evolve, frozen
from living import TINY
from support import compile_text

from bayesnas import cli
from bayesnas.commands.parser import bayesnas_parser
from bayesnas.compiler.artifacts.figure import write_figure
from bayesnas.compiler.graph.model import BudgetConstraint
from bayesnas.compiler.graph.prune import prune_graph
from bayesnas.compiler.operations.plugins import load_plugin
from bayesnas.compiler.slices.groups import coupled_slices
from bayesnas.compiler.slices.narrowing import narrowed_spec
from bayesnas.dsl.diagnostics import DiagnosticError, render_all
from bayesnas.dsl.tree_json import tree_from_json
from bayesnas.runtime.data.arrays import data_of_arrays
from bayesnas.runtime.data.folders.decoding import died
from bayesnas.runtime.data.loading import load_data
from bayesnas.runtime.jobs import export
from bayesnas.runtime.jobs.comparison.cluster import Place
from bayesnas.runtime.jobs.failures import explained, plugins_named
from bayesnas.runtime.jobs.memory import Demand, watched
from bayesnas.runtime.network import compiled
from bayesnas.runtime.network.causality import check_causal
from bayesnas.runtime.network.memory import Footprint
from bayesnas.runtime.network.together.ranks import apart, check_alike, lost
from bayesnas.runtime.network.training import check_loss
from bayesnas.runtime.runs.folder import Run
from bayesnas.runtime.weights.choice import Limits, Ranking, free_strands, within
from bayesnas.runtime.weights.priors.registry import check_importance

ROOT = Path(__file__).parents[1]
CATALOGUE = ROOT / "docs" / "errors.md"
ROOMS = ("dsl", "compiler", "runtime", "bayesnas")


@frozen
class Block:
    """A fenced block of a section, with the name of the file it is, if it is one."""

    language: str
    text: str
    file: str | None


@frozen
class Section:
    """What the catalogue says about one code."""

    code: str
    text: str

    @property
    def blocks(self) -> list[Block]:
        found = re.findall(r"(?:<!-- file: (\S+) -->\n)?```(\w+)\n(.*?)```", self.text, re.DOTALL)
        return [Block(language, text, file or None) for file, language, text in found]

    @property
    def shown(self) -> str:
        """What is printed."""
        [found] = [b.text for b in self.blocks if b.language == "text" and b.file is None]
        return found.rstrip("\n")

    @property
    def commands(self) -> list[str]:
        """Lines to type; none where a function provokes the diagnostic."""
        consoles = [block.text for block in self.blocks if block.language == "console"]
        lines = [line for text in consoles for line in text.splitlines()]
        if not lines and any(b.language == "nas" and b.file is None for b in self.blocks):
            return ["bayesnas check spec.nas"]
        return [line.removeprefix("$ ") for line in lines]

    def write_files(self, folder: Path) -> None:
        """The example's files."""
        for block in self.blocks:
            name = block.file or ("spec.nas" if block.language == "nas" else None)
            if name is not None:
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(block.text, encoding="utf-8")


def sections() -> list[Section]:
    parts = re.split(r"^### (D\d{3})\b", CATALOGUE.read_text("utf-8"), flags=re.MULTILINE)[1:]
    return [
        Section(code, text.split("\n## ")[0])
        for code, text in zip(parts[::2], parts[1::2], strict=True)
    ]


SECTIONS = {section.code: section for section in sections()}
EXAMPLES = [code for code, section in SECTIONS.items() if section.commands]


# ------------------------------------------------------------------------------ all of them


def test_the_catalogue_has_every_code_in_order_and_no_other() -> None:
    used = {
        code
        for room in ROOMS
        for path in (ROOT / room).rglob("*.py")
        for code in re.findall(r"\bD\d{3}\b", path.read_text("utf-8"))
    }
    codes = [section.code for section in sections()]
    assert codes == sorted(codes)
    assert len(codes) == len(set(codes))
    assert set(codes) == used


def test_every_section_shows_its_own_code_and_a_remedy() -> None:
    for section in SECTIONS.values():
        assert section.shown.startswith(f"error[{section.code}]: "), section.code
        assert " = help: " in section.shown, section.code
        assert section.text.strip().split("\n\n")[0].endswith("."), section.code


def test_every_code_is_provoked_by_an_example_or_by_a_function() -> None:
    assert set(SECTIONS) == {*EXAMPLES, *PROVOKED}
    assert not {*EXAMPLES} & {*PROVOKED}


def assert_shown(code: str, printed: str) -> None:
    """What the catalogue shows is what was printed."""
    section, printed = SECTIONS[code], printed.rstrip("\n")
    pattern = re.escape(section.shown).replace(re.escape("..."), r"[^\n]*")
    if re.fullmatch(pattern, printed):
        return
    if "REWRITE" not in os.environ:
        assert printed == section.shown
    old = f"```text\n{section.shown}\n```" if section.shown else "```text\n```"
    renewed = section.text.replace(old, f"```text\n{printed}\n```")
    text = CATALOGUE.read_text("utf-8").replace(section.text, renewed)
    CATALOGUE.write_text(text, encoding="utf-8")


# ------------------------------------------------------------------------------ by an example


@pytest.mark.parametrize("code", EXAMPLES)
def test_example(
    code: str,
    plugin_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.syspath_prepend("")
    section = SECTIONS[code]
    section.write_files(plugin_folder)
    for line in section.commands:
        capsys.readouterr()
        status = type_in(line)
    assert status in (1, 2)
    assert_shown(code, capsys.readouterr().err)


def type_in(line: str) -> int:
    """The exit status of a line of a ``console`` block."""
    words = shlex.split(line)
    match words:
        case ["bayesnas", *arguments]:
            return cli.main(arguments)
        case ["python", "-c", text]:
            exec(compile(text, line, "exec"), {})
            return 0
        case _:
            return subprocess.run(words, check=True).returncode


# ------------------------------------------------------------------------------ by a function


def tree_of_another_format() -> None:
    tree_from_json('{"format": "other"}')


def graphviz_that_fails(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "dot").write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    (folder / "dot").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    write_figure("digraph g {}", Path("figure.svg"))


def everything_pruned() -> None:
    graph = compile_text(TINY).graph
    prune_graph(graph, [edge.id for edge in graph.searched()])


def loss_that_is_no_number() -> None:
    with explained(Run(Path("run")), 0.05):
        check_loss(torch.tensor(float("nan")), "epoch 3")


def memory_that_runs_out(folder: Path) -> None:
    footprint = Footprint(2**25, 2**30, 2**30, 2**20, 2**26)
    recomputed = evolve(footprint, step=2**28)
    (folder / "checkpoint.pt").touch()
    with watched(Demand(footprint, 8, 9 * 2**30, recomputed), Path()):
        raise MemoryError("can't allocate memory: you tried to allocate 1073741824 bytes")


def compiler_that_there_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    def backend(*_: object) -> None:
        raise RuntimeError("No working C++ compiler found: (None, 'g++')")

    monkeypatch.setattr(compiled, "BACKEND", backend)
    compiled.check_compiler(torch.device("cpu"))


def packages_that_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bayesnas.dsl.diagnostics.find_spec", lambda name: name != "onnxruntime")
    export.check_onnx()


def machine_without_the_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.node", lambda: "node-7")
    Place(folder, (), 1, Path("runs/sweep/compare.json"), "").enter()


def export_that_differs() -> None:
    export.check_difference(0.03)


WORD_OPS = """
import bayesnas
from torch import nn

@bayesnas.primitive("lookup", shape=lambda shape: (*shape, 2), flops=lambda shape, output: 0)
class Lookup(nn.Module):
    def __init__(self, features):
        super().__init__(); self.table = nn.Embedding(5, 2)
    def forward(self, z):
        return self.table(z.long())
"""


def plugin_that_fails(folder: Path) -> None:
    (folder / "word_ops.py").write_text(WORD_OPS, encoding="utf-8")
    load_plugin("word_ops")
    with plugins_named():
        sys.modules["word_ops"].Lookup(1)(torch.tensor([7.0]))


NARROW = """\
network net(image: [1, 8, 8]) -> (logits: [10]) {
    stem = image : conv(3, 8) >> bn >> relu
    stem -> logits : global_avg_pool >> linear(10)
}
"""


def layer_without_channels() -> None:
    compiled = compile_text(NARROW)
    slices = coupled_slices(compiled.graph)
    narrowed_spec(compiled, slices, {slices.removable[0]: []})


def channels_of_a_space() -> None:
    compiled = compile_text(TINY)
    narrowed_spec(compiled, coupled_slices(compiled.graph), {})


def layer_that_there_is_not() -> None:
    compiled = compile_text(NARROW)
    free_strands(compiled, coupled_slices(compiled.graph), ["stemm"])


def budget_that_no_removal_meets() -> None:
    compiled = compile_text(NARROW)
    slices = coupled_slices(compiled.graph)
    scores = {strand: torch.ones(strand.size) for strand in slices.removable}
    budget = BudgetConstraint("parameters", 10)
    within(compiled.graph, slices, Ranking(scores, Limits(round_to=4)), [budget])


def importance_that_there_is_not() -> None:
    check_importance("magnitud")


def family_that_there_is_not() -> None:
    check_importance("magnitude", ("filter", "kernal"))


def processes_with_other_seeds() -> None:
    check_alike([{"spec_hash": "0f3a", "seed": 0}, {"spec_hash": "0f3a", "seed": 1}])


def command_of_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    cli.check_together(bayesnas_parser().parse_args(["doctor"]))


def process_that_is_gone() -> None:
    raise lost(RuntimeError("Connection closed by peer [127.0.0.1]:41213"))


def processes_that_came_apart() -> None:
    raise apart("weights", "epoch 3")


def data_of_no_port() -> None:
    network = "network net(left: [4], right: [4]) -> (y: [4]) { {left, right} -> y }"
    rows = np.ones((4, 4))
    x = dict.fromkeys(("left", "right", "rihgt"), rows)
    data = data_of_arrays(x, np.array([0, 1, 0, 1]), x, np.array([0, 1, 0, 1]))
    load_data(data, compile_text(network).graph)


def model_that_reads_what_follows() -> None:
    graph = compile_text(READER).graph
    check_causal(graph, "spec.nas", torch.arange(16.0).view(1, 2, 8))


READER = """\
network net(text: [2, 8]) -> (next: [2, 8]) {
    text -> next : conv(3)
}
"""


def decoding_that_dies() -> None:
    error = died(RuntimeError("DataLoader worker (pid 41) is killed by signal: Killed. "))
    assert error is not None
    raise error


def machine_that_refuses() -> None:
    found = cli._work_failed(PermissionError(13, "Permission denied", "runs/search"))
    assert found is not None
    raise DiagnosticError(found)


PROVOKED: dict[str, Callable[..., None]] = {
    "D404": tree_of_another_format,
    "D419": machine_that_refuses,
    "D421": graphviz_that_fails,
    "D436": packages_that_are_missing,
    "D437": export_that_differs,
    "D448": machine_without_the_files,
    "D445": processes_with_other_seeds,
    "D446": command_of_one_process,
    "D517": model_that_reads_what_follows,
    "D601": everything_pruned,
    "D602": loss_that_is_no_number,
    "D521": data_of_no_port,
    "D603": memory_that_runs_out,
    "D605": plugin_that_fails,
    "D613": compiler_that_there_is_not,
    "D606": layer_without_channels,
    "D607": channels_of_a_space,
    "D608": layer_that_there_is_not,
    "D609": budget_that_no_removal_meets,
    "D610": importance_that_there_is_not,
    "D614": family_that_there_is_not,
    "D615": process_that_is_gone,
    "D616": processes_that_came_apart,
    "D617": decoding_that_dies,
}


@pytest.mark.parametrize("code", PROVOKED)
def test_function(code: str, plugin_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    provoke = PROVOKED[code]
    given = {"folder": plugin_folder, "monkeypatch": monkeypatch}
    with pytest.raises(DiagnosticError) as caught:
        provoke(**{name: given[name] for name in inspect.signature(provoke).parameters})
    assert_shown(code, render_all(caught.value.diagnostics))
