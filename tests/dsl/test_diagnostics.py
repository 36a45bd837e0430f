"""What a user reads: the renderer, words, and what is beyond reason."""

import pytest
from support import deadline, refused

from bayesnas.dsl.diagnostics import (
    Diagnostic,
    DiagnosticError,
    Findings,
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
    assert str(error) == render_all(error.diagnostics)
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
    assert nearest("ReLU", ["relu", "relu6"]) == "relu"
    assert nearest("attention", ["flatten"]) is None


# ------------------------------------------------------------------------------ beyond reason


@pytest.mark.parametrize("deep", ["not " * 5000 + "1", "-" * 5000 + "1", "1" + " + 1" * 3000])
def test_deep_expressions_are_refused(deep: str) -> None:
    [found] = refused(f"op f = conv({deep})\nnetwork n(x: [1]) -> (y: [1]) {{ x -> y : f }}")
    assert found.code == "D104"
    assert found.help


@pytest.mark.parametrize("text", ["op f = conv({})", "search {{ epochs = {} }}"])
def test_numbers_too_long_to_read_are_refused(text: str) -> None:
    number = "9" * 5000
    [found] = refused(text.format(number))
    assert found.span is not None
    assert found.span.line == 1
    assert found.help


@pytest.mark.parametrize("before", [0, 50, 100, 101, 5_000])
@pytest.mark.parametrize("after", [600, 101, 50, 0])
def test_of_a_very_long_line_the_part_round_the_place_is_shown(before: int, after: int) -> None:
    text = "a" * before + "wrong" + "b" * (after + 500 * (before < 500))
    source = Source("s.nas", text)
    place = at(source, 1, before + 1, before + 6)
    shown, carets = caret_lines(render(Diagnostic("D203", "m", place)))
    assert len(shown) < 220
    assert shown[carets.index("^") :].startswith("wrong")
    assert carets.count("^") == 5
    assert shown.startswith(" 1 | ...") == (before > 100)
    assert shown.endswith("...") == (before < 500 or after > 95)


def test_a_place_longer_than_what_is_shown_of_its_line() -> None:
    source = Source("s.nas", "x" * 9_000)
    shown, carets = caret_lines(render(Diagnostic("D203", "m", at(source, 1, 3, 8_000))))
    assert shown == f" 1 | {'x' * 102}..."
    assert carets == f"   |   {'^' * 100}"


# ------------------------------------------------------------------------------ very many


def many(count: int) -> list[Diagnostic]:
    source = Source("s.nas", "op f = skip\n" * count)
    return [Diagnostic("D202", f"number {k}", at(source, k, 4, 5)) for k in range(1, count + 1)]


def test_findings_are_raised_in_the_order_of_their_places() -> None:
    findings = Findings()
    findings.refuse()
    findings.add(*reversed(many(3)))
    with pytest.raises(DiagnosticError) as caught:
        findings.refuse()
    assert [d.message for d in caught.value.diagnostics] == ["number 1", "number 2", "number 3"]


def test_a_hundred_findings_are_enough() -> None:
    findings = Findings()
    findings.add(*many(99))
    with pytest.raises(DiagnosticError) as caught:
        findings.add(*many(7))
    assert len(caught.value.diagnostics) == 100
    assert render_all(caught.value.diagnostics).endswith("100 errors, and there may be more")


def test_many_are_rendered_soon() -> None:
    with deadline(5.0):
        assert render_all(many(10_000)).endswith("\n10000 errors")


def test_a_list_of_very_many_names_is_cut_off() -> None:
    assert quote(map(str, range(40))).endswith("`38` and `39`")
    assert quote(map(str, range(1041))).endswith("`38`, `39` and 1,001 more")


def test_the_nearest_of_very_many_is_found_soon() -> None:
    known = [f"operation{k}" for k in range(10_000)]
    with deadline(5.0):
        for k in range(100):
            assert nearest(f"operatoin{k}", known) == f"operation{k}"
        assert nearest("x" * 1_000_000, ["x" * 1_000_000]) is None
