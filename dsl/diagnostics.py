"""What a user reads when something is wrong: one type, one renderer.

Messages are lower case without a final period; names stand in backticks; the remedy stands in
``help`` alone. Codes: D1xx syntax, D2xx names and structure, D3xx shapes, D4xx command line and
settings, D5xx data, D6xx search and training.
"""

from __future__ import annotations

import difflib
import heapq
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from importlib.util import find_spec
from itertools import islice

from attrs import define, field, frozen

from bayesnas.dsl.terminal import visible

MAX_FOUND = 100  # diagnostics in one go
LONGEST = 60  # characters of what a message repeats
_LONGEST_LINE = 400  # characters of a line that is shown whole
_AROUND = 100  # characters shown before and after a place on one that is not
_LONGEST_LIST = 40  # names in a sentence
_LIKENESS = 0.7  # of two names, from 0 to 1: below, a suggestion says more of us than of the spec
_GUESSES = 50  # known names that are compared with an unknown one
_MOST_KNOWN = 1000  # known names that are looked at
_LONGEST_NAME = 100  # of an unknown name that anything is compared with


@frozen
class Source:
    """A text with the name it is reported under."""

    name: str
    text: str = field(repr=False)

    def line(self, number: int) -> str:
        """Line ``number`` (from 1) without its end; empty past the end of the text."""
        lines = self.lines()
        return lines[number - 1] if 0 < number <= len(lines) else ""

    def lines(self) -> list[str]:
        """All lines; only a newline ends one, as for the parser."""
        return _lines(self.text)


@lru_cache(maxsize=4)
def _lines(text: str) -> list[str]:
    return [line.removesuffix("\r") for line in text.split("\n")]


@frozen
class Span:
    """A place in a source: lines and columns count from 1, the end column is exclusive."""

    source: Source = field(repr=False)
    line: int
    column: int
    end_line: int
    end_column: int

    def __str__(self) -> str:
        return f"{self.source.name}:{self.line}:{self.column}"


@frozen
class Diagnostic:
    """One thing that is wrong, where, and what to do about it."""

    code: str
    message: str
    span: Span | None = None
    label: str = ""  # stands beside the carets
    notes: tuple[str, ...] = ()
    help: str = ""


class DiagnosticError(Exception):
    """Carries diagnostics to the command line; ``status`` is the exit status (2 input, 1 work).

    As text it is what the command line shows, for whoever calls from Python. A plugin may raise it
    with a text of its own.
    """

    def __init__(self, *diagnostics: Diagnostic | str, status: int = 2) -> None:
        super().__init__(*diagnostics)
        self.diagnostics = tuple(
            Diagnostic("D605", d, help="see the plugin that says so") if isinstance(d, str) else d
            for d in diagnostics
        )
        self.status = status

    def __str__(self) -> str:
        return render_all(self.diagnostics)


def shorten(text: str) -> str:
    """A text on one line, for a message: its beginning where it is long."""
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def mistake(
    code: str, message: str, span: Span | None, remedy: str, note: str = ""
) -> DiagnosticError:
    """One diagnostic, to be raised."""
    notes = (note,) if note else ()
    return DiagnosticError(Diagnostic(code, message, span, notes=notes, help=remedy))


@define
class Findings:
    """Diagnostics that are collected; at `MAX_FOUND` they are raised, as nobody reads more."""

    found: list[Diagnostic] = field(factory=list)

    def add(self, *diagnostics: Diagnostic) -> None:
        """Collect them.

        Raises:
            DiagnosticError: as many as `MAX_FOUND` are there.
        """
        self.found += diagnostics
        if len(self.found) >= MAX_FOUND:
            self.refuse()

    def refuse(self) -> None:
        """Raise what was found, if anything was.

        Raises:
            DiagnosticError: in the order of their places.
        """
        if self.found:
            raise DiagnosticError(*sorted(self.found, key=_position)[:MAX_FOUND])


def _position(diagnostic: Diagnostic) -> tuple[str, int, int]:
    span = diagnostic.span
    return (span.source.name, span.line, span.column) if span else ("", 0, 0)


def render(diagnostic: Diagnostic) -> str:
    """The diagnostic as a compiler prints it: place, the line itself with carets, notes, help.

    What would steer a terminal, in a spec or in a name, is visible.
    """
    lines = [f"error[{diagnostic.code}]: {visible(diagnostic.message)}"]
    margin = " "
    if (span := diagnostic.span) is not None:
        text, start, end = _excerpt(span)
        number = str(span.line)
        margin = " " * (len(number) + 1)
        before, marked, after = map(_shown, (text[:start], text[start:end], text[end:]))
        # Tabs are kept so that the carets stay under what they mark.
        indent = "".join("\t" if c == "\t" else " " for c in before)
        carets = "^" * max(1, len(marked))
        lines += [
            f"{margin}--> {visible(str(span))}",
            f"{margin} |",
            f" {number} | {before}{marked}{after}",
            f"{margin} | {indent}{carets} {visible(diagnostic.label)}".rstrip(),
        ]
    lines += [f"{margin} = note: {visible(note)}" for note in diagnostic.notes]
    if diagnostic.help:
        lines.append(f"{margin} = help: {visible(diagnostic.help)}")
    return "\n".join(lines)


def _shown(text: str) -> str:
    """Text of a line of a spec, with its tabs."""
    return "\t".join(map(visible, text.split("\t")))


def _excerpt(span: Span) -> tuple[str, int, int]:
    """The line of a place, or what stands round it on a very long one; where in it the place is."""
    text = span.source.line(span.line)
    end = span.end_column if span.end_line == span.line else len(text) + 1
    start, end = span.column - 1, min(end - 1, len(text))
    if len(text) <= _LONGEST_LINE:
        return text, start, end
    first = max(0, start - _AROUND)
    last = min(len(text), start + _AROUND)
    before, after = "..." if first else "", "..." if last < len(text) else ""
    shift = len(before) - first
    return f"{before}{text[first:last]}{after}", start + shift, min(end, last) + shift


def render_all(diagnostics: Sequence[Diagnostic]) -> str:
    """All diagnostics, a blank line between, and a closing count where there are several."""
    blocks = [render(diagnostic) for diagnostic in diagnostics]
    if len(blocks) > 1:
        more = ", and there may be more" if len(blocks) == MAX_FOUND else ""
        blocks.append(f"{len(blocks)} errors{more}")
    return "\n\n".join(blocks)


def check_packages(packages: Iterable[str], what: str, remedy: str) -> None:
    """Refuse where an optional package is missing: ``what``, such as ``ONNX needs``, names it.

    Raises:
        DiagnosticError: D436.
    """
    if missing := [name for name in packages if not find_spec(name)]:
        raise DiagnosticError(Diagnostic("D436", f"{what} {quote(missing)}", help=remedy))


def quote(names: Iterable[str], last: str = "and") -> str:
    """Names for a sentence: ```a`, `b` and `c```; of very many the first, and how many more.

    ``last`` is the word before the last name: "and" or "or".
    """
    quoted = [f"`{name}`" for name in names]
    if len(quoted) > _LONGEST_LIST:
        quoted[_LONGEST_LIST:] = [f"{len(quoted) - _LONGEST_LIST:,} more"]
    if len(quoted) < 2:
        return "".join(quoted)
    return f"{', '.join(quoted[:-1])} {last} {quoted[-1]}"


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The known name most like ``name``, or None where none is close.

    Capitals are as good as small letters where nothing else is different. Of very many names
    those are compared that have almost the same letters.
    """
    if len(name) > _LONGEST_NAME:
        return None
    letters = {*name}
    names = [*islice(names, _MOST_KNOWN)]
    for other in names:
        if other.lower() == name.lower():
            return other
    likely = heapq.nsmallest(_GUESSES, names, key=lambda other: (len(letters ^ {*other}), other))
    matches = difflib.get_close_matches(name, likely, n=1, cutoff=_LIKENESS)
    return matches[0] if matches else None


def suggest(name: str, names: Iterable[str], otherwise: str = "") -> str:
    """The help line for an unknown name: the nearest known one, or ``otherwise``."""
    match = nearest(name, names)
    return f"did you mean `{match}`?" if match else otherwise


def check_all(*checks: Callable[[], object]) -> None:
    """Make all these checks, of which none needs another: what is wrong is told in one go.

    Raises:
        DiagnosticError: with what each of them raises.
    """
    findings = Findings()
    for check in checks:
        try:
            check()
        except DiagnosticError as error:
            findings.add(*error.diagnostics)
    findings.refuse()


def memory_ran_out(error: BaseException) -> bool:
    """Whether an exception says that memory has run out: Python's own, PyTorch's or the GPU's."""
    said = ("out of memory", "can't allocate", "bad_alloc")
    return isinstance(error, MemoryError) or any(words in str(error) for words in said)


def idle_option(option: str, where: str, remedy: str) -> Diagnostic:
    """D423: an option that does nothing there."""
    return Diagnostic("D423", f"`{option}` does nothing {where}", help=remedy)


def check_idle(options: Iterable[str], where: str, remedy: str) -> None:
    """Refuse options that do nothing there.

    Raises:
        DiagnosticError: D423, for each of them.
    """
    if idle := [idle_option(option, where, remedy) for option in options]:
        raise DiagnosticError(*idle)
