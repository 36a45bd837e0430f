"""All learning tasks; a task is a file and a line here."""

from __future__ import annotations

from typing import Final

from bayesnas.compiler.graph.model import Graph
from bayesnas.compiler.operations.primitives import Shape
from bayesnas.dsl.diagnostics import DiagnosticError
from bayesnas.runtime.tasks.classification import Classification
from bayesnas.runtime.tasks.interface import Array, Task

# The first whose targets an array may be is taken; the last one explains what is wrong with others.
TASKS: Final[tuple[type[Task], ...]] = (Classification,)


def task_of(targets: Array, place: str) -> Task:
    """The task whose targets an array of a training part is; ``place`` names it in diagnostics.

    Raises:
        DiagnosticError: D512 or D514 (targets of no task).
    """
    task = next((task for task in TASKS if task.suits(targets)), TASKS[-1])
    return task.of_targets(targets, place)


def task_class(metric: str) -> type[Task]:
    """The task whose metric is called so; an unknown one is an error of the caller."""
    return next(task for task in TASKS if task.metric == metric)


def example_shape(graph: Graph) -> Shape:
    """Shape of one example of a network that can learn any of the tasks.

    Raises:
        DiagnosticError: D430 (its ports fit none of them).
    """
    for task in TASKS[:-1]:
        try:
            return task.inputs_of(graph)
        except DiagnosticError:
            continue
    return TASKS[-1].inputs_of(graph)
