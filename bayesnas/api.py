"""What a notebook calls: compile a spec, search a space, train what was found."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from attrs import evolve, field, frozen

from bayesnas.commands.values import (
    check_seed,
    parse_budgets,
    parse_objectives,
    read_latencies,
)
from bayesnas.compiler.graph.model import CostName
from bayesnas.compiler.pipeline import Compiled, compile_spec
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
from bayesnas.dsl.files import check_free
from bayesnas.runtime.data.registry import (
    ROOT,
    DataOptions,
    Fit,
    Level,
    Standardise,
    unreadable,
)
from bayesnas.runtime.data.registry import check_use as check_reading
from bayesnas.runtime.runs.ownership import spec_file

if TYPE_CHECKING:
    from torch import nn

    from bayesnas.runtime.data.dataset import Data
    from bayesnas.runtime.jobs.search.result import SearchResult
    from bayesnas.runtime.jobs.train import TrainResult
    from bayesnas.runtime.runs.events import Listener
    from bayesnas.runtime.runs.record import RunOptions

Setting: TypeAlias = "bool | int | float | str | Sequence[int]"  # of a search or a training
Settings = TypeVar("Settings", SearchSettings, TrainSettings)
_Key = TypeVar("_Key", bound=str)
_Value = TypeVar("_Value")


@frozen
class Found:
    """What a search has found.

    Args:
        folder: of the run; ``pruned.nas``, figures and the posterior of every gate lie there.
        result: its numbers.
        compiled: the found network.
    """

    folder: Path
    result: SearchResult
    compiled: Compiled

    @property
    def spec(self) -> str:
        """The found network as a spec."""
        return self.compiled.loaded.source.text

    def network(self, seed: int = 0) -> nn.Module:
        """The found network on the CPU with fresh weights, the same for the same seed.

        Of several inputs it takes one tensor each, or those of a data set together:
        ``network(data.test.inputs)``.
        """
        import torch

        from bayesnas.runtime.network.kernels import layout
        from bayesnas.runtime.network.modules import build, unbundling

        graph, origin = self.compiled.graph, self.compiled.loaded.source.name
        module, _ = build(graph, origin, seed, layout=layout(graph, torch.device("cpu")))
        return unbundling(module, graph)


@frozen
class Trained:
    """What a training ended with.

    Args:
        folder: of the run; ``weights.pt`` and ``network.py`` lie there.
        result: its numbers.
        network: on the CPU, in evaluation mode; it takes inputs as the data have them: pixels as
            uint8, or as floating point from 0 to 1; other numbers as they are. Of several inputs
            it takes one tensor each, or those of a data set together.
    """

    folder: Path
    result: TrainResult
    network: nn.Module = field(eq=False, repr=False)


def compile(spec: str | Path, network: str | None = None, **parameters: int) -> Compiled:
    """Compile a spec file, a packaged spec by its name, or what the search in a folder has found.

    Args:
        spec: ``"my_space.nas"``, ``"darts_cell"`` or ``"runs/search"``.
        network: which network of the file; the first, if none is named.
        parameters: of the network, over their defaults: ``cells=4``.

    Raises:
        DiagnosticError: D415 (no search has ended in the folder), D418 (a parameter that is no
            whole number); whatever is wrong with the spec, all errors of a pass at once.
    """
    if not isinstance(spec, str | Path):
        raise unreadable("spec", spec, "give a spec's file or name, or the folder of a search")
    for name, value in parameters.items():
        if not isinstance(value, Integral) or isinstance(value, bool):
            raise unreadable(name, value, "give a whole number")
    values = {name: int(value) for name, value in parameters.items()}
    return compile_spec(spec_file(spec), values, network)


def search(
    space: Compiled | str | Path,
    data: Data | str,
    out: str | Path | None = None,
    *,
    seed: int = 0,
    device: str = "auto",
    budget: Mapping[CostName, int | str] | None = None,
    latencies: str | Path | None = None,
    objective: Mapping[str, str] | None = None,
    resume: bool = False,
    force: bool = False,
    resize: bool = False,
    fit: Fit | None = None,
    standardise: Standardise | None = None,
    download: bool = False,
    data_root: str | Path | None = None,
    target: str | Sequence[str] = (),
    level: Level = "character",
    stream: bool = False,
    workers: int | None = None,
    listeners: Iterable[Listener] = (),
    **settings: Setting,
) -> Found:
    """Search a space for a network.

    Args:
        space: what `compile` returned, or what it takes.
        data: a data set, or its name on the command line: ``"digits"``, ``"folder:PATH"``.
        out: the run's folder; by default a new one for temporary files.
        seed: of weights, order and draws.
        device: ``"auto"``, ``"cpu"`` or ``"cuda:N"``.
        budget: what the found network may cost, by ``"parameters"`` and ``"flops"``: a number, or a
            text such as ``"60M"``; by ``"latency"``: a text such as ``"5 ms"``.
        latencies: a table of them, which `bayesnas measure` wrote, for a budget of latency.
        objective: what outputs learn, by their names: ``{"depth": "regression * 0.1"}``; by default
            what the spec says, or what the data suggest.
        resume: go on with the run in ``out``.
        force: replace the run in ``out``.
        resize: fit image files of ``"folder:PATH"`` to the network.
        fit: the same, and how: ``"squeeze"`` (the default), ``"pad"`` or ``"crop"``.
        standardise: whether inputs are brought to mean 0 and deviation 1: ``"yes"`` or ``"no"``;
            ``"auto"`` leaves whole numbers that an embedding looks up as they are. By default what
            the data set says, which of a name is ``"auto"``.
        download: allow ``"cifar10"`` to be downloaded.
        data_root: where that lies; by default ``data``.
        target: the columns of a table, ``"csv:FILE"``, that are predicted.
        level: what a token of a text, ``"text:FILE"``, is: ``"character"`` or ``"word"``.
        stream: read image files when they are needed, even where all fit into memory.
        workers: processes that decode image files; by default a core each.
        listeners: are called with an `Event` at the beginning, for every row of history.jsonl, and
            at the end.
        settings: of the search, over those of the spec: ``strategy="random", epochs=1``; `yes` and
            `no` may be True and False.

    Raises:
        DiagnosticError: a setting, the data or the folder is wrong, or the search has failed.
    """
    from bayesnas.runtime.jobs.search.search import search as run
    from bayesnas.runtime.jobs.search.space import Space

    compiled = _learning(space if isinstance(space, Compiled) else compile(space), objective)
    limits = _table("budget", budget, '{"flops": "60M"}')
    budgets = parse_budgets([f"{cost}={limit}" for cost, limit in limits.items()])
    given = _given(resize, download, data_root, fit, target, level, stream, workers)
    read = _reading(data, given, standardise)
    if not isinstance(latencies, str | Path | None):
        raise unreadable("latencies", latencies, "give the file that `bayesnas measure` wrote")
    table = read_latencies(None if latencies is None else Path(latencies))
    compiled = compiled.priced(table)
    options = _options(data, out, seed, device, resume, force, read, listeners)
    with _temporary(options.out, out is None):
        chosen = _settings(SearchSettings, compiled, _plain(settings))
        result = run(Space(compiled, None, budgets, table), chosen, options)
    return Found(options.out, result, compile(options.out / "pruned.nas"))


def train(
    network: Compiled | Found | str | Path,
    data: Data | str,
    out: str | Path | None = None,
    *,
    seed: int = 0,
    device: str = "auto",
    objective: Mapping[str, str] | None = None,
    resume: bool = False,
    force: bool = False,
    resize: bool = False,
    fit: Fit | None = None,
    standardise: Standardise | None = None,
    download: bool = False,
    data_root: str | Path | None = None,
    target: str | Sequence[str] = (),
    level: Level = "character",
    stream: bool = False,
    workers: int | None = None,
    recipe: str | Path | None = None,
    listeners: Iterable[Listener] = (),
    **settings: Setting,
) -> Trained:
    """Train a network from scratch and score it on the test part.

    Args:
        network: what `search` or `compile` returned, or what `compile` takes.
        data: a data set, or its name on the command line.
        out: the run's folder; by default a new one for temporary files.
        seed: of weights, order and draws.
        device: ``"auto"``, ``"cpu"`` or ``"cuda:N"``.
        objective: what outputs learn, by their names: ``{"depth": "regression * 0.1"}``; by default
            what the spec says, or what the data suggest.
        resume: go on with the run in ``out``.
        force: replace the run in ``out``.
        resize: fit image files of ``"folder:PATH"`` to the network.
        fit: the same, and how: ``"squeeze"`` (the default), ``"pad"`` or ``"crop"``.
        standardise: whether inputs are brought to mean 0 and deviation 1: ``"yes"`` or ``"no"``;
            ``"auto"`` leaves whole numbers that an embedding looks up as they are. By default what
            the data set says, which of a name is ``"auto"``.
        download: allow ``"cifar10"`` to be downloaded.
        data_root: where that lies; by default ``data``.
        target: the columns of a table, ``"csv:FILE"``, that are predicted.
        level: what a token of a text, ``"text:FILE"``, is: ``"character"`` or ``"word"``.
        stream: read image files when they are needed, even where all fit into memory.
        workers: processes that decode image files; by default a core each.
        recipe: settings over those of the spec, by a recipe's name or file: ``"quick"``.
        listeners: are called with an `Event` at the beginning, for every row of history.jsonl, and
            at the end.
        settings: over both: ``epochs=10, nesterov=False, rate_steps=(30, 60)``.

    Raises:
        DiagnosticError: a setting, the data or the folder is wrong, or the training has failed.
    """
    from bayesnas.compiler.recipes import recipe_settings
    from bayesnas.runtime.jobs.train import train as run
    from bayesnas.runtime.jobs.trained import load_network

    if isinstance(network, Found):
        network = network.compiled
    compiled = _learning(network if isinstance(network, Compiled) else compile(network), objective)
    given = _given(resize, download, data_root, fit, target, level, stream, workers)
    read = _reading(data, given, standardise)
    options = _options(data, out, seed, device, resume, force, read, listeners)
    values = layered(recipe_settings(str(recipe)) if recipe else {}, _plain(settings))
    with _temporary(options.out, out is None):
        result = run(compiled, _settings(TrainSettings, compiled, values), options)
    return Trained(options.out, result, load_network(options.out))


def report(
    *runs: Found | Trained | str | Path, out: str | Path | None = None, force: bool = False
) -> Path:
    """Write runs and comparisons as a page that opens without a network; its path.

    Args:
        runs: what `search` and `train` returned, or folders of runs, finished or at work.
        out: the page; by default ``report.html`` in the folder of the first, which is replaced.
        force: replace the file ``out``.

    Raises:
        DiagnosticError: D413 (``out`` exists), D415 (no run there), D416 (files are not as the run
            wrote them), D418 (what is no run).
    """
    from bayesnas.runtime.report.page import write_report
    from bayesnas.runtime.runs.ownership import REPORT

    remedy = "name what `search` or `train` returned, or the folder of a run"
    for run in runs:
        if not isinstance(run, Found | Trained | str | Path):
            raise unreadable("runs", run, remedy)
    folders = [run.folder if isinstance(run, Found | Trained) else Path(run) for run in runs]
    if not folders:
        raise DiagnosticError(Diagnostic("D415", "no run to report", help=remedy))
    page = folders[0] / REPORT if out is None else Path(out)
    if out is not None:
        check_free(page, force, "choose another name", "`force=True`")
    write_report(folders, page)
    return page


def _table(name: str, value: Mapping[_Key, _Value] | None, example: str) -> Mapping[_Key, _Value]:
    """An argument that gives values by name; empty where it is left out."""
    if value is not None and not isinstance(value, Mapping):
        raise unreadable(name, value, f"give a dictionary, such as `{example}`")
    return value or {}


def _learning(compiled: Compiled, objective: Mapping[str, str] | None) -> Compiled:
    """With other objectives, where some are given."""
    chosen = _table("objective", objective, '{"logits": "classification"}')
    if not chosen:
        return compiled
    return compiled.learning(parse_objectives(f"{o} = {t}" for o, t in chosen.items()))


def _given(
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


def _reading(data: Data | str, given: DataOptions, standardise: Standardise | None) -> DataOptions:
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


def _options(
    data: Data | str,
    out: str | Path | None,
    seed: int,
    device: str,
    resume: bool,
    force: bool,
    read: DataOptions,
    listeners: Iterable[Listener],
) -> RunOptions:
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


def _plain(settings: Mapping[str, Setting]) -> dict[str, int | float | str]:
    """As a spec has them: `yes` for True, "30, 60" for (30, 60), numbers of NumPy's as Python's."""

    def plain(value: Any) -> Any:
        if hasattr(value, "dtype") and hasattr(value, "item"):
            value = value.item()
        if isinstance(value, bool):
            return "yes" if value else "no"
        return value

    epochs = settings.get("rate_steps")
    more = {"rate_steps": ", ".join(map(str, epochs))} if isinstance(epochs, list | tuple) else {}
    return {name: plain(value) for name, value in settings.items()} | more


@contextmanager
def _temporary(folder: Path, is_temporary: bool) -> Iterator[None]:
    """A temporary folder goes with a run that was refused before it wrote anything."""
    try:
        yield
    except BaseException:
        if is_temporary:
            with suppress(OSError):  # it holds something
                folder.rmdir()
        raise


def _settings(
    cls: type[Settings], compiled: Compiled, given: Mapping[str, int | float | str]
) -> Settings:
    """The spec's settings with those given over them."""
    kind = "search" if cls is SearchSettings else "train"
    for name, value in given.items():
        check_setting(kind, name, value, None)
    settings = make_settings(cls, completed(layered(compiled.settings(kind), given)))
    if isinstance(settings, SearchSettings):
        check_use(given, (settings.strategy,))
    return settings
