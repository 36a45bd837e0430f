"""What a command is, and the arguments that several share."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from bayesnas.compiler.settings import PRECISIONS
from bayesnas.runtime.data.registry import FITS, KINDS, LEVELS, STANDARDISE

# Files of `dsl/library/recipes/`, whose loader imports the parser.
RECIPES: Final = (
    "darts_cifar10",
    "darts_imagenet",
    "pc_darts_imagenet",
    "pgnas_cifar10",
    "pgnas_densenet121",
    "pgnas_resnet50",
    "pyramidnet",
    "quick",
    "torchvision_new",
)


@frozen
class Command:
    """A command of the command line.

    ``about`` is its line of help; ``add_arguments`` gives a parser its arguments; ``run`` does the
    work with what was parsed and returns the exit status. ``together`` says that several processes
    of `torchrun` may do it together.
    """

    name: str
    about: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]
    together: bool = False

    def fill(self, parser: argparse.ArgumentParser) -> None:
        """Make a parser that of this command."""
        self.add_arguments(parser)
        parser.set_defaults(command=self.run, together=self.together, name=self.name)


class SettingsAsked(Exception):  # noqa: N818 - a question, not an error
    """``--option help`` was given: nothing else is needed.

    ``kind`` is a name of `OPTIONS`.
    """

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


class _OptionAction(argparse.Action):
    """Collects ``--option``; ``--option help`` lists the settings at once."""

    def __call__(
        self,
        _parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        _option_string: str | None = None,
    ) -> None:
        if values == "help":
            raise SettingsAsked(str(self.const))
        setattr(namespace, self.dest, [*getattr(namespace, self.dest), values])


def completed(argument: argparse.Action, words: Callable[[], list[str]]) -> None:
    """Let a shell that completes offer these words, and names of files."""

    def completer(prefix: str, **_: Any) -> list[str]:
        files = [str(path) for path in Path().glob(f"{prefix}*")] if prefix else []
        return [word for word in (*words(), *files) if word.startswith(prefix)]

    argument.completer = completer  # type: ignore[attr-defined]


def _specs() -> list[str]:
    from bayesnas.dsl.loader import packaged_specs

    return list(packaged_specs())


def add_spec(
    parser: argparse.ArgumentParser,
    metavar: str = "SPEC",
    about: str = "a .nas file, a packaged spec, or the folder of a search",
) -> None:
    """A spec, its network and that network's parameters, and plugins."""
    completed(parser.add_argument("spec", metavar=metavar, help=about), _specs)
    parser.add_argument(
        "--set",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="a parameter of the network, over its default; may be repeated",
    )
    parser.add_argument("--network", metavar="NAME", help="which network; default the first")
    add_plugin(parser)


def add_plugin(parser: argparse.ArgumentParser) -> None:
    """Modules that register primitives or data."""
    parser.add_argument(
        "--plugin",
        metavar="MODULE",
        action="append",
        default=[],
        help="a Python module that registers primitives or data; may be repeated",
    )


def add_out_folder(parser: argparse.ArgumentParser, required: bool, about: str) -> None:
    """The folder that is written."""
    parser.add_argument("-o", "--out", type=Path, metavar="DIR", required=required, help=about)
    add_force(parser)


def add_out_file(parser: argparse.ArgumentParser, required: bool, about: str) -> None:
    """The file that is written."""
    parser.add_argument("-o", "--out", type=Path, metavar="FILE", required=required, help=about)
    add_force(parser)


def add_force(parser: argparse.ArgumentParser) -> None:
    """Whether what is there may be replaced."""
    parser.add_argument("--force", action="store_true", help="replace what is there")


def add_seed(parser: argparse.ArgumentParser) -> None:
    """The seed of all random numbers."""
    parser.add_argument("--seed", type=int, default=0, help="default %(default)s")


class _PrecisionAction(argparse.Action):
    """A setting by a flag of its own."""

    def __call__(
        self, _parser: Any, namespace: argparse.Namespace, value: Any, _option: Any = None
    ) -> None:
        word = {"bf16": "bfloat16"}.get(value, value)
        namespace.option = [*namespace.option, f"precision={word}"]


def add_option(parser: argparse.ArgumentParser, kind: str, name: str = "--option") -> None:
    """Settings of ``kind``, a name of `OPTIONS`."""
    whose = "the run's" if kind == "compress" else "the spec's"
    parser.add_argument(
        name,
        metavar="NAME=VALUE",
        action=_OptionAction,
        const=kind,
        default=[],
        help=f"a {kind} setting, over {whose}; `{name} help` lists them",
    )


def add_recipe(parser: argparse.ArgumentParser) -> None:
    """A recipe of a training."""
    parser.add_argument(
        "--recipe",
        metavar="NAME",
        help="settings of a recipe, or of a file of one: " + ", ".join(RECIPES),
    )


def add_objective(parser: argparse.ArgumentParser) -> None:
    """What the outputs learn."""
    parser.add_argument(
        "--objective",
        metavar="PORT=OBJECTIVE",
        action="append",
        default=[],
        help="what an output learns, over the spec's `learn` block: depth=regression*0.1; may be "
        "repeated",
    )


def add_data(
    parser: argparse.ArgumentParser, required: bool, default: str = "", arrays: bool = False
) -> None:
    """The data, how it is read, and the device it is put on.

    Args:
        parser: gets the arguments.
        required: whether there must be data.
        default: what is taken where there is none, in words.
        arrays: whether the columns to predict may be arrays.
    """
    about = f"one of {', '.join(KINDS)}, or of a plugin" + (
        f"; default {default}" if default else ""
    )
    data = parser.add_argument("--data", required=required, metavar="DATA", help=about)
    column = "the column of a table to predict" + (", or array of npz:FILE" if arrays else "")
    completed(data, lambda: [kind.rstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ") for kind in KINDS])
    parser.add_argument(
        "--target",
        action="append",
        default=[],
        metavar="COLUMN",
        help=f"{column}; may be repeated",
    )
    parser.add_argument(
        "--level", choices=LEVELS, default=LEVELS[0], help="tokens of a text; default %(default)s"
    )
    add_resize(parser)
    parser.add_argument("--download", action="store_true", help="allow cifar10 to be downloaded")
    parser.add_argument(
        "--data-root", type=Path, default=Path("data"), help="where cifar10 lies; default data"
    )
    add_device(parser)


def add_resize(parser: argparse.ArgumentParser) -> None:
    """How image files are fitted to a network."""
    parser.add_argument("--resize", action="store_true", help="fit image files to the spec's size")
    parser.add_argument(
        "--fit",
        choices=FITS,
        help="the same, and how: squeeze or pad the whole picture, or crop its middle; "
        f"default {FITS[0]}, of a trained network that of its training",
    )


def add_stream(parser: argparse.ArgumentParser) -> None:
    """Where images lie while they are worked with, and who decodes them."""
    parser.add_argument(
        "--stream",
        action="store_true",
        help="read image files when they are needed, even where all fit into memory",
    )
    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="processes that decode image files; 0: none but the run's own; default a core each",
    )


def add_standardise(parser: argparse.ArgumentParser) -> None:
    """Whether inputs are standardised: for what learns from them; what has learned keeps it."""
    parser.add_argument(
        "--standardise",
        choices=STANDARDISE,
        default=STANDARDISE[0],
        help="bring inputs to mean 0 and deviation 1, or leave numbers as they are; auto leaves "
        "whole numbers that an embedding of the network looks up, and standardises all others",
    )


def add_budget(parser: argparse.ArgumentParser, what: str) -> None:
    """Budgets over those of the spec, of ``what``."""
    parser.add_argument(
        "--budget",
        metavar="COST=LIMIT",
        action="append",
        default=[],
        help=f"what {what} may cost: flops=60M, parameters=500K or latency=5ms; may be repeated",
    )


def add_latencies(parser: argparse.ArgumentParser) -> None:
    """The table that prices a budget of latency."""
    parser.add_argument(
        "--latencies",
        type=Path,
        metavar="FILE",
        help="how long operations take, for budgets of latency: a table that `measure` wrote",
    )


def add_device(parser: argparse.ArgumentParser, threads: int | None = None) -> None:
    """The device, and CPU threads: ``threads`` of them where none are asked for."""
    parser.add_argument(
        "--device", default="auto", help="auto, cpu, cuda or cuda:N; default %(default)s"
    )
    parser.add_argument(
        "--threads",
        type=int,
        metavar="N",
        default=threads,
        help=f"CPU threads of PyTorch; default {threads or 'PyTorch decides'}",
    )


def add_log(parser: argparse.ArgumentParser) -> None:
    """Who is told of a run while it works, besides its own history.jsonl."""
    parser.add_argument(
        "--log",
        choices=("tensorboard",),
        action="append",
        default=[],
        help="log for TensorBoard as well, into the run's folder",
    )


def add_run(parser: argparse.ArgumentParser, kind: str) -> None:
    """All that a run of ``search`` or ``train`` takes."""
    add_spec(parser)
    add_data(parser, required=True)
    add_stream(parser)
    add_standardise(parser)
    add_objective(parser)
    add_out_folder(parser, True, "the run's folder")
    add_seed(parser)
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    add_option(parser, kind)
    parser.add_argument(
        "--precision",
        choices=(*PRECISIONS, "bf16"),
        action=_PrecisionAction,
        default=argparse.SUPPRESS,
        help="of products and convolutions in steps: `--option precision=...`; bf16 is bfloat16",
    )
    parser.add_argument(
        "--batch-size",
        metavar="N",
        help="examples a step: a number, `auto` for the largest batch that fits, or `auto:256` for "
        "that up to 256",
    )
    add_log(parser)
