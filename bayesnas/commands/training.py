"""``bayesnas train``."""

from __future__ import annotations

import argparse
from pathlib import Path

from attrs import evolve

from bayesnas.commands.arguments import (
    Command,
    add_recipe,
    add_run,
)
from bayesnas.commands.beside.reporting import say_report
from bayesnas.commands.reports import (
    summary_lines,
)
from bayesnas.commands.runs import batch_setting, run_options
from bayesnas.commands.values import (
    chosen_settings,
    parse_objectives,
)
from bayesnas.compiler.settings import TrainSettings, make_settings
from bayesnas.dsl.terminal import say


def _add_train(parser: argparse.ArgumentParser) -> None:
    add_run(parser, "train")
    add_recipe(parser)
    parser.add_argument(
        "--compile",
        action="store_true",
        help="let PyTorch compile the steps: minutes before the first, each faster from then on",
    )
    parser.add_argument(
        "--weights",
        type=Path,
        metavar="RUN",
        help="begin with the weights of a run of the same network, in place of fresh ones",
    )


def _train(options: argparse.Namespace) -> int:
    from bayesnas.commands.inputs import given_spec
    from bayesnas.runtime.jobs.train import train

    compiled = given_spec(options)
    compiled = compiled.learning(parse_objectives(options.objective))
    chosen = chosen_settings(compiled, "train", options.option, options.recipe)
    chosen |= batch_setting(options)
    run = run_options(options, options.out, options.seed, options.resume, options.force)
    run = evolve(run, compiling=options.compile)
    start = None
    if options.weights is not None:
        from bayesnas.runtime.jobs.start import start_from

        start = start_from(options.weights, compiled)
    result = train(compiled, make_settings(TrainSettings, chosen), run, start)
    say(
        f"test {result.task.told(result.test)} of {result.test_examples:,} examples, "
        f"{result.parameters:,} parameters, {result.flops:,} FLOPs, {result.seconds:.0f} s"
    )
    for line in summary_lines(result.report):
        say(line)
    say(f"weights: {options.out / 'weights.pt'}")
    say_report([options.out], options.out)
    return 0


TRAIN = Command(
    "train", "Train a network from scratch; writes its weights.", _add_train, _train, together=True
)
