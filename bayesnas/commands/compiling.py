"""``bayesnas compile``, ``check`` and ``render``: what the compiler makes and says of a spec."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bayesnas.commands.arguments import Command, add_out_file, add_out_folder, add_plugin, add_spec
from bayesnas.commands.tables import say_advice, summary
from bayesnas.commands.values import parse_values
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, Span, render_all
from bayesnas.dsl.files import check_empty, check_free, write_text
from bayesnas.dsl.terminal import say

if TYPE_CHECKING:
    from bayesnas.commands.inputs import Input
    from bayesnas.compiler.graph.model import Graph

EMITS: Final = ("ast", "graph", "gamma", "schedule", "torch", "plain", "dot")
# Searched operations beyond which source, gamma's formulas and a figure would take minutes to write
# and be read by nobody.
READABLE: Final = 20_000


# ----------------------------------------------------------------------------------------- compile


def _add_compile(parser: argparse.ArgumentParser) -> None:
    add_spec(parser, "SPEC|GRAPH.json", "a .nas file, a packaged spec, or a graph.json")
    add_out_folder(parser, False, "folder to write; default build/<name of the spec>")
    parser.add_argument(
        "--emit",
        metavar="LIST",
        default="graph,gamma,torch,dot",
        help=f"what to write, separated by commas, from {','.join(EMITS)} (plain: the supernet "
        "without its schedule); default %(default)s",
    )


def _compile(options: argparse.Namespace) -> int:
    from bayesnas.commands.inputs import read_input

    emits = _emits(options.emit)
    out = options.out or Path("build") / Path(options.spec).stem
    given = read_input(options.spec, parse_values(options.set), options.network, emits)
    check_empty(out, options.force)
    emits = _readable(given.graph, emits)
    texts = _texts(given, emits)
    for name, text in texts.items():
        write_text(out / name, text)
    written = list(texts)
    advice = None
    if "dot" in emits:
        from bayesnas.compiler.artifacts.figure import draw, write_figure

        advice = write_figure(draw(given.graph, given.annotation), out / "graph.svg")
        written += ["graph.dot"] if advice else ["graph.dot", "graph.svg"]
    say(*summary(given.graph, given.heading))
    say(f"written to {out}: {', '.join(written)}")
    say_advice(advice)
    return 0


def _emits(text: str) -> list[str]:
    """What ``--emit`` asks for.

    Raises:
        DiagnosticError: D418 (nothing, or what there is not).
    """
    emits = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in emits if name not in EMITS]
    if unknown or not emits:
        raise DiagnosticError(
            Diagnostic(
                "D418",
                f"cannot emit `{unknown[0] if unknown else ''}`",
                help=f"choose from {', '.join(EMITS)}, separated by commas",
            )
        )
    return emits


def _readable(graph: Graph, emits: Sequence[str]) -> list[str]:
    """What is asked for, less what is of no use for a space of this size; it is said."""
    count = len(graph.searched())
    unreadable = [e for e in emits if e in ("gamma", "torch", "plain", "dot")]
    if count <= READABLE or not unreadable:
        return list(emits)
    say_advice(
        f"{count:,} searched operations: {', '.join(unreadable)} left out, which "
        f"{'are' if len(unreadable) > 1 else 'is'} written up to {READABLE:,}"
    )
    return [e for e in emits if e not in unreadable]


def _texts(given: Input, emits: Sequence[str]) -> dict[str, str]:
    """All that is text, by file name."""
    texts = {}
    if "ast" in emits and given.spec is not None:
        from bayesnas.dsl.tree_json import tree_to_json

        texts["ast.json"] = tree_to_json(given.spec)
    texts |= _sources(given.graph, given.origin, emits)
    if "graph" in emits:
        from bayesnas.compiler.artifacts.graph_file import graph_to_json

        texts["graph.json"] = graph_to_json(given.graph, given.annotation)
    if "gamma" in emits and given.graph.searched():
        from bayesnas.compiler.artifacts.gamma_report import gamma_report

        report = gamma_report(given.graph)
        texts["gamma.json"], texts["gamma.md"] = report.json, report.markdown
    return texts


def _sources(graph: Graph, origin: str, emits: Sequence[str]) -> dict[str, str]:
    """Python source by file name, and the schedule of what is searched."""
    from bayesnas.compiler.emit.pytorch import emit_torch
    from bayesnas.compiler.emit.schedule import schedule, schedule_text

    texts = {}
    plan = schedule(graph) if graph.searched() else None
    if "schedule" in emits and plan is not None:
        texts["schedule.txt"] = schedule_text(graph, plan)
    if "torch" in emits:
        name = "supernet.py" if plan else "network.py"
        texts[name] = emit_torch(graph, origin, plan).source
    if "plain" in emits:
        texts["plain.py"] = emit_torch(graph, origin).source
    return texts


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

    try:
        loaded = load(spec)
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
    parser.add_argument("spec", metavar="SPEC|GRAPH.json", help="a spec, or a compiled graph")
    parser.add_argument("--set", metavar="NAME=VALUE", action="append", default=[])
    parser.add_argument("--network", metavar="NAME")
    add_plugin(parser)
    parser.add_argument("--relays", action="store_true", help="draw the i' nodes of searched edges")
    add_out_file(parser, False, ".svg, .pdf, .png or .dot; default NAME.svg")


def _render(options: argparse.Namespace) -> int:
    """One figure of a spec or of a graph.json."""
    from bayesnas.commands.inputs import read_input
    from bayesnas.compiler.artifacts.figure import draw, write_figure

    given = read_input(options.spec, parse_values(options.set), options.network)
    out = options.out or Path(f"{Path(options.spec).stem}.svg")
    for file in (out, out.with_suffix(".dot")):
        check_free(file, options.force)
    advice = write_figure(draw(given.graph, given.annotation, options.relays), out)
    say(f"written to {out if advice is None else out.with_suffix('.dot')}")
    say_advice(advice)
    return 0


RENDER = Command("render", "Draw a spec or a graph.json.", _add_render, _render)
