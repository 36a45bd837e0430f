"""Colours of a spec: a Pygments lexer, registered as ``nas`` and for ``.nas`` files.

Pygments comes with ``pip install bayesnas[highlight]``; nothing else in the package needs it.
A word is coloured by what stands before and behind it, so that half a spec has colours too.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

from pygments.lexer import RegexLexer, default, include, words
from pygments.token import Comment, Keyword, Name, Number, Operator, Punctuation, String, Whitespace

from bayesnas.dsl.words import KEYWORDS

_LOGIC: Final = ("and", "or", "not")
_NAME: Final = rf"(?!(?:{'|'.join(sorted(KEYWORDS))})\b)[A-Za-z_][A-Za-z0-9_]*"
_REAL: Final = r"\d+(?:\.\d+(?:[eE][+-]?\d+)?|[eE][+-]?\d+)"


def _keyword(*which: str) -> words:
    return words(which, prefix=r"\b", suffix=r"\b")


class NasLexer(RegexLexer):
    """The tokens of a spec.

    ==================================  ==========================================================
    keywords                            ``Keyword``, ``Keyword.Declaration`` where one opens a
                                        definition, ``Keyword.Namespace`` for ``import``,
                                        ``Operator.Word`` for ``and``, ``or`` and ``not``
    defined motifs and networks         ``Name.Class``
    operations, defined or applied      ``Name.Function``
    parameters in calls, settings       ``Name.Attribute``
    words that are a setting's value    ``Name.Constant``
    other names                         ``Name``
    numbers                             ``Number.Integer``, ``Number.Float``; ``Number.Other`` with
                                        a unit
    ``~>``                              ``String.Escape``, which nearly every style sets off
    ``->`` and operators                ``Operator``
    brackets of a shape                 ``Keyword.Type``
    ==================================  ==========================================================
    """

    name = "BayesNAS"
    aliases: ClassVar[list[str]] = ["nas", "bayesnas"]
    filenames: ClassVar[list[str]] = ["*.nas"]
    mimetypes: ClassVar[list[str]] = ["text/x-bayesnas"]

    tokens: ClassVar[dict[str, Any]] = {
        "root": [
            include("blank"),
            # keywords, and what they say of the next name
            (_keyword("import"), Keyword.Namespace),
            (_keyword("motif", "network"), Keyword.Declaration, "motif"),
            (_keyword("op", "choice"), Keyword.Declaration, "operation definition"),
            (_keyword("search", "train", "learn"), Keyword.Declaration, "settings head"),
            (_keyword("then", "else"), Keyword, "operation"),
            (_keyword(*_LOGIC), Operator.Word),
            (_keyword(*sorted(KEYWORDS)), Keyword),
            # names
            (rf"{_NAME}(?=\s*(?:\(|>>|\|))", Name.Function),
            (_NAME, Name),
            include("numbers"),
            # operators
            (r"~>", String.Escape),
            (r"->", Operator),
            (r">>|\|", Operator, "operation"),
            (r"==|!=|<=|>=|//|\.\.|[-+*%<>=]", Operator),
            (r":", Punctuation, "after colon"),
            (r"\(", Punctuation, "parentheses"),
            (r"[][{}),;]", Punctuation),
        ],
        "blank": [
            (r"[ \t\r\n\f]+", Whitespace),
            (r"#[^\n]*", Comment.Single),
            (r'"[^"\n]*"', String.Double),
        ],
        "numbers": [
            (r"\d+(?:\.\d+)?(?:[KMG]| *(?:us|ms|s))\b", Number.Other),
            (_REAL, Number.Float),
            (r"\d+", Number.Integer),
        ],
        # States that wait for one name, and leave at anything else.
        "motif": [include("blank"), (_NAME, Name.Class, "#pop"), default("#pop")],
        "operation": [include("blank"), (_NAME, Name.Function, "#pop"), default("#pop")],
        "operation definition": [
            include("blank"),
            (_NAME, Name.Function),
            (r"\(", Punctuation, "parentheses"),
            (r"=", Operator, ("#pop", "operation")),
            default("#pop"),
        ],
        "after colon": [
            (r"[ \t\r\n\f]+", Whitespace),
            (r"\[", Keyword.Type, ("#pop", "shape")),
            default(("#pop", "operation")),
        ],
        # States between brackets.
        "parentheses": [
            (r"\)", Punctuation, "#pop"),
            (rf"{_NAME}(?=\s*=(?!=))", Name.Attribute),
            include("root"),
        ],
        "shape": [(r"\]", Keyword.Type, "#pop"), include("root")],
        "settings head": [
            include("blank"),
            (r"\{", Punctuation, ("#pop", "settings")),
            default("#pop"),
        ],
        "settings": [
            (r"\}", Punctuation, "#pop"),
            (rf"{_NAME}(?=\s*=)", Name.Attribute),
            (_NAME, Name.Constant),
            (rf"-?{_REAL}", Number.Float),
            (r"\(", Punctuation, "options"),
            include("root"),
        ],
        "options": [
            (r"\)", Punctuation, "#pop"),
            (rf"{_NAME}(?=\s*=)", Name.Attribute),
            (_NAME, Name.Constant),
            (rf"-?{_REAL}", Number.Float),
            include("root"),
        ],
    }
