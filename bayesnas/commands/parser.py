"""The whole command line: all commands in one parser."""

from __future__ import annotations

import argparse
from typing import Final

import bayesnas
from bayesnas.commands import (
    compiling,
    counting,
    formatting,
    searching,
    training,
)
from bayesnas.commands.beside import demo, doctor, estimating, init, measuring, reporting, status
from bayesnas.commands.refusals import CommandParser
from bayesnas.commands.trained import compressing, using

COMMANDS: Final = (
    init.INIT,
    compiling.COMPILE,
    compiling.CHECK,
    formatting.FMT,
    compiling.RENDER,
    counting.COUNT,
    counting.SAMPLE,
    counting.GROW,
    measuring.MEASURE,
    estimating.ESTIMATE,
    searching.SEARCH,
    training.TRAIN,
    compressing.COMPRESS,
    searching.COMPARE,
    using.EVAL,
    using.PREDICT,
    using.EXPORT,
    reporting.REPORT,
    status.STATUS,
    doctor.DOCTOR,
    demo.DEMO,
)

_EXAMPLES = """\
examples:
  bayesnas compile specs/darts_cell.nas -o build/darts
  bayesnas count darts_cell
  bayesnas search digits_cell --data digits -o runs/search
  bayesnas train runs/search/pruned.nas --data digits -o runs/train
  bayesnas eval runs/train
  bayesnas predict runs/train photo.png --top 5
"""


def bayesnas_parser() -> argparse.ArgumentParser:
    """The arguments of ``bayesnas``; ``command`` of what it parses is the command's `run`."""
    parser = CommandParser(
        "bayesnas",
        description="Neural architecture search spaces as text: compile, search, train.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"bayesnas {bayesnas.__version__}")
    subparsers = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.fill(
            subparsers.add_parser(command.name, help=command.about, description=command.about)
        )
    for one in (every := [*subparsers.choices.values()]):
        one.siblings = every
    return parser


def compile_parser() -> argparse.ArgumentParser:
    """The arguments of ``bayesnas-compile``."""
    parser = CommandParser("bayesnas-compile", description=compiling.COMPILE.about)
    compiling.COMPILE.fill(parser)
    return parser
