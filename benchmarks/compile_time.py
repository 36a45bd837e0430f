"""How long the compiler takes, and how much memory, as search spaces grow.

    python -m benchmarks.compile_time

Takes about 2 minutes on 2 cores; `--quick` takes 10 seconds (up to 10,000 searched operations).

Generated spaces: chains of cells like those of DARTS, 14 searched edges of 7 candidates each, no
two cells tied. Each size is compiled in a process of its own: reading and compiling the spec,
deriving both gamma expressions of every gate, graph.json as text, the schedule, and PyTorch source
(only up to 20,000 searched operations, as on the command line: nobody reads a file of more).
Imports are not counted.

The exponent is the slope of log seconds, or of log peak memory above that of the smallest space,
over the logarithm of the number of searched operations, from 10,000 on (in a quick run from 1,000).

Bars: exponents under 1.2, and 100,000 searched operations in under 60 seconds without the source.
Exit status 1 where one is missed.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bayesnas.compiler.artifacts.gamma_report import DEPENDENCIES
from bayesnas.compiler.artifacts.graph_file import graph_to_json
from bayesnas.compiler.emit.pytorch import emit_torch
from bayesnas.compiler.emit.schedule import schedule
from bayesnas.compiler.passes.gamma import derive_gamma
from bayesnas.compiler.pipeline import compile_loaded
from bayesnas.compiler.targets import READABLE
from bayesnas.dsl.diagnostics import Source
from bayesnas.dsl.loader import load_text
from benchmarks.common import finish

SIZES = (100, 1000, 3000, 10_000, 30_000, 100_000)
QUICK = (100, 1000, 3000, 10_000)
EXPONENT_BAR, SECONDS_BAR = 1.2, 60.0
A_CELL = 98  # searched operations
SPEC = """\
import "ops/darts.nas"
choice any7 = sep_conv(3) | sep_conv(5) | dil_conv(3) | dil_conv(5) | pool_max(3) | pool_avg(3)
    | skip
motif cell(before, last; width, stride = 1, lag = 1) -> (out) {{
    a = before : preprocess(width, lag)
    b = last : preprocess(width)
    node h[4]
    for k in 0..4 {{
        {{a, b, h[..k]}} ~> h[k] : any7
    }}
    retain 2 into h
    out = concat(h)
}}
network generated(image: [3, 8, 8]) -> (logits: [10]) {{
    stem = image : conv(3, 4) >> bn
    body = chain cell(stem, stem; width = 4) times {cells}
    body -> logits : global_avg_pool >> linear(10)
}}
"""


def compile_one(operations: int) -> dict[str, Any]:
    """Seconds of every part and peak memory in MiB, of a space of about so many operations."""
    text = SPEC.format(cells=max(1, operations // A_CELL))
    row: dict[str, Any] = {}

    def timed(name: str, call: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        result = call()
        row[name] = round(time.perf_counter() - start, 3)
        return result

    def read() -> Any:
        return compile_loaded(load_text(Source("generated.nas", text), Path()))

    graph = timed("compile", read).graph
    timed("gamma", lambda: [derive_gamma(graph, dependency) for dependency in DEPENDENCIES])
    timed("json", lambda: graph_to_json(graph))
    plan = timed("schedule", lambda: schedule(graph))
    row["seconds"] = round(sum(row.values()), 3)
    row["mebibytes"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10, 1)
    row["operations"] = len(graph.searched())
    if row["operations"] <= READABLE:
        timed("source", lambda: emit_torch(graph, "generated.nas", plan))
    return row


def measure(operations: int) -> dict[str, Any]:
    """`compile_one` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.compile_time", "--one", str(operations)]
    ended = subprocess.run(command, check=True, capture_output=True, text=True)
    row: dict[str, Any] = json.loads(ended.stdout)
    return row


def exponent(rows: list[dict[str, Any]], name: str, least: int) -> float:
    """The slope of least squares of log ``name`` over log operations."""
    base = rows[0][name] if name == "mebibytes" else 0.0
    chosen = [row for row in rows[1:] if row["operations"] > 0.9 * least]
    points = [(math.log(row["operations"]), math.log(row[name] - base)) for row in chosen]
    mean_x, mean_y = (sum(values) / len(points) for values in zip(*points, strict=True))
    over = sum((x - mean_x) * (y - mean_y) for x, y in points)
    return over / sum((x - mean_x) ** 2 for x, _ in points)


def main() -> None:
    """Measure, print, compare with the bars."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="up to 10,000 searched operations")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(compile_one(options.one)))
        return
    columns = (
        "operations",
        "compile",
        "gamma",
        "json",
        "schedule",
        "seconds",
        "mebibytes",
        "source",
    )
    print("".join(f"{name:>12}" for name in columns))
    rows = []
    for size in QUICK if options.quick else SIZES:
        rows.append(measure(size))
        print("".join(f"{rows[-1].get(name, '-'):>12}" for name in columns), flush=True)
    least = 1000 if options.quick else 10_000
    slopes = {name: round(exponent(rows, name, least), 3) for name in ("seconds", "mebibytes")}
    failures = [f"{n}: exponent {s}" for n, s in slopes.items() if s >= EXPONENT_BAR]
    if not options.quick and rows[-1]["seconds"] >= SECONDS_BAR:
        failures.append(f"{rows[-1]['seconds']} s")
    print(f"exponents: seconds {slopes['seconds']}, memory {slopes['mebibytes']}")
    finish("compile_time", quick=options.quick, sizes=rows, exponents=slopes, missed=failures)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
