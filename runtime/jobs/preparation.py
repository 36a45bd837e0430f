"""What is settled and said before a search or a training begins."""

from __future__ import annotations

from functools import partial
from typing import TypeVar

from attrs import evolve

from bayesnas.compiler.graph.model import Graph
from bayesnas.compiler.graph.walks import looked_up
from bayesnas.compiler.pipeline import Compiled
from bayesnas.compiler.settings import SearchSettings, TrainSettings, check_training, epochs_of
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, check_all, quote
from bayesnas.runtime.data.augmentation.extra import Extra
from bayesnas.runtime.data.augmentation.movement import augmentation_note
from bayesnas.runtime.data.census import Census
from bayesnas.runtime.data.dataset import Data, sameness_note
from bayesnas.runtime.jobs.failures import plugins_named
from bayesnas.runtime.network.carrying import check_carrying
from bayesnas.runtime.network.causality import check_causal
from bayesnas.runtime.network.kernels import layout_note
from bayesnas.runtime.network.learning.drop_path import droppable
from bayesnas.runtime.network.learning.mixtures import check_mixtures, check_names
from bayesnas.runtime.network.normalisation import check_batches
from bayesnas.runtime.runs.progress import say_note
from bayesnas.runtime.tasks.bundle import Bundle
from bayesnas.runtime.tasks.interface import Task

Settings = TypeVar("Settings", SearchSettings, TrainSettings)


def settled(
    settings: Settings, data: Data, compiled: Compiled, holdout: float | None = None
) -> tuple[Settings, Data, Census]:
    """The settings with what `augment` means for the data, and the data as it is learned.

    What its user should know is said. ``compiled`` is what will be trained, ``holdout`` the share
    of the training part that is held out.

    Raises:
        DiagnosticError: D232 (a setting does nothing), D439 (batches of one example), D514 (none
            can be held out), D515 (augmentation of what is no image), D517 (outputs read what they
            predict).
    """
    graph: Graph = compiled.graph
    origin: str = compiled.loaded.source.name
    training: TrainSettings | None = settings if isinstance(settings, TrainSettings) else None
    trained: Graph = graph if training is None else compiled.training
    if training is not None:
        _check_training(training, data, graph)
        check_carrying(training, data.task, graph, data.name)
    augment = data.augmentation(settings.augment)
    census: Census = Census.of(data, holdout, "search" if training is None else "training")
    examples: int = int(census.train.sum())
    with plugins_named(data):
        example = data.normalize(data.train.example)
        check_batches(trained, origin, example, examples, settings.batch_size)
        if data.task.causal(graph) and not isinstance(example, Bundle):
            check_causal(graph, origin, example)
    weighted: bool = settings.class_weights == "balanced"
    for note in (
        data.note,
        *census.notes(weighted),
        sameness_note(data.train),
        augmentation_note(settings.augment, augment),
        layout_note(graph, data.train.targets.device),
        *((search_note(compiled),) if training is None else training_notes(training, graph, data)),
    ):
        say_note(note)
    if weighted:
        data = evolve(data, task=data.task.balanced(data.train.targets))
    return evolve(settings, augment=augment), data, census


def search_note(compiled: Compiled) -> str:
    """What a search leaves out."""
    if not (auxiliary := [o.port for o in compiled.training.objectives if o.auxiliary]):
        return ""
    return f"{quote(auxiliary)} is there for training alone: the search leaves it out"


def _check_training(settings: TrainSettings, data: Data, graph: Graph) -> None:
    """Refuse settings of a training that do nothing, or cannot be done to its examples.

    Raises:
        DiagnosticError: D232, D515; of a recipe all in one go.
    """
    name, example, placed = data.name, data.train.example, data.task.placed
    check_all(
        partial(check_training, settings),
        partial(data.augmentation, settings.augment),
        partial(Extra.of(settings).check, name, example, placed, data.stays),
        partial(check_mixtures, name, example, placed, settings.cutmix),
        partial(check_names, name, looked_up(graph), settings.mixup),
        partial(_check_smoothing, data.task, settings.label_smoothing),
    )


def training_notes(settings: TrainSettings, graph: Graph, data: Data) -> tuple[str, ...]:
    """What settings of a training do not do, or do to examples that they were hardly made for."""
    notes = (*course_notes(settings, graph), *Extra.of(settings).notes(data.train.example))
    if settings.crop == 1 or not data.refitted:
        return notes
    return (
        *notes,
        "`crop` cuts out of images as they lie in memory, some of them brought to the network's "
        "size; with `--stream` it cuts out of them as they are in their files",
    )


def course_notes(settings: TrainSettings, graph: Graph) -> tuple[str, ...]:
    """What settings of a training do not do, by the network ``graph`` and how long it takes.

    A recipe may ask for it, so nothing is refused.
    """
    notes = []
    if settings.drop_path and not any(droppable(graph)):
        notes.append("`drop_path` does nothing here: no operation of the network is in a sum")
    if 0 < settings.epochs <= settings.warmup_epochs:
        notes.append(
            f"`warmup_epochs = {settings.warmup_epochs}` are all epochs there are, "
            f"{settings.epochs}: the learning rate rises to the end and never falls; "
            "`warmup_epochs = 0` leaves the rise out"
        )
    if late := [step for step in epochs_of(settings.rate_steps) if step >= settings.epochs]:
        notes.append(
            f"the learning rate does not fall after {' and '.join(map(str, late))} epochs, as "
            f"`rate_steps` says: there are {settings.epochs}"
        )
    return (*notes,)


def _check_smoothing(task: Task, share: float) -> None:
    """Refuse to smooth labels where there are none, or all are smoothed.

    Raises:
        DiagnosticError: D232.
    """
    if share and task.smoothed(share) == task:
        what = "`label_smoothing` does nothing here"
        remedy = "leave it out: no output has classes whose labels are not smoothed already"
        raise DiagnosticError(Diagnostic("D232", what, help=remedy))
