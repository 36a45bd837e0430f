"""Data for a network: by name or as it is, checked against the network that will see it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import torch
from attrs import evolve

from bayesnas.compiler.graph.model import Graph
from bayesnas.compiler.graph.walks import looked_up
from bayesnas.compiler.operations.primitives import Shape
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, quote, suggest
from bayesnas.runtime.data.conventions.axes import rearranged, remedy
from bayesnas.runtime.data.dataset import Data, Part, Reading, statistics
from bayesnas.runtime.data.registry import DataOptions, Request, kinds, source_of
from bayesnas.runtime.tasks.interface import Task, wrong
from bayesnas.runtime.tasks.registry import example_shape

_TABLES: Final = (".csv", ".tsv", ".parquet")
_EXACT: Final = 2**24  # whole numbers up to here are what they are in 32 bits


def load_data(
    data: str | Data,
    graph: Graph,
    options: DataOptions | None = None,
    learned: Task | None = None,
) -> Data:
    """The data set of that name, or the data given, read and checked for a network.

    Where the network has ``learned`` a task, the data is read to judge it (`Request.learned`).

    Raises:
        DiagnosticError: D430 (a network for no task), D501 (unknown), D505 (shape), D506
            (outputs), D512 (names that 32 bits cannot hold), and what the source raises.
    """
    check_data(data)
    shape = example_shape(graph)
    options = options or DataOptions()
    if isinstance(data, str):
        outputs = graph.node(graph.root.outputs[0]).shape or ()
        data = _load(data, shape, outputs, options, learned)
    data.task.inputs_of(graph)
    reading = data.reading
    if reading is not None:
        data = rearranged(data, shape)
    if tuple(data.train.inputs.shape[1:]) != shape:
        raise _size_error(data, shape, graph, fixed=learned is not None)
    data.task.check(graph, data.name)
    if learned is not None:
        return evolve(data, reading=None)
    data = data.noted(data.task.told_of(graph))
    if reading is not None:
        return evolve(_read(data, graph, reading), reading=None)
    change = {"yes": _standardised, "no": _unstandardised}.get(options.standardise)
    return data if change is None else change(data)


def check_data(data: object) -> None:
    """Refuse what is neither a data set nor the name of one.

    Raises:
        DiagnosticError: D501.
    """
    if isinstance(data, str | Data):
        return
    remedy = "make a data set of arrays: `bayesnas.data_of_arrays(x, y)`"
    if isinstance(data, Path):
        remedy = f"write `{'npz' if data.suffix == '.npz' else 'folder'}:{data}` as a text"
    elif hasattr(data, "__getitem__") and hasattr(data, "__len__"):
        remedy = f"{remedy}, or of items: `bayesnas.data_of_dataset(data)`"
    message = f"a `{type(data).__name__}` is no data set"
    raise DiagnosticError(Diagnostic("D501", message, help=remedy))


def _load(
    name: str, shape: Shape, outputs: Shape, options: DataOptions, learned: Task | None
) -> Data:
    source = source_of(name)
    if source is not None:
        argument = name.partition(":")[2]
        data = source.load(Request(name, argument, shape, options, learned, outputs))
        return data if source.own is None else _called(data, name)
    remedy = suggest(name, kinds(), f"choose from {quote(kinds())}")
    if Path(name).is_dir():
        remedy = f"write `folder:{name}`"
    elif Path(name).suffix == ".npz":
        remedy = f"write `npz:{name}`"
    elif Path(name).suffix in _TABLES:
        remedy = f"write `csv:{name} --target COLUMN`"
    raise DiagnosticError(Diagnostic("D501", f"unknown data `{name}`", help=remedy))


def _called(data: object, name: str) -> Data:
    """What a plugin has returned, called as it was asked for.

    Raises:
        DiagnosticError: D501 (it is no data).
    """
    if isinstance(data, Data):
        return evolve(data, name=name)
    message = f"the source of `{name}` returned a `{type(data).__name__}`, which is no data set"
    remedy = "return what `bayesnas.data_of_arrays(x, y)` makes"
    raise DiagnosticError(Diagnostic("D501", message, help=remedy))


def _size_error(data: Data, shape: Shape, graph: Graph, fixed: bool) -> DiagnosticError:
    """D505; a network that is ``fixed`` has been trained, and its spec is not to be changed."""
    node = graph.node(graph.root.inputs[0])
    own = tuple(data.train.inputs.shape[1:])
    advice = f"declare `{node.name}: {list(own)}`"
    if fixed:
        advice = f"save the examples as [N, {', '.join(map(str, shape))}]"
    elif data.reading is not None:
        advice = remedy(node.name, own, shape)
    if data.name.startswith("folder:"):
        advice += ", or pass `--resize` to fit the images to the spec"
    return DiagnosticError(
        Diagnostic(
            "D505",
            f"examples of `{data.name}` are {list(own)}, the network takes {list(shape)}",
            node.span,
            notes=(data.note,) if data.columns else (),
            help=advice,
        )
    )


# ------------------------------------------------------------------------------ quantities, names


def _read(data: Data, graph: Graph, reading: Reading) -> Data:
    """Arrays of one's own with their numbers standardised, or as they are where they are names."""
    lookups = looked_up(graph)
    if reading.standardise == "yes":
        return data
    if reading.standardise == "no":
        note = f"numbers of `{data.name}` are taken as they are, not standardised"
        return _plain(data).noted(note)
    if not lookups:
        note = "whole numbers are standardised as quantities; pass `--standardise no` if they "
        return data.noted(f"{note}are names") if reading.whole else data
    if not _whole(data):
        return data.noted(
            f"{quote(lookups)} of the network looks numbers up, and those of `{data.name}` are "
            "not whole: they are standardised; `--standardise no` leaves them as they are"
        )
    return _plain(data).noted(
        f"{quote(lookups)} of the network looks whole numbers up: those of `{data.name}` stay as "
        "they are; `--standardise yes` standardises them"
    )


def _whole(data: Data) -> bool:
    parts = (data.train.inputs, data.test.inputs)
    return not any(x.is_floating_point() and bool((x != x.floor()).any()) for x in parts)


def _plain(data: Data) -> Data:
    """Numbers as they are, bytes too, in 32 bits.

    Raises:
        DiagnosticError: D512 (whole numbers that these cannot hold).
    """
    highest = max(float(part.inputs.abs().max()) for part in (data.train, data.test))
    if highest > _EXACT and _whole(data):
        what = f"has whole numbers up to {highest:,.0f}, and networks compute in 32 bits"
        advice = f"number what they name from 0, at most to {_EXACT:,}"
        raise wrong(f"`{data.name}`", "D512", what, advice)
    train, test = (
        Part(part.inputs.to(torch.float32), part.targets) for part in (data.train, data.test)
    )
    return _unstandardised(evolve(data, train=train, test=test))


def _standardised(data: Data) -> Data:
    """The data brought to mean 0 and deviation 1, whatever was to be done to it before."""
    mean, std = statistics(data.train.inputs)
    return evolve(data, mean=mean, std=std)


def _unstandardised(data: Data) -> Data:
    """The data with nothing to be subtracted and divided by; bytes are shares of 255."""
    return evolve(data, mean=torch.zeros_like(data.mean), std=torch.ones_like(data.std))
