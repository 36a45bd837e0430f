"""``bayesnas report``: runs as a page, asked for or at the end of a run."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bayesnas.commands.arguments import Command, add_out_file, add_plugin
from bayesnas.dsl.files import check_free
from bayesnas.dsl.terminal import say
from bayesnas.runtime.network.together.launch import launch

REPORT_FILE: Final = "report.html"  # in the folder of a run
SWITCH: Final = "BAYESNAS_REPORT"  # of the environment: `no` leaves pages to `bayesnas report`


def _add_report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "runs",
        type=Path,
        metavar="RUN",
        nargs="+",
        help="a folder that `search`, `train`, `compress` or `compare` wrote, finished or at work",
    )
    add_out_file(
        parser, False, f"the page; default {REPORT_FILE} in the run's folder, or here for several"
    )
    add_plugin(parser)


def _report(options: argparse.Namespace) -> int:
    from bayesnas.runtime.report.page import write_report

    out: Path | None = options.out
    if out is not None or len(options.runs) > 1:
        out = out or Path(REPORT_FILE)
        check_free(out, options.force)
    else:
        out = options.runs[0] / REPORT_FILE
    write_report(options.runs, out)
    say(f"report: {out}")
    return 0


REPORT = Command(
    "report", "Show runs as a page: figures, tables, how to make them again.", _add_report, _report
)


def say_report(runs: Sequence[Path], folder: Path) -> None:
    """Write the page of finished runs into a folder and say where it is.

    A run has ended well whatever becomes of its page: what fails here is a remark.
    """
    if os.environ.get(SWITCH) == "no" or not launch().first:
        return
    try:
        from bayesnas.runtime.report.page import write_report

        write_report(runs, folder / REPORT_FILE)
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        again = shlex.join(["bayesnas", "report", *map(str, runs), "-o", str(folder / REPORT_FILE)])
        say(f"note: no report was written: {reason}; try `{again}`", file=sys.stderr)
        return
    say(f"report: {folder / REPORT_FILE}")
