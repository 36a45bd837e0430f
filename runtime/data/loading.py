"""Data for a network: by name or as it is, checked against the network that will see it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bayesnas.compiler.graph.model import Graph
from bayesnas.compiler.operations.primitives import Shape
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, quote, suggest
from bayesnas.runtime.data.dataset import Data
from bayesnas.runtime.data.registry import KINDS, DataOptions, Request, source_of
from bayesnas.runtime.tasks.interface import Task
from bayesnas.runtime.tasks.registry import example_shape


def load_data(
    data: str | Data,
    graph: Graph,
    options: DataOptions | None = None,
    learned: Task | None = None,
) -> Data:
    """The data set of that name, or the data given, checked against a network.

    Where the network has ``learned`` a task, the data is read to judge it (`Request.learned`).

    Raises:
        DiagnosticError: D430 (a network for no task), D501 (unknown), D505 (shape), D506
            (outputs), and what the source raises.
    """
    shape = example_shape(graph)
    if isinstance(data, str):
        data = _load(data, shape, options or DataOptions(), learned)
    data.task.inputs_of(graph)
    own = tuple(data.train.inputs.shape[1:])
    if own != shape:
        raise _size_error(data.name, own, shape, graph)
    data.task.check(graph, data.name)
    return data


def _load(name: str, shape: Shape, options: DataOptions, learned: Task | None) -> Data:
    source = source_of(name)
    if source is not None:
        return source.load(Request(name, name.partition(":")[2], shape, options, learned))
    remedy = suggest(name, KINDS, f"choose from {quote(KINDS)}")
    if Path(name).is_dir():
        remedy = f"write `folder:{name}`"
    elif Path(name).suffix == ".npz":
        remedy = f"write `npz:{name}`"
    raise DiagnosticError(Diagnostic("D501", f"unknown data `{name}`", help=remedy))


def _size_error(
    name: str, own: Sequence[int], shape: Sequence[int], graph: Graph
) -> DiagnosticError:
    node = graph.node(graph.root.inputs[0])
    remedy = f"declare `{node.name}: {list(own)}`"
    if name.startswith("folder:"):
        remedy += ", or pass `--resize` to fit the images to the spec"
    return DiagnosticError(
        Diagnostic(
            "D505",
            f"examples of `{name}` are {list(own)}, the network takes {list(shape)}",
            node.span,
            help=remedy,
        )
    )
