"""``bayesnas compress``: channels and weights that go, of a run or of a spec trained first."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import fields_dict

from bayesnas.commands.arguments import (
    Command,
    add_data,
    add_log,
    add_objective,
    add_option,
    add_out_folder,
    add_recipe,
    add_seed,
    add_spec,
    add_standardise,
    add_stream,
)
from bayesnas.commands.beside.reporting import say_report
from bayesnas.commands.runs import run_options
from bayesnas.commands.tables import WHOLES, columns, cost_heads, cost_texts, whole_rows
from bayesnas.commands.values import (
    chosen_settings,
    parse_objectives,
    parse_options,
    parse_shares,
    split_words,
)
from bayesnas.compiler.settings import CompressSettings, TrainSettings, make_settings
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, check_idle
from bayesnas.dsl.terminal import say

if TYPE_CHECKING:
    from bayesnas.runtime.jobs.compression.compress import CompressResult
    from bayesnas.runtime.jobs.compression.first import Untrained

# The names of `runtime/weights/` (importance, turns, priors), which imports torch.
IMPORTANCES: Final = (
    *("magnitude", "taylor", "norm_scale", "random", "evidence"),
    *("bayesnas", "pgnas", "group_lasso", "normal_jeffreys", "variational_dropout"),
)
# Those of `runtime/weights/families.py`.
FAMILIES: Final = (*("channel", "filter", "shape", "kernel", "row", "column", "block", "weight"),)


def _add_compress(parser: argparse.ArgumentParser) -> None:
    about = "what has weights, a folder that `train` or `search` wrote, or a spec to train first"
    add_spec(parser, "RUN|SPEC", about)
    add_out_folder(parser, True, "the folder of the new run")
    parser.add_argument(
        "--budget",
        metavar="COST=LIMIT",
        action="append",
        default=[],
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
    add_data(parser, required=False, default="that of the training; a spec needs some")
    add_stream(parser)
    add_standardise(parser)
    add_objective(parser)
    add_seed(parser)
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    add_option(parser, "compress")
    add_option(parser, "train", "--train-option")
    add_recipe(parser)
    add_log(parser)


def _compress(options: argparse.Namespace) -> int:
    from bayesnas.runtime.jobs.compression.compress import compress
    from bayesnas.runtime.jobs.compression.wanted import Compression
    from bayesnas.runtime.weights.choice import Limits

    for name in ("--least", "--round-to", "--steps"):
        count = getattr(options, name.strip("-").replace("-", "_"))
        if count < 1:
            message, remedy = f"`{name}` is {count}", f"write `{name} 1` or more"
            raise DiagnosticError(Diagnostic("D418", message, help=remedy))
    limits = Limits(options.least, options.round_to, tuple(options.keep))
    _check_limits(options)
    values = parse_options("compress", options.option)
    own = make_settings(CompressSettings, values)
    families = (*split_words(options.family, "--family", "filter,shape"),)
    wanted = Compression(
        parse_shares(options.budget) if options.budget else (),
        options.importance,
        limits,
        options.steps,
        families,
        own.draws,
        own.lambda_w,
        own.curvature,
        own.result,
    )
    training = {name: value for name, value in values.items() if name in fields_dict(TrainSettings)}
    run = run_options(options, options.out, options.seed, options.resume, options.force)
    result = compress(_untrained(options) or Path(options.spec), wanted, training, run)
    _say_compressed(result, options.out, wanted.shared)
    say_report([options.out], options.out)
    return 0


def _say_compressed(result: CompressResult, out: Path, shared: bool) -> None:
    """What went, what that saved, and how good the network is after; ``shared``: not trained on."""
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
    removed, count = task.told(result.removed), f"of {trained.test_examples:,} examples"
    if shared:
        say(f"test {removed} {count} after the removal")
    else:
        say(
            f"test {removed} after the removal, {task.told(trained.test)} {count} after training on"
        )
    say(f"weights: {out / 'weights.pt'}; {out / 'compressed.nas'}; {result.figure}")


def _untrained(options: argparse.Namespace) -> Untrained | None:
    """The spec that is trained first; None where a run is given.

    Raises:
        DiagnosticError: D405 (a spec without data), D423 (what is of a spec, with a run), D607 (a
            space), and what `compile_spec` raises.
    """

    from bayesnas.dsl.loader import packaged_specs

    path = Path(options.spec)
    spec = path.is_file() or path.suffix == ".nas" or options.spec in packaged_specs()
    if path.is_dir() or not spec:
        given = {
            "--set": options.set,
            "--network": options.network,
            "--standardise": options.standardise != "auto",
            "--objective": options.objective,
            "--recipe": options.recipe,
            "--train-option": options.train_option,
        }
        where = f"with a run, and `{options.spec}` is no spec"
        remedy = "leave it out: it is of the training of a spec"
        check_idle([name for name, value in given.items() if value], where, remedy)
        return None
    from bayesnas.commands.inputs import given_spec
    from bayesnas.runtime.jobs.compression.first import Untrained

    compiled = given_spec(options)
    compiled = compiled.learning(parse_objectives(options.objective))
    if not options.data:
        message = f"`bayesnas compress` needs data to train `{compiled.network.name}` on"
        remedy = "add `--data DATA`, or name the folder of a finished training"
        raise DiagnosticError(Diagnostic("D405", message, help=remedy))
    chosen = chosen_settings(
        compiled, "train", options.train_option, options.recipe, "--train-option"
    )
    return Untrained(compiled, make_settings(TrainSettings, chosen))


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
    "compress",
    "Remove channels of what `train` wrote, or of a spec trained first, and train on.",
    _add_compress,
    _compress,
)
