"""What a user reads: the renderer, and a table of malformed snippets."""

import pytest
from support import MARK, assert_refused, parse_text, refused

from bayesnas.dsl.diagnostics import (
    Diagnostic,
    DiagnosticError,
    Source,
    Span,
    nearest,
    quote,
    render,
    render_all,
    suggest,
)


def at(source: Source, line: int, column: int, end: int) -> Span:
    return Span(source, line, column, line, end)


def caret_lines(text: str) -> tuple[str, str]:
    """The line of the source in a rendered diagnostic, and the one with the carets below it."""
    lines = text.splitlines()
    [row] = [n for n, line in enumerate(lines) if "^" in line]
    return lines[row - 1], lines[row]


# ------------------------------------------------------------------------------ the renderer


def test_a_whole_diagnostic() -> None:
    source = Source("specs/cell.nas", "motif m(a) -> (d) {\n  b -> d : sep_conv(3)\n}")
    diagnostic = Diagnostic(
        "D203",
        "edge `b -> d` names an undeclared node",
        at(source, 2, 3, 4),
        "not declared in motif `m`",
        ("declared nodes are `a` and `d`",),
        "declare `b`, or write `a`",
    )
    assert render(diagnostic) == (
        "error[D203]: edge `b -> d` names an undeclared node\n"
        "  --> specs/cell.nas:2:3\n"
        "   |\n"
        " 2 |   b -> d : sep_conv(3)\n"
        "   |   ^ not declared in motif `m`\n"
        "   = note: declared nodes are `a` and `d`\n"
        "   = help: declare `b`, or write `a`"
    )


@pytest.mark.parametrize("line", [1, 9, 10, 12345])
def test_the_carets_sit_under_the_place(line: int) -> None:
    source = Source("s.nas", "\n" * (line - 1) + "a -> wrong : skip")
    shown, carets = caret_lines(render(Diagnostic("D203", "m", at(source, line, 6, 11))))
    assert shown.startswith(f" {line} | ")
    assert carets.index("^") == shown.index("wrong")
    assert carets.count("^") == len("wrong")
    assert carets.index("|") == shown.index("|")


def test_tabs_before_the_place_stay_tabs() -> None:
    source = Source("s.nas", "\tif 1 {\twrong }")
    shown, carets = caret_lines(render(Diagnostic("D203", "m", at(source, 1, 9, 14))))
    assert carets.expandtabs().index("^") == shown.expandtabs().index("wrong")


def test_a_place_over_several_lines_is_marked_to_the_end_of_its_first() -> None:
    source = Source("s.nas", "x = a : conv(3)\n  >> bn")
    shown, carets = caret_lines(render(Diagnostic("D301", "m", Span(source, 1, 9, 2, 8))))
    assert carets.index("^") == shown.index("conv")
    assert carets.count("^") == len("conv(3)")


def test_a_place_behind_the_last_character_has_one_caret() -> None:
    source = Source("s.nas", "op f =")
    shown, carets = caret_lines(render(Diagnostic("D101", "m", at(source, 1, 7, 8))))
    assert carets.index("^") == len(shown)
    assert carets.count("^") == 1


def test_without_a_place_there_is_no_arrow() -> None:
    diagnostic = Diagnostic("D401", "no spec at `x`", notes=("specs here: none",), help="name one")
    assert render(diagnostic) == (
        "error[D401]: no spec at `x`\n  = note: specs here: none\n  = help: name one"
    )


def test_several_diagnostics_are_counted() -> None:
    one, two = Diagnostic("D401", "one"), Diagnostic("D402", "two")
    assert render_all([one]) == "error[D401]: one"
    assert render_all([one, two]) == "error[D401]: one\n\nerror[D402]: two\n\n2 errors"


def test_an_error_tells_codes_and_messages_and_its_exit_status() -> None:
    error = DiagnosticError(Diagnostic("D401", "one"), Diagnostic("D402", "two"))
    assert str(error) == "D401: one\nD402: two"
    assert error.status == 2
    assert DiagnosticError(Diagnostic("D601", "x"), status=1).status == 1


def test_lines_of_a_source() -> None:
    source = Source("s.nas", "one\r\ntwo\n")
    assert [source.line(n) for n in range(5)] == ["", "one", "two", "", ""]


def test_only_newlines_count_as_lines() -> None:
    source = Source("s.nas", "# a\x0cb\u2028c\nop f = skip")
    assert source.line(2) == "op f = skip"


# ------------------------------------------------------------------------------ words


@pytest.mark.parametrize(
    ("names", "sentence"),
    [([], ""), (["a"], "`a`"), (["a", "b"], "`a` and `b`"), (["a", "b", "c"], "`a`, `b` and `c`")],
)
def test_quote(names: list[str], sentence: str) -> None:
    assert quote(names) == sentence


def test_the_nearest_name_is_suggested_if_one_is_close() -> None:
    known = ["max_pool", "avg_pool", "conv"]
    assert nearest("maxpool", known) == "max_pool"
    assert nearest("linear", known) is None
    assert suggest("maxpool", known) == "did you mean `max_pool`?"
    assert suggest("linear", known, "define it") == "define it"
    assert suggest("linear", []) == ""


# ------------------------------------------------------------------------------ malformed snippets

NAME_HELP = "a name is letters, digits and `_`, and no keyword"
FILE_HELP = "a file holds `import`, `op`, `choice`, `motif`, `network`, `search` and `train`"

MALFORMED = {
    # what stands at the top
    "§hello": ("D101", "unexpected `hello`", FILE_HELP),
    "op a = b §c": ("D101", "unexpected `c`", FILE_HELP),
    "import §a": (
        "D101",
        "missing text in quotes before `a`",
        'write the path in quotes: `import "ops/darts.nas"`',
    ),
    "search §a = 1": (
        "D101",
        "missing `{` before `a`",
        "a block stands in braces: `{ ... }`",
    ),
    # names
    "op §= skip": ("D101", "missing name before `=`", NAME_HELP),
    "op §sum = skip": (
        "D101",
        "`sum` is a keyword and cannot be a name",
        "choose another name, such as `sum_1`",
    ),
    "motif m(§) -> (b) { }": ("D101", "missing name before `)`", NAME_HELP),
    "# a comment\nop a =§  \n\n": ("D101", "missing name before the end of the file", NAME_HELP),
    "op a = b\nop b = c |§": ("D101", "missing name before the end of the file", NAME_HELP),
    # statements
    "motif m(a) -> (b) { a -> §}": ("D101", "missing name before `}`", NAME_HELP),
    "motif m(a) -> (b) {\n  a -> b : §}": ("D101", "missing name before `}`", NAME_HELP),
    "motif m(a) -> (b) { a §}": (
        "D101",
        "unexpected `}`",
        "a statement defines (`x = ...`) or connects (`a -> b`)",
    ),
    "motif m(a) -> (b) { if 1 { } else §a }": (
        "D101",
        "missing `{` before `a`",
        "a block stands in braces: `{ ... }`",
    ),
    "network n(a§) -> (b: [1]) { }": ("D101", "missing `:` before `)`", None),
    "search { a §}": ("D101", "missing `=` before `}`", "write `name = value`"),
    "motif m(a) -> §b { }": (
        "D101",
        "missing `(` before `b`",
        "a list of names stands in parentheses: `(a, b)`",
    ),
    "op a = conv(3§;)": (
        "D101",
        "missing `)` or `,` before `;`",
        "close the parenthesis, or separate with commas",
    ),
    "network n(a: [3§;]) -> (b: [1]) { }": (
        "D101",
        "missing `]` or `,` before `;`",
        "close the bracket, or separate with commas",
    ),
    # characters and texts
    "op a = conv(3 §/ 2)": (
        "D102",
        "unexpected character `/`",
        "division of whole numbers is written `//`",
    ),
    "import §'x'": (
        "D102",
        "unexpected character `'`",
        'texts stand in double quotes: `"ops/darts.nas"`',
    ),
    "op a(k = 1§.5) = b": (
        "D102",
        "unexpected character `.`",
        "a range is written `0..4`; parameters are whole numbers",
    ),
    "op a = conv(§!k)": ("D102", "unexpected character `!`", "write `not`, or `!=`"),
    "op a = conv(k §& 1)": ("D102", "unexpected character `&`", "write `and`"),
    "op a = x §@ y": ("D102", "unexpected character `@`", "remove it"),
    "op a = skip§\u00a0": ("D102", "unexpected character `\u00a0`", "remove it"),
    'import §"a': ("D102", "text is not closed", 'end it with `"` on the same line'),
    # brackets
    "motif m(a) -> (b) §{\n a -> b\n": ("D103", "missing `}`", "close it with `}`"),
    "motif m(a) -> (b) { }\n§}": ("D103", "`}` closes nothing", "remove it, or open with `{`"),
    "network n(a: [3§) -> (b: [1]) { }": (
        "D103",
        "`)` does not close `[`",
        "write `]` first",
    ),
    # nesting
    f"op a = {'(' * 100}§{'(' * 5}b{')' * 105}": (
        "D104",
        "nested deeper than 100 levels",
        "name the inner parts with `op`, `choice` or `motif`",
    ),
    # several targets
    "motif m(a) -> (b) {\n  x, §y = a : skip\n}": (
        "D105",
        "`x` and `y` cannot be defined together here",
        "only a motif has several outputs; define one node a statement",
    ),
    "motif m(a) -> (b) { x, §y, z = sum(a) }": (
        "D105",
        "`x`, `y` and `z` cannot be defined together here",
        "only a motif has several outputs; define one node a statement",
    ),
}


@pytest.mark.parametrize("snippet", MALFORMED)
def test_malformed(snippet: str) -> None:
    code, message, remedy = MALFORMED[snippet]
    found = assert_refused(snippet, code, message, parse_text)
    if remedy is not None:
        assert found.help == remedy


def test_a_bracket_tells_where_its_partner_stands() -> None:
    found = assert_refused(
        "network n(a: [3§) -> (b: [1]) { }", "D103", "`)` does not close `[`", parse_text
    )
    assert found.notes == ("`[` was opened at spec.nas:1:14",)
    assert found.label == "expected `]`"


@pytest.mark.parametrize("deep", ["not " * 5000 + "1", "-" * 5000 + "1", "1" + " + 1" * 3000])
def test_deep_expressions_are_refused(deep: str) -> None:
    [found] = refused(f"op f = conv({deep})\nnetwork n(x: [1]) -> (y: [1]) {{ x -> y : f }}")
    assert found.code == "D104"
    assert found.help == "name the inner parts with `op`, `choice` or `motif`"


@pytest.mark.parametrize("text", ["op f = conv({})", "search {{ epochs = {} }}"])
def test_numbers_too_long_to_read_are_refused(text: str) -> None:
    number = "9" * 5000
    [found] = refused(text.format(number))
    assert found.span is not None
    assert found.span.line == 1
    assert found.help


@pytest.mark.parametrize("snippet", MALFORMED)
def test_every_malformed_snippet_renders(snippet: str) -> None:
    [found] = refused(snippet.replace(MARK, ""), parse_text)
    text = render(found)
    assert text.startswith(f"error[{found.code}]: {found.message}\n")
    assert "^" in text
