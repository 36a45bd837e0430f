"""What the tests of the language and the compiler share.

Snippets mark the place of an error with `MARK`, so that a test asserts line and column without
counting them.
"""

from __future__ import annotations

import gc
import re
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from types import FrameType

import pytest
from attrs import frozen

from bayesnas.compiler.expand import expand
from bayesnas.compiler.graph import Edge, Graph
from bayesnas.compiler.pipeline import Compiled, compile_loaded, compile_spec
from bayesnas.compiler.resolve import Program, resolve
from bayesnas.dsl import tree
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, Source
from bayesnas.dsl.loader import Loaded, load_text
from bayesnas.dsl.parser import parse

MARK = "§"
NOWHERE = Path("/nonexistent")  # snippets import from the packaged library alone

GRAMMAR = files("bayesnas.dsl").joinpath("grammar.lark").read_text(encoding="utf-8")
KEYWORDS = sorted(set(re.findall(r'"([a-z]+)"', GRAMMAR)))


# ------------------------------------------------------------------------------ from text


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


# ------------------------------------------------------------------------------ living networks

# Specs of the package, with the parameters that make them cheap.
PACKAGED: dict[str, dict[str, int]] = {
    "darts_cell": {"cells": 2, "width": 4},
    "dense_motif": {"layers": 2, "growth": 2},
    "digits_cell": {"cells": 2, "width": 4},
}


def packaged(name: str) -> Compiled:
    """A spec of the package, small."""
    return compile_spec(name, PACKAGED[name])


def with_known_weights(module: nn.Module) -> nn.Module:
    """The module in float64 and evaluation mode, each tensor set from its kind and shape alone.

    A reference can know the weights then without knowing the module's names.
    """
    module.double().eval()
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if not name.endswith("num_batches_tracked"):
                tensor.copy_(known_weight(name.rpartition(".")[2], tuple(tensor.shape)))
    return module


@cache
def known_weight(kind: str, shape: tuple[int, ...]) -> Tensor:
    """`weight`, `bias`, `running_mean` or `running_var` of that shape."""
    generator = torch.Generator().manual_seed(crc32(f"{kind} {shape}".encode()))
    values = torch.randn(shape, generator=generator, dtype=torch.float64)
    if kind == "running_var":
        return values.abs() + 0.5
    return values / max(1, prod(shape[1:])) ** 0.5


# ------------------------------------------------------------------------------ files


def snapshot(folder: Path) -> dict[str, bytes | None]:
    """Everything below a folder by path, folders as None: equal snapshots, nothing was touched."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def run_python(*arguments: str, folder: Path) -> CompletedProcess[str]:
    """This Python in a process of its own, with this package, from ``folder``."""
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    absolute = os.pathsep.join(str(Path(p).resolve()) for p in paths if p)
    environment = {**os.environ, "PYTHONPATH": absolute, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
