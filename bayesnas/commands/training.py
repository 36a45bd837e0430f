"""``bayesnas train``, ``eval`` and ``export``: one network and its weights."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bayesnas.commands.arguments import Command, add_data, add_out_file, add_plugin, add_run
from bayesnas.commands.runs import run_options
from bayesnas.commands.values import chosen_settings, parse_values
from bayesnas.compiler.settings import TrainSettings, make_settings
from bayesnas.dsl.files import check_free
from bayesnas.dsl.terminal import say


def _add_train(parser: argparse.ArgumentParser) -> None:
    add_run(parser, "train")


def _train(options: argparse.Namespace) -> int:
    from bayesnas.compiler.pipeline import compile_spec
    from bayesnas.runtime.jobs.train import train

    compiled = compile_spec(options.spec, parse_values(options.set), options.network)
    settings = make_settings(TrainSettings, chosen_settings(compiled, "train", options.option))
    if compiled.graph.searched():
        say("note: a supernet is trained with every gate at 1", file=sys.stderr)
    run = run_options(options, options.out, options.seed, options.resume, options.force)
    result = train(compiled, settings, run)
    say(
        f"test {result.task.told(result.test)} of {result.test_examples:,} examples, "
        f"{result.parameters:,} parameters, {result.flops:,} FLOPs, {result.seconds:.0f} s"
    )
    say(f"weights: {options.out / 'weights.pt'}")
    return 0


TRAIN = Command("train", "Train a network from scratch; writes its weights.", _add_train, _train)


def _add_trained_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN", help="a folder that `train` wrote")


def _add_eval(parser: argparse.ArgumentParser) -> None:
    _add_trained_run(parser)
    add_data(parser, required=False)
    add_plugin(parser)


def _eval(options: argparse.Namespace) -> int:
    from bayesnas.runtime.jobs.trained import evaluate_run

    score, data = evaluate_run(run_options(options, options.run))
    say(f"test {data.task.told(score)} of {len(data.test):,} examples of {data.name}")
    return 0


EVAL = Command("eval", "Evaluate what `train` wrote on the test part.", _add_eval, _eval)


def _add_export(parser: argparse.ArgumentParser) -> None:
    _add_trained_run(parser)
    add_out_file(parser, True, "the file to write: NAME.onnx, or NAME.pt2 for torch.export.load")
    add_plugin(parser)


def _export(options: argparse.Namespace) -> int:
    from bayesnas.runtime.jobs.export import export

    check_free(options.out, options.force)
    exported = export(options.run, options.out)
    how = "ONNX Runtime" if exported.out.suffix == ".onnx" else "the file, loaded anew,"
    near = f"to {exported.difference:.0e} of the largest" if exported.difference else "exactly"
    say(
        f"written to {exported.out}; {how} gives the network's logits {near}, "
        f"on {exported.examples}"
    )
    return 0


EXPORT = Command(
    "export", "Write what `train` wrote as ONNX or as a PyTorch program.", _add_export, _export
)
