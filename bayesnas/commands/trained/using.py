"""What has weights is asked and handed on: ``eval``, ``predict`` and ``export``."""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from bayesnas.commands.arguments import (
    Command,
    add_data,
    add_device,
    add_out_file,
    add_out_folder,
    add_plugin,
    add_resize,
    add_stream,
)
from bayesnas.commands.reports import (
    csv_text,
    prediction_header,
    prediction_line,
    prediction_rows,
    report_csv,
    report_lines,
    unread,
)
from bayesnas.commands.runs import run_options, set_threads
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, check_idle
from bayesnas.dsl.files import check_free
from bayesnas.dsl.terminal import put, say

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bayesnas.runtime.jobs.maps import MapFolder
    from bayesnas.runtime.jobs.prediction import Fault, Prediction
    from bayesnas.runtime.jobs.trained import TrainedRun
    from bayesnas.runtime.tasks.interface import Task


def _add_trained_run(parser: argparse.ArgumentParser) -> None:
    """The folder of a run that has weights."""
    about = "a folder that `train` wrote, or a `search` that keeps weights"
    parser.add_argument("run", type=Path, metavar="RUN", help=about)


def _add_eval(parser: argparse.ArgumentParser) -> None:
    _add_trained_run(parser)
    add_data(parser, required=False, default="that of the training, its test part")
    add_stream(parser)
    _add_csv(
        parser,
        "print CSV: a row for each class with its row of the confusion matrix, or for each target",
    )
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
        put(csv_text([prediction_header(task)]))
    for outcome in outcomes:
        if isinstance(outcome, Fault):
            faults.append(outcome)
            continue
        if folder is not None:
            folder.write(outcome)
        if csv:
            put(csv_text(prediction_rows(outcome, task)))
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
        f"written to {exported.out}; {how} gives the network's outputs {near}, "
        f"on {exported.examples}"
    )
    return 0


EXPORT = Command(
    "export", "Write what `train` wrote as ONNX or as a PyTorch program.", _add_export, _export
)
