"""``bayesnas measure``: how long the operations of a space take on a device."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

from bayesnas.commands.arguments import Command, add_device, add_out_file, add_spec
from bayesnas.commands.runs import set_threads
from bayesnas.commands.tables import WHOLES, columns, heading, whole_rows
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError
from bayesnas.dsl.files import check_free, write_text
from bayesnas.dsl.terminal import say

if TYPE_CHECKING:
    from bayesnas.compiler.graph.model import Graph
    from bayesnas.compiler.space.latencies import Latencies

_SHOWN: Final = 30  # operations; the file has all
MAX_BATCH: Final = 100_000


def _add_measure(parser: argparse.ArgumentParser) -> None:
    add_spec(parser)
    parser.add_argument(
        "--batch", type=int, metavar="N", default=1, help="examples at once; default %(default)s"
    )
    add_out_file(parser, False, "the table as JSON, for `--latencies`; default the terminal alone")
    add_device(parser)


def _measure(options: argparse.Namespace) -> int:
    from bayesnas.commands.inputs import given_spec
    from bayesnas.compiler.space.latency_file import latencies_json
    from bayesnas.runtime.jobs.costs.latency import measure
    from bayesnas.runtime.network.device import pick_device

    if not 1 <= options.batch <= MAX_BATCH:
        remedy = f"write a whole number from 1 to {MAX_BATCH:,}"
        message = f"cannot measure a batch of {options.batch}"
        raise DiagnosticError(Diagnostic("D418", message, help=remedy))
    if options.out is not None:
        check_free(options.out, options.force)
    set_threads(options.threads)
    compiled = given_spec(options)
    latencies = measure(compiled, pick_device(options.device), options.batch)
    say(heading(compiled), *_lines(latencies, compiled.graph))
    if options.out is not None:
        write_text(options.out, latencies_json(latencies))
        say(f"written to {options.out}; `--latencies {options.out}` prices a budget of latency")
    return 0


def _lines(latencies: Latencies, graph: Graph) -> list[str]:
    """The table for people: the slowest operations, and members against the sums of theirs."""
    about, rows = latencies.about, _operations(latencies, graph)
    threads = f"{about['threads']} thread{'' if about['threads'] == 1 else 's'}"
    where = about.get("gpu") or f"{about['processor']}, {threads}"
    lines = [
        f"  {len(rows)} operations on {about['device']} ({where}), batch {latencies.batch}, "
        f"torch {about['torch']}",
        "",
        *columns(("operation", "input", "output", "median", "quartiles"), rows[:_SHOWN], 3),
    ]
    if len(rows) > _SHOWN:
        lines.append(f"and {len(rows) - _SHOWN} faster ones")
    return [*lines, "", *columns(WHOLES, whole_rows(latencies.wholes))]


def _operations(latencies: Latencies, graph: Graph) -> list[tuple[str, ...]]:
    """Rows of operations, the slowest first."""
    from bayesnas.compiler.graph.cost import cost_text
    from bayesnas.compiler.space.latencies import output_shape, shapes_text, works_of

    rows = []
    for work, edge in works_of(graph):
        text, inputs = work
        label, output = text, inputs[0]
        if edge is not None:
            label, output = edge.operation.label, output_shape(edge.operation)
        elif text == "concat":
            output = (sum(shape[0] for shape in inputs), *output[1:])
        time = latencies.operations[work]
        low, high = (cost_text("latency", quartile) for quartile in (time.low, time.high))
        rows.append(
            (
                time.median,
                label,
                shapes_text(inputs),
                shapes_text([output]),
                cost_text("latency", time.median),
                f"{low} to {high}",
            )
        )
    return [row[1:] for row in sorted(rows, key=lambda row: -row[0])]


MEASURE = Command(
    "measure", "Measure how long the operations of a space take here.", _add_measure, _measure
)
