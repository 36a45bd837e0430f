"""Arguments of Python's functions, checked and brought into the form of the command line's."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from attrs import evolve

from bayesnas.commands.values import check_seed, parse_objectives
from bayesnas.compiler.pipeline import Compiled
from bayesnas.compiler.settings import (
    SearchSettings,
    TrainSettings,
    check_setting,
    check_use,
    completed,
    layered,
    make_settings,
)
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, check_idle
from bayesnas.runtime.data.registry import (
    ROOT,
    DataOptions,
    Fit,
    Level,
    Standardise,
    unreadable,
)
from bayesnas.runtime.data.registry import check_use as check_reading

if TYPE_CHECKING:
    from bayesnas.runtime.data.dataset import Data
    from bayesnas.runtime.runs.events import Listener
    from bayesnas.runtime.runs.record import RunOptions

Setting: TypeAlias = "bool | int | float | str | Sequence[int]"  # of a search or a training
Settings = TypeVar("Settings", SearchSettings, TrainSettings)
_Key = TypeVar("_Key", bound=str)
_Value = TypeVar("_Value")


def by_name(name: str, value: Mapping[_Key, _Value] | None, example: str) -> Mapping[_Key, _Value]:
    """An argument that gives values by name; empty where it is left out."""
    if value is not None and not isinstance(value, Mapping):
        raise unreadable(name, value, f"give a dictionary, such as `{example}`")
    return value or {}


def with_objectives(compiled: Compiled, objective: Mapping[str, str] | None) -> Compiled:
    """With other objectives, where some are given."""
    chosen = by_name("objective", objective, '{"logits": "classification"}')
    if not chosen:
        return compiled
    return compiled.learning(parse_objectives(f"{o} = {t}" for o, t in chosen.items()))


def whole_numbers(parameters: Mapping[str, int]) -> dict[str, int]:
    """Values of a network's parameters.

    Raises:
        DiagnosticError: D418 (no whole number).
    """
    for name, value in parameters.items():
        if not isinstance(value, Integral) or isinstance(value, bool):
            raise unreadable(name, value, "give a whole number")
    return {name: int(value) for name, value in parameters.items()}


def reading_options(
    resize: bool,
    download: bool,
    data_root: str | Path | None,
    fit: Fit | None,
    target: str | Sequence[str],
    level: Level,
    stream: bool,
    workers: int | None,
) -> DataOptions:
    """What is said of reading the data, but for `standardise`."""
    root = ROOT if data_root is None else Path(data_root)
    return DataOptions(
        resize, download, root, fit, target=target, level=level, stream=stream, workers=workers
    )


def reading_of(
    data: Data | str, given: DataOptions, standardise: Standardise | None
) -> DataOptions:
    """How the data is read; what is not said of ``standardise`` is as the data set says.

    Raises:
        DiagnosticError: D418 (an unknown word), D423 (something does nothing for such data), D501
            (it is no data).
    """
    from bayesnas.runtime.data.loading import check_data

    check_data(data)
    own = None if isinstance(data, str) else data.reading
    if standardise is None:
        standardise = "auto" if own is None else own.standardise
    options = evolve(given, standardise=standardise)
    if isinstance(data, str):
        check_reading(data, options)
    else:
        remedy = "leave it out: it is for data by its name, as in `folder:PATH`"
        where = f"with `{data.name}`, which is in memory"
        check_idle([option for of in options.given.values() for option in of], where, remedy)
    return options


def run_options(
    data: Data | str,
    out: str | Path | None,
    seed: int,
    device: str,
    resume: bool,
    force: bool,
    read: DataOptions,
    listeners: Iterable[Listener],
) -> RunOptions:
    """What makes a run besides its settings, in a folder for temporary files where none is named.

    Raises:
        DiagnosticError: D414 (nothing to resume without a folder), D418 (the seed, or listeners).
    """
    from bayesnas.runtime.runs.record import RunOptions

    check_seed(seed)
    if not isinstance(listeners, Iterable):
        raise unreadable("listeners", listeners, "give a list of functions")
    if resume and out is None:
        remedy = "name the folder of the run that is to be gone on with: `out=`"
        raise DiagnosticError(Diagnostic("D414", "nothing to resume without a folder", help=remedy))
    folder = Path(tempfile.mkdtemp(prefix="bayesnas-")) if out is None else Path(out)
    if not isinstance(data, str) and data.reading is not None:
        data = evolve(data, reading=evolve(data.reading, standardise=read.standardise))
    return RunOptions(data, folder, int(seed), str(device), resume, force, read, tuple(listeners))


def plain_settings(settings: Mapping[str, Setting]) -> dict[str, int | float | str]:
    """As a spec has them: `yes` for True, "30, 60" for (30, 60), numbers of NumPy's as Python's."""
    plain: dict[str, Any] = {}
    for name, value in settings.items():
        number: Any = value
        if hasattr(number, "tolist"):  # of NumPy's or torch's, which are no JSON
            number = number.tolist()
        if isinstance(number, bool):
            number = "yes" if number else "no"
        if name == "rate_steps" and isinstance(number, Sequence) and not isinstance(number, str):
            number = ", ".join(map(str, number))
        plain[name] = number
    return plain


@contextmanager
def temporary(folder: Path, is_temporary: bool) -> Iterator[None]:
    """A temporary folder goes with a run that was refused before it wrote anything."""
    try:
        yield
    except BaseException:
        if is_temporary:
            with suppress(OSError):  # it holds something
                folder.rmdir()
        raise


def settings_over(
    cls: type[Settings], compiled: Compiled, given: Mapping[str, int | float | str]
) -> Settings:
    """The spec's settings with those given over them."""
    kind = "search" if cls is SearchSettings else "train"
    for name, value in given.items():
        check_setting(kind, name, value, None)
    settings = make_settings(cls, completed(layered(compiled.settings(kind), given)))
    if isinstance(settings, SearchSettings):
        usual = SearchSettings()  # what a script spells out may do nothing
        asked = [name for name in given if getattr(settings, name) != getattr(usual, name)]
        check_use(asked, (settings.strategy,))
    return settings
