"""All learning tasks: a task is a module of this folder, and is found there."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from inspect import isabstract
from pkgutil import iter_modules

from bayesnas.compiler.graph.model import Graph
from bayesnas.compiler.operations.primitives import Shape
from bayesnas.dsl.diagnostics import DiagnosticError
from bayesnas.runtime import tasks as package
from bayesnas.runtime.tasks.classification import Classification
from bayesnas.runtime.tasks.interface import Array, Task


@cache
def tasks() -> tuple[type[Task], ...]:
    """By the names of their modules; classification, which explains what fits no other, last."""
    kinds: dict[type[Task], None] = {}
    for entry in iter_modules(package.__path__):
        module = import_module(f"{package.__name__}.{entry.name}")
        kinds |= dict.fromkeys(
            value
            for value in vars(module).values()
            if isinstance(value, type) and issubclass(value, Task) and not isabstract(value)
        )
    kinds.pop(Classification)
    return (*kinds, Classification)


def task_of(targets: Array, place: str) -> Task:
    """The task whose targets an array of a training part is; ``place`` names it in diagnostics.

    Raises:
        DiagnosticError: D512 or D514 (targets of no task).
    """
    fitting = next((task for task in tasks() if task.suits(targets)), Classification)
    return fitting.of_targets(targets, place)


def task_class(metric: str) -> type[Task]:
    """The task whose metric is called so; an unknown one is an error of the caller."""
    return next(task for task in tasks() if task.metric == metric)


def example_shape(graph: Graph) -> Shape:
    """Shape of one example of a network that can learn any of the tasks.

    Raises:
        DiagnosticError: D430 (its ports fit none of them).
    """
    *others, last = tasks()
    for task in others:
        try:
            return task.inputs_of(graph)
        except DiagnosticError:
            continue
    return last.inputs_of(graph)
