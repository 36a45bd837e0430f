"""What the words of arguments stand for, and which are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import fields_dict
from hypothesis import given
from hypothesis import strategies as st
from support import compile_text, network

from bayesnas.cli import main
from bayesnas.commands.runs import MAX_THREADS, set_threads
from bayesnas.commands.values import parse_budgets, parse_options
from bayesnas.compiler.settings import OPTIONS
from bayesnas.dsl.diagnostics import DiagnosticError


@given(st.from_regex(r"[1-9][0-9]{0,3}(\.[0-9]{1,4})?[KMG]", fullmatch=True))
def test_a_budget_is_the_same_number_in_a_spec(amount: str) -> None:
    text = network(f"x ~> y : relu | skip\nbudget parameters <= {amount}")
    [of_spec] = compile_text(text).graph.budgets
    [of_option] = parse_budgets([f"parameters={amount}"])
    assert of_option.limit == of_spec.limit


@pytest.mark.parametrize("number", ["9" * 400, "1" * 5000 + "K", "0." + "1" * 400 + "M"])
def test_a_budget_of_very_many_digits(number: str) -> None:
    with pytest.raises(DiagnosticError) as caught:
        parse_budgets([f"flops={number}"])
    [diagnostic] = caught.value.diagnostics
    assert diagnostic.code == "D418"
    assert diagnostic.message == f"a number of {len(number)} digits for `--budget flops`"
    assert diagnostic.help == "write at most 100 digits"


@pytest.mark.parametrize(
    ("count", "remedy"),
    [
        (-1, "write 1 or more, or leave `--threads` out"),
        (0, "write 1 or more, or leave `--threads` out"),
        (MAX_THREADS + 1, f"write at most {MAX_THREADS}, or leave `--threads` out"),
        (100_000, f"write at most {MAX_THREADS}, or leave `--threads` out"),
        (10**30, f"write at most {MAX_THREADS}, or leave `--threads` out"),
    ],
)
def test_threads_that_cannot_be(count: int, remedy: str) -> None:
    with pytest.raises(DiagnosticError) as caught:
        set_threads(count)
    [diagnostic] = caught.value.diagnostics
    assert diagnostic.code == "D418"
    assert diagnostic.message == f"cannot use {count} threads"
    assert diagnostic.help == remedy


NUMBERS = [
    (kind, name)
    for kind, settings in OPTIONS.items()
    for name, setting in fields_dict(settings).items()
    if isinstance(setting.default, int | float)
]


@pytest.mark.parametrize("value", ["nan", "-nan", "inf", "-inf", "1e999", "9" * 400, "9" * 5000])
@pytest.mark.parametrize(("kind", "name"), NUMBERS)
def test_a_setting_that_is_no_number_to_count_with(kind: str, name: str, value: str) -> None:
    with pytest.raises(DiagnosticError) as caught:
        parse_options(kind, [f"{name}={value}"])
    [diagnostic] = caught.value.diagnostics
    assert diagnostic.code == "D231"
    assert diagnostic.message.endswith(f"of `{name}`")


def test_a_sample_and_a_count_keep_to_the_budget_of_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Over that of the spec, for the cost that it names."""
    spec = tmp_path / "space.nas"
    body = "x ~> y : conv(1) | conv(3)\nretain 1 into y\nbudget parameters <= 1K"
    spec.write_text(network(body), encoding="utf-8")
    for seed in range(5):
        budget = ["--budget", "parameters=30"]
        assert main(["sample", str(spec), "--seed", str(seed), *budget]) == 0
        assert "x -> y : conv(1)" in capsys.readouterr().out
    assert main(["count", str(spec), "--budget", "parameters=30"]) == 0
    assert "budget parameters <= 30  members have " in capsys.readouterr().out
    assert main(["sample", str(spec), "--budget", "parameters=3"]) == 1
    assert capsys.readouterr().err.startswith(
        "error[D604]: no member of the space was found inside the budget\n"
        "  = note: budget: parameters <= 3\n"
    )
