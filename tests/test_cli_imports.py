"""No command imports what it does not use."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from attrs import frozen
from living import run_python, write_tiny

from bayesnas.commands.parser import COMMANDS

HEAVY = frozenset({
    "PIL", "graphviz", "jsonschema", "lark", "matplotlib", "networkx", "numpy", "onnx", "sklearn",
    "sympy", "torch", "torchvision", "tqdm",
})  # fmt: skip

SCRIPT = f"""
import json, sys
from bayesnas.cli import compile_main, main
statuses = []
for arguments in json.loads(sys.argv[1]):
    try:
        command = compile_main if arguments[0] == "bayesnas-compile" else main
        statuses.append(command(arguments))
    except SystemExit as end:
        statuses.append(end.code)
import bayesnas
imported = sorted({set(HEAVY)} & sys.modules.keys())
print()
print(json.dumps([statuses, imported]))
"""


@frozen
class Ended:
    """Exit statuses of the commands of one process, what of `HEAVY` it imported, its stderr."""

    statuses: list[int]
    imported: set[str]
    err: str


def run_commands(commands: list[list[str]], folder: Path) -> Ended:
    """Commands one after another in a process of their own, in which warnings are errors."""
    done = run_python("-W", "error", "-c", SCRIPT, json.dumps(commands), folder=folder)
    assert done.returncode == 0, done.stderr
    statuses, imported = json.loads(done.stdout.splitlines()[-1])
    return Ended(statuses, set(imported), done.stderr)


def test_help_imports_nothing(tmp_path: Path) -> None:
    commands = [[command.name, "--help"] for command in COMMANDS]
    settings = [[name, "any", "--option", "help"] for name in ("search", "train", "compare")]
    others = [["--help"], ["--version"], ["bayesnas-compile", "--help"]]
    ended = run_commands([*commands, *settings, *others], tmp_path)
    assert set(ended.statuses) == {0}
    assert ended.imported == set()
    assert ended.err == ""


LANGUAGE = {"lark"}
COMPILER = LANGUAGE | {"networkx"}
RUNTIME = COMPILER | {"torch", "numpy", "tqdm", "PIL"}

# Commands that may import the same.
USED = {
    "language": (["fmt tiny.nas"], LANGUAGE),
    "compiler": (
        [
            *("check tiny.nas", "count tiny.nas"),
            "compile tiny.nas -o out --emit graph,torch,plain,schedule,slices",
        ],
        COMPILER,
    ),
    "knapsack": (["sample tiny.nas"], COMPILER | {"numpy"}),
    "schemas": (["compile tiny.nas -o out --emit ast"], COMPILER | {"jsonschema"}),
    "formulas": (["compile tiny.nas -o out --emit gamma"], COMPILER | {"sympy"}),
    "figures": (
        ["compile tiny.nas -o out --emit dot", "render tiny.nas -o figure.dot"],
        COMPILER | {"graphviz"},
    ),
}


@pytest.mark.parametrize(("lines", "used"), USED.values(), ids=USED)
def test_a_command_imports_what_it_uses_and_no_more(
    lines: list[str], used: set[str], tmp_path: Path
) -> None:
    write_tiny(tmp_path)
    ended = run_commands([line.split() for line in lines], tmp_path)
    assert set(ended.statuses) == {0}, ended.err
    assert ended.imported <= used


def test_work_imports_no_more_than_it_needs(tmp_path: Path) -> None:
    """As far as the first thing that is refused: data that is not there, a run that is not."""
    write_tiny(tmp_path)
    lines = ("train tiny.nas --data npz:gone -o run", "export run -o network.onnx")
    ended = run_commands([line.split() for line in lines], tmp_path)
    assert re.findall(r"error\[(\w+)\]", ended.err) == ["D510", "D415"]
    assert ended.imported <= RUNTIME
