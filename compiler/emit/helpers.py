"""Copies definitions of `preludes` into emitted source: those it needs, and what they need.

The files are read and not imported: the compiler does without torch. Annotations are left out, so
that the source imports torch alone.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Final, TypeAlias

from attrs import frozen

from bayesnas.compiler.emit.texts import INDENT, wrapped

FOLDER: Final = Path(__file__).parent / "preludes"
Statement: TypeAlias = ast.ClassDef | ast.FunctionDef


@frozen
class Helper:
    """A class or function: its source, and the names that it reads."""

    source: str
    names: frozenset[str]


@cache
def helpers() -> Mapping[str, Helper]:
    """All there are, by name, in the order of their files."""
    result = {}
    for path in sorted(FOLDER.glob("*.py")):
        text = path.read_text(encoding="utf-8")
        for statement in ast.parse(text).body:
            if isinstance(statement, ast.ClassDef | ast.FunctionDef):
                names = _names(statement)
                result[statement.name] = Helper(_without_annotations(statement, text), names)
    return result


@cache
def helper_names() -> frozenset[str]:
    """What emitted source must call nothing else: helpers, and the builtins that they read."""
    names = {name for helper in helpers().values() for name in helper.names}
    return frozenset(helpers()) | (names & set(dir(builtins)))


def helper_source(needed: Iterable[str]) -> list[str]:
    """Definitions of these helpers and of all that they need, in the order of their files."""
    waiting, wanted = list(needed), set()
    while waiting:
        name = waiting.pop()
        if name not in wanted:
            wanted.add(name)
            waiting += helpers()[name].names & set(helpers())
    return [helper.source for name, helper in helpers().items() if name in wanted]


def _names(statement: Statement) -> frozenset[str]:
    """Names that are read when it runs; those of annotations are not."""
    bare = _Bare().visit(ast.parse(ast.unparse(statement)))
    return frozenset(node.id for node in ast.walk(bare) if isinstance(node, ast.Name))


class _Bare(ast.NodeTransformer):
    """Removes annotations from a tree."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """A function: its arguments' and its own."""
        node.returns = None
        self.generic_visit(node)
        return node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        """An argument."""
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        """A variable; all of them are given a value at once."""
        assert node.value is not None
        self.generic_visit(node.value)
        return ast.copy_location(ast.Assign([node.target], node.value), node)


def _without_annotations(statement: Statement, text: str) -> str:
    """Its text as it stands, but for annotated signatures and assignments."""
    lines = text.splitlines()
    last = len(lines) - (statement.end_lineno or 0)
    first = min([statement.lineno, *(d.lineno for d in statement.decorator_list)])
    changed = [n for n in ast.walk(statement) if isinstance(n, ast.FunctionDef | ast.AnnAssign)]
    for node in sorted(changed, key=lambda n: n.lineno, reverse=True):
        indent = " " * node.col_offset
        if isinstance(node, ast.AnnAssign):
            assert node.value is not None
            value = ast.get_source_segment(text, node.value)
            new = f"{indent}{ast.unparse(node.target)} = {value}".splitlines()
            lines[node.lineno - 1 : node.end_lineno] = new
        else:
            head = f"{node.name}({ast.unparse(_Bare().visit(node.args))})"
            level = node.col_offset // len(INDENT)
            new = wrapped(f"{indent}def ", head, level=level, tail=":")
            lines[node.lineno - 1 : node.body[0].lineno - 1] = new
    return "\n".join(lines[first - 1 : len(lines) - last])
