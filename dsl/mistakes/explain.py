"""Syntax errors in human sentences: what stands round the error, and the rule that fits it."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import islice

from attrs import evolve, frozen
from lark import Lark, UnexpectedInput

from bayesnas.dsl.diagnostics import (
    LONGEST,
    Diagnostic,
    DiagnosticError,
    Source,
    Span,
    nearest,
    shorten,
)
from bayesnas.dsl.mistakes.constructs import CONSTRUCT_RULES
from bayesnas.dsl.mistakes.habits import HABIT_RULES
from bayesnas.dsl.mistakes.rules import (
    AT_A_STATEMENT,
    AT_THE_TOP,
    DEFINITIONS,
    FILE,
    MISSING,
    STATEMENT,
    TOKEN_RULES,
    Rule,
    regex,
)
from bayesnas.dsl.mistakes.trial import helps, is_literal, literals
from bayesnas.dsl.words import KEYWORDS

MAX_NESTING = 100
RULES = (*HABIT_RULES, *TOKEN_RULES, *CONSTRUCT_RULES)
_STATEMENTS = ("node", "for", "if", "retain", "budget")
_OPENING = {"(": ")", "{": "}", "[": "]"}
_CLOSING = {closing: opening for opening, closing in _OPENING.items()}
_WINDOW = 60  # tokens on each side of the error that rules see
_NEAR = 4000  # characters on each side of the error that are read at all
# More lenient than the grammar's terminals: it also reads what other languages write.
_TOKEN = re.compile(
    r"""(?P<skip>\#[^\n]*|[ \t\r\n\f]+)
    |"[^"\n]*"?|'[^'\n]*'
    |\d+(?:\.\d+)?(?:[eE][+-]?\d+)?\w*|[^\W\d]\w*
    |-->|->|~>|=>|:=|==|!=|<=|>=|>>|//|/\*|\*\*|&&|\|\||\.\.\.?|.""",
    re.VERBOSE,
)

_NATIVE = r'"[^"]*"|\d[\w.+-]*|\w+|[(){}\[\],;:=|+*%<>-]|->|~>|[!=<>]=|>>|//|\.\.'


# ----------------------------------------------------------------------------------------- length


def count_words(text: str, most: int) -> int:
    """How many words and signs a text has; counting stops at ``most``."""
    return sum(1 for _ in islice((m for m in _TOKEN.finditer(text) if not m["skip"]), most))


# --------------------------------------------------------------------------------------- brackets


def too_deep(source: Source, span: Span | None = None) -> Diagnostic:
    """D104: brackets or operators nested beyond reason."""
    return Diagnostic(
        "D104",
        f"nested deeper than {MAX_NESTING} levels",
        span or Span(source, 1, 1, 1, 1),
        help="name the inner parts with `op`, `choice` or `motif`",
    )


def check_brackets(source: Source) -> Diagnostic | None:
    """What is wrong with the brackets: the grammar would report it far from its cause.

    Raises:
        DiagnosticError: D104 (nested too deeply for the parser).
    """
    stack: list[tuple[str, Span]] = []
    for number, line in enumerate(source.lines(), 1):
        quoted = False
        for column, character in enumerate(line, 1):
            if character == '"':
                quoted = not quoted
            elif quoted:
                continue
            elif character == "#":
                break
            elif character in _OPENING:
                span = Span(source, number, column, number, column + 1)
                stack.append((character, span))
                if len(stack) > MAX_NESTING:
                    raise DiagnosticError(too_deep(source, span))
            elif character in _CLOSING:
                span = Span(source, number, column, number, column + 1)
                if problem := _closing_problem(character, span, stack):
                    return problem
        if quoted:
            start = line.rindex('"') + 1
            span = Span(source, number, start, number, len(line) + 1)
            remedy = 'end it with `"` on the same line'
            return Diagnostic("D102", "text is not closed", span, help=remedy)
    return _never_closed(*stack[-1]) if stack else None


def _never_closed(opening: str, span: Span) -> Diagnostic:
    closing = _OPENING[opening]
    label = "opened here and never closed"
    return Diagnostic(
        "D103", f"missing `{closing}`", span, label, help=f"close it with `{closing}`"
    )


def _closing_problem(
    character: str, span: Span, stack: list[tuple[str, Span]]
) -> Diagnostic | None:
    """Take the partner of a closing bracket from the stack; what is wrong if it is not there."""
    if not stack:
        remedy = f"remove it, or open with `{_CLOSING[character]}`"
        return Diagnostic("D103", f"`{character}` closes nothing", span, help=remedy)
    opening, opened = stack.pop()
    expected = _OPENING[opening]
    if expected == character:
        return None
    return Diagnostic(
        "D103",
        f"`{character}` does not close `{opening}`",
        span,
        f"expected `{expected}`",
        notes=(f"`{opening}` was opened at {opened}",),
        help=f"write `{expected}` first",
    )


# ---------------------------------------------------------------------------------- the situation


@frozen
class _Token:
    """A piece of the text, from ``start`` up to, without, ``end``."""

    text: str
    start: int
    end: int


@frozen
class _Situation:
    """What stands round an error; the refused token is ``tokens[at]``."""

    source: Source
    tokens: tuple[_Token, ...]
    at: int
    accepted: frozenset[str]  # terminals that could have followed, as they are written
    lark: Lark

    @property
    def token(self) -> _Token:
        return self.tokens[self.at]

    @property
    def found(self) -> str:
        """The refused token as a sentence names it."""
        if self.token.text == "<end>":
            return "the end of the file"
        return f"`{shorten(self.token.text)}`"

    @property
    def gap(self) -> tuple[str, int, int]:
        """What something is missing before, and the place of that."""
        if self.at and self.token.text != "<end>":
            end = self.tokens[self.at - 1].end
            if "\n" in self.source.text[end : self.token.start]:
                return "the end of the line", end, end
        return self.found, self.token.start, self.token.end

    def span(self, start: int, end: int) -> Span:
        """The place of a stretch of the text; at the end of the file the one behind the last."""
        before = self.source.text[:start]
        line, column = before.count("\n") + 1, start - before.rfind("\n")
        stretch = self.source.text[start:end]
        end_line = line + stretch.count("\n")
        end_column = column + len(stretch) if line == end_line else len(stretch.split("\n")[-1]) + 1
        return Span(self.source, line, column, end_line, max(end_column, column + 1))

    def written(self) -> tuple[str, list[int]]:
        """The tokens as patterns see them, and where in that text each begins."""
        pieces, starts, length = [], [], 0
        for number, token in enumerate(self.tokens):
            before = self.tokens[number - 1].end if number else token.start
            space = "\n" if "\n" in self.source.text[before : token.start] else " "
            text = token.text[:LONGEST].replace("§", "?") if token.text[0] != '"' else '""'
            piece = space + ("§ " if number == self.at else "") + text
            starts.append(length + len(piece) - len(text))
            length += len(piece)
            pieces.append(piece)
        return "".join(pieces), starts


def _situation(source: Source, place: int, accepted: frozenset[str], lark: Lark) -> _Situation:
    """The tokens round a place; only the text near it is read, from the start of a line."""
    line = source.text.rfind("\n", 0, max(0, place - _NEAR)) + 1
    first = max(line, place - 4 * _NEAR)
    # Where there is nothing but comments before the end of the file, all of it is read.
    tokens = _tokens(source.text, first, place + _NEAR) or _tokens(source.text, 0, place + _NEAR)
    end = tokens[-1].end if tokens else 0
    tokens.append(_Token("<end>", end, end))
    at = next((n for n, token in enumerate(tokens) if place < token.end), len(tokens) - 1)
    start = max(0, at - _WINDOW)
    return _Situation(source, tuple(tokens[start : at + _WINDOW]), at - start, accepted, lark)


def _tokens(text: str, start: int, end: int) -> list[_Token]:
    matches = _TOKEN.finditer(text, start, end)
    return [_Token(m[0], m.start(), m.end()) for m in matches if not m["skip"]]


# --------------------------------------------------------------------------------------- sentences


def explain(
    error: UnexpectedInput, source: Source, lark: Lark, brackets: Diagnostic | None
) -> Diagnostic:
    """The diagnostic of what the parser refused, or of the brackets if that comes first."""
    place = len(source.text) if _at_the_end(error) else error.pos_in_stream or 0
    situation = _situation(source, place, _accepted(error, lark), lark)
    if brackets is not None and brackets.span is not None:
        refused = situation.span(situation.token.start, situation.token.end)
        opened = brackets.span
        if (opened.line, opened.column) <= (refused.line, refused.column):
            return _with_note(brackets, situation, refused)
    for sentence in _SENTENCES:
        if diagnostic := sentence(situation):
            return diagnostic
    return _diagnostic(situation, f"cannot read {situation.found} here", "see docs/language.md")


def _with_note(brackets: Diagnostic, situation: _Situation, refused: Span) -> Diagnostic:
    """A brace that is never closed is best looked for before the next definition."""
    word = situation.token.text
    if word not in DEFINITIONS or not brackets.message.startswith("missing"):
        return brackets
    return evolve(brackets, notes=(f"`{word}` at {refused} still stands inside it",))


def _at_the_end(error: UnexpectedInput) -> bool:
    token = getattr(error, "token", None)
    return token is not None and token.type == "$END"


def _accepted(error: UnexpectedInput, lark: Lark) -> frozenset[str]:
    """What could have followed: keywords and signs as written, other terminals by name."""
    parser = getattr(error, "interactive_parser", None)
    names = parser.accepts() if parser else ()
    written = {t.name: t.pattern.value for t in lark.terminals if t.pattern.type == "str"}
    written |= {word.upper(): word for word in KEYWORDS}
    return frozenset(written.get(name, name) for name in names)


def _diagnostic(
    situation: _Situation, message: str, remedy: str, start: int = -1, end: int = -1
) -> Diagnostic:
    if start < 0:
        start, end = situation.token.start, situation.token.end
    code = "D102" if _foreign(situation.source.text[start:end]) else "D101"
    return Diagnostic(code, message, situation.span(start, end), help=remedy)


def _foreign(text: str) -> bool:
    """Whether this is no word, sign or text of the language, wherever it stands."""
    tokens = [match[0] for match in _TOKEN.finditer(text)]
    return len(tokens) == 1 and not re.fullmatch(_NATIVE, tokens[0])


def _by_rule(situation: _Situation) -> Diagnostic | None:
    written, starts = situation.written()
    for rule in RULES:
        if rule.where is not None and not {*rule.where.split()} <= situation.accepted:
            continue
        match = regex(rule.pattern).search(written)
        if match and (found := _by_match(situation, rule, match, starts)):
            return found
    return None


def _by_match(
    situation: _Situation, rule: Rule, match: re.Match[str], starts: list[int]
) -> Diagnostic | None:
    """The rule's diagnostic, with the groups of the match as the spec writes them.

    None where its remedy would not help.
    """
    texts = {name: text for name, text in match.groupdict().items() if text is not None}
    places = {name: _stretch(situation, match.span(name), starts) for name in texts}
    text = situation.source.text
    groups = {
        name: shorten(text[slice(*place)] if place else texts[name])
        for name, place in places.items()
    }
    next_found, *gap = situation.gap
    groups |= {"found": situation.found, "next": next_found}
    here = places.get("here") or (gap if "<next>" in rule.message else ())

    def fill(template: str) -> str:
        return re.sub(r"<([a-z]+)>", lambda m: groups.get(m[1], m[0]), template)

    if is_literal(rule.help):
        whole = _stretch(situation, match.span(), starts)
        token = (situation.token.start, situation.token.end)
        known = [place for place in (*places.values(), whole, token) if place]
        stretches = {(s, e) for s, _ in known for place in known for e in place if s <= e}
        if not helps(situation.lark, text, literals(rule.help, fill), stretches):
            return None
    return _diagnostic(situation, fill(rule.message), fill(rule.help), *here)


def _stretch(
    situation: _Situation, span: tuple[int, int], starts: list[int]
) -> tuple[int, int] | None:
    """The stretch of the source that a group of a match covers."""
    inside = [n for n, start in enumerate(starts) if span[0] <= start < span[1]]
    if not inside:
        return None
    return situation.tokens[inside[0]].start, situation.tokens[inside[-1]].end


def _capital(situation: _Situation) -> Diagnostic | None:
    """``Motif m(a)``: a keyword with capitals, refused at once or with what follows it."""
    here = situation.at
    begins = here < 2 or situation.tokens[here - 2].text in ("{", "}", ";", "=", ")")
    for token in situation.tokens[here - begins if here else 0 : here + 1]:
        word = token.text.lower()
        if word in KEYWORDS and token.text != word:
            message = f"`{token.text}` is no keyword"
            remedy = f"keywords are lower case: write `{word}`"
            return _diagnostic(situation, message, remedy, token.start, token.end)
    return None


def _keyword(situation: _Situation) -> Diagnostic | None:
    word = situation.token.text
    if word not in KEYWORDS or "NAME" not in situation.accepted:
        return None
    if situation.gap[1] != situation.token.start and AT_A_STATEMENT not in situation.accepted:
        return None  # it begins a line, and something is missing at the end of the one before
    message = f"`{word}` is a keyword and cannot be a name"
    return _diagnostic(situation, message, f"choose another name, such as `{word}_1`")


def _beginning(situation: _Situation) -> Diagnostic | None:
    """Where a definition or a statement may begin, and neither does."""
    token, found = situation.token, situation.found
    if AT_THE_TOP in situation.accepted:
        word = nearest(token.text, DEFINITIONS)
        remedy = f"did you mean `{word}`?" if word else FILE
        return _diagnostic(situation, f"{found} begins no definition", remedy)
    if AT_A_STATEMENT in situation.accepted:
        return _diagnostic(situation, f"{found} begins no statement", STATEMENT)
    if {"ARROW", "=", ","} <= situation.accepted:
        start = situation.tokens[situation.at - 1]
        if re.fullmatch(r"\w+", start.text):
            message = f"`{start.text}` begins no statement"
            word = nearest(start.text, _STATEMENTS)
            remedy = f"did you mean `{word}`?" if word else STATEMENT
            return _diagnostic(situation, message, remedy, start.start, start.end)
    return None


def _character(situation: _Situation) -> Diagnostic | None:
    text = situation.token.text
    if not _foreign(text):
        return None
    return _diagnostic(situation, f"unexpected character `{text}`", "remove it")


def _quoted(situation: _Situation) -> Diagnostic | None:
    text = situation.token.text
    if not text.startswith('"') or "NAME" not in situation.accepted:
        return None
    message = f"{situation.found} stands where a name is meant"
    return _diagnostic(situation, message, "remove the quotes")


def _missing(situation: _Situation) -> Diagnostic | None:
    for tokens, what, remedy in MISSING:
        if {*tokens} <= situation.accepted:
            found, start, end = situation.gap
            return _diagnostic(situation, f"missing {what} before {found}", remedy, start, end)
    return None


_SENTENCES: tuple[Callable[[_Situation], Diagnostic | None], ...] = (
    _capital,
    _by_rule,
    _character,
    _keyword,
    _quoted,
    _beginning,
    _missing,
)
