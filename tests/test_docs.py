"""Documents are true: their paths exist, their commands are ours, their specs compile."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import attrs
import pytest

from bayesnas.commands.parser import bayesnas_parser
from bayesnas.compiler.operations.primitives import PRIMITIVES
from bayesnas.compiler.pipeline import compile_loaded
from bayesnas.compiler.program.resolve import resolve
from bayesnas.dsl import tree
from bayesnas.dsl.diagnostics import Source
from bayesnas.dsl.loader import load_text

ROOT = Path(__file__).parents[1]
DOCUMENTS = [
    *(ROOT / "README.md", ROOT / "CHANGELOG.md"),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "examples").glob("**/README.md")),
]
# What the catalogue of diagnostics shows is wrong on purpose: tests/test_errors.py runs it.
EXAMPLES = [path for path in DOCUMENTS if path.name != "errors.md"]
ROOMS = ("bayesnas", "dsl", "compiler", "runtime")


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", path.read_text("utf-8"), re.DOTALL)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_links_and_paths_exist(path: Path) -> None:
    text = path.read_text("utf-8")
    links = [m for m in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in m]
    named = re.findall(
        r"`((?:bayesnas|benchmarks|dsl|compiler|runtime|specs|docs|tests)/[\w./-]*)`", text
    )
    for target in links:
        assert (path.parent / target).exists(), target
    for target in named:
        assert (ROOT / target).exists(), target


def test_the_index_lists_every_document() -> None:
    text = (ROOT / "docs/index.md").read_text("utf-8")
    listed = set(re.findall(r"\]\((\w+\.md)\)", text))
    assert listed == {path.name for path in (ROOT / "docs").glob("*.md")} - {"index.md"}
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 150


def test_architecture_has_a_line_for_every_module_and_no_other() -> None:
    table = re.findall(r"^\| `([^`]+)` \|", (ROOT / "docs/architecture.md").read_text(), re.M)
    listed = [t for t in table if not t.endswith("/")]
    files = {
        str(file.relative_to(ROOT))
        for room in ROOMS
        for file in (ROOT / room).rglob("*")
        if file.suffix in (".py", ".lark", ".json")
        and (file.name != "__init__.py" or file.parent == ROOT / "bayesnas")
    }
    assert set(listed) == files
    assert len(listed) == len(files)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_commands_parse(path: Path) -> None:
    for line in re.findall(r"^ {4}(bayesnas .*|bayesnas-compile .*)$", path.read_text(), re.M):
        words = shlex.split(line.partition("  #")[0])
        if words[0] == "bayesnas-compile":
            words.insert(1, "compile")
        options = bayesnas_parser().parse_args(words[1:])
        spec = getattr(options, "spec", "")
        if spec.startswith("specs/"):
            assert (ROOT / spec).is_file(), line


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^ {4}make (\w+)", (ROOT / "README.md").read_text(), re.M):
        assert re.search(rf"^{target}:", makefile, re.M), target


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.name)
def test_specs_in_documents_compile(path: Path) -> None:
    for number, text in enumerate(blocks(path, "nas")):
        loaded = load_text(Source(f"{path.name}#{number}", text), ROOT)
        if "network" in text:
            compile_loaded(loaded)
        else:
            resolve(loaded)


@pytest.mark.usefixtures("few_digits")
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.name)
def test_python_in_documents_runs(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("bayesnas.compiler.operations.plugins.PRIMITIVES", dict(PRIMITIVES))
    monkeypatch.setattr("bayesnas.compiler.operations.plugins._OTHERS", set())
    monkeypatch.setattr("bayesnas.runtime.data.registry._OWN", {})
    namespace = {"__name__": "my_ops"}  # one a page, as in a notebook
    for text in blocks(path, "python"):
        exec(compile(text, path.name, "exec"), namespace)


@pytest.mark.usefixtures("few_digits")
@pytest.mark.parametrize("path", sorted((ROOT / "docs").glob("*.ipynb")), ids=lambda p: p.name)
def test_notebooks_run(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("bayesnas.compiler.artifacts.figure.has_dot", lambda: False)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for cell in json.loads(path.read_text("utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), path.name, "exec"), namespace)
    assert (tmp_path / "report.html").is_file()


def test_the_language_reference_has_an_example_of_every_construct() -> None:
    seen: set[str] = set()
    waiting: list[Any] = [
        load_text(Source("language.md", text), ROOT).main
        for text in blocks(ROOT / "docs/language.md", "nas")
    ]
    while waiting:
        part = waiting.pop()
        if isinstance(part, tuple):
            waiting += part
        elif attrs.has(type(part)):
            seen.add(type(part).__name__)
            waiting += [getattr(part, field.name) for field in attrs.fields(type(part))]
    known = {cls.__name__ for cls in vars(tree).values() if attrs.has(cls)}
    assert known <= seen | {"Span", "Node"}


def test_the_readme_shows_the_spec_of_its_figure() -> None:
    [shown] = blocks(ROOT / "README.md", "nas")
    assert shown == (ROOT / "docs/example.nas").read_text()
    assert len(shown.splitlines()) <= 12


def test_the_language_reference_lists_every_primitive() -> None:
    text = (ROOT / "docs/language.md").read_text("utf-8")
    for name, primitive in PRIMITIVES.items():
        assert f"`{name}`" in text
        assert all(f"`{p}" in text for p in primitive.parameters), name
