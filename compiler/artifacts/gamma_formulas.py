"""Flow equations of motifs as LaTeX."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from bayesnas.compiler.artifacts.gamma_patterns import FlowEquation, Term

LINE: Final = 100  # characters of a line of source
_ROW: Final = 8  # terms side by side
_SHORTEST_RUN: Final = 4  # terms from which on a sum over list elements reads better
_NAME: Final = re.compile(r"(\w+)(?:\[(\d+)\])?")


def latex_name(name: str, index: str | None = None) -> str:
    r"""A node's name as a subscript: ``h[0]`` as ``h_{0}``, ``to_y`` as ``\mathrm{to\_y}``.

    ``index`` takes the place of the list index.
    """
    parts = []
    for match in _NAME.finditer(name):
        word, position = match.groups()
        escaped = word.replace("_", r"\_")
        text = word if word.isalpha() and len(word) == 1 else rf"\mathrm{{{escaped}}}"
        parts.append(text if position is None else f"{text}_{{{index or position}}}")
    return ".".join(parts)


def gamma_formula(source: str) -> str:
    """Gamma of a candidate of an edge from ``source``; s is its switch, s' that of the edge."""
    return _harmonic(["s'", f"F_{{{latex_name(source)}}}", "s"])


def gate_formula(gate: int, flow: FlowEquation) -> str:
    """Gamma of the gate of that number on an edge from a node of that flow, written out."""
    terms = list(_texts(flow))
    arrives = _harmonic(terms) if flow.product else " + ".join(terms)
    formula = _harmonic(["s'", arrives, f"s_{{{gate}}}"])
    return rf"\gamma_{{{gate}}} = {formula}"


def switch_sum(term: Term, gates: range) -> str:
    """A sum of switches by the numbers of their gates."""
    if len(gates) == 1:
        return f"{_text(term)} = s_{{{gates[0]}}}"
    return rf"{_text(term)} = \sum_{{n={gates[0]}}}^{{{gates[-1]}}} s_{{n}}"


def _harmonic(terms: Sequence[str]) -> str:
    """The harmonic sum; of one term itself."""
    if len(terms) == 1:
        return terms[0]
    return r"\left(" + " + ".join(rf"\frac{{1}}{{{t}}}" for t in terms) + r"\right)^{-1}"


def display(equations: Iterable[FlowEquation]) -> list[str]:
    """The lines of a block of equations that all have terms."""
    rows = [row for equation in equations for row in _rows(equation)]
    rows = [*(rf"{row} \\" for row in rows[:-1]), rows[-1]]
    lines = [line for row in rows for line in source_lines(row)]
    return ["$$", r"\begin{aligned}", *lines, r"\end{aligned}", "$$"]


def source_lines(formula: str) -> list[str]:
    """A formula in lines of the source; spaces in LaTeX mean nothing."""
    return textwrap.wrap(formula, LINE, break_long_words=False, break_on_hyphens=False)


def _rows(equation: FlowEquation) -> Iterator[str]:
    """The equation, broken before a plus where it grows too wide."""
    terms = list(_texts(equation))
    if equation.product:
        terms = [_harmonic(terms)]
    for start in range(0, len(terms), _ROW):
        row = " + ".join(terms[start : start + _ROW])
        yield rf"&\quad + {row}" if start else f"F_{{{latex_name(equation.node)}}} &= {row}"


def _texts(equation: FlowEquation) -> Iterator[str]:
    """The terms; a run over elements of a list is a sum where the terms are summed."""
    letters = {match[1] for term in equation.terms for match in _NAME.finditer(term.source)}
    letters |= {match[1] for match in _NAME.finditer(equation.node)}
    index = next((letter for letter in "in" if letter not in letters), r"\nu")
    for run in _runs(equation.terms):
        if equation.product or len(run) < _SHORTEST_RUN:
            yield from map(_text, run)
        else:
            first, last = (_NAME.fullmatch(term.source) for term in (run[0], run[-1]))
            assert first is not None
            assert last is not None
            yield rf"\sum_{{{index}={first[2]}}}^{{{last[2]}}} {_text(run[0], index)}"


def _runs(terms: Iterable[Term]) -> Iterator[list[Term]]:
    """Terms in their order, those together that differ in a list index that counts up."""
    run: list[Term] = []
    for term in terms:
        if run and not _follows(run[-1], term):
            yield run
            run = []
        run.append(term)
    if run:
        yield run


def _follows(before: Term, term: Term) -> bool:
    first, second = _NAME.fullmatch(before.source), _NAME.fullmatch(term.source)
    if first is None or second is None or first[2] is None or second[2] is None:
        return False
    alike = (before.quantity, before.number, before.count, first[1], int(first[2]) + 1)
    return alike == (term.quantity, term.number, term.count, second[1], int(second[2]))


def _text(term: Term, index: str | None = None) -> str:
    source = latex_name(term.source, index)
    if term.quantity == "F":
        return (f"{term.count} " if term.count > 1 else "") + f"F_{{{source}}}"
    text = f"{term.quantity}_{{{source},{latex_name(term.target)}}}"
    return text if term.number == 1 else f"{text}^{{({term.number})}}"
