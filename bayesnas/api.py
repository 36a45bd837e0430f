"""What a notebook calls: compile a spec, search a space, train what was found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import field, frozen

from bayesnas.arguments import (
    Setting,
    by_name,
    plain_settings,
    reading_of,
    reading_options,
    run_options,
    settings_over,
    temporary,
    whole_numbers,
    with_objectives,
)
from bayesnas.commands.values import parse_budgets, proxy_at, read_latencies
from bayesnas.compiler.graph.model import CostName
from bayesnas.compiler.pipeline import Compiled, compile_spec
from bayesnas.compiler.settings import SearchSettings, TrainSettings, layered
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError
from bayesnas.dsl.files import check_free
from bayesnas.runtime.data.registry import Fit, Level, Standardise, unreadable
from bayesnas.runtime.runs.ownership import spec_file

if TYPE_CHECKING:
    from torch import nn

    from bayesnas.runtime.data.dataset import Data
    from bayesnas.runtime.jobs.search.result import SearchResult
    from bayesnas.runtime.jobs.train import TrainResult
    from bayesnas.runtime.runs.events import Listener


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
    return compile_spec(spec_file(spec), whole_numbers(parameters), network)


def search(
    space: Compiled | str | Path,
    data: Data | str,
    out: str | Path | None = None,
    *,
    seed: int = 0,
    device: str = "auto",
    budget: Mapping[CostName, int | str] | None = None,
    latencies: str | Path | None = None,
    proxy: Mapping[str, int] | None = None,
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
        proxy: parameters of a smaller network with the same choices that is searched in place of
            it: ``{"width": 8}``.
        objective: what outputs learn, by their names: ``{"depth": "regression * 0.1"}``; by default
            what the spec says, or what the data suggest.
        resume: go on with the run in ``out``.
        force: replace the run in ``out``.
        resize: fit image files of ``"folder:PATH"`` or ``"csv:FILE"`` to the network.
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

    compiled = with_objectives(space if isinstance(space, Compiled) else compile(space), objective)
    limits = by_name("budget", budget, '{"flops": "60M"}')
    budgets = parse_budgets([f"{cost}={limit}" for cost, limit in limits.items()])
    given = reading_options(resize, download, data_root, fit, target, level, stream, workers)
    read = reading_of(data, given, standardise)
    if not isinstance(latencies, str | Path | None):
        raise unreadable("latencies", latencies, "give the file that `bayesnas measure` wrote")
    table = read_latencies(None if latencies is None else Path(latencies))
    values = whole_numbers(by_name("proxy", proxy, '{"width": 8}'))
    smaller = proxy_at(compiled, values, "proxy")
    compiled = compiled.priced(table)
    options = run_options(data, out, seed, device, resume, force, read, listeners)
    with temporary(options.out, out is None):
        chosen = settings_over(SearchSettings, compiled, plain_settings(settings))
        result = run(Space(compiled, smaller, budgets, table), chosen, options)
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
        resize: fit image files of ``"folder:PATH"`` or ``"csv:FILE"`` to the network.
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
    compiled = network if isinstance(network, Compiled) else compile(network)
    compiled = with_objectives(compiled, objective)
    given = reading_options(resize, download, data_root, fit, target, level, stream, workers)
    read = reading_of(data, given, standardise)
    options = run_options(data, out, seed, device, resume, force, read, listeners)
    values = layered(recipe_settings(str(recipe)) if recipe else {}, plain_settings(settings))
    with temporary(options.out, out is None):
        result = run(compiled, settings_over(TrainSettings, compiled, values), options)
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
