"""Imports run one way, and a folder can be looked over."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import networkx as nx
import pytest
from living import run_python

ROOT = Path(__file__).parents[1]
ROOMS = ("bayesnas", "dsl", "compiler", "runtime")
MOST_FILES = 14  # of a folder

# From below upwards; what shares a line may import each other.
ORDER: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "": (("dsl",), ("compiler",), ("runtime",), ("bayesnas",)),
    "compiler": (
        ("objectives", "settings"),
        ("operations",),
        ("graph",),
        ("program",),
        ("expand",),
        ("passes",),
        ("space",),
        ("emit", "artifacts"),
        ("slices",),
        ("pipeline", "recipes", "targets", "grown"),
    ),
    "runtime": (
        ("tasks",),
        ("data",),
        ("network",),
        ("runs",),
        ("weights",),
        ("supernet",),
        ("strategies",),
        ("jobs",),
        ("report",),
    ),
}


def module_name(path: Path) -> str:
    """The name a file of the tree is imported by."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    if parts[0] != "bayesnas":
        parts = ("bayesnas", *parts)
    return ".".join(parts).removesuffix(".__init__")


MODULES = {
    module_name(path): path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))
}


def imports_in(tree: ast.AST) -> Iterator[str]:
    """Whatever is imported, at the top or within functions, but for what types alone need."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        else:
            yield from imports_in(node)


@cache
def imports() -> dict[str, set[str]]:
    """What each module imports: modules of ours by their names, others as they are written."""
    return {
        name: {
            target if target in MODULES or not target.startswith("bayesnas") else
            target.rpartition(".")[0]
            for target in imports_in(ast.parse(path.read_text("utf-8")))
        }
        for name, path in MODULES.items()
    }  # fmt: skip


def room_of(module: str) -> str:
    """``dsl``, ``compiler``, ``runtime`` or ``bayesnas``."""
    first = module.removeprefix("bayesnas.").partition(".")[0]
    return first if first in ROOMS else "bayesnas"


def place_in(room: str, module: str) -> str:
    """The folder or file of a room that a module belongs to; of the whole tree, its room."""
    if not room:
        return room_of(module)
    return module.removeprefix(f"bayesnas.{room}.").partition(".")[0]


def inside(room: str, module: str) -> bool:
    """Whether a module lies in a room; its `__init__` lies in none of its folders."""
    return module.startswith(f"bayesnas.{room}." if room else "bayesnas")


@pytest.mark.parametrize("room", ORDER)
def test_no_arrow_runs_upward(room: str) -> None:
    ranks = {name: rank for rank, names in enumerate(ORDER[room]) for name in names}
    upward = [
        f"{module} imports {target}"
        for module, targets in imports().items()
        for target in targets
        if inside(room, module)
        and inside(room, target)
        and ranks[place_in(room, target)] > ranks[place_in(room, module)]
    ]
    assert upward == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = nx.DiGraph(
        (module, target)
        for module, targets in imports().items()
        for target in targets
        if target in MODULES
    )
    circles = [sorted(part) for part in nx.strongly_connected_components(graph) if len(part) > 1]
    assert circles == []


def test_a_folder_has_no_more_files_than_can_be_looked_over() -> None:
    folders = {path.parent for path in MODULES.values()}
    counts = {str(folder.relative_to(ROOT)): len([*folder.glob("*.py")]) for folder in folders}
    assert {folder: count for folder, count in counts.items() if count > MOST_FILES} == {}


def test_the_language_imports_neither_torch_nor_networkx() -> None:
    heavy = [
        f"{module} imports {target}"
        for module, targets in imports().items()
        for target in targets
        if room_of(module) == "dsl" and target.partition(".")[0] in ("torch", "networkx")
    ]
    assert heavy == []


LANGUAGE = """
import pkgutil, sys
from importlib import import_module
import bayesnas.dsl
for module in pkgutil.walk_packages(bayesnas.dsl.__path__, 'bayesnas.dsl.'):
    import_module(module.name)
from bayesnas.dsl.loader import load
load('darts_cell')
print('loaded:', sorted({'torch', 'networkx', 'sympy', 'sklearn'} & set(sys.modules)))
"""


def test_the_language_works_without_them(tmp_path: Path) -> None:
    done = run_python("-W", "error", "-c", LANGUAGE, folder=tmp_path)
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout.splitlines()[-1] == "loaded: []"
