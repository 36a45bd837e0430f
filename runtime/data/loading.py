"""Data for a network: by name or as it is, checked against the network that will see it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

import torch
from attrs import evolve

from bayesnas.compiler.graph.model import Graph, Node
from bayesnas.compiler.graph.walks import looked_up
from bayesnas.compiler.operations.primitives import Shape
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, quote, suggest
from bayesnas.runtime.data.conventions.axes import rearranged, remedy
from bayesnas.runtime.data.conventions.lookups import check_lookups
from bayesnas.runtime.data.dataset import Data, Reading
from bayesnas.runtime.data.examples import CHUNK, Part
from bayesnas.runtime.data.ports import aligned, as_learned, told
from bayesnas.runtime.data.registry import DataOptions, Ports, Request, kinds, source_of
from bayesnas.runtime.tasks.bundle import Bundle, bundled, by_port, tensors
from bayesnas.runtime.tasks.interface import Task
from bayesnas.runtime.tasks.parts import wrong
from bayesnas.runtime.tasks.several import parts_of

_TABLES: Final = (".csv", ".tsv", ".parquet")
_EXACT: Final = 2**24  # whole numbers up to here are what they are in 32 bits


def load_data(
    data: str | Data,
    graph: Graph,
    options: DataOptions | None = None,
    learned: Task | None = None,
    device: torch.device | None = None,
) -> Data:
    """The data set of that name, or the data given, read and checked for a network.

    Where the network has ``learned`` a task, the data is read to judge it (`Request.learned`).
    What is meant for a ``device`` streams where it does not fit there either.

    Raises:
        DiagnosticError: D430 (an output for no task), D501 (unknown), D505 (shape), D506
            (outputs), D512 (names that 32 bits cannot hold), D518 (or an embedding), D520 and D521
            (ports without data, and data without a port), and what the source raises.
    """
    check_data(data)
    ports = Ports.of(graph)
    options = options or DataOptions()
    data = _made(data, ports, options, learned, device)
    data = aligned(data, ports, graph)
    _check_outputs(data, graph)
    reading = data.reading
    if reading is not None:
        data = rearranged(data, ports.inputs)
    shapes = [tuple(tensor.shape[1:]) for tensor in tensors(data.train.example)]
    for node, own in zip(graph.root.inputs, shapes, strict=True):
        if own != graph.node(node).shape:
            raise _size_error(data, own, graph.node(node), fixed=learned is not None)
    data.task.check(graph, data.name)
    if learned is not None:
        return evolve(data, reading=None)
    data = data.noted(data.task.told_of(graph))
    if reading is not None:
        data = evolve(_read(data, graph, reading), reading=None)
    elif change := {"yes": _standardised, "no": _unstandardised}.get(options.standardise):
        data = change(data)
    if looked_up(graph):
        for part in (data.train, data.test):
            for k, node in enumerate(graph.root.inputs):
                given = (tensors(data.normalize(x))[k] for x, _ in part.in_order(CHUNK))
                check_lookups(graph, node, given, f"`{data.name}`")
    return data


def _made(
    data: str | Data,
    ports: Ports,
    options: DataOptions,
    learned: Task | None,
    device: torch.device | None,
) -> Data:
    """The data as its source has it for a network of these ports."""
    if isinstance(data, str):
        data = _load(data, ports, options, learned, device)
    elif (reading := data.reading) is not None and reading.again is not None and _open(data, ports):
        task, train, test = (getattr(reading.again(ports), n) for n in ("task", "train", "test"))
        data = evolve(data, task=task, train=train, test=test)
    return told(data, ports) if learned is None else as_learned(data, learned)


def _open(data: Data, ports: Ports) -> bool:
    """Whether the outputs of a network decide what is learned of arrays."""
    tasks, shapes = parts_of(data.task), [*ports.outputs.values()]
    if len(tasks) > 1 or ports.objectives or len(tasks) != len(shapes):
        return True
    return tasks[0].placed or not tasks[0].suits_output(shapes[0])


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
    name: str,
    ports: Ports,
    options: DataOptions,
    learned: Task | None,
    device: torch.device | None,
) -> Data:
    source = source_of(name)
    if source is not None:
        argument = name.partition(":")[2]
        data = source.load(Request(name, argument, ports.shape, options, learned, ports, device))
        return data if source.own is None else _called(data, name)
    raise unknown(name)


def unknown(name: str) -> DiagnosticError:
    """D501: no source is called so; what may have been meant."""
    remedy = suggest(name, kinds(), f"choose from {quote(kinds())}")
    if Path(name).is_dir():
        remedy = f"write `folder:{name}`"
    elif Path(name).suffix == ".npz":
        remedy = f"write `npz:{name}`"
    elif Path(name).suffix in _TABLES:
        remedy = f"write `csv:{name} --target COLUMN`"
    return DiagnosticError(Diagnostic("D501", f"unknown data `{name}`", help=remedy))


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


def _size_error(data: Data, own: Shape, node: Node, fixed: bool) -> DiagnosticError:
    """D505; a network that is ``fixed`` has been trained, and its spec is not to be changed."""
    shape = node.shape or ()
    advice = f"declare `{node.name}: {list(own)}`"
    if fixed:
        advice = f"save the examples as [N, {', '.join(map(str, shape))}]"
    elif data.reading is not None:
        advice = remedy(node.name, own, shape)
    if data.name.startswith("folder:"):
        advice += ", or pass `--resize` to fit the images to the spec"
    port = f"`{node.name}` of " if isinstance(data.train.example, Bundle) else "examples of "
    are = "is" if isinstance(data.train.example, Bundle) else "are"
    return DiagnosticError(
        Diagnostic(
            "D505",
            f"{port}`{data.name}` {are} {list(own)}, the network takes {list(shape)}",
            node.span,
            notes=(data.note,) if data.columns else (),
            help=advice,
        )
    )


def _check_outputs(data: Data, graph: Graph) -> None:
    """Refuse vectors where a target per pixel is to be learned, and the other way round."""
    for output, task in zip(graph.root.outputs, parts_of(data.task), strict=True):
        node = graph.node(output)
        shape = node.shape or ()
        if task.suits_output(shape):
            continue
        told = "one target per example" if len(shape) > 1 else "targets of another shape"
        advice = "end the network in a vector, such as `y: [10]` fed by `linear(10)`"
        raise DiagnosticError(
            Diagnostic(
                "D430",
                f"`{node.name}` is {list(shape)}, and `{data.name}` has {told}",
                node.span,
                help=advice if len(shape) > 1 else "end the network in maps [C, H, W]",
            )
        )


# ------------------------------------------------------------------------------ quantities, names


def _read(data: Data, graph: Graph, reading: Reading) -> Data:
    """Arrays of one's own with their numbers standardised, or as they are where they are names."""
    if reading.standardise == "yes":
        return data
    ports = dict(zip(by_port(data.train.example), graph.root.inputs, strict=True))
    if reading.standardise == "no":
        note = f"numbers of `{data.name}` are taken as they are, not standardised"
        return _plain(data, ports).noted(note)
    lookups = {port: looked_up(graph, node) for port, node in ports.items()}
    if not any(lookups.values()):
        note = "whole numbers are standardised as quantities; pass `--standardise no` if they "
        return data.noted(f"{note}are names") if reading.whole else data
    for port, primitives in lookups.items():
        if primitives:
            data = _looked_up(data, port, primitives)
    return data


def _looked_up(data: Data, port: str, primitives: Sequence[str]) -> Data:
    """The data with whole numbers that primitives look up as they are."""
    those = f"those of `{port}` of `{data.name}`" if port else f"those of `{data.name}`"
    if not _whole(data, [port]):
        return data.noted(
            f"{quote(primitives)} of the network looks numbers up, and {those} are "
            "not whole: they are standardised; `--standardise no` leaves them as they are"
        )
    return _plain(data, [port]).noted(
        f"{quote(primitives)} of the network looks whole numbers up: {those} stay as "
        "they are; `--standardise yes` standardises them"
    )


def _whole(data: Data, ports: Collection[str]) -> bool:
    """Whether all numbers of these inputs are whole."""
    numbers = (by_port(part.inputs)[port] for part in (data.train, data.test) for port in ports)
    return not any(x.is_floating_point() and bool((x != x.floor()).any()) for x in numbers)


def _plain(data: Data, ports: Collection[str]) -> Data:
    """Numbers of these inputs as they are, bytes too, in 32 bits.

    Raises:
        DiagnosticError: D512 (whole numbers that these cannot hold).
    """
    train, test = by_port(data.train.inputs), by_port(data.test.inputs)
    highest = max(float(part[port].abs().max()) for part in (train, test) for port in ports)
    if highest > _EXACT and _whole(data, ports):
        what = f"has whole numbers up to {highest:,.0f}, and networks compute in 32 bits"
        advice = f"number what they name from 0, at most to {_EXACT:,}"
        raise wrong(f"`{data.name}`", "D512", what, advice)
    for port in ports:
        train[port], test[port] = train[port].to(torch.float32), test[port].to(torch.float32)
    parts = [
        Part(bundled(inputs), part.targets)
        for part, inputs in ((data.train, train), (data.test, test))
    ]
    return _unstandardised(evolve(data, train=parts[0], test=parts[1]), ports)


def _standardised(data: Data) -> Data:
    """The data brought to mean 0 and deviation 1, whatever was to be done to it before."""
    mean, std = data.train.statistics()
    return evolve(data, mean=mean, std=std)


def _unstandardised(data: Data, ports: Collection[str] | None = None) -> Data:
    """The data with nothing to be subtracted from these inputs, all where none are named.

    Bytes are shares of 255.
    """
    mean, std = by_port(data.mean), by_port(data.std)
    for port in mean if ports is None else ports:
        mean[port], std[port] = torch.zeros_like(mean[port]), torch.ones_like(std[port])
    return evolve(data, mean=bundled(mean), std=bundled(std))
