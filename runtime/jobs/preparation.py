"""What is settled and said before a search or a training begins."""

from __future__ import annotations

from typing import TypeVar

from attrs import evolve

from bayesnas.compiler.settings import SearchSettings, TrainSettings
from bayesnas.runtime.data.census import Census
from bayesnas.runtime.data.dataset import Data, augmentation, augmentation_note
from bayesnas.runtime.runs.progress import say_note

Settings = TypeVar("Settings", SearchSettings, TrainSettings)


def settled(
    settings: Settings, data: Data, holdout: float | None = None
) -> tuple[Settings, Data, Census]:
    """The settings with what `augment` means for the data, and the data as it is learned.

    What its user should know is said. ``holdout`` is the share of the training part that a search
    holds out.

    Raises:
        DiagnosticError: D514 (none can be held out), D515 (`augment` shifts or mirrors what is no
            image).
    """
    augment = augmentation(data, settings.augment)
    census: Census = Census.of(data, holdout)
    weighted: bool = settings.class_weights == "balanced"
    say_note(data.note)
    for note in census.notes(weighted):
        say_note(note)
    say_note(augmentation_note(settings.augment, augment))
    if weighted:
        data = evolve(data, task=data.task.balanced(data.train.targets))
    return evolve(settings, augment=augment), data, census
