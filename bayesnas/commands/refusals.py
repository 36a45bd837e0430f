"""A parser of arguments that refuses like a compiler: what is wrong, the usage, what to write."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NoReturn

from attrs import fields_dict

from bayesnas.compiler.settings import OPTIONS
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, nearest, quote, suggest

_NUMBERS: Final = {"int": ("a whole number", "3"), "float": ("a number", "0.5")}
_COMMAND: Final = "COMMAND"


class CommandParser(argparse.ArgumentParser):
    """Of one command or of all."""

    words: Sequence[str] = ()  # that were to be parsed
    siblings: Sequence[argparse.ArgumentParser] = ()  # all commands, where there are several

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """As argparse does, but that a command itself refuses what it does not know.

        Raises:
            DiagnosticError: D405.
        """
        self.words = [*(sys.argv[1:] if args is None else args)]
        parsed, rest = super().parse_known_args(args, namespace)
        if rest:
            raise DiagnosticError(*self._unknown(rest))
        return parsed, rest

    def error(self, message: str) -> NoReturn:
        """Refuse arguments of which argparse says ``message``.

        Raises:
            DiagnosticError: D405.
        """
        for pattern, explain in _EXPLANATIONS.items():
            if match := re.fullmatch(pattern, message, re.DOTALL):
                raise DiagnosticError(*explain(self, match))
        raise DiagnosticError(self.diagnostic(message, f"`{self.prog} --help` explains it"))

    def diagnostic(self, message: str, remedy: str, *notes: str) -> Diagnostic:
        """D405, with the usage in short."""
        usage = f"usage: {' '.join([self.prog, *self._usage()])}"
        return Diagnostic("D405", message, notes=(usage, *notes), help=remedy)

    def argument(self, name: str) -> argparse.Action:
        """The argument that argparse calls so: ``-o/--out``, or by what stands for it."""
        names = {"/".join(a.option_strings) or a.metavar or a.dest: a for a in self._actions}
        return names[name]

    def _usage(self) -> list[str]:
        """What must be given, each with what stands for it; a word for all that may be."""
        needed = [action for action in self._actions if action.required]
        optional = any(not a.required for a in self._actions if a.dest != "help")
        return [*map(spelled, needed), *(["[options]"] if optional else [])]

    def _unknown(self, rest: Sequence[str]) -> list[Diagnostic]:
        """What is left over: unknown options, or words for which there is no place."""
        options = [word.partition("=")[0] for word in rest if word.startswith("-")]
        if options:
            return [self._unknown_option(option) for option in dict.fromkeys(options)]
        said = f"`{self.prog}` has no place for {quote(rest)}"
        return [self.diagnostic(said, f"leave it out; `{self.prog} --help` says what is taken")]

    def unknown_options(self) -> list[Diagnostic]:
        """Of all words that were given, those that are no options and look like some."""
        names = _option_names(self)
        given = [word.partition("=")[0] for word in self.words if word.startswith("--")]
        unknown = [o for o in dict.fromkeys(given) if not any(n.startswith(o) for n in names)]
        return [self._unknown_option(option) for option in unknown]

    def _unknown_option(self, option: str) -> Diagnostic:
        names = {name: action for action in self._actions for name in action.option_strings}
        setting = option.lstrip("-").replace("-", "_")
        remedy = f"`{self.prog} --help` lists its options"
        owners = [p.prog for p in self.siblings if option in _option_names(p)]
        near = nearest(option, names)
        if owners:
            remedy = f"leave it out: it is an option of {quote(owners)}"
            if near:
                remedy = f"did you mean `{near}`? `{option}` is an option of {quote(owners)}"
        elif near:
            remedy = f"did you mean `{near}`?"
        elif given := [
            name
            for name in ("--option", "--train-option")
            if name in names and setting in fields_dict(OPTIONS[str(names[name].const)])
        ]:
            remedy = f"write `{given[0]} {setting}=VALUE`: it is a setting"
        elif "--set" in names:
            remedy += "; a parameter of the network is given as `--set NAME=VALUE`"
        return self.diagnostic(f"`{self.prog}` has no option `{option}`", remedy)


def _option_names(parser: argparse.ArgumentParser) -> set[str]:
    return {name for action in parser._actions for name in action.option_strings}


def spelled(action: argparse.Action) -> str:
    """An argument as it is typed: ``--data DATA``."""
    value = str(action.metavar or action.dest.upper())
    if not action.option_strings:
        return f"{value} ..." if action.nargs == "+" else value
    return action.option_strings[0] if action.nargs == 0 else f"{action.option_strings[0]} {value}"


# ------------------------------------------------------------------------- what argparse says


def _missing(parser: CommandParser, match: re.Match[str]) -> list[Diagnostic]:
    actions = [parser.argument(name) for name in match[1].split(", ")]
    words = [spelled(action) for action in actions]
    about = [
        f"{word}: {action.help % vars(action)}"
        for word, action in zip(words, actions, strict=True)
        if action.help
    ]
    message, remedy = f"`{parser.prog}` needs {quote(words)}", f"add {quote(words)}"
    if words == [_COMMAND]:
        message, remedy = "no command is given", f"choose from {quote(_choices(actions[0]))}"
    return [*parser.unknown_options(), parser.diagnostic(message, remedy, *about)]


def _no_choice(parser: CommandParser, match: re.Match[str]) -> list[Diagnostic]:
    name, given = match[1], match[2]
    choices = _choices(parser.argument(name))
    message = f"`{_short(name)}` cannot be `{given}`"
    if name == _COMMAND:
        message = f"`{parser.prog}` has no command `{given}`"
    remedy = suggest(given, choices, f"choose from {quote(choices)}")
    return [parser.diagnostic(message, remedy)]


def _no_value(parser: CommandParser, match: re.Match[str]) -> list[Diagnostic]:
    action = parser.argument(match[1])
    option = _short(match[1])
    notes = (f"{spelled(action)}: {action.help % vars(action)}",) if action.help else ()
    message, remedy = f"`{option}` is given no value", f"write `{spelled(action)}`"
    follows = [
        after
        for word, after in zip(parser.words, parser.words[1:], strict=False)
        if word in action.option_strings and after.startswith("-")
    ]
    if follows:
        remedy += f", or `{option}={follows[0]}` where the value begins with a dash"
    return [parser.diagnostic(message, remedy, *notes)]


def _no_number(parser: CommandParser, match: re.Match[str]) -> list[Diagnostic]:
    option, (kind, example) = _short(match[1]), _NUMBERS[match[2]]
    message = f"`{option}` is {kind}, and `{match[3]}` is none"
    return [parser.diagnostic(message, f"write {kind}, as in `{option} {example}`")]


def _ambiguous(parser: CommandParser, match: re.Match[str]) -> list[Diagnostic]:
    names = match[2].split(", ")
    remedy = f"write {quote(names, 'or')} in full"
    return [parser.diagnostic(f"`{match[1]}` may be {quote(names, 'or')}", remedy)]


def _no_switch(parser: CommandParser, match: re.Match[str]) -> list[Diagnostic]:
    option = _short(match[1])
    message = f"`{option}` takes no value, and `{match[2]}` is given"
    return [parser.diagnostic(message, f"write `{option}` alone, or leave it out")]


def _short(name: str) -> str:
    return name.partition("/")[0]


def _choices(action: argparse.Action) -> list[str]:
    return [str(choice) for choice in action.choices or ()]


_Explanation = Callable[[CommandParser, "re.Match[str]"], list[Diagnostic]]
# Sentences of Python's argparse, and what is said instead.
_EXPLANATIONS: Final[Mapping[str, _Explanation]] = {
    r"the following arguments are required: (.+)": _missing,
    r"argument (\S+): invalid choice: '(.*?)' \(.*\)": _no_choice,
    r"argument (\S+): expected (?:one|at least one) argument": _no_value,
    r"argument (\S+): invalid (int|float) value: '(.*)'": _no_number,
    r"ambiguous option: (\S+) could match (.+)": _ambiguous,
    r"argument (\S+): ignored explicit argument '(.*)'": _no_switch,
}
