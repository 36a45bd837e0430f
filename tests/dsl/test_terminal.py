"""Texts of others on a terminal: visible, on one line, in any encoding."""

from __future__ import annotations

import io
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayesnas.dsl.diagnostics import Diagnostic, Source, Span, render
from bayesnas.dsl.terminal import accept_any_text, say, tell, visible

STEERING = "\x1b[31m\x9b2J\x00\x7f\r\n\t\u2028\u202e\u2066\u200b\udcff\udc41"


@given(st.text(st.characters()))
def test_what_is_visible_is_one_line_that_steers_nothing(text: str) -> None:
    shown = visible(text)
    assert len(shown.splitlines()) <= 1
    assert not {unicodedata.category(c) for c in shown} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert visible(shown) == shown


@pytest.mark.parametrize("text", ["", "darts_cell.nas:3:1", "größe × 2 ± 1", "日本語\u00a0"])
def test_what_steers_nothing_stays(text: str) -> None:
    assert visible(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[31mb", r"a\x1b[31mb"),
        ("a\nb", r"a\x0ab"),
        ("\x9b", r"\x9b"),
        ("\u202e", r"\u202e"),
        ("b\udcff", r"b\xff"),  # a byte of a name that is not UTF-8
        ("\ud800", r"\ud800"),
        ("\U000e0001", r"\U000e0001"),
    ],
)
def test_escapes(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_carets_stand_under_what_they_mark() -> None:
    text = "\tab\x1b[3 \u202exy\x07 z"
    start = text.index("xy")
    source = Source("a\nb\x1b.nas", text)
    diagnostic = Diagnostic(
        "D102", f"a {STEERING}", Span(source, 1, start + 1, 1, start + 4), f"b {STEERING}",
        (f"c {STEERING}",), f"d {STEERING}",
    )  # fmt: skip
    lines = render(diagnostic).split("\n")
    assert len(lines) == 7
    assert lines[1] == r"  --> a\x0ab\x1b.nas:1:9"
    line, marks = lines[3], lines[4]
    assert line == " 1 | \tab\\x1b[3 \\u202exy\\x07 z"
    place = slice(marks.index("^"), marks.rindex("^") + 1)
    assert line[place] == r"xy\x07"
    for row in lines:
        assert not {unicodedata.category(c) for c in row.replace("\t", "")} & {"Cc", "Cf", "Cs"}


def test_a_stream_of_few_characters_takes_any_text() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", newline="\n")
    accept_any_text(stream)
    say("97.2 ± 0.1 é", "b\udcff", file=stream)
    stream.flush()
    assert raw.getvalue() == b"97.2 +- 0.1 \\xe9\nb\\xff\n"


def test_a_line_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    say("a\nb", "c")
    assert capsys.readouterr().out == "a\\x0ab\nc\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no such device here")
def test_a_full_disk_behind_stderr_ends_no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    full = open("/dev/full", "w", buffering=1)  # noqa: PTH123, SIM115
    monkeypatch.setattr(sys, "stderr", full)
    say("a note", file=full)
    tell("an error")
    with pytest.raises(OSError, match="No space left"):
        full.close()
