"""Every strategy is found by its name, and says rightly which settings it uses."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from attrs import asdict, fields_dict
from living import CELLS, images
from support import assert_style, compile_text

from bayesnas import api, cli
from bayesnas.compiler.settings import (
    STRATEGIES,
    SearchSettings,
    check_use,
    unused_settings,
    users,
)
from bayesnas.compiler.space.prices import Prices
from bayesnas.dsl.diagnostics import DiagnosticError
from bayesnas.runtime.strategies.interface import Problem, Strategy
from bayesnas.runtime.strategies.registry import strategy_class
from bayesnas.runtime.supernet.supernet import Supernet

SPACE = compile_text(CELLS)
ALL = fields_dict(SearchSettings).keys()
# What the search itself reads, for every strategy that trains.
OF_THE_SEARCH = {
    *("strategy", "warmup_epochs", "rounds", "epochs", "class_weights", "compress", "result")
}


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_name_is_a_strategy_with_a_word_of_its_own(name: str) -> None:
    found = strategy_class(name)
    assert issubclass(found, Strategy)
    assert found.__module__.startswith("bayesnas.runtime.strategies.")
    assert f"`{name}`" in str(sys.modules[found.__module__].__doc__)


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_settings_it_uses_are_settings(name: str) -> None:
    used = STRATEGIES[name].settings
    assert len(set(used)) == len(used)
    assert set(used) < set(ALL)
    assert set(used) == {s for s in ALL if name in users(s)} - {"strategy"}


class Read:
    """Settings that remember which of them were read."""

    def __init__(self, settings: SearchSettings) -> None:
        self.values = asdict(settings)
        self.read: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        self.read.add(name)
        return self.values[name]


@pytest.mark.parametrize("name", STRATEGIES)
def test_what_it_uses_is_what_it_reads(name: str) -> None:
    """In a search of two rounds, with a member drawn at its end if it draws at all."""
    if not strategy_class(name).trains:
        assert STRATEGIES[name].settings == ()
        return
    settings: Any = Read(SearchSettings(strategy=name, batch_size=16))
    net = Supernet(SPACE.graph, "net", images(), settings, 3, torch.device("cpu"))
    problem = Problem(net, Prices.of(SPACE.graph, ()), settings, 3)
    strategy = strategy_class(name)(problem)
    for number in range(3):
        for inputs, labels in net.batches(2):
            strategy.step(inputs, labels, bool(number))
        if number:
            strategy.update(number, 2)
    strategy.remedy()
    strategy.finish()
    assert settings.read - OF_THE_SEARCH == set(STRATEGIES[name].settings) - OF_THE_SEARCH


# -------------------------------------------------------------------------------------- unused


def test_what_none_of_some_strategies_uses() -> None:
    assert unused_settings(("epochs", "lambda_w", "strategy"), ("largest",)) == (
        "epochs",
        "lambda_w",
    )
    assert unused_settings(("epochs", "lambda_w"), ("largest", "random")) == ("lambda_w",)
    assert unused_settings(ALL, STRATEGIES) == ()


@pytest.mark.parametrize(
    ("strategies", "message"),
    [
        (("largest",), "`largest` does not use the setting `lambda_w`"),
        (("random", "largest"), "`random` and `largest` do not use the setting `lambda_w`"),
    ],
)
def test_a_setting_that_does_nothing_is_refused(strategies: tuple[str, ...], message: str) -> None:
    with pytest.raises(DiagnosticError) as caught:
        check_use(("lambda_w",), strategies)
    [found] = caught.value.diagnostics
    assert (found.code, found.message, caught.value.status) == ("D232", message, 2)
    assert found.help == "leave it out, or search by `bayesnas`"
    assert_style(found)


def test_all_settings_that_do_nothing_are_told_at_once() -> None:
    with pytest.raises(DiagnosticError) as caught:
        check_use(("epochs", "strategy", "draws"), ("largest",))
    assert [d.code for d in caught.value.diagnostics] == ["D232", "D232"]


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A file whose block is written for `bayesnas`."""
    monkeypatch.setattr("bayesnas.compiler.artifacts.figure.has_dot", lambda: False)
    path = tmp_path / "spec.nas"
    path.write_text(CELLS, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("command", "refused"),
    [
        (("search", "--strategy", "largest", "--option", "epochs=1"), True),
        (("search", "--option", "strategy=largest", "--option", "epochs=1"), True),
        (("search", "--option", "lambda_w=1"), True),
        (("compare", "--strategies", "largest", "--option", "epochs=1"), True),
        (("compare", "--strategies", "largest,random", "--option", "epochs=1"), False),
        (("search", "--strategy", "bayesnas", "--option", "lambda_w=1"), False),
    ],
    ids=str,
)
def test_options_of_the_command_line(
    command: tuple[str, ...],
    refused: bool,
    spec: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What is not refused gets as far as the data, which are not there."""
    name, *options = command
    arguments = [name, spec, "--data", "folder:nowhere", "-o", str(tmp_path / "o"), *options]
    assert cli.main(arguments) == 2
    assert ("error[D232]" in capsys.readouterr().err) == refused


def test_options_of_a_call(spec: str) -> None:
    with pytest.raises(DiagnosticError) as caught:
        api.search(spec, images(), strategy="largest", lambda_w=5)
    assert [d.code for d in caught.value.diagnostics] == ["D232"]


def test_what_stands_in_the_spec_is_noted(
    spec: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    api.search(spec, images(), tmp_path / "one", strategy="random", rounds=1)
    [note] = [line for line in capsys.readouterr().err.splitlines() if "does not use" in line]
    assert note == "note: `random` does not use `lambda_w` of the spec"
    api.search(spec, images(), tmp_path / "two", strategy="bayesnas", rounds=1)
    assert "does not use" not in capsys.readouterr().err


def test_the_list_of_settings_says_who_uses_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["search", "digits_cell", "--option", "help"]) == 0
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()[1:]}
    assert set(rows) == set(ALL)
    assert " all but largest " in rows["epochs"]
    assert " posterior, evidence " in rows["operation_drop"]
    assert " all " in rows["strategy"]
