"""A spec's text in canonical form, with its comments: what ``bayesnas fmt`` writes.

The printer decides the lines. Comments and empty lines are put back among them by what stands
beside them: source and printed text have the same words in the same order, except brackets and
semicolons that carry no meaning.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import TypeAlias

from attrs import evolve, field, frozen

from bayesnas.dsl.diagnostics import Source
from bayesnas.dsl.parsing.parser import parse, tokenize
from bayesnas.dsl.printing.layout import INDENT, Line, join_lines
from bayesnas.dsl.printing.printer import Position, print_lines

_BRACKETS = {"(": ")", "{": "}"}
_OPERATORS = ("|", "+", ">>")  # where an operation is broken, these begin lines

# A word by its rank among the words that are always kept; a bracket by the ranks of the words it
# encloses. Those left out have none.
_Key: TypeAlias = tuple[str, int, int]


def format_source(source: Source) -> str:
    """The canonical form of a text, comments and single empty lines kept.

    It parses to the same tree, and is its own canonical form.

    Raises:
        DiagnosticError: the parser's.
    """
    spec = parse(source)
    pieces = list(_pieces(source))
    lines = print_lines(spec, _Comments.among(pieces).between)
    return join_lines(_Weaver(lines, _places(lines)).weave(pieces))


# -------------------------------------------------------------------------------- the source


@frozen
class _Piece:
    """A word or a comment of the source; ``rank`` words that are always kept stand before it."""

    text: str
    line: int
    column: int
    rank: int
    key: _Key | None
    comment: bool = False

    @property
    def kept(self) -> bool:
        """Whether it is a word that is always kept."""
        return self.key is not None and not self.key[0]


def _pieces(source: Source) -> Iterator[_Piece]:
    text = source.text
    starts = [0, *(match.end() for match in re.finditer("\n", text))]
    tokens = tokenize(source)
    keys = _keys([str(token) for token in tokens])
    rank = end = 0
    for token, key in zip([*tokens, None], [*keys, None], strict=True):
        start = len(text) if token is None else token.start_pos or 0
        for match in re.finditer("#[^\n]*", text[end:start]):
            line = bisect_left(starts, end + match.start() + 1)
            column = end + match.start() - starts[line - 1] + 1
            yield _Piece(match[0].rstrip(), line, column, rank, None, comment=True)
        if token is not None:
            word = _Piece(str(token), token.line or 1, token.column or 1, rank, key)
            yield word
            rank += word.kept
            end = start + len(token)


def _keys(words: Sequence[str]) -> list[_Key | None]:
    keys: list[_Key | None] = [None] * len(words)
    opened: list[tuple[int, int]] = []
    rank = 0
    for k, word in enumerate(words):
        if word in _BRACKETS:
            opened.append((k, rank))
        elif word in _BRACKETS.values():
            start, first = opened.pop()
            if start == k - 1 and words[start - 1] == "else":
                keys[start - 1] = None  # `else { }` is left out
            else:
                keys[start], keys[k] = (words[start], first, rank), (word, first, rank)
        elif word == "else":
            keys[k] = (word, rank, rank)
        elif word != ";":
            keys[k] = ("", rank, rank)
            rank += 1
    return keys


@frozen
class _Comments:
    """Where the source has words and comments, for the printer to ask."""

    words: list[Position]
    ranks: list[int]  # of the comments

    @classmethod
    def among(cls, pieces: Sequence[_Piece]) -> _Comments:
        words = [(p.line, p.column) for p in pieces if p.kept]
        return cls(words, [p.rank for p in pieces if p.comment])

    def between(self, start: Position, end: Position) -> bool:
        """Whether one stands after the word before ``start`` and before the last to ``end``."""
        first = bisect_left(self.ranks, bisect_left(self.words, start))
        return first < len(self.ranks) and self.ranks[first] < bisect_left(self.words, end)


# -------------------------------------------------------------------------------- the printed lines


@frozen
class _Place:
    """Where a word is printed; ``last``: nothing but brackets follows on its line."""

    line: int
    first: bool
    last: bool


def _places(lines: Sequence[Line]) -> dict[_Key | None, _Place]:
    tokens = tokenize(Source("printed", "\n".join(map(str, lines))))
    keys = _keys([str(token) for token in tokens])
    at = [(token.line or 1) - 1 for token in tokens]
    places: dict[_Key | None, _Place] = {}
    below, last = len(lines), True
    for k in reversed(range(len(tokens))):
        key = keys[k]
        last = last or at[k] != below
        places[key] = _Place(at[k], k == 0 or at[k - 1] != at[k], last)
        last, below = last and bool(key and key[0]), at[k]
    return places


@frozen
class _Above:
    """A comment on a line of its own; ``moved`` from amid the words of the line below it."""

    text: str
    apart: bool
    moved: bool


@frozen
class _Weaver:
    """Puts comments and empty lines among the printed lines."""

    lines: list[Line]
    places: dict[_Key | None, _Place]
    above: dict[int, list[_Above]] = field(factory=dict)
    behind: dict[int, str] = field(factory=dict)
    apart: set[int] = field(factory=set)  # lines with an empty line before their first word

    def weave(self, pieces: Sequence[_Piece]) -> list[Line]:
        self._find(pieces)
        result: list[Line] = []
        for k in range(len(self.lines) + 1):
            group = self._group(k)
            if not result or result[-1].text.endswith("{"):
                group[:1] = [evolve(line, apart=False) for line in group[:1]]
            result += group
        return result

    # where they belong

    def _find(self, pieces: Sequence[_Piece]) -> None:
        """Give each comment its printed line, and each line its empty line."""
        waiting: list[_Above] = []
        word: _Piece | None = None  # the last that is printed
        apart, line = False, 1
        for piece in pieces:
            apart, line = apart or piece.line > line + 1, piece.line
            place = self.places.get(piece.key) if piece.key else None
            if piece.comment and word is not None and word.line == piece.line:
                self._find_trailing(piece.text, word)
            elif piece.comment:
                waiting.append(_Above(piece.text, apart, moved=False))
            elif place is not None:
                self._find_own(waiting, place, bracket=not piece.kept)
                if place.first and apart:
                    self.apart.add(place.line)
                word, waiting = piece, []
            else:
                continue
            apart = False
        self.above.setdefault(len(self.lines), []).extend(waiting)

    def _find_trailing(self, comment: str, word: _Piece) -> None:
        place = self.places[word.key]
        line = place.line
        if not place.last:
            if not place.first or word.text not in _OPERATORS:
                self._put(line, _Above(comment, False, moved=True))
                return
            line -= 1  # `a |  # of a`
        if line in self.behind:
            self._put(line + 1, _Above(comment, False, moved=False))
        else:
            self.behind[line] = comment

    def _find_own(self, comments: Sequence[_Above], place: _Place, bracket: bool) -> None:
        line, moved = place.line, not place.first
        if moved and bracket and place.last:  # only brackets keep them from the line below
            line, moved = line + 1, False
        for comment in comments:
            self._put(line, evolve(comment, moved=moved))

    def _put(self, line: int, comment: _Above) -> None:
        self.above.setdefault(line, []).append(comment)

    # how they look

    def _group(self, k: int) -> list[Line]:
        """A printed line, or the end of the file, with the comments above it."""
        above = self.above.get(k, [])
        own = [c for c in above if not c.moved]
        moved = [c for c in above if c.moved]
        if k == len(self.lines):
            return [Line("", "", "comment", c.apart, c.text) for c in own]
        line = self.lines[k]
        indent = line.indent + (INDENT if line.role in ("end", "close") else "")
        group = [Line(indent, "", "comment", c.apart, c.text) for c in own]
        group += [Line(indent, "", "comment", False, c.text) for c in moved]
        group.append(evolve(line, apart=False, comment=self.behind.get(k, "")))
        # The line's empty line stands before the comments moved out of it.
        if k in self.apart and (moved or line.role != "end"):
            group[len(own)] = evolve(group[len(own)], apart=True)
        if line.role in ("more", "close"):
            return [evolve(one, apart=False) for one in group]
        if line.apart and not any(one.apart for one in group):
            group[0] = evolve(group[0], apart=True)
        return group
