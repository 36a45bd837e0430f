"""``bayesnas search`` and ``bayesnas compare``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from bayesnas.commands.arguments import (
    Command,
    add_budget,
    add_data,
    add_latencies,
    add_log,
    add_objective,
    add_option,
    add_out_folder,
    add_recipe,
    add_run,
    add_spec,
    add_standardise,
    add_stream,
)
from bayesnas.commands.beside.reporting import say_report
from bayesnas.commands.runs import batch_setting, run_options
from bayesnas.commands.tables import columns, cost_heads, cost_texts, say_advice
from bayesnas.commands.values import (
    chosen_settings,
    parse_budgets,
    parse_objectives,
    parse_seed,
    parse_sweeps,
    parse_values,
    proxy_at,
    read_latencies,
    split_words,
)
from bayesnas.compiler.settings import (
    STRATEGIES,
    SearchSettings,
    TrainSettings,
    check_setting,
    check_use,
    completed,
    make_settings,
    users,
)
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, check_idle, quote
from bayesnas.dsl.terminal import say

if TYPE_CHECKING:
    from bayesnas.compiler.pipeline import Compiled
    from bayesnas.runtime.jobs.comparison.cluster import Cluster
    from bayesnas.runtime.jobs.comparison.table import Entry
    from bayesnas.runtime.jobs.search.space import Space


def _add_search(parser: argparse.ArgumentParser) -> None:
    add_run(parser, "search")
    add_strategy(parser)
    add_space(parser)


def add_strategy(parser: argparse.ArgumentParser) -> None:
    """How a search judges."""
    parser.add_argument("--strategy", metavar="NAME", help=f"one of {', '.join(STRATEGIES)}")
    parser.add_argument(
        "--compress",
        action="store_true",
        help="search the widths of layers as well: `--option compress=yes`",
    )
    parser.add_argument(
        "--wanted-epochs",
        metavar="N",
        dest="option",
        action="append",
        default=[],
        type="wanted_epochs={}".format,
        help="how long the result will be trained: `--option wanted_epochs=N`; default as the "
        "`train` block says",
    )


def add_space(parser: argparse.ArgumentParser) -> None:
    """Budgets, what prices them, and a proxy."""
    add_budget(parser, "the found network")
    add_latencies(parser)
    parser.add_argument(
        "--proxy",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="search in a network with this parameter instead, for the one wanted; may be repeated",
    )


def _search(options: argparse.Namespace) -> int:
    from bayesnas.runtime.jobs.search.search import search

    space = space_of(options)
    settings = settings_of(options, space.wanted)
    run = run_options(options, options.out, options.seed, options.resume, options.force)
    result = search(space, settings, run)
    given = chosen_settings(space.wanted, "search", options.option)
    if settings.compress == "yes" and not options.strategy and "strategy" not in given:
        _note_strategy(settings.strategy)
    say(
        f"searched in {result.seconds:.0f} s by `{result.strategy}`, "
        f"{result.images_trained:,} examples trained on; {options.out / 'pruned.nas'}:"
    )
    say(*columns(("", *cost_heads(result.found), "operations"), [
        ("supernet", *cost_texts(result.supernet), f"{result.operations:,}"),
        ("found", *cost_texts(result.found), f"{result.operations_left:,}"),
    ]))  # fmt: skip
    say(f"figure: {result.figure}")
    say_advice(result.advice)
    say_report([options.out], options.out)
    return 0


def _note_strategy(strategy: str) -> None:
    """Say who searched widths, where nobody was named."""
    from bayesnas.runtime.runs.progress import say_note

    usual, others = SearchSettings().strategy, {*users("compress")} - {strategy}
    ways = quote([f"--strategy {name}" for name in sorted(others)], "or")
    say_note(f"widths are searched by `{strategy}`, or with {ways}; `{usual}` keeps all channels")


def settings_of(options: argparse.Namespace, compiled: Compiled) -> SearchSettings:
    """The settings of a search: the spec's, and those of ``--option`` and options of their own.

    Raises:
        DiagnosticError: D230 to D232, D418, D423 (a setting is wrong or does nothing).
    """
    values = chosen_settings(compiled, "search", options.option)
    if options.strategy is not None:
        _check_strategy(options.option, "--strategy")
        check_setting("search", "strategy", options.strategy, None)
        values["strategy"] = options.strategy
    if options.compress:
        if any(given.partition("=")[0].strip() == "compress" for given in options.option):
            check_idle(["--option compress"], "beside `--compress`", "pass one of the two")
        values["compress"] = "yes"
    settings = make_settings(SearchSettings, completed(values | batch_setting(options)))
    batch = ["batch_size"] if getattr(options, "batch_size", None) else []
    widths = ["compress"] if options.compress else []
    _check_use([*options.option, *batch, *widths], (settings.strategy,))
    return settings


def space_of(options: argparse.Namespace) -> Space:
    """The space of a search: the network, its proxy, its budgets.

    Raises:
        DiagnosticError: D423 (the proxy is the network itself); what `compile_spec`,
            `read_latencies` and `Compiled.priced` raise.
    """
    from bayesnas.commands.inputs import given_spec
    from bayesnas.runtime.jobs.search.space import Space

    values = parse_values(options.set)
    objectives = parse_objectives(options.objective)
    wanted = given_spec(options, values).learning(objectives)
    proxy = proxy_at(wanted, parse_values(options.proxy, "--proxy"), "--proxy")
    table = read_latencies(options.latencies)
    return Space(wanted.priced(table), proxy, parse_budgets(options.budget), table)


SEARCH = Command(
    "search",
    "Search a space; writes pruned.nas and its figure.",
    _add_search,
    _search,
    together=True,
)


def _add_compare(parser: argparse.ArgumentParser) -> None:
    add_spec(parser)
    add_data(parser, required=True)
    add_stream(parser)
    add_standardise(parser)
    add_objective(parser)
    add_out_folder(parser, True, "folder to write; what is finished there is not done again")
    parser.add_argument(
        "--strategies",
        metavar="A,B",
        default="posterior,random,largest",
        help=f"some of {', '.join(STRATEGIES)}; default %(default)s",
    )
    parser.add_argument("--seeds", metavar="0,1,2", default="0,1,2", help="default %(default)s")
    add_option(parser, "search")
    parser.add_argument(
        "--sweep",
        metavar="NAME=A,B",
        action="append",
        default=[],
        help="a setting of the search that takes each of these values; may be repeated",
    )
    add_option(parser, "train", "--train-option")
    add_recipe(parser)
    _add_cluster(parser)
    add_log(parser)
    add_space(parser)


def _add_cluster(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--cluster",
        metavar="ADDRESS",
        help="compute on Ray: `local` starts it here, HOST:PORT joins one; a task for each search",
    )
    parser.add_argument(
        "--gpus-per-cell",
        metavar="N",
        type=float,
        help="GPUs of each search on the cluster; default 1 where this machine has one, else 0",
    )


def _compare(options: argparse.Namespace) -> int:
    """Every strategy with every seed, found networks trained from scratch."""
    from bayesnas.runtime.jobs.comparison.cells import make_cells
    from bayesnas.runtime.jobs.comparison.compare import compare
    from bayesnas.runtime.jobs.comparison.table import Entry, Failure, write_comparison

    space = space_of(options)
    _check_strategy(options.option, "--strategies")
    strategies = split_words(options.strategies, "--strategies", "evidence,random")
    for name in strategies:
        check_setting("search", "strategy", name, None)
    seeds = [parse_seed(text) for text in split_words(options.seeds, "--seeds", "0,1,2")]
    settings = make_settings(
        SearchSettings, chosen_settings(space.wanted, "search", options.option)
    )
    sweeps = parse_sweeps(options.sweep)
    _check_sweeps(sweeps, options.option)
    _check_use([*options.option, *options.sweep], strategies)
    if "shared" in (settings.result, *sweeps.get("result", ())):
        where = "in a comparison, which trains all that is found from scratch"
        check_idle(["result = shared"], where, "leave it out, and `search` with it")
    training = chosen_settings(
        space.wanted, "train", options.train_option, options.recipe, "--train-option"
    )
    schedule = make_settings(TrainSettings, training)
    run = run_options(options, options.out, force=options.force)
    cells = make_cells(settings, run, strategies, seeds, sweeps)
    outcomes = compare(space, cells, schedule, _cluster(options))
    figure = write_comparison(outcomes, options.out)
    if entries := [one for one in outcomes if isinstance(one, Entry)]:
        _say_entries(entries, [*sweeps])
        several = "s" if len(seeds) > 1 else ""
        say(f"{len(seeds)} seed{several}, mean ± standard deviation; {figure}")
        say_report([options.out], options.out)
    failures = [one for one in outcomes if isinstance(one, Failure)]
    for failure in failures:
        say(f"failed: {failure.cell.name}: {failure.reason}")
    if failures:
        raise DiagnosticError(*(d for one in failures for d in one.told()), status=1)
    return 0


def _say_entries(entries: Sequence[Entry], swept: Sequence[str]) -> None:
    """The table of a comparison."""
    from bayesnas.runtime.jobs.comparison.table import summaries

    metric = f"test {entries[0].metric}"
    outputs = [f"{port} {name}" for port, (name, _) in entries[0].outputs.items()]
    costs = ("parameters", "FLOPs", "examples trained on", "seconds")
    head = ("strategy", *swept, metric, *outputs, *costs)
    say(*columns(head, [summary.texts(swept) for summary in summaries(entries)]))


def _cluster(options: argparse.Namespace) -> Cluster | None:
    """Where the cells are computed, if not here one after another.

    Raises:
        DiagnosticError: D418 (GPUs that cannot be), D423 (GPUs of no cluster).
    """
    gpus = options.gpus_per_cell
    if options.cluster is None:
        if gpus is not None:
            remedy = "add `--cluster local`, or leave it out"
            check_idle(["--gpus-per-cell"], "without `--cluster`", remedy)
        return None
    import torch

    from bayesnas.runtime.jobs.comparison.cluster import Cluster

    if gpus is None:
        gpus = float(options.device != "cpu" and torch.cuda.is_available())
    if not (0 < gpus < 1 or gpus in range(1025)):
        remedy = "write a whole number, or a share of one GPU, as in `--gpus-per-cell 0.5`"
        raise DiagnosticError(Diagnostic("D418", f"cannot use {gpus:g} GPUs", help=remedy))
    return Cluster(options.cluster, gpus, options.threads or 1)


def _check_sweeps(
    sweeps: Mapping[str, Sequence[int | float | str]], options: Sequence[str]
) -> None:
    """Refuse a setting that is given twice.

    Raises:
        DiagnosticError: D423.
    """
    if "strategy" in sweeps:
        remedy = "leave it out: `--strategies` says how to search"
        check_idle(["--sweep strategy"], "beside `--strategies`", remedy)
    for name in _names(options):
        if name in sweeps:
            remedy = "leave it out, or add its value to those of `--sweep`"
            check_idle([f"--option {name}"], f"beside `--sweep {name}`", remedy)


def _check_strategy(options: Sequence[str], named: str) -> None:
    """Refuse a strategy among the ``--option`` where the option ``named`` says which.

    Raises:
        DiagnosticError: D423.
    """
    if "strategy" in _names(options):
        remedy = f"leave it out: `{named}` says how to search"
        check_idle(["--option strategy"], f"beside `{named}`", remedy)


def _names(options: Sequence[str]) -> list[str]:
    """Of the settings given by ``--option``."""
    return [text.partition("=")[0].strip() for text in options]


def _check_use(options: Sequence[str], strategies: Sequence[str]) -> None:
    """Refuse an ``--option`` that none of the strategies uses.

    Raises:
        DiagnosticError: D232.
    """
    check_use(_names(options), strategies)


COMPARE = Command(
    "compare", "Compare strategies: search, retrain and tabulate each.", _add_compare, _compare
)
