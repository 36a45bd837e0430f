"""All learning tasks: a task is a module below this folder, and is found there."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from inspect import isabstract
from pkgutil import walk_packages

from bayesnas.compiler.objectives import Objective
from bayesnas.compiler.operations.primitives import Shape
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError
from bayesnas.runtime import tasks as package
from bayesnas.runtime.tasks.classification import Classification
from bayesnas.runtime.tasks.interface import Task
from bayesnas.runtime.tasks.parts import Array, column_names
from bayesnas.runtime.tasks.pixels.classes import PixelClassification


@cache
def tasks() -> tuple[type[Task], ...]:
    """By the names of their modules; those that explain what fits no other, by output, last."""
    kinds: dict[type[Task], None] = {}
    for entry in walk_packages(package.__path__, f"{package.__name__}."):
        module = import_module(entry.name)
        kinds |= dict.fromkeys(
            value
            for value in vars(module).values()
            if isinstance(value, type) and issubclass(value, Task) and not isabstract(value)
        )
    explaining = (PixelClassification, Classification)
    return (*(kind for kind in kinds if kind not in explaining), *explaining)


def task_of(
    targets: Array,
    place: str,
    shape: Shape | None = None,
    objective: Objective | None = None,
    port: str = "",
) -> Task:
    """The task whose targets an array of a training part is.

    Args:
        targets: of the training part.
        place: names them in diagnostics.
        shape: of the output of a network that is to learn them, where that is known.
        objective: what is said of that output.
        port: the output, after which targets are called, where they are not the only ones.

    Raises:
        DiagnosticError: D430 (the output does not suit what is said of it), D512 or D514 (targets
            of no task).
    """
    kinds = [kind for kind in tasks() if objective is None or kind.objective == objective.name]
    suiting = [kind for kind in kinds if shape is None or kind.suits_output(shape)]
    if not suiting:
        raise _unsuited(shape or (), place, objective)
    kind = next((one for one in suiting if one.suits(targets)), suiting[-1])
    if objective is not None:
        targets = kind.seen(targets, objective.options)
    columns = targets.shape[1] if targets.ndim == 2 else 1
    task = kind.of_targets(targets, place, column_names(columns, port) if port else ())
    if shape is not None:
        task = task.of_output(shape)
    return task if objective is None else task.with_options(objective.options)


def _unsuited(shape: Shape, place: str, objective: Objective | None) -> DiagnosticError:
    what = f"`{objective.port} = {objective.term}`" if objective else "anything"
    message = f"an output {list(shape)} cannot learn {what} of {place}"
    remedy = "declare it as a vector, `[10]`, or as maps, `[10, 32, 32]`"
    return DiagnosticError(Diagnostic("D430", message, help=remedy))


def task_class(metric: str) -> type[Task]:
    """The task whose metric is called so; an unknown one is an error of the caller."""
    return next(task for task in tasks() if task.metric == metric)
