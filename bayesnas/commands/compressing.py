"""``bayesnas compress``: a trained network made smaller."""

from __future__ import annotations

import argparse

from bayesnas.commands.arguments import (
    Command,
    add_data,
    add_option,
    add_out_folder,
    add_plugin,
    add_seed,
)
from bayesnas.commands.runs import run_options
from bayesnas.commands.tables import columns, cost_texts
from bayesnas.commands.training import add_trained_run
from bayesnas.commands.values import parse_options, parse_shares
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError
from bayesnas.dsl.terminal import say

IMPORTANCES = ("magnitude", "taylor")


def _add_compress(parser: argparse.ArgumentParser) -> None:
    add_trained_run(parser)
    add_out_folder(parser, True, "the folder of the new run")
    parser.add_argument(
        "--budget",
        metavar="COST=LIMIT",
        action="append",
        required=True,
        help="what the smaller network may cost: flops=50%%, parameters=20K; may be repeated",
    )
    parser.add_argument(
        "--importance",
        choices=IMPORTANCES,
        default=IMPORTANCES[0],
        help="how channels are judged; default %(default)s",
    )
    parser.add_argument(
        "--least", type=int, default=1, metavar="N", help="channels that stay; default %(default)s"
    )
    parser.add_argument(
        "--round-to", type=int, default=1, metavar="N", help="widths are multiples of N"
    )
    parser.add_argument(
        "--keep",
        metavar="LAYER",
        action="append",
        default=[],
        help="a module of the emitted network that stays as it is; may be repeated",
    )
    add_data(parser, required=False, default="that of the training")
    add_seed(parser)
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    add_option(parser, "train")
    add_plugin(parser)


def _compress(options: argparse.Namespace) -> int:
    from bayesnas.runtime.jobs.compress import Compression, compress
    from bayesnas.runtime.weights.choice import Limits

    for name, count in (("--least", options.least), ("--round-to", options.round_to)):
        if count < 1:
            message, remedy = f"`{name}` is {count}", f"write `{name} 1` or more"
            raise DiagnosticError(Diagnostic("D418", message, help=remedy))
    limits = Limits(options.least, options.round_to, tuple(options.keep))
    wanted = Compression(parse_shares(options.budget), options.importance, limits)
    values = parse_options("train", options.option)
    run = run_options(options, options.out, options.seed, options.resume, options.force)
    result = compress(options.run, wanted, values, run)
    say(*columns(("layer", "inputs", "kept", "channels", "kept"), [
        (layer.layer, *map(str, (layer.inputs, layer.inputs_kept)),
         *map(str, (layer.channels, layer.channels_kept)))
        for layer in result.layers
    ]))  # fmt: skip
    say(*columns(("", "parameters", "FLOPs"), [
        ("before", *cost_texts(result.before)),
        ("after", *cost_texts(result.after)),
    ]))  # fmt: skip
    task, trained = result.trained.task, result.trained
    say(
        f"test {task.told(result.removed)} after the removal, "
        f"{task.told(trained.test)} of {trained.test_examples:,} examples after training on"
    )
    say(f"weights: {options.out / 'weights.pt'}; {options.out / 'compressed.nas'}")
    return 0


COMPRESS = Command(
    "compress", "Remove channels of what `train` wrote, and train on.", _add_compress, _compress
)
