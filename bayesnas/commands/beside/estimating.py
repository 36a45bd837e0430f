"""``bayesnas estimate``: what a search and a training will take, before any of it is done."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bayesnas.commands.arguments import (
    Command,
    add_data,
    add_objective,
    add_option,
    add_recipe,
    add_spec,
    add_standardise,
)
from bayesnas.commands.runs import run_options
from bayesnas.commands.searching import add_space, add_strategy, settings_of, space_of
from bayesnas.commands.tables import columns, heading
from bayesnas.commands.values import chosen_settings
from bayesnas.compiler.settings import SearchSettings, TrainSettings, make_settings
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, check_idle
from bayesnas.dsl.terminal import put, say

if TYPE_CHECKING:
    from bayesnas.runtime.jobs.costs.estimate import Estimate, Phase

LATENCY: Final = "latency, sum of operations"

_BYTES: Final = {
    "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40,
}  # fmt: skip


def _add_estimate(parser: argparse.ArgumentParser) -> None:
    add_spec(parser)
    add_data(parser, required=True)
    add_standardise(parser)
    add_objective(parser)
    add_strategy(parser)
    add_space(parser)
    add_recipe(parser)
    add_option(parser, "search")
    parser.add_argument(
        "--memory",
        metavar="SIZE",
        help="what the largest batch is to fit: 8GiB; default what is free",
    )
    parser.add_argument("--json", action="store_true", help="print the estimate as JSON")


def _estimate(options: argparse.Namespace) -> int:
    from bayesnas.runtime.jobs.costs.estimate import estimate

    memory = None if options.memory is None else parse_bytes(options.memory)
    space = space_of(options)
    compiled, kind = space.wanted, "search" if space.wanted.graph.searched() else "train"
    if kind == "search":
        search = settings_of(options, compiled)
        training = chosen_settings(compiled, "train", (), options.recipe)
    else:
        _check_no_search(options)
        search = SearchSettings()
        training = chosen_settings(compiled, "train", options.option, options.recipe)
    run = run_options(options, Path())
    result = estimate(space, search, make_settings(TrainSettings, training), run, memory)
    if options.json:
        put(json.dumps(result.record(), indent=1) + "\n")
        return 0
    say(heading(compiled) + f" on {options.data}", *_lines(result))
    return 0


def _check_no_search(options: argparse.Namespace) -> None:
    """Refuse what is for a search where there is nothing to search.

    Raises:
        DiagnosticError: D423.
    """
    names = ("strategy", "budget", "proxy", "latencies", "compress")
    given = [f"--{name}" for name in names if getattr(options, name)]
    if given:
        check_idle(given, "with a network that has nothing to search", "leave it out")


def parse_bytes(text: str) -> int:
    """The bytes that a size stands for: ``8GiB``, ``500 MB``.

    Raises:
        DiagnosticError: D418.
    """
    match = re.fullmatch(r"\s*(\d{1,15}(?:\.\d{1,9})?)\s*([A-Za-z]*)\s*", text)
    unit = _BYTES.get(match[2].upper()) if match else None
    count = int(float(match[1]) * unit) if match and unit else 0
    if not count:
        remedy = "write a number and a unit, as in `--memory 8GiB`"
        raise DiagnosticError(Diagnostic("D418", f"cannot read `--memory {text}`", help=remedy))
    return count


def _lines(result: Estimate) -> list[str]:
    """The estimate for people, a column for each phase."""
    from bayesnas.runtime.jobs.memory import size

    machine, free = result.machine, result.memory
    threads = f"{machine['threads']} thread{'' if machine['threads'] == 1 else 's'}"
    where = machine.get("gpu") or f"{machine['processor']}, {threads}"
    rows = [_column(phase) for phase in result.phases]
    largest = "largest batch" if free is None else f"largest batch in {size(free)}"
    for row, phase in zip(rows, result.phases, strict=True):
        row[largest] = _batch(phase.largest_batch)
    heads = ("", *(f"{phase.work}: {phase.network}" for phase in result.phases))
    return [
        f"  {result.examples:,} examples to train, {result.tested:,} to test; {where}",
        "",
        *columns(heads, [(name, *(row.get(name, "-") for row in rows)) for name in rows[0]]),
    ]


def _batch(count: int | None) -> str:
    if count is None:
        return "not known"
    return f"{count:,}" if count else "none fits"


def _column(phase: Phase) -> dict[str, str]:
    from bayesnas.compiler.graph.cost import cost_text
    from bayesnas.runtime.jobs.memory import size
    from bayesnas.runtime.runs.progress import duration

    measured = phase.measured_bytes
    times = [
        f"{seconds:.3g} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"
        for seconds, count in zip(phase.step_seconds, phase.steps, strict=True)
        if count
    ]
    time = phase.cost.latency
    latency = {} if time is None else {LATENCY: cost_text("latency", time)}
    return {
        "parameters": f"{phase.cost.parameters:,}",
        "FLOPs of an example": f"{phase.cost.flops:,}",
        **latency,
        "batch size": f"{phase.batch_size:,}",
        "memory of a step": size(phase.step_bytes),
        "the same, measured": "-" if measured is None else size(measured),
        "time of a step": ", then ".join(times) or "-",
        "steps": f"{sum(phase.steps):,}",
        "steps take": duration(phase.seconds - phase.looks_seconds),
        "judgements and tests take": duration(phase.looks_seconds),
        "together": duration(phase.seconds),
    }


ESTIMATE = Command(
    "estimate",
    "Say what a search and a training will take: memory, hours, the largest batch.",
    _add_estimate,
    _estimate,
)
