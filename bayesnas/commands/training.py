"""One network and its weights: ``train``, ``compress``, ``eval``, ``predict`` and ``export``."""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import evolve

from bayesnas.commands.arguments import (
    Command,
    add_data,
    add_device,
    add_log,
    add_option,
    add_out_file,
    add_out_folder,
    add_plugin,
    add_recipe,
    add_resize,
    add_run,
    add_seed,
    add_stream,
)
from bayesnas.commands.beside.reporting import say_report
from bayesnas.commands.reports import (
    csv_text,
    prediction_line,
    prediction_rows,
    report_csv,
    report_lines,
    summary_lines,
    unread,
)
from bayesnas.commands.runs import batch_setting, run_options, set_threads
from bayesnas.commands.tables import WHOLES, columns, cost_heads, cost_texts, whole_rows
from bayesnas.commands.values import (
    chosen_settings,
    parse_objectives,
    parse_options,
    parse_shares,
    parse_values,
    split_words,
)
from bayesnas.compiler.settings import TrainSettings, make_settings
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, check_idle
from bayesnas.dsl.files import check_free
from bayesnas.dsl.terminal import put, say

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bayesnas.runtime.jobs.compression.compress import CompressResult
    from bayesnas.runtime.jobs.maps import MapFolder
    from bayesnas.runtime.jobs.prediction import Fault, Prediction
    from bayesnas.runtime.jobs.trained import TrainedRun
    from bayesnas.runtime.tasks.interface import Task

# The names of `runtime/weights/` (importance, turns, priors), which imports torch.
IMPORTANCES: Final = (
    *("magnitude", "taylor", "norm_scale", "random", "evidence"),
    *("bayesnas", "pgnas", "group_lasso", "normal_jeffreys", "variational_dropout"),
)
# Those of `runtime/weights/families.py`.
FAMILIES: Final = (*("channel", "filter", "shape", "kernel", "row", "column", "block", "weight"),)


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
    from bayesnas.compiler.pipeline import compile_spec
    from bayesnas.runtime.jobs.train import train

    compiled = compile_spec(options.spec, parse_values(options.set), options.network)
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


def _add_trained_run(parser: argparse.ArgumentParser) -> None:
    """The folder of a run that has weights."""
    about = "a folder that `train` wrote, or a `search` that keeps weights"
    parser.add_argument("run", type=Path, metavar="RUN", help=about)


def _add_compress(parser: argparse.ArgumentParser) -> None:
    _add_trained_run(parser)
    add_out_folder(parser, True, "the folder of the new run")
    parser.add_argument(
        "--budget",
        metavar="COST=LIMIT",
        action="append",
        required=True,
        help="what the smaller network may cost: flops=50%%, parameters=20K, latency=2ms; may be "
        "repeated",
    )
    parser.add_argument(
        "--importance",
        choices=IMPORTANCES,
        default="",
        help="how groups are judged; default evidence for channels, magnitude for other families",
    )
    parser.add_argument(
        "--family",
        metavar="A,B",
        default="channel",
        help=f"whose groups go, some of {', '.join(FAMILIES)}; default %(default)s",
    )
    parser.add_argument(
        "--steps", type=int, default=1, metavar="N", help="removals, with training between them"
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
    add_stream(parser)
    add_seed(parser)
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    add_option(parser, "train")
    add_log(parser)
    add_plugin(parser)


def _compress(options: argparse.Namespace) -> int:
    from bayesnas.runtime.jobs.compression.compress import Compression, compress
    from bayesnas.runtime.weights.choice import Limits

    for name in ("--least", "--round-to", "--steps"):
        count = getattr(options, name.strip("-").replace("-", "_"))
        if count < 1:
            message, remedy = f"`{name}` is {count}", f"write `{name} 1` or more"
            raise DiagnosticError(Diagnostic("D418", message, help=remedy))
    limits = Limits(options.least, options.round_to, tuple(options.keep))
    _check_limits(options)
    families = (*split_words(options.family, "--family", "filter,shape"),)
    wanted = Compression(
        parse_shares(options.budget), options.importance, limits, options.steps, families
    )
    values = parse_options("train", options.option)
    run = run_options(options, options.out, options.seed, options.resume, options.force)
    _say_compressed(compress(options.run, wanted, values, run), options.out)
    say_report([options.out], options.out)
    return 0


def _say_compressed(result: CompressResult, out: Path) -> None:
    """What went, what that saved, and how good the network is after."""
    say(*columns(("layer", "inputs", "kept", "channels", "kept", "share"), [
        (layer.layer, *map(str, (layer.inputs, layer.inputs_kept)),
         *map(str, (layer.channels, layer.channels_kept)), f"{layer.share:.0%}")
        for layer in result.layers
    ]))  # fmt: skip
    say(*columns(("", *cost_heads(result.before)), [
        ("before", *cost_texts(result.before)),
        ("after", *cost_texts(result.after)),
    ]))  # fmt: skip
    if result.wholes:
        say(*columns(WHOLES, whole_rows(result.wholes)))
    if (sparse := result.sparsity) is not None:
        say(
            f"{sparse.nonzero:,} of {sparse.weights:,} weights are not zero; {sparse.flops:,} "
            "FLOPs if zeros were skipped, which they are not"
        )
    task, trained = result.trained.task, result.trained
    say(
        f"test {task.told(result.removed)} after the removal, "
        f"{task.told(trained.test)} of {trained.test_examples:,} examples after training on"
    )
    say(f"weights: {out / 'weights.pt'}; {out / 'compressed.nas'}; {result.figure}")


def _check_limits(options: argparse.Namespace) -> None:
    """Refuse limits of channels where none go.

    Raises:
        DiagnosticError: D423.
    """
    if {"channel", "filter"} & {*options.family.replace(" ", "").split(",")}:
        return
    given = [name for name in ("least", "round_to") if getattr(options, name) != 1]
    remedy = "leave it out: it is of channels, of the families `channel` and `filter`"
    names = [f"--{name.replace('_', '-')}" for name in given]
    check_idle(names, f"with `--family {options.family}`", remedy)


COMPRESS = Command(
    "compress", "Remove channels of what `train` wrote, and train on.", _add_compress, _compress
)


def _add_eval(parser: argparse.ArgumentParser) -> None:
    _add_trained_run(parser)
    add_data(parser, required=False, default="that of the training, its test part")
    add_stream(parser)
    _add_csv(parser, "print a row for each class, with the confusion matrix, or target as CSV")
    add_plugin(parser)


def _add_csv(parser: argparse.ArgumentParser, about: str) -> None:
    parser.add_argument("--csv", action="store_true", help=about)


def _eval(options: argparse.Namespace) -> int:
    from bayesnas.runtime.jobs.trained import evaluate_run

    report, data = evaluate_run(run_options(options, options.run))
    told = f"test {data.task.told(report.score)} of {len(data.test):,} examples of {data.name}"
    if options.csv and (table := report_csv(report)):
        say(told, file=sys.stderr)
        put(table)
        return 0
    say(told, *report_lines(report))
    return 0


EVAL = Command(
    "eval", "Evaluate what `train` wrote, by class: on its test part or new data.", _add_eval, _eval
)


def _add_predict(parser: argparse.ArgumentParser) -> None:
    _add_trained_run(parser)
    parser.add_argument(
        "files",
        type=Path,
        metavar="FILE",
        nargs="+",
        help="an image, a folder of images, an .npy or .npz file of examples, a table or a text",
    )
    parser.add_argument(
        "--top", type=int, metavar="K", default=1, help="the K likeliest; default %(default)s"
    )
    _add_csv(parser, "print file, example, rank and answer as CSV")
    add_out_folder(parser, False, "write what is said of each pixel as images into this folder")
    add_resize(parser)
    add_device(parser)
    add_plugin(parser)


def _predict(options: argparse.Namespace) -> int:
    from bayesnas.runtime.data.folders.listing import Findings
    from bayesnas.runtime.data.registry import DataOptions
    from bayesnas.runtime.jobs.failures import plugins_named
    from bayesnas.runtime.jobs.maps import LIST
    from bayesnas.runtime.jobs.prediction import listed, predictions
    from bayesnas.runtime.jobs.trained import TrainedRun
    from bayesnas.runtime.runs.progress import Progress, say_note

    if options.top < 1:
        message, remedy = f"cannot tell the {options.top} likeliest", "write `--top 1` or more"
        raise DiagnosticError(Diagnostic("D418", message, help=remedy))
    set_threads(options.threads)
    trained = TrainedRun.open(options.run, options.device)
    reading = DataOptions(resize=options.resize, fit=options.fit)
    findings, folder = Findings(), _map_folder(options, trained)
    work = listed(options.files, findings)
    bar = Progress(len(work), "predict", "file", same=sys.stdout.isatty())
    with bar as progress, plugins_named(), ExitStack() as ended:
        maps = folder is not None
        if folder is not None:
            ended.callback(folder.write_list)  # of what there is, whatever happens on the way
        found = predictions(trained, work, reading, options.top, progress.skip, findings, maps)
        faults = _say_predictions(found, trained.task, options.csv, folder)
    if folder is not None:
        told = f"`{LIST}` there says which file is of what"
        say_note(f"{folder.count:,} maps are in `{folder.folder}`; {told}")
    say_note("; ".join(findings.texts()))  # at the end, since images are read on the way
    if faults:
        raise unread(faults)
    return 0


def _map_folder(options: argparse.Namespace, trained: TrainedRun) -> MapFolder | None:
    """Where maps go, if they are asked for.

    Raises:
        DiagnosticError: D413 (the folder has files), D423 (the network says nothing of pixels).
    """
    from bayesnas.runtime.jobs.maps import MapFolder

    if options.out is None:
        return None
    if not trained.task.has_maps:
        check_idle(["--out"], "here", "leave it out: the network says nothing of single pixels")
    return MapFolder.of(options.out, options.force)


def _say_predictions(
    outcomes: Iterable[Prediction | Fault], task: Task, csv: bool, folder: MapFolder | None
) -> list[Fault]:
    """Print each prediction as it comes, and write its maps; what could not be read."""
    from bayesnas.runtime.jobs.prediction import Fault

    faults = []
    if csv:
        put(csv_text([("file", "example", "rank", *task.answer_columns)]))
    for outcome in outcomes:
        if isinstance(outcome, Fault):
            faults.append(outcome)
            continue
        if folder is not None:
            folder.write(outcome)
        if csv:
            put(csv_text(prediction_rows(outcome)))
        else:
            say(prediction_line(outcome, task))
    return faults


PREDICT = Command(
    "predict", "Say what a trained network takes images or arrays for.", _add_predict, _predict
)


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
