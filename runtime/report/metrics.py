"""Scores as files name them, in the words of their tasks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bayesnas.runtime.tasks.interface import Task
from bayesnas.runtime.tasks.registry import tasks


def metric_names(entries: Mapping[str, Any], part: str) -> list[str]:
    """What entries such as ``test_accuracy`` say of a part besides its loss: ``accuracy``."""
    start = f"{part}_"
    return [
        name.removeprefix(start)
        for name, value in entries.items()
        if name.startswith(start)
        and name != f"{part}_loss"
        and isinstance(value, float)
        and _task(name.removeprefix(start)) is not None
    ]


def metric_told(metric: str, value: float) -> str:
    """A value of a file with its unit, as its task writes it."""
    task = _task(metric)
    return f"{value:.4g}" if task is None else task.quality_text(task.filed(value))


def metric_scale(metric: str) -> tuple[float, str]:
    """What values of files are shown times, and the unit behind them."""
    task = _task(metric)
    return (1.0, "") if task is None else (abs(task.scale), task.unit)


def metric_digits(metric: str) -> int:
    """Of these values, behind the point."""
    return (_task(metric) or Task).digits


def larger_is_better(metric: str) -> bool:
    """Whether a larger value of a file is the better one."""
    task = _task(metric)
    return task is None or task.scale > 0


def metric_title(metric: str, part: str) -> str:
    """Of an axis: ``test accuracy, %``."""
    _, unit = metric_scale(metric)
    return ", ".join(filter(None, (f"{part} {worded(metric)}", unit)))


def worded(metric: str) -> str:
    """A metric as people write it: ``mean IoU``."""
    return metric.replace("_", " ").replace("iou", "IoU").replace("psnr", "PSNR")


def _task(metric: str) -> type[Task] | None:
    """The task that a score is of; that of one of several outputs stands behind its port."""
    return next((task for task in tasks() if f"_{metric}".endswith(f"_{task.metric}")), None)
