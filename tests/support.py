"""What the tests of the language and the compiler share.

Snippets mark the place of an error with `MARK`, so that a test asserts line and column without
counting them.
"""

from __future__ import annotations

import gc
import re
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from types import FrameType

import pytest
from attrs import frozen

from bayesnas.compiler.expand.expansion import expand
from bayesnas.compiler.graph.model import Edge, Graph
from bayesnas.compiler.pipeline import Compiled, compile_loaded
from bayesnas.compiler.program.definitions import Program
from bayesnas.compiler.program.resolve import resolve
from bayesnas.compiler.space.choices import Member, MemberSpace, SearchedConnection
from bayesnas.dsl import tree
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, Source
from bayesnas.dsl.loader import Loaded, load_text
from bayesnas.dsl.parsing.parser import parse

MARK = "§"
NOWHERE = Path("/nonexistent")  # snippets import from the packaged library alone

GRAMMAR = files("bayesnas.dsl").joinpath("grammar.lark").read_text(encoding="utf-8")
KEYWORDS = sorted(set(re.findall(r'"([a-z]+)"', GRAMMAR)))


# ------------------------------------------------------------------------------ from text


# A tied chain of cells, in each of which a node keeps one connection, beside a searched edge.
TIED = """\
motif cell(x) -> (y) {
    s = x : conv(1)
    node h[2]
    s ~> h[0] : conv(5) | conv(3) | skip
    {x, s, h[0]} ~> h[1] : conv(3) | skip
    retain 1 into h
    y = sum(h)
}
network net(x: [4, 8, 8]) -> (y: [4, 8, 8]) {
    h = tied chain cell(x) times 2
    x ~> y : conv(3) | skip
    h -> y : skip
}
"""


def parse_text(text: str) -> tree.Spec:
    return parse(Source("spec.nas", text))


def load_snippet(text: str) -> Loaded:
    return load_text(Source("spec.nas", text), NOWHERE)


def resolve_text(text: str) -> Program:
    return resolve(load_snippet(text))


def expand_text(text: str, **values: int) -> Graph:
    """The graph after expansion alone: no structure, shapes or i' nodes."""
    program = resolve_text(text)
    return expand(program, program.network(), values)


def compile_text(text: str, **values: int) -> Compiled:
    return compile_loaded(load_snippet(text), values)


def graph_of(text: str, **values: int) -> Graph:
    return compile_text(text, **values).graph


def network(body: str) -> str:
    """A network `net` of that body from `x` to `y`, both [4, 8, 8]; the body starts at line 2."""
    return f"network net(x: [4, 8, 8]) -> (y: [4, 8, 8]) {{\n{body}\n}}\n"


def connections(graph: Graph) -> set[str]:
    """Connections as `source -> target`, seen through i' nodes."""
    return {f"{c.source} -> {c.target}" for c in graph.all_connections()}


def sources(graph: Graph, node: str) -> list[str]:
    """Where the connections into a node come from, in order."""
    return [c.source for c in graph.connections(node)]


def operations(graph: Graph, node: str) -> list[str]:
    """Labels of the operations into a node, in order."""
    return [edge.operation.label for edge in graph.incoming(node)]


def edge(graph: Graph, identifier: str) -> Edge:
    [found] = [e for e in graph.edges() if e.id == identifier]
    return found


def is_member(space: MemberSpace, member: Member) -> bool:
    """Whether these groups are a member: what each node keeps is what it may."""

    def kept_well(arriving: Sequence[SearchedConnection], kept: int | None) -> bool:
        counts = [len(member.intersection(c.options)) for c in arriving]
        if kept is None:
            enough = all(n or space.droppable(c) for n, c in zip(counts, arriving, strict=True))
        else:
            enough = sum(counts) == min(kept, len(counts))
        return max(counts) <= 1 and enough

    return member <= space.candidates() and all(kept_well(*node) for node in space.nodes())


# ------------------------------------------------------------------------------ what is refused


@frozen
class Marked:
    """A snippet without its mark, and where that stood."""

    text: str
    line: int
    column: int


def marked(text: str) -> Marked:
    assert text.count(MARK) == 1, "one mark a snippet"
    before = text[: text.index(MARK)]
    line = before.count("\n") + 1
    return Marked(text.replace(MARK, ""), line, len(before) - before.rfind("\n"))


def refused(text: str, action: Callable[[str], object] = compile_text) -> tuple[Diagnostic, ...]:
    """The diagnostics of a spec that is wrong."""
    with pytest.raises(DiagnosticError) as caught:
        action(text)
    assert caught.value.status == 2
    return caught.value.diagnostics


def assert_refused(
    text: str, code: str, message: str, action: Callable[[str], object] = compile_text
) -> Diagnostic:
    """The marked snippet gives this one diagnostic at its mark; the diagnostic, for more."""
    snippet = marked(text)
    [found] = refused(snippet.text, action)
    assert (found.code, found.message) == (code, message)
    assert found.span is not None
    assert (found.span.line, found.span.column) == (snippet.line, snippet.column)
    assert_style(found)
    return found


def assert_style(diagnostic: Diagnostic) -> None:
    """Lower case, no final period, a remedy."""
    for text in (diagnostic.message, diagnostic.label, *diagnostic.notes, diagnostic.help):
        assert not text.endswith("."), text
        assert not text[:1].isupper(), text
    assert diagnostic.help, diagnostic


# ------------------------------------------------------------------------------ time


class TooSlowError(BaseException):
    """Not an `Exception`, so that nothing under test mistakes it for one of its own."""


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Fail the test once this process has computed for that long (waiting does not count)."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise TooSlowError

    before = signal.signal(signal.SIGPROF, stop)
    gc.disable()  # what is raised in a callback of the garbage collector is lost
    signal.setitimer(signal.ITIMER_PROF, seconds, 1.0)
    try:
        yield
    except TooSlowError as error:
        signal.setitimer(signal.ITIMER_PROF, 0)
        traceback.clear_frames(error.__traceback__)  # they may hold gigabytes
        pytest.fail(f"not done within {seconds} s of computing", pytrace=False)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
        gc.enable()
