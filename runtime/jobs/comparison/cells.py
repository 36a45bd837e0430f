"""The cells of a comparison: one search each, and the training of what it found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, TypeAlias

from attrs import define, evolve, field, frozen

from bayesnas.compiler.graph.model import Graph
from bayesnas.compiler.graph.walks import looked_up
from bayesnas.compiler.operations.primitives import Shape
from bayesnas.compiler.pipeline import Compiled, compile_spec
from bayesnas.compiler.settings import SearchSettings, TrainSettings, users
from bayesnas.dsl.diagnostics import DiagnosticError
from bayesnas.runtime.data.dataset import Data
from bayesnas.runtime.data.loading import load_data
from bayesnas.runtime.data.registry import Ports
from bayesnas.runtime.jobs.failures import lower_rate, remedied
from bayesnas.runtime.jobs.search.search import search
from bayesnas.runtime.jobs.search.space import Space
from bayesnas.runtime.jobs.train import tested_on, train
from bayesnas.runtime.runs.folder import Run
from bayesnas.runtime.runs.ownership import (
    FOUND,
    RESULT,
    has_checkpoint,
    lock,
    set_aside,
    settings_of,
    tidy,
    unlock,
)
from bayesnas.runtime.runs.reading import read_result
from bayesnas.runtime.runs.record import RunOptions, run_record
from bayesnas.runtime.runs.schemas import SEARCHED
from bayesnas.runtime.runs.seals import check_file

Value: TypeAlias = int | float | str


def named(strategy: str, swept: Mapping[str, Value]) -> str:
    """A strategy with the settings that were swept."""
    return ", ".join([strategy, *(f"{name} = {value}" for name, value in swept.items())])


def cell_folder(strategy: str, swept: Mapping[str, Value], seed: int) -> str:
    """The folder of both runs of a cell, below that of its comparison."""
    return "-".join([strategy, *(f"{name}={value}" for name, value in swept.items()), str(seed)])


@frozen
class Cell:
    """One search and the training of what it found.

    ``options`` are those of the comparison, but for the seed; ``swept`` are the settings that other
    cells have otherwise.
    """

    settings: SearchSettings
    options: RunOptions
    swept: Mapping[str, Value] = field(factory=dict)

    @property
    def strategy(self) -> str:
        """How it searches."""
        return self.settings.strategy

    @property
    def name(self) -> str:
        """What people are told of it."""
        return f"{named(self.strategy, self.swept)}, seed {self.options.seed}"

    @property
    def folder(self) -> Path:
        """Of both runs."""
        return self.options.out / cell_folder(self.strategy, self.swept, self.options.seed)


def make_cells(
    settings: SearchSettings,
    options: RunOptions,
    strategies: Sequence[str],
    seeds: Sequence[int],
    sweeps: Mapping[str, Sequence[Value]],
) -> list[Cell]:
    """Each strategy with each seed, and each value of the settings swept that it uses."""

    def cells() -> Iterator[Cell]:
        for seed, strategy in product(seeds, strategies):
            names = [name for name in sweeps if strategy in users(name)]
            for values in product(*(sweeps[name] for name in names)):
                swept = dict(zip(names, values, strict=True))
                changed: dict[str, Any] = {"strategy": strategy, **swept}
                chosen = evolve(settings, **changed)
                yield Cell(chosen, evolve(options, seed=seed), swept)

    return [*cells()]


@frozen
class _Seen:
    """Data as a network sees it: what ``augment`` means for it, and hashes."""

    augment: str
    data_hash: str
    tested: dict[str, str]

    @classmethod
    def of(cls, data: Data, augment: str) -> _Seen:
        """Of loaded data, which need not be kept."""
        return cls(data.augmentation(augment), data.train.fingerprint(), tested_on(data))


@define
class Work:
    """What all cells have in common."""

    space: Space
    schedule: TrainSettings
    known: dict[tuple[tuple[Shape, ...], tuple[str, ...], str], _Seen] = field(factory=dict)

    def complete(self, cell: Cell) -> None:
        """What is missing of one search and one training.

        What the folder holds finished is read; what it holds half done is gone on with.

        Raises:
            DiagnosticError: D414 if what is there was begun otherwise, D416 if it has changed;
                whatever the runs raise.
        """
        at = evolve(cell.options, out=cell.folder / "search")
        if _finished(at):
            self._check_search(cell.settings, at)
        else:
            search(self.space, cell.settings, _continued(at))
        if (expected := read_result(at.out, SEARCHED).get("found_hash")) is not None:
            check_file(at.out / FOUND, expected, RESULT)
        found = compile_spec(at.out / FOUND)
        at = evolve(cell.options, out=cell.folder / "train")
        if _finished(at):
            self._check_training(found, at)
        else:
            self._train(found, _continued(at))

    def _train(self, found: Compiled, options: RunOptions) -> None:
        try:
            train(found, self.schedule, options)
        except DiagnosticError as error:  # `--option` is of the search
            place = "`--train-option learning_rate={}`"
            raise remedied(error, lower_rate(self.schedule.learning_rate, place)) from None

    def _check_search(self, settings: SearchSettings, options: RunOptions) -> None:
        """Refuse a finished search that is none of this comparison."""
        seen = self._seen(self.space.searched.graph, settings.augment, options)
        settings = evolve(settings, augment=seen.augment)
        wanted, extra = self.space.wanted, self.space.record()
        record = run_record("search", wanted, settings, options, seen.data_hash, extra)
        Run(options.out).check_same(record)

    def _check_training(self, found: Compiled, options: RunOptions) -> None:
        """The same of a finished training."""
        seen = self._seen(found.graph, self.schedule.augment, options)
        settings = evolve(self.schedule, augment=seen.augment)
        record = run_record("train", found, settings, options, seen.data_hash, seen.tested)
        Run(options.out).check_same(record)

    def _seen(self, graph: Graph, augment: str, options: RunOptions) -> _Seen:
        """The data as a network sees it: its shape, and whether it looks numbers up, decide."""
        ports = Ports.of(graph)
        key = (*ports.inputs.values(),), tuple(looked_up(graph)), augment
        if key not in self.known:
            data = load_data(options.data, graph, options.data_options)
            self.known[key] = _Seen.of(data, augment)
        return self.known[key]


def begun_anew(cell: Cell) -> Cell:
    """A forced cell, as one that is not: its runs are moved out of the way of new ones.

    They go when those have ended. It is done before any work, so that a comparison that is
    interrupted goes on without `--force`.

    Raises:
        DiagnosticError: D413 (another run is at work there).
    """
    if not cell.options.force:
        return cell
    for out in (cell.folder / "search", cell.folder / "train"):
        if settings_of(out) is not None:
            held = lock(out)
            try:
                set_aside(out)
            finally:
                unlock(out, held)
    return evolve(cell, options=evolve(cell.options, force=False))


def _finished(options: RunOptions) -> bool:
    """Whether a run is not to be made again; it may have been killed at its very end."""
    if not (options.out / RESULT).is_file():
        return False
    tidy(options.out)
    return True


def _continued(options: RunOptions) -> RunOptions:
    """Options to go on with a run, or to begin it."""
    begun = has_checkpoint(options.out)
    return evolve(options, resume=begun, force=not begun)
