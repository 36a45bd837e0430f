"""What is settled and said before a search or a training begins."""

from __future__ import annotations

from typing import TypeVar

from attrs import evolve

from bayesnas.compiler.settings import SearchSettings, TrainSettings
from bayesnas.runtime.data.dataset import Data, augmentation, augmentation_note
from bayesnas.runtime.runs.progress import say_note

Settings = TypeVar("Settings", SearchSettings, TrainSettings)


def settled(settings: Settings, data: Data) -> Settings:
    """The settings with what `augment` means for the data; what its user should know is said.

    Raises:
        DiagnosticError: D515 (it shifts or mirrors what is no image).
    """
    augment = augmentation(data, settings.augment)
    say_note(data.note)
    say_note(augmentation_note(settings.augment, augment))
    return evolve(settings, augment=augment)
