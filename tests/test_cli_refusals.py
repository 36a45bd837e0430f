"""Arguments that cannot be read: said in the form of diagnostics, with a usage and a remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from bayesnas.cli import compile_main, main

SEARCH = ["search", "digits_cell", "--data", "digits", "-o", "run"]
ROW = "search SPEC --data DATA -o DIR [options]"

REFUSED = {
    "": ([], "no command is given", "COMMAND [options]", "choose from `init`, "),
    "command": (["serach"], "`bayesnas` has no command `serach`", "COMMAND [options]",
                "did you mean `search`?"),
    "no command": (["cook"], "`bayesnas` has no command `cook`", "COMMAND [options]",
                   "choose from `init`, "),
    "spec": (["check"], "`bayesnas check` needs `SPEC ...`", "check SPEC ... [options]",
             "add `SPEC ...`"),
    "needed": (["search", "digits_cell"], "`bayesnas search` needs `--data DATA` and `-o DIR`", ROW,
               "add `--data DATA` and `-o DIR`"),
    "option": ([*SEARCH, "--buget", "flops=60M"], "`bayesnas search` has no option `--buget`", ROW,
               "did you mean `--budget`?"),
    "of another command": ([*SEARCH, "--recipe", "quick"],
                           "`bayesnas search` has no option `--recipe`", ROW,
                           "did you mean `--resize`? `--recipe` is an option of "
                           "`bayesnas estimate`, `bayesnas train`, `bayesnas compress` and "
                           "`bayesnas compare`"),
    "of another command, and nearly one of this": (
        [*SEARCH, "--seeds", "0"], "`bayesnas search` has no option `--seeds`", ROW,
        "did you mean `--seed`? `--seeds` is an option of `bayesnas compare`"),
    "setting": ([*SEARCH, "--rounds=3"], "`bayesnas search` has no option `--rounds`", ROW,
                "write `--option rounds=VALUE`: it is a setting"),
    "parameter": ([*SEARCH, "--cells", "3"], "`bayesnas search` has no option `--cells`", ROW,
                  "`bayesnas search --help` lists its options; a parameter of the network is given "
                  "as `--set NAME=VALUE`"),
    "word": ([*SEARCH, "more"], "`bayesnas search` has no place for `more`", ROW,
             "leave it out; `bayesnas search --help` says what is taken"),
    "number": ([*SEARCH, "--seed", "many"], "`--seed` is a whole number, and `many` is none", ROW,
               "write a whole number, as in `--seed 3`"),
    "choice": ([*SEARCH, "--fit", "crp"], "`--fit` cannot be `crp`", ROW,
               "did you mean `crop`?"),
    "value": ([*SEARCH, "--budget"], "`--budget` is given no value", ROW,
              "write `--budget COST=LIMIT`"),
    "dash": (["compile", "digits_cell", "-o", "-out"], "`-o` is given no value",
             "compile SPEC|GRAPH.json [options]",
             "write `-o DIR`, or `-o=-out` where the value begins with a dash"),
    "short": ([*SEARCH, "--l", "x"], "`--l` may be `--level`, `--log` or `--latencies`", ROW,
              "write `--level`, `--log` or `--latencies` in full"),
    "switch": ([*SEARCH, "--force=2"], "`--force` takes no value, and `2` is given", ROW,
               "write `--force` alone, or leave it out"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_wrong_the_usage_and_what_to_write(
    case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, message, usage, remedy = REFUSED[case]
    assert main(arguments) == 2
    said = capsys.readouterr()
    lines = said.err.splitlines()
    assert said.out == ""
    assert lines[0] == f"error[D405]: {message}"
    assert lines[1] == f"  = note: usage: bayesnas {usage}"
    assert lines[-1].startswith(f"  = help: {remedy}")
    assert not [*Path().iterdir()]


def test_what_is_missing_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    """By its line of help."""
    assert main(["train", "digits_cell", "--data", "digits"]) == 2
    assert "  = note: -o DIR: the run's folder\n" in capsys.readouterr().err


def test_a_wrong_name_is_not_hidden_by_what_it_leaves_missing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["search", "digits_cell", "--dta", "digits", "-o", "run"]) == 2
    said = capsys.readouterr().err
    assert "`bayesnas search` has no option `--dta`" in said
    assert "did you mean `--data`?" in said
    assert "`bayesnas search` needs `--data DATA`" in said
    assert said.endswith("2 errors\n")


def test_the_compiler_under_its_own_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert compile_main(["digits_cell", "--emitt", "ast"]) == 2
    said = capsys.readouterr().err
    assert "error[D405]: `bayesnas-compile` has no option `--emitt`\n" in said
    assert "did you mean `--emit`?" in said


@pytest.mark.parametrize("command", ["init", "search", "eval"])
def test_only_init_takes_arrays_as_targets(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "the column of a table to predict" in said
    assert ("or array of npz:FILE" in said) == (command == "init")
