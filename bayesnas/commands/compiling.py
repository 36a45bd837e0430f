"""``bayesnas compile``, ``check`` and ``render``: what the compiler makes and says of a spec."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bayesnas.commands.arguments import Command, add_out_file, add_out_folder, add_plugin, add_spec
from bayesnas.commands.tables import say_advice, summary
from bayesnas.commands.values import parse_values
from bayesnas.compiler.targets import READABLE, TARGETS, Compilation
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, Span, render_all
from bayesnas.dsl.files import check_empty, check_free, write_text
from bayesnas.dsl.terminal import say

if TYPE_CHECKING:
    from bayesnas.compiler.graph.model import Graph


# ----------------------------------------------------------------------------------------- compile


def _add_given(parser: argparse.ArgumentParser) -> None:
    """What is compiled or drawn."""
    about = "a .nas file, a packaged spec, the folder of a search, or a graph.json"
    add_spec(parser, "SPEC|GRAPH.json", about)


def _add_compile(parser: argparse.ArgumentParser) -> None:
    _add_given(parser)
    add_out_folder(parser, False, "folder to write; default build/<name of the spec>")
    parser.add_argument(
        "--emit",
        metavar="LIST",
        default="graph,gamma,torch,dot",
        help=f"what to write, separated by commas, from {','.join(TARGETS)} (plain: the supernet "
        "without its schedule); default %(default)s",
    )


def _compile(options: argparse.Namespace) -> int:
    from bayesnas.commands.inputs import read_input

    emits = _emits(options.emit)
    given = read_input(options.spec, parse_values(options.set), options.network, emits)
    out = options.out or Path("build") / given.title
    check_empty(out, options.force)
    emits = _readable(given.compilation.graph, emits)
    written, advice = _write(given.compilation, emits, out)
    say(*summary(given.compilation.graph, given.heading))
    say(f"written to {out}: {', '.join(written)}")
    say_advice(advice)
    return 0


def _emits(text: str) -> list[str]:
    """What ``--emit`` asks for.

    Raises:
        DiagnosticError: D418 (nothing, or what there is not).
    """
    emits = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in emits if name not in TARGETS]
    if unknown or not emits:
        raise DiagnosticError(
            Diagnostic(
                "D418",
                f"cannot emit `{unknown[0] if unknown else ''}`",
                help=f"choose from {', '.join(TARGETS)}, separated by commas",
            )
        )
    return emits


def _readable(graph: Graph, emits: Sequence[str]) -> list[str]:
    """What is asked for, less what is of no use for a space of this size; it is said."""
    count = len(graph.searched())
    unreadable = [e for e in emits if TARGETS[e].for_readers]
    if count <= READABLE or not unreadable:
        return list(emits)
    say_advice(
        f"{count:,} searched operations: {', '.join(unreadable)} left out, which "
        f"{'are' if len(unreadable) > 1 else 'is'} written up to {READABLE:,}"
    )
    return [e for e in emits if e not in unreadable]


def _write(
    compilation: Compilation, emits: Sequence[str], out: Path
) -> tuple[list[str], str | None]:
    """Write what is asked for; the names of the files, and advice where a picture is missing."""
    texts: dict[str, str] = {}
    for name in sorted(emits, key=list(TARGETS).index):
        texts |= TARGETS[name].texts(compilation)
    pictured = any(TARGETS[name].pictures for name in emits)
    if not texts and not pictured:
        message = f"`--emit {','.join(emits)}` has nothing to write: the spec has no choices"
        raise DiagnosticError(Diagnostic("D418", message, help="leave `--emit` out"))
    for name, text in texts.items():
        write_text(out / name, text)
    written, advice = list(texts), None
    for draw in filter(None, (TARGETS[name].pictures for name in emits)):
        names, advice = draw(compilation, out)
        written += names
    return written, advice


COMPILE = Command(
    "compile",
    "Compile a search space: PyTorch source, graph, gamma expressions and figure.",
    _add_compile,
    _compile,
)


# ------------------------------------------------------------------------------------------- check


def _add_check(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("specs", metavar="SPEC", nargs="+")
    add_plugin(parser)


def _check(options: argparse.Namespace) -> int:
    """Every diagnostic of every spec and network; 2 if there is any."""
    status = 0
    for spec in options.specs:
        diagnostics = _faults(spec)
        if diagnostics:
            print(render_all(diagnostics), file=sys.stderr)
            status = 2
        else:
            say(f"{spec}: ok")
    return status


def _faults(spec: str) -> list[Diagnostic]:
    """What is wrong with any network of a spec, each thing once."""
    from bayesnas.compiler.pipeline import compile_resolved
    from bayesnas.compiler.program.resolve import resolve
    from bayesnas.dsl.loader import load
    from bayesnas.runtime.runs.ownership import spec_file

    try:
        loaded = load(spec_file(spec))
        program = resolve(loaded)
        networks = list(program.networks) or [program.network().name]
    except DiagnosticError as error:
        return list(error.diagnostics)
    diagnostics: dict[tuple[str, str, Span | None], Diagnostic] = {}
    for network in networks:
        try:
            compile_resolved(loaded, program, network=network)
        except DiagnosticError as error:
            diagnostics.update({(d.code, d.message, d.span): d for d in error.diagnostics})
            if any(d.code == "D224" for d in error.diagnostics):
                break  # to say so took long, and may again for every network
    return list(diagnostics.values())


CHECK = Command("check", "Check specs and report every error.", _add_check, _check)


# ------------------------------------------------------------------------------------------ render


def _add_render(parser: argparse.ArgumentParser) -> None:
    _add_given(parser)
    parser.add_argument("--relays", action="store_true", help="draw the i' nodes of searched edges")
    add_out_file(parser, False, ".svg, .pdf, .png or .dot; default NAME.svg")


def _render(options: argparse.Namespace) -> int:
    """One figure of a spec or of a graph.json."""
    from bayesnas.commands.inputs import read_input
    from bayesnas.compiler.artifacts.figure import draw, write_figure

    given = read_input(options.spec, parse_values(options.set), options.network)
    out = options.out or Path(f"{given.title}.svg")
    for file in (out, out.with_suffix(".dot")):
        check_free(file, options.force)
    advice = write_figure(
        draw(given.compilation.graph, given.compilation.annotation, options.relays), out
    )
    say(f"written to {out if advice is None else out.with_suffix('.dot')}")
    say_advice(advice)
    return 0


RENDER = Command("render", "Draw a spec or a graph.json.", _add_render, _render)
