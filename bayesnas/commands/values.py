"""What the words of arguments stand for: parameters, budgets, settings, seeds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from bayesnas.compiler.settings import SearchSettings, check_setting, layered, make_settings
from bayesnas.dsl.amounts import AMOUNT, DURATION, MAX_DIGITS, amount_value, is_duration
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, check_idle, quote, suggest

if TYPE_CHECKING:
    from bayesnas.compiler.graph.model import BudgetConstraint
    from bayesnas.compiler.objectives import Objective
    from bayesnas.compiler.pipeline import Compiled
    from bayesnas.compiler.space.latencies import Latencies
    from bayesnas.runtime.runs.record import AutoBatch
    from bayesnas.runtime.weights.choice import Share


def parse_values(texts: Sequence[str], option: str = "--set") -> dict[str, int]:
    """``--set`` arguments, or another option's, as numbers by name.

    Raises:
        DiagnosticError: D417 (not ``name=whole number``).
    """
    values = {}
    for text in texts:
        name, equals, number = (part.strip() for part in text.partition("="))
        try:
            values[name] = int(number)
        except ValueError:
            equals = ""
        if not equals or not name.isidentifier():
            raise DiagnosticError(
                Diagnostic(
                    "D417",
                    f"cannot read `{option} {text}`",
                    help=f"write `{option} NAME=NUMBER` with a whole number, as in "
                    f"`{option} cells=3`",
                )
            )
    return values


def proxy_at(wanted: Compiled, values: Mapping[str, int], option: str) -> Compiled | None:
    """The network at other values of its parameters, to be searched instead, if some are given.

    Raises:
        DiagnosticError: D423 (the values of ``option`` are its own); what compiling raises.
    """
    if not values:
        return None
    smaller = wanted.at(values)
    if smaller.graph.root.parameters == wanted.graph.root.parameters:
        remedy = "leave it out, or give a parameter another value than the network has"
        check_idle([option], "with the network's own values", remedy)
    return smaller


def parse_budgets(texts: Sequence[str]) -> tuple[BudgetConstraint, ...]:
    """``--budget`` arguments; of several for one cost the last holds.

    Raises:
        DiagnosticError: D418 (not ``flops=AMOUNT``, ``parameters=AMOUNT`` or ``latency=TIME``, or
            too many digits).
    """
    from bayesnas.compiler.graph.model import BudgetConstraint, CostName

    budgets: dict[str, BudgetConstraint] = {}
    costs: dict[str, Any] = {name: name for name in get_args(CostName)}
    for text in texts:
        match = re.fullmatch(rf"\s*(\w+)\s*<?=\s*({DURATION}|{AMOUNT})\s*", text)
        if match is None or match[1] not in costs:
            remedy = "write `--budget flops=60M`, or `parameters=500K`, or `latency=5ms`"
            if match is not None:
                remedy = suggest(match[1], costs, f"a budget is of {quote(costs, 'or')}")
            raise DiagnosticError(Diagnostic("D418", f"cannot read `--budget {text}`", help=remedy))
        cost, amount = match.groups()
        _check_digits(amount, f"--budget {cost}")
        _check_unit(cost, amount, text)
        budgets[cost] = BudgetConstraint(costs[cost], amount_value(amount))
    return tuple(budgets.values())


def _check_unit(cost: str, amount: str, text: str) -> None:
    """Refuse a time of what is counted, and a count of time.

    Raises:
        DiagnosticError: D418.
    """
    timed = cost == "latency"
    if is_duration(amount) != timed:
        kind = "a time" if timed else "no time"
        remedy = "write `latency=5ms`, or `us` or `s`" if timed else f"write `{cost}=60M`"
        message = f"cannot read `--budget {text}`: {cost} is {kind}"
        raise DiagnosticError(Diagnostic("D418", message, help=remedy))


def read_latencies(file: Path | None) -> Latencies | None:
    """The table of ``--latencies``, if there is one.

    Raises:
        DiagnosticError: D402, D440 (the file is none).
    """
    if file is None:
        return None
    from bayesnas.compiler.space.latency_file import read_latencies as read

    return read(file)


def parse_objectives(texts: Iterable[str]) -> tuple[Objective, ...]:
    """``--objective`` arguments, each an entry of a ``learn`` block; the last of an output holds.

    Raises:
        DiagnosticError: D418 (not ``PORT=OBJECTIVE``), D233 and D234 (no such objective, option or
            weight).
    """
    from bayesnas.compiler.objectives import read_objective

    return tuple({o.port: o for o in map(read_objective, texts)}.values())


def parse_shares(texts: Sequence[str]) -> tuple[BudgetConstraint | Share, ...]:
    """``--budget`` arguments, each an amount or a share of what a network costs.

    Raises:
        DiagnosticError: D418 (neither, no share from above 0 to 100 %, or none at all).
    """
    from bayesnas.compiler.graph.model import CostName
    from bayesnas.runtime.weights.choice import Share

    costs = get_args(CostName)
    share = rf"\s*({'|'.join(costs)})\s*<?=\s*(\d{{1,3}}(?:\.\d{{1,9}})?)\s*%\s*"
    result: list[BudgetConstraint | Share] = []
    for text in texts:
        match = re.fullmatch(share, text)
        if match is None and "%" not in text:
            result += parse_budgets([text])
        elif match is None or not 0 < float(match[2]) <= 100:
            remedy = "write a share above 0 and up to 100, as in `--budget flops=50%`"
            raise DiagnosticError(Diagnostic("D418", f"cannot read `--budget {text}`", help=remedy))
        else:
            [cost] = [name for name in costs if name == match[1]]
            result.append(Share(cost, float(match[2])))
    return tuple(result)


def _check_digits(number: str, option: str) -> None:
    if len(number) > MAX_DIGITS:
        message = f"a number of {len(number)} digits for `{option}`"
        remedy = f"write at most {MAX_DIGITS} digits"
        raise DiagnosticError(Diagnostic("D418", message, help=remedy))


def chosen_settings(
    compiled: Compiled,
    kind: str,
    options: Sequence[str],
    recipe: str | None = None,
    option: str = "--option",
) -> dict[str, Any]:
    """The spec's settings, with a recipe's and then those of ``--option`` over them.

    Args:
        compiled: the spec.
        kind: search or train.
        options: of the command line.
        recipe: a recipe's name or file.
        option: what they are given by.

    Raises:
        DiagnosticError: D401 (no such recipe), D418 (not ``name=value``), D230, D231.
    """
    from bayesnas.compiler.recipes import recipe_settings

    chosen = recipe_settings(recipe) if recipe else {}
    return layered(compiled.settings(kind), chosen, parse_options(kind, options, option))


def parse_options(kind: str, options: Sequence[str], option: str = "--option") -> dict[str, Any]:
    """``--option`` arguments, or another option's; ``kind`` is a name of `OPTIONS`.

    Raises:
        DiagnosticError: D418 (not ``name=value``), D230, D231.
    """
    settings: dict[str, Any] = {}
    for text in options:
        name, equals, word = (part.strip() for part in text.partition("="))
        if not equals or not word or not name:
            remedy = f"write `{option} NAME=VALUE`; `bayesnas {kind} SPEC --option help` lists them"
            raise DiagnosticError(Diagnostic("D418", f"cannot read `{option} {text}`", help=remedy))
        value = _value(word)
        check_setting(kind, name, value, None)
        settings[name] = value
    return settings


def parse_sweeps(texts: Sequence[str]) -> dict[str, list[int | float | str]]:
    """``--sweep`` arguments: values of settings of a search, each once.

    A name that is given again adds its values.

    Raises:
        DiagnosticError: D418 (not ``NAME=A,B``), D230, D231.
    """
    sweeps: dict[str, list[int | float | str]] = {}
    for text in texts:
        name, equals, words = (part.strip() for part in text.partition("="))
        if not equals or not name or not words.strip(", "):
            remedy = "write `--sweep NAME=A,B`, as in `--sweep warmup_epochs=5,10`"
            raise DiagnosticError(Diagnostic("D418", f"cannot read `--sweep {text}`", help=remedy))
        given = [f"{name}={word}" for word in split_words(words, "--sweep", f"{name}=1,2")]
        settings = [make_settings(SearchSettings, parse_options("search", [one])) for one in given]
        values = (getattr(one, name) for one in settings)
        sweeps[name] = [*dict.fromkeys([*sweeps.get(name, ()), *values])]
    return sweeps


def _value(word: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    return word


def parse_batch(text: str | None, options: Sequence[str]) -> int | AutoBatch | None:
    """``--batch-size``: a number, or ``auto`` with or without the most that it may be.

    Args:
        text: what was given; None where nothing was.
        options: those of ``--option``, which may not say another batch size.

    Raises:
        DiagnosticError: D418 (neither), D423 (both are given), D231 (a number that cannot be).
    """
    if text is None:
        return None
    if any(option.partition("=")[0].strip() == "batch_size" for option in options):
        check_idle(["--option batch_size"], "beside `--batch-size`", "give one of the two")
    match = re.fullmatch(r"(auto:)?(\d{1,9})|auto", text.strip())
    if match is None:
        remedy = "write `--batch-size 64`, or `auto`, or `auto:256`"
        message = f"cannot read `--batch-size {text}`"
        raise DiagnosticError(Diagnostic("D418", message, help=remedy))
    from bayesnas.runtime.runs.record import AutoBatch

    if match[2] is None:
        return AutoBatch()
    count = int(match[2])
    check_setting("train", "batch_size", count, None)
    return AutoBatch(count) if match[1] else count


def split_words(text: str, option: str, example: str) -> list[str]:
    """Words between commas, each once.

    Raises:
        DiagnosticError: D418 (none).
    """
    words = list(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    if not words:
        remedy = f"name at least one, as in `{option} {example}`"
        raise DiagnosticError(Diagnostic("D418", f"`{option}` names nothing", help=remedy))
    return words


def parse_seed(text: str) -> int:
    """A seed of ``--seeds``.

    Raises:
        DiagnosticError: D418 (no whole number, or too large).
    """
    if not re.fullmatch(r"[0-9]{1,10}", text):
        remedy = "write whole numbers between commas, as in `--seeds 0,1,2`"
        raise DiagnosticError(Diagnostic("D418", f"cannot read the seed `{text}`", help=remedy))
    check_seed(int(text))
    return int(text)


def check_seed(seed: int) -> None:
    """Refuse a seed that PyTorch cannot take.

    Raises:
        DiagnosticError: D418.
    """
    if not isinstance(seed, Integral) or isinstance(seed, bool) or not 0 <= seed < 2**32:
        remedy = f"write a whole number from 0 to {2**32 - 1}"
        raise DiagnosticError(Diagnostic("D418", f"cannot use the seed {seed}", help=remedy))
