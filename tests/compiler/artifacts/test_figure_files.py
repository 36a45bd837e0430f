"""Figures as files: the picture, the source beside it, and what happens without Graphviz."""

from __future__ import annotations

from pathlib import Path

import pytest
from living import snapshot
from support import graph_of, network

from bayesnas.compiler.artifacts.figure import draw, has_dot, write_figure
from bayesnas.dsl.diagnostics import DiagnosticError

DOT = draw(graph_of(network("x ~> y : conv(3) | skip")))
needs_dot = pytest.mark.skipif(not has_dot(), reason="Graphviz is not installed")


@pytest.fixture
def no_dot(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))


@needs_dot
@pytest.mark.parametrize("kind", ["svg", "pdf", "png"])
def test_a_figure_and_its_source_are_written(kind: str, tmp_path: Path) -> None:
    assert write_figure(DOT, tmp_path / f"new/figure.{kind}") is None
    assert sorted(snapshot(tmp_path)) == sorted(["new", "new/figure.dot", f"new/figure.{kind}"])
    assert (tmp_path / "new/figure.dot").read_text(encoding="utf-8") == DOT


def test_the_source_alone(tmp_path: Path, no_dot: None) -> None:  # noqa: ARG001
    assert write_figure(DOT, tmp_path / "figure.dot") is None
    assert snapshot(tmp_path) == {"figure.dot": DOT.encode()}


def test_without_graphviz_the_source_and_the_remedy(tmp_path: Path, no_dot: None) -> None:  # noqa: ARG001
    advice = write_figure(DOT, tmp_path / "figure.svg")
    assert advice is not None
    assert "`dot` is not installed" in advice
    assert "Graphviz" in advice
    assert f"dot -Tsvg {tmp_path / 'figure.dot'} -o {tmp_path / 'figure.svg'}" in advice
    assert snapshot(tmp_path) == {"figure.dot": DOT.encode()}


def test_the_remedy_makes_what_was_asked_for(tmp_path: Path, no_dot: None) -> None:  # noqa: ARG001
    advice = write_figure(DOT, tmp_path / "figure.pdf")
    assert advice is not None
    assert f"dot -Tpdf {tmp_path / 'figure.dot'} -o {tmp_path / 'figure.pdf'}" in advice


@pytest.mark.parametrize("name", ["figure.gif", "figure", "figure.", "figure.svg.txt"])
def test_an_unknown_ending(name: str, tmp_path: Path) -> None:
    with pytest.raises(DiagnosticError) as caught:
        write_figure(DOT, tmp_path / name)
    [found] = caught.value.diagnostics
    assert (found.code, found.message) == ("D420", f"cannot draw `{name}`")
    assert caught.value.status == 2
    assert found.help == "end the name in .svg, .pdf, .png, .dot"
    assert snapshot(tmp_path) == {}


def test_graphviz_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin" / "dot"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho no fonts >&2\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    with pytest.raises(DiagnosticError) as caught:
        write_figure(DOT, tmp_path / "out" / "figure.svg")
    [found] = caught.value.diagnostics
    assert (found.code, caught.value.status) == ("D421", 1)
    assert found.message == "Graphviz could not draw the figure"
    assert str(tmp_path / "out" / "figure.dot") in found.help
    assert snapshot(tmp_path / "out") == {"figure.dot": DOT.encode()}
