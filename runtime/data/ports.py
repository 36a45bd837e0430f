"""Data and the ports of a network: which tensor is which, and what each output learns."""

from __future__ import annotations

from attrs import evolve

from bayesnas.compiler.graph.model import Graph
from bayesnas.compiler.objectives import Objective
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, Span, quote
from bayesnas.runtime.data.dataset import Data
from bayesnas.runtime.data.registry import Ports
from bayesnas.runtime.tasks.bundle import Bundle, Inputs, by_port
from bayesnas.runtime.tasks.interface import Task
from bayesnas.runtime.tasks.registry import task_of
from bayesnas.runtime.tasks.several import Several


def aligned(data: Data, ports: Ports, graph: Graph) -> Data:
    """The data with its inputs in the network's order.

    Raises:
        DiagnosticError: D520 (a port has no data), D521 (data is of no port).
    """
    span = graph.node(graph.root.inputs[0]).span
    inputs = data.train.example
    given = list(inputs.ports) if isinstance(inputs, Bundle) else []
    learned = [o.port for o in data.task.outputs] if isinstance(data.task, Several) else []
    for wanted, names, kind in ((ports.inputs, given, "input"), (ports.outputs, learned, "output")):
        if len(wanted) > 1 or names:
            _check_names(data, list(wanted), names, kind, span)
    if not isinstance(inputs, Bundle):
        return data

    def ordered(given: Inputs) -> Inputs:
        tensors = by_port(given)
        return Bundle({port: tensors[port] for port in ports.inputs})

    train, test = data.train.changed(ordered), data.test.changed(ordered)
    return evolve(data, train=train, test=test, mean=ordered(data.mean), std=ordered(data.std))


def _check_names(
    data: Data, wanted: list[str], given: list[str], kind: str, span: Span | None
) -> None:
    """Refuse ports without data, and data without a port, among inputs or outputs."""
    if missing := [port for port in wanted if port not in given]:
        notes: tuple[str, ...]
        lacks, notes = f"no data for the {kind} {quote(missing)}", (f"it has {quote(given)}",)
        if not given:
            lacks, notes = f"a single array of {kind}s, the network has {quote(wanted)}", ()
        arrays = ", ".join(f"{port}=..." for port in wanted)
        raise DiagnosticError(
            Diagnostic(
                "D520",
                f"`{data.name}` has {lacks}",
                span,
                notes=notes,
                help=f"name arrays by ports: `npz:FILE` of `numpy.savez(FILE, {arrays})`",
            )
        )
    if extra := [port for port in given if port not in wanted]:
        raise DiagnosticError(
            Diagnostic(
                "D521",
                f"`{data.name}` has data for {quote(extra)}, which is no {kind} of the network",
                span,
                notes=(f"its {kind}s are {quote(wanted)}",),
                help="leave it out, or declare a port of that name",
            )
        )


def told(data: Data, ports: Ports) -> Data:
    """The data with a note on what each output learns, and its task as the spec says it.

    Raises:
        DiagnosticError: D430, D512 and D514, where that does not suit the data.
    """
    if isinstance(data.task, Several):
        parts = {o.port: o.task for o in data.task.outputs}
        silent = {p: task.objective for p, task in parts.items() if p not in ports.objectives}
        taken = "; ".join(f"{port} = {name}" for port, name in silent.items())
        note = f"taken from the data: `learn {{ {taken} }}`" if silent else ""
        return data.noted(note)
    port = next(iter(ports.outputs))
    objective = ports.objectives.get(port)
    if objective is None or len(ports.outputs) > 1:
        return data
    if data.reading is not None and data.reading.again is not None:
        return data  # made with the objective known
    if objective.name == data.task.objective:
        return evolve(data, task=data.task.with_options(objective.options))
    return _learning(data, objective, ports.outputs[port])


def _learning(data: Data, objective: Objective, shape: tuple[int, ...]) -> Data:
    """Data whose source has other targets in mind, such as the numbers of classes."""
    train = data.train.targets.cpu().numpy()
    return _with(data, task_of(train, f"`{data.name}`", shape, objective))


def as_learned(data: Data, learned: Task) -> Data:
    """Data to judge what a network has learned, which its source may not have had in mind."""
    if data.undivided or data.task.objective == learned.objective:
        return data
    return _with(data, learned)


def _with(data: Data, task: Task) -> Data:
    """Data whose targets are read as those of another task."""
    train, test = (
        part.retargeted(task.targets(part.targets.cpu().numpy(), f"`{data.name}`"))
        for part in (data.train, data.test)
    )
    return evolve(data, task=task, train=train, test=test)
