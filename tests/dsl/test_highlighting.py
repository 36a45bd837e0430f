"""Colours: the Pygments lexer and the TextMate grammar see the words that the parser sees."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from attrs import field, frozen
from hypothesis import given, settings
from lark import Lark, Token
from pygments.styles import get_style_by_name
from pygments.token import Comment, Error, Keyword, Name, Number, Operator, Punctuation, String
from pygments.token import _TokenType as Kind
from strategies import specs
from support import GRAMMAR
from test_docs import EXAMPLES, ROOT, blocks

from bayesnas.dsl import __version__, tree
from bayesnas.dsl.highlighting import NasLexer
from bayesnas.dsl.printing.printer import print_spec
from bayesnas.dsl.words import KEYWORDS

EDITORS = ROOT / "editors"
COMMENTS: list[Token] = []  # the parser ignores them; lark hands them over all the same
LARK = Lark(
    GRAMMAR,
    parser="lalr",
    start="spec",
    lexer_callbacks={"COMMENT": lambda token: COMMENTS.append(token) or token},
)
# A text of every terminal, with words of the language where they are none.
EVERYTHING = """\
# network search "~>" 3.5M in -> for
import "network # -> 3.5M.nas"  # and "not" at the end
op fore(in_ = -(1 + 2) * 3 // 4 % 5) = if in_ >= 1 and not in_ == 2 or in_ < 0
    then skip # then
    else conv(3, width = in_) >> bn + skip
choice c = (a | b(1) >> e) | (if 1 > 2 then x else y)
motif opera(a; motif m = n, motif o, k) -> (b, d) {
    node h[4], g;
    for i in 0..4 { {a, h[..i], h[i..]} ~> h[i] : c; h[0] -> h[i] : bn }
    if k != 1 { b = concat(h) } else { b, d = tied(k) m(a, a; k = k) }
    g = sum(); g = product(a)
    b = tied chain m(a; k = 1) times 3 reduce at 1, 2
    c = shared m(a; k = 1)
    c, d = tied scan m(a, g; k = 1) from h[0], g
    retain 2 into h[k]
    budget parameters <= 3.5M
    budget flops <= 600 * k
}
network n(image: [3, 2 * 16, 32], other:
    [3]; k = 3) -> (logits: [10]) { image -> logits }
search { strategy = bayesnas; lambda_w = 3e-4 x = -1.5 y = "train" rounds = 3 }
train{epochs=600}
learn { heard = classification(smoothing = 0.1, b=3) * 0.5; b = regression*2 }
"""


@frozen
class Text:
    """A text with the name it is reported under."""

    name: str
    text: str = field(repr=False)


def texts() -> Iterator[Text]:
    yield Text("everything", EVERYTHING)
    for path in sorted([*ROOT.glob("specs/*.nas"), *ROOT.glob("dsl/library/**/*.nas")]):
        yield Text(path.name, path.read_text("utf-8"))
    for path in EXAMPLES:
        for number, text in enumerate(blocks(path, "nas")):
            yield Text(f"{path.name}#{number}", text)


def words(text: str) -> list[Token]:
    """The plain reference: what the parser reads, and comments."""
    COMMENTS.clear()
    found = LARK.parse_interactive(text).exhaust_lexer()
    return sorted([*found, *COMMENTS], key=lambda token: token.start_pos or 0)


every_text = pytest.mark.parametrize("example", [*texts()], ids=lambda example: example.name)
fewer = settings(max_examples=settings().max_examples // 4)


def test_every_terminal_is_in_the_example() -> None:
    found = {token.type for token in words(EVERYTHING)}
    terminals = {terminal.name for terminal in LARK.terminals}
    assert terminals - found == {"__IGNORE_0"}  # white space
    assert {token.value for token in words(EVERYTHING)} >= KEYWORDS
    LARK.parse(EVERYTHING)


# --------------------------------------------------------------------------------------- Pygments

BRACKETS = (Punctuation, Keyword.Type)
PYGMENTS: dict[str, tuple[Kind, ...]] = {
    "COMMENT": (Comment,),
    "STRING": (String.Double,),
    "NAME": (Name,),
    "AMOUNT": (Number.Other,),
    "REAL": (Number.Float,),
    "INTEGER": (Number.Integer,),
    "keyword": (Keyword, Operator.Word),
    "~>": (String.Escape,),
    **dict.fromkeys("[]", BRACKETS),
    **dict.fromkeys("(){},;:", (Punctuation,)),
    "operator": (Operator,),
}


def expected(token: Token, table: dict[str, Any]) -> Any:
    """What a table says of a token: by itself, as a keyword, or by its terminal."""
    if token.value in KEYWORDS:
        return table["keyword"]
    return table.get(token.value) or table.get(token.type) or table["operator"]


def pygments_words(text: str) -> list[tuple[int, Kind, str]]:
    lexed = NasLexer().get_tokens_unprocessed(text)
    return [(start, kind, word) for start, kind, word in lexed if not word.isspace()]


def check_pygments(text: str) -> None:
    lexed = list(NasLexer().get_tokens_unprocessed(text))
    assert "".join(word for _, _, word in lexed) == text
    assert not [word for _, kind, word in lexed if kind in Error]
    reference = words(text)
    found = pygments_words(text)
    assert [(start, word) for start, _, word in found] == [
        (t.start_pos, t.value) for t in reference
    ]
    for token, (_, kind, _) in zip(reference, found, strict=True):
        kinds = expected(token, PYGMENTS)
        assert any(kind in one for one in kinds), (token.value, kind)


@every_text
def test_pygments_sees_the_words_of_the_parser(example: Text) -> None:
    check_pygments(example.text)


@fewer
@given(specs)
def test_pygments_sees_the_words_of_whatever_is_printed(spec: tree.Spec) -> None:
    check_pygments(print_spec(spec))


def kinds(text: str) -> dict[str, Kind]:
    return {word: kind for _, kind, word in pygments_words(text)}


def test_names_by_what_they_are() -> None:
    found = kinds(EVERYTHING)
    assert {found[word] for word in ("opera", "n")} == {Name.Class}
    operations = ("fore", "c", "conv", "bn", "a", "b", "e", "x", "y")
    first = kinds(EVERYTHING.partition("motif opera")[0])
    assert {first[word] for word in operations} == {Name.Function}
    assert {found[word] for word in ("strategy", "lambda_w", "epochs")} == {Name.Attribute}
    assert found["bayesnas"] is Name.Constant
    assert found["logits"] is Name


def test_operations_are_found_across_lines_and_comments() -> None:
    text = "op f = # none\n  relu\n  >> # one\n  (bn | skip) >> tanh\n  | conv\n(3)"
    found = kinds(text)
    names = ("f", "relu", "bn", "skip", "tanh", "conv")
    assert {found[name] for name in names} == {Name.Function}


def test_shapes_have_brackets_of_their_own() -> None:
    found = [kind for _, kind, word in pygments_words("network n(x: [h[1]]) {h[1]}") if word == "["]
    assert found == [Keyword.Type, Punctuation, Punctuation]


@pytest.mark.parametrize("name", ["default", "monokai", "github-dark", "solarized-light", "bw"])
def test_the_searched_arrow_stands_out(name: str) -> None:
    style = get_style_by_name(name)
    searched, fixed = (kinds("a ~> b -> c")[arrow] for arrow in ("~>", "->"))
    drawn = style.style_for_token(searched)
    assert drawn != style.style_for_token(fixed)
    assert drawn != style.style_for_token(Name)


@pytest.mark.parametrize("text", ['import "open\nop f = skip', "op §", "a ~ b", "search", "op f ="])
def test_half_a_spec_has_colours_too(text: str) -> None:
    assert "".join(word for _, _, word in NasLexer().get_tokens_unprocessed(text)) == text


def test_the_entry_point_is_the_lexer() -> None:
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    section = project.partition('[project.entry-points."pygments.lexers"]')[2]
    found = re.match(r'\s*bayesnas = "([\w.]+):(\w+)"', section)
    assert found
    assert getattr(importlib.import_module(found[1]), found[2]) is NasLexer


# --------------------------------------------------------------------------------------- TextMate


@cache
def grammar() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((EDITORS / "bayesnas.tmLanguage.json").read_text("utf-8"))
    return loaded


def rules(patterns: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The rules of a list of patterns, includes followed."""
    for pattern in patterns:
        target = pattern.get("include")
        if target == "$self":
            yield from rules(grammar()["patterns"])
        elif target is not None:
            yield from rules([grammar()["repository"][target.removeprefix("#")]])
        elif "match" in pattern or "begin" in pattern:
            yield pattern
        else:
            yield from rules(pattern["patterns"])


def scopes(text: str) -> list[tuple[str, ...]]:
    """The scopes of every character, as an editor finds them: line by line, leftmost match first.

    Of matches at one place the end of the enclosing rule wins, then the order of the rules.
    """
    result: list[tuple[str, ...]] = []
    stack: list[dict[str, Any]] = [grammar()]
    for line in re.findall(r"[^\n]*\n|[^\n]+", text):
        result += _scopes_of_line(line, stack)
    return result


def _scopes_of_line(line: str, stack: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    while len(found) < len(line):
        around = tuple(rule["name"] for rule in stack[1:])
        match, part, rule = _next(line, len(found), stack[-1])
        if match is None:
            return found + [around] * (len(line) - len(found))
        found += [around] * (match.start() - len(found))
        if part == "end":
            found += _captured(match, around, rule.get("endCaptures", {}))
            stack.pop()
        elif part == "begin":
            found += _captured(match, (*around, rule["name"]), rule.get("beginCaptures", {}))
            stack.append(rule)
        else:
            names = (rule["name"],) if "name" in rule else ()
            found += _captured(match, around + names, rule.get("captures", {}))
    return found


def _next(
    line: str, start: int, within: dict[str, Any]
) -> tuple[re.Match[str] | None, str, dict[str, Any]]:
    """The match that comes first, which part of a rule it is, and the rule."""
    candidates = [("end", within)] if "end" in within else []
    candidates += [("match" if "match" in r else "begin", r) for r in rules(within["patterns"])]
    found = []
    for part, rule in candidates:
        match = re.compile(rule[part]).search(line, start)
        assert match is None or match[0], "a match of nothing"
        found += [(match, part, rule)] if match else []
    nothing = (None, "", within)
    return min(found, key=lambda item: item[0].start()) if found else nothing


def _captured(
    match: re.Match[str], around: tuple[str, ...], captures: dict[str, Any]
) -> list[tuple[str, ...]]:
    found = [around] * len(match[0])
    for group, capture in captures.items():
        start, end = (place - match.start() for place in match.span(int(group)))
        if start >= 0:
            found[start:end] = [(*scope, capture["name"]) for scope in found[start:end]]
    return found


TEXTMATE = {
    "COMMENT": "comment.",
    "STRING": "string.",
    "NAME": ("variable.", "entity.name.", "constant.other."),
    "AMOUNT": "constant.numeric.amount.",
    "REAL": "constant.numeric.real.",
    "INTEGER": "constant.numeric.integer.",
    "keyword": "keyword.",
    "~>": "keyword.control.arrow.searched.",
    "->": "keyword.operator.arrow.fixed.",
    **dict.fromkeys("[]", ("punctuation.", "storage.type.shape.")),
    **dict.fromkeys("(){},;:", "punctuation."),
    "operator": "keyword.operator.",
}


def check_textmate(text: str) -> None:
    found = scopes(text)
    assert len(found) == len(text)
    for token in words(text):
        start = expected(token, TEXTMATE)
        for scope in found[token.start_pos : token.end_pos]:
            assert any(name.startswith(start) for name in scope), (token.value, scope)
            assert not any(name.startswith("invalid.") for name in scope), (token.value, scope)
            if not (token.value in KEYWORDS or "keyword." in start or token.type == "AMOUNT"):
                assert not any(name.startswith("keyword.") for name in scope), (token.value, scope)


@every_text
def test_textmate_sees_the_words_of_the_parser(example: Text) -> None:
    check_textmate(example.text)


@fewer
@given(specs)
def test_textmate_sees_the_words_of_whatever_is_printed(spec: tree.Spec) -> None:
    check_textmate(print_spec(spec))


def test_textmate_knows_the_keywords_and_no_other() -> None:
    listed = re.findall(r"\\b\(([a-z|]+)\)\\b", "\n".join(r.get("match", "") for r in _keywords()))
    found = [word for group in listed for word in group.split("|")]
    assert sorted(found) == sorted(KEYWORDS)
    everywhere = json.dumps(grammar()).replace("\\\\", "\\")
    for group in re.findall(r"\\b\(([a-z|]+)\)\\b", everywhere):
        assert set(group.split("|")) <= KEYWORDS


def _keywords() -> Iterator[dict[str, Any]]:
    return rules([{"include": "#keyword"}])


def scope_of(text: str, word: str) -> str:
    """The innermost scope of a word's first occurrence."""
    return scopes(text)[text.index(word)][-1]


@pytest.mark.parametrize(
    ("text", "word", "scope"),
    [
        ("motif cell(a) -> (b) { }", "cell", "entity.name.type.nas"),
        ("op sep(k = 3) = skip", "sep", "entity.name.function.nas"),
        ("op sep(k = 3) = skip", "k", "variable.parameter.nas"),
        ("choice some = one | two", "one", "entity.name.function.nas"),
        ("choice some = one | two", "two", "entity.name.function.nas"),
        ("a -> b : relu", "relu", "entity.name.function.nas"),
        ("a -> b : if k then relu else tanh", "tanh", "entity.name.function.nas"),
        ("x = first(a) : relu", "first", "entity.name.function.nas"),
        ("search { rounds = 3 }", "rounds", "variable.other.property.nas"),
        ("search\n{ # }\n  kind = soft }", "soft", "constant.other.word.nas"),
        ("search { } kind = soft", "soft", "variable.other.nas"),
        ("network n(x: [8]) -> (y: [8])", "[", "storage.type.shape.nas"),
        ("h[1]", "[", "punctuation.section.nas"),
        ("budget flops <= 2M", "M", "keyword.other.unit.nas"),
        ("learn { depth = regression }", "depth", "variable.other.property.nas"),
        ("learn { depth = regression }", "regression", "constant.other.word.nas"),
        ('import "open', '"', "invalid.illegal.unclosed-string.nas"),
    ],
)
def test_textmate_names_by_what_they_are(text: str, word: str, scope: str) -> None:
    assert scope_of(text, word) == scope


def test_patterns_are_those_of_oniguruma_too() -> None:
    """Nothing that Python and Oniguruma read differently, and no unused part."""
    text = json.dumps(grammar())
    assert not re.search(r"\(\?(?![:=!])|\\\\[ZAhHRKGkg]|\*\+|\+\+|\?\+|\[\[", text)
    included = set(re.findall(r'"include": "#(\w+)"', text))
    assert included == set(grammar()["repository"])


def test_the_folder_is_an_extension() -> None:
    package = json.loads((EDITORS / "package.json").read_text("utf-8"))
    [language], [colours] = package["contributes"]["languages"], package["contributes"]["grammars"]
    assert language["extensions"] == [".nas"]
    assert colours["scopeName"] == grammar()["scopeName"] == "source.nas"
    assert colours["language"] == language["id"]
    for path in (language["configuration"], colours["path"]):
        json.loads(Path(EDITORS, path).read_text("utf-8"))
    assert package["version"] == __version__
