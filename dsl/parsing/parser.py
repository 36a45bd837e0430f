"""Text to syntax tree; `mistakes.explain` says what is wrong with a text that is none."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

from lark import Lark, Token, UnexpectedInput
from lark.exceptions import VisitError
from lark.lexer import PatternRE, TerminalDef

from bayesnas.dsl import tree
from bayesnas.dsl.collector import without_collector
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, Source, Span
from bayesnas.dsl.mistakes.explain import check_brackets, count_words, explain, too_deep
from bayesnas.dsl.parsing.builder import built

MAX_WORDS = 40_000  # of a spec with its imports: they are read within two seconds
MAX_DEPTH = 200  # of a tree: what walks it recurses


def parse(source: Source) -> tree.Spec:
    """The syntax tree of a spec's text.

    Raises:
        DiagnosticError: D101 (syntax), D102 (character or text), D103 (brackets), D104 (nesting),
            D105 (several targets where one is meant), D402 (too long).
    """
    check_length(source)
    brackets = check_brackets(source)
    try:
        with without_collector():
            parsed = _lark().parse(source.text)
            spec = built(parsed, source)
        _check_depth(spec)
        return spec
    except UnexpectedInput as error:
        raise DiagnosticError(explain(error, source, _lark(), brackets)) from None
    except VisitError as error:
        if isinstance(error.orig_exc, DiagnosticError):
            raise error.orig_exc from None
        if isinstance(error.orig_exc, RecursionError):
            raise DiagnosticError(too_deep(source)) from None
        raise
    except RecursionError:
        raise DiagnosticError(too_deep(source)) from None


def tokenize(source: Source) -> list[Token]:
    """The words of a text that parses, without comments and white space."""
    with without_collector():
        return _lark().parse_interactive(source.text).exhaust_lexer()


def check_length(source: Source, before: int = 0) -> int:
    """Refuse a text that would take long to read; how many words it has, with those ``before``.

    Raises:
        DiagnosticError: D402 (more than `MAX_WORDS`).
    """
    words = before + count_words(source.text, MAX_WORDS + 1)
    if words > MAX_WORDS:
        message = f"`{source.name}` makes it more than {MAX_WORDS:,} words and signs to read"
        remedy = "write what repeats as a motif, a loop or a chain"
        raise DiagnosticError(Diagnostic("D402", message, help=remedy))
    return words


@cache
def _lark() -> Lark:
    grammar = files("bayesnas.dsl").joinpath("grammar.lark").read_text(encoding="utf-8")
    return Lark(
        grammar,
        parser="lalr",
        start="spec",
        propagate_positions=True,
        maybe_placeholders=True,
        edit_terminals=_end_at_a_word,
    )


def _end_at_a_word(terminal: TerminalDef) -> None:
    """Let a keyword end where its word ends: ``opera = skip`` defines no operation ``era``."""
    if re.fullmatch(r"(\(\?:)?[a-z][a-z|]+\)?", terminal.pattern.value):
        terminal.pattern = PatternRE(rf"{terminal.pattern.value}\b")


def _check_depth(spec: tree.Spec) -> None:
    """Refuse what brackets do not show: a long ``1 + 1 + ...`` nests as deep as it is long."""
    stack: list[tuple[tree.Node, int, Span | None]] = [(spec, 0, None)]
    while stack:
        node, depth, whole = stack.pop()
        if whole is None and isinstance(node, tree.Unary | tree.Binary | tree.Conditional):
            whole = node.span
        if depth > MAX_DEPTH:
            raise DiagnosticError(
                Diagnostic(
                    "D104",
                    f"nested deeper than {MAX_DEPTH} levels",
                    whole or node.span,
                    notes=("in `a + b + c` the second `+` holds the first",),
                    help="shorten the expression, or give its parts as parameters",
                )
            )
        stack.extend((part, depth + 1, whole) for part in node.parts())
