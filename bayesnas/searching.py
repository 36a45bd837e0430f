"""``bayesnas search`` and ``bayesnas compare``."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, get_args

from attrs import evolve

from bayesnas.cli import parse_values
from bayesnas.commands import (
    check_seed,
    chosen_settings,
    columns,
    cost_texts,
    run_options,
    say_advice,
)
from bayesnas.compiler.graph.model import BudgetConstraint, CostName
from bayesnas.compiler.pipeline import compile_spec
from bayesnas.compiler.settings import (
    SearchSettings,
    TrainSettings,
    check_setting,
    check_use,
    make_settings,
)
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, quote, suggest

if TYPE_CHECKING:
    from bayesnas.runtime.jobs.search import Space

_FACTORS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}


def search_command(options: argparse.Namespace) -> int:
    """``bayesnas search``."""
    from bayesnas.runtime.jobs.search import search

    space = _space(options)
    values = chosen_settings(space.wanted, "search", options.option)
    if options.strategy is not None:
        check_setting("search", "strategy", options.strategy, None)
        values["strategy"] = options.strategy
    settings = make_settings(SearchSettings, values)
    _check_use(options.option, (settings.strategy,))
    result = search(space, settings, run_options(options))
    print(
        f"searched in {result.seconds:.0f} s by `{result.strategy}`, "
        f"{result.images_trained:,} images trained on; {options.out / 'pruned.nas'}:"
    )
    print(columns(("", "parameters", "FLOPs", "operations"), [
        ("supernet", *cost_texts(result.supernet), f"{result.operations:,}"),
        ("found", *cost_texts(result.found), f"{result.operations_left:,}"),
    ]))  # fmt: skip
    print(f"figure: {result.figure}")
    say_advice(result.advice)
    return 0


def compare_command(options: argparse.Namespace) -> int:
    """``bayesnas compare``: every strategy with every seed, found networks trained from scratch."""
    from bayesnas.runtime.jobs.comparison import compare, summaries, write_comparison

    space = _space(options)
    strategies = _listed(options.strategies, "--strategies", "evidence,random")
    for name in strategies:
        check_setting("search", "strategy", name, None)
    seeds = [_seed(text) for text in _listed(options.seeds, "--seeds", "0,1,2")]
    options.seed = seeds[0]
    settings = make_settings(
        SearchSettings, chosen_settings(space.wanted, "search", options.option)
    )
    _check_use(options.option, strategies)
    schedule = make_settings(TrainSettings, chosen_settings(space.wanted, "train", ()))
    runs = [
        (evolve(settings, strategy=name), evolve(run_options(options), seed=seed))
        for seed in seeds
        for name in strategies
    ]
    entries = compare(space, runs, schedule)
    figure = write_comparison(entries, options.out)
    print(columns(
        ("strategy", "test accuracy", "parameters", "FLOPs", "images trained", "seconds"),
        [summary.texts() for summary in summaries(entries)],
    ))  # fmt: skip
    print(f"{len(seeds)} seed{'s' if len(seeds) > 1 else ''}, mean ± standard deviation; {figure}")
    return 0


def _check_use(given: Sequence[str], strategies: Sequence[str]) -> None:
    """Refuse an ``--option`` that none of the strategies uses.

    Raises:
        DiagnosticError: D232.
    """
    check_use([text.partition("=")[0].strip() for text in given], strategies)


def _listed(text: str, option: str, example: str) -> list[str]:
    """Words between commas, each once.

    Raises:
        DiagnosticError: D418 (none).
    """
    words = list(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    if not words:
        remedy = f"name at least one, as in `{option} {example}`"
        raise DiagnosticError(Diagnostic("D418", f"`{option}` names nothing", help=remedy))
    return words


def _seed(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,10}", text):
        remedy = "write whole numbers between commas, as in `--seeds 0,1,2`"
        raise DiagnosticError(Diagnostic("D418", f"cannot read the seed `{text}`", help=remedy))
    check_seed(int(text))
    return int(text)


def _space(options: argparse.Namespace) -> Space:
    """The space of a search: the network, its proxy, its budgets."""
    from bayesnas.runtime.jobs.search import Space

    values = parse_values(options.set)
    wanted = compile_spec(options.spec, values, options.network)
    proxy = None
    if options.proxy:
        smaller = values | parse_values(options.proxy, "--proxy")
        proxy = compile_spec(options.spec, smaller, options.network)
    return Space(wanted, proxy, parse_budgets(options.budget))


def parse_budgets(texts: Sequence[str]) -> tuple[BudgetConstraint, ...]:
    """``--budget`` arguments.

    Raises:
        DiagnosticError: D418 (not ``flops=AMOUNT`` or ``parameters=AMOUNT``).
    """
    found: dict[str, BudgetConstraint] = {}
    costs: dict[str, Any] = {name: name for name in get_args(CostName)}
    for text in texts:
        match = re.fullmatch(r"\s*(\w+)\s*<?=\s*(\d+(?:\.\d+)?)([KMG]?)\s*", text)
        if match is None or match[1] not in costs:
            remedy = "write `--budget flops=60M` or `--budget parameters=500K`"
            if match is not None:
                remedy = suggest(match[1], costs, f"a budget is of {quote(costs, 'or')}")
            raise DiagnosticError(Diagnostic("D418", f"cannot read `--budget {text}`", help=remedy))
        limit = int(float(match[2]) * _FACTORS[match[3]])
        found[match[1]] = BudgetConstraint(costs[match[1]], limit)
    return tuple(found.values())
