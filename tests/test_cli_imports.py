"""No command imports what it does not use."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from living import run_python, write_tiny

from bayesnas.commands.parser import COMMANDS

HEAVY = frozenset({
    "PIL", "graphviz", "jsonschema", "lark", "matplotlib", "networkx", "numpy", "onnx", "sklearn",
    "sympy", "torch", "torchvision", "tqdm",
})  # fmt: skip

SCRIPT = f"""
import json, sys
from bayesnas.cli import compile_main, main
for arguments in json.loads(sys.argv[1]):
    try:
        (compile_main if arguments[0] == "bayesnas-compile" else main)(arguments)
    except SystemExit:
        pass
import bayesnas
print("\\nimported:", *sorted({set(HEAVY)} & sys.modules.keys()))
"""


def imported_by(commands: list[list[str]], folder: Path) -> set[str]:
    """What of `HEAVY` one process has imported after these commands; none may warn."""
    done = run_python("-W", "error", "-c", SCRIPT, json.dumps(commands), folder=folder)
    assert "Traceback" not in done.stderr
    assert "Warning" not in done.stderr
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split()[1:])


def test_help_imports_nothing(tmp_path: Path) -> None:
    commands = [[command.name, "--help"] for command in COMMANDS]
    settings = [[name, "any", "--option", "help"] for name in ("search", "train", "compare")]
    others = [["--help"], ["--version"], ["bayesnas-compile", "--help"]]
    assert imported_by([*commands, *settings, *others], tmp_path) == set()


LANGUAGE = {"lark"}
COMPILER = LANGUAGE | {"networkx"}
RUNTIME = COMPILER | {"torch", "numpy", "tqdm", "PIL"}

USED = {
    "fmt --check tiny.nas": LANGUAGE,
    "check tiny.nas": COMPILER,
    "count tiny.nas": COMPILER,
    "sample tiny.nas": COMPILER,
    "compile tiny.nas -o out --emit graph,torch,plain,schedule": COMPILER,
    "compile tiny.nas -o out --emit ast": COMPILER | {"jsonschema"},
    "compile tiny.nas -o out --emit gamma": COMPILER | {"sympy"},
    "compile tiny.nas -o out --emit dot": COMPILER | {"graphviz"},
    "render tiny.nas -o figure.dot": COMPILER | {"graphviz"},
    "train tiny.nas --data npz:gone -o run": RUNTIME,
    "export run -o network.onnx": RUNTIME,
}


@pytest.mark.parametrize("line", USED)
def test_a_command_imports_what_it_uses_and_no_more(line: str, tmp_path: Path) -> None:
    write_tiny(tmp_path)
    assert imported_by([line.split()], tmp_path) <= USED[line]
