"""The command line. Results go to stdout, diagnostics and progress to stderr.

Exit status: 0 done, 1 the work failed, 2 the input is wrong.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import bayesnas
from bayesnas.compiler.settings import STRATEGIES
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, render_all

EMITS = ("ast", "graph", "gamma", "schedule", "torch", "plain", "dot")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command ``bayesnas``; the exit status."""
    try:
        options = _parser().parse_args(arguments)
    except _SettingsAsked as asked:
        options = argparse.Namespace(command=_show_settings, kind=str(asked))
    return _run(options)


def compile_main(arguments: Sequence[str] | None = None) -> int:
    """The command ``bayesnas-compile``: ``bayesnas compile`` under its own name."""
    parser = argparse.ArgumentParser("bayesnas-compile", description=_COMPILE)
    _compile_arguments(parser)
    return _run(parser.parse_args(arguments))


def _run(options: argparse.Namespace) -> int:
    # Threads that spin while they wait stall each other on a busy machine; torch reads this once.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        _load_plugins(getattr(options, "plugin", ()))
        return command(options)
    except DiagnosticError as error:
        print(render_all(error.diagnostics), file=sys.stderr)
        return error.status
    except KeyboardInterrupt:
        print("interrupted; `--resume` goes on from the last checkpoint", file=sys.stderr)
        return 1
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except (OSError, MemoryError, RuntimeError) as error:
        diagnostic = _work_failed(error)
        if diagnostic is None:
            raise
        print(render_all([diagnostic]), file=sys.stderr)
        return 1


def _load_plugins(names: Sequence[str]) -> None:
    if names:
        from bayesnas.compiler.operations.plugins import load_plugin

        for name in names:
            load_plugin(name)


def _work_failed(error: Exception) -> Diagnostic | None:
    """What a failure of the machine is to a user; None where it is a fault of ours."""
    if isinstance(error, OSError):
        reason = (error.strerror or str(error)).lower()
        place = f" `{error.filename}`" if error.filename else ""
        remedy = "check permissions and free space, or name another folder"
        return Diagnostic("D419", f"cannot read or write{place}: {reason}", help=remedy)
    text = str(error)
    if isinstance(error, MemoryError) or "out of memory" in text or "can't allocate" in text:
        remedy = "lower `--option batch_size=...`, or the network's width"
        notes = tuple(text.splitlines()[:1])
        return Diagnostic("D603", "out of memory", notes=notes, help=remedy)
    return None


# --------------------------------------------------------------------------------------- arguments

_COMPILE = "Compile a search space: PyTorch source, graph, gamma expressions and figure."
_EXAMPLES = """\
examples:
  bayesnas compile specs/darts_cell.nas -o build/darts
  bayesnas count darts_cell
  bayesnas search digits_cell --data digits -o runs/search
  bayesnas train runs/search/pruned.nas --data digits -o runs/train
  bayesnas eval runs/train
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "bayesnas",
        description="Neural architecture search spaces as text: compile, search, train.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"bayesnas {bayesnas.__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name, fill, about in (
        ("compile", _compile_arguments, _COMPILE),
        ("check", _check_arguments, "Check specs and report every error."),
        ("fmt", _fmt_arguments, "Rewrite specs in canonical form; comments are kept."),
        ("render", _render_arguments, "Draw a spec or a graph.json."),
        ("count", _count_arguments, "Count the discrete members of a space; show what they cost."),
        ("sample", _sample_arguments, "Write a random member of a space as a spec."),
        ("search", _search_arguments, "Search a space; writes pruned.nas and its figure."),
        ("train", _train_arguments, "Train a network from scratch; writes its weights."),
        ("compare", _compare_arguments, "Compare strategies: search, retrain and tabulate each."),
        ("eval", _eval_arguments, "Evaluate what `train` wrote on the test part."),
        ("export", _export_arguments, "Write what `train` wrote as ONNX or as a PyTorch program."),
        ("demo", _demo_arguments, "Search, retrain and compare on the embedded digits."),
    ):
        fill(commands.add_parser(name, help=about, description=about))
    return parser


class _SettingsAsked(Exception):  # noqa: N818 - a question, not an error
    """``--option help`` was given: nothing else is needed."""


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
            raise _SettingsAsked(str(self.const))
        setattr(namespace, self.dest, [*getattr(namespace, self.dest), values])


def _spec_arguments(
    parser: argparse.ArgumentParser,
    metavar: str = "SPEC",
    about: str = "a .nas file, or the name of a packaged spec",
) -> None:
    parser.add_argument("spec", metavar=metavar, help=about)
    parser.add_argument(
        "--set",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="a parameter of the network, over its default; may be repeated",
    )
    parser.add_argument("--network", metavar="NAME", help="which network; default the first")
    _plugin_argument(parser)


def _plugin_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--plugin",
        metavar="MODULE",
        action="append",
        default=[],
        help="a Python module that registers primitives; may be repeated",
    )


def _out_argument(parser: argparse.ArgumentParser, required: bool, about: str) -> None:
    parser.add_argument("-o", "--out", type=Path, metavar="DIR", required=required, help=about)
    parser.add_argument("--force", action="store_true", help="replace what is there")


def _compile_arguments(parser: argparse.ArgumentParser) -> None:
    _spec_arguments(parser, "SPEC|GRAPH.json", "a .nas file, a packaged spec, or a graph.json")
    _out_argument(parser, False, "folder to write; default build/<name of the spec>")
    parser.add_argument(
        "--emit",
        metavar="LIST",
        default="graph,gamma,torch,dot",
        help=f"what to write, separated by commas, from {','.join(EMITS)} (plain: the supernet "
        "without its schedule); default %(default)s",
    )
    parser.set_defaults(command=_compile)


def _check_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("specs", metavar="SPEC", nargs="+")
    _plugin_argument(parser)
    parser.set_defaults(command=_check)


def _fmt_arguments(parser: argparse.ArgumentParser) -> None:
    about = "a .nas file, or `-`: standard input to standard output"
    parser.add_argument("specs", metavar="SPEC", nargs="+", help=about)
    parser.add_argument(
        "--check",
        action="store_true",
        help="write nothing; name what would change, with exit status 1",
    )
    parser.add_argument(
        "--diff", action="store_true", help="write nothing; show what would change as a diff"
    )
    parser.set_defaults(command=_fmt)


def _render_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("spec", metavar="SPEC|GRAPH.json", help="a spec, or a compiled graph")
    parser.add_argument("--set", metavar="NAME=VALUE", action="append", default=[])
    parser.add_argument("--network", metavar="NAME")
    _plugin_argument(parser)
    parser.add_argument(
        "-o", "--out", type=Path, metavar="FILE", help=".svg, .pdf, .png or .dot; default NAME.svg"
    )
    parser.add_argument("--relays", action="store_true", help="draw the i' nodes of searched edges")
    parser.add_argument("--force", action="store_true", help="replace what is there")
    parser.set_defaults(command=_render)


def _count_arguments(parser: argparse.ArgumentParser) -> None:
    _spec_arguments(parser)
    parser.set_defaults(command=_count)


def _sample_arguments(parser: argparse.ArgumentParser) -> None:
    _spec_arguments(parser)
    parser.add_argument("--seed", type=int, default=0, help="default %(default)s")
    parser.add_argument(
        "-o", "--out", type=Path, metavar="FILE", help="file to write; default the terminal"
    )
    parser.add_argument("--force", action="store_true", help="replace what is there")
    parser.set_defaults(command=_sample)


def _work_arguments(parser: argparse.ArgumentParser, kind: str) -> None:
    _spec_arguments(parser)
    _data_arguments(parser, required=True)
    _out_argument(parser, True, "the run's folder")
    parser.add_argument("--seed", type=int, default=0, help="default %(default)s")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    _option_argument(parser, kind)


def _option_argument(parser: argparse.ArgumentParser, kind: str) -> None:
    parser.add_argument(
        "--option",
        metavar="NAME=VALUE",
        action=_OptionAction,
        const=kind,
        default=[],
        help=f"a {kind} setting, over the spec's; `--option help` lists them",
    )


def _data_arguments(parser: argparse.ArgumentParser, required: bool) -> None:
    parser.add_argument(
        "--data", required=required, metavar="DATA", help="digits, cifar10, folder:PATH or npz:FILE"
    )
    parser.add_argument("--resize", action="store_true", help="fit image files to the spec's size")
    parser.add_argument("--download", action="store_true", help="allow cifar10 to be downloaded")
    parser.add_argument(
        "--data-root", type=Path, default=Path("data"), help="where cifar10 lies; default data"
    )
    _device_arguments(parser, None)


def _device_arguments(parser: argparse.ArgumentParser, threads: int | None) -> None:
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


def _search_arguments(parser: argparse.ArgumentParser) -> None:
    _work_arguments(parser, "search")
    parser.add_argument("--strategy", metavar="NAME", help=f"one of {', '.join(STRATEGIES)}")
    _space_arguments(parser)
    parser.set_defaults(command=_search)


def _space_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--budget",
        metavar="COST=LIMIT",
        action="append",
        default=[],
        help="what the found network may cost: flops=60M or parameters=500K; may be repeated",
    )
    parser.add_argument(
        "--proxy",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="search in a network with this parameter instead, for the one wanted; may be repeated",
    )


def _compare_arguments(parser: argparse.ArgumentParser) -> None:
    _spec_arguments(parser)
    _data_arguments(parser, required=True)
    _out_argument(parser, True, "folder to write; what is finished there is not done again")
    parser.add_argument(
        "--strategies",
        metavar="A,B",
        default="evidence,random,largest",
        help=f"some of {', '.join(STRATEGIES)}; default %(default)s",
    )
    parser.add_argument("--seeds", metavar="0,1,2", default="0,1,2", help="default %(default)s")
    _option_argument(parser, "search")
    _space_arguments(parser)
    parser.set_defaults(command=_compare, resume=False)


def _train_arguments(parser: argparse.ArgumentParser) -> None:
    _work_arguments(parser, "train")
    parser.set_defaults(command=_train)


def _eval_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN", help="a folder that `train` wrote")
    _data_arguments(parser, required=False)
    _plugin_argument(parser)
    parser.set_defaults(command=_eval)


def _export_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN", help="a folder that `train` wrote")
    about = "the file to write: NAME.onnx, or NAME.pt2 for torch.export.load"
    parser.add_argument("-o", "--out", type=Path, metavar="FILE", required=True, help=about)
    parser.add_argument("--force", action="store_true", help="replace what is there")
    _plugin_argument(parser)
    parser.set_defaults(command=_export)


def _demo_arguments(parser: argparse.ArgumentParser) -> None:
    _out_argument(parser, False, "folder to write; default build/demo")
    parser.add_argument("--seed", type=int, default=0, help="default %(default)s")
    _device_arguments(parser, 1)  # so small a network is no faster with more
    parser.set_defaults(command=_demo)


# ----------------------------------------------------------------------------------------- commands


def _export(options: argparse.Namespace) -> int:
    from bayesnas.commands import export_command

    return export_command(options)


def _show_settings(options: argparse.Namespace) -> int:
    from bayesnas.commands import settings_table

    print(settings_table(options.kind))
    return 0


def _compile(options: argparse.Namespace) -> int:
    from bayesnas.commands import compile_command

    emits = [name.strip() for name in options.emit.split(",") if name.strip()]
    unknown = [name for name in emits if name not in EMITS]
    if unknown or not emits:
        raise DiagnosticError(
            Diagnostic(
                "D418",
                f"cannot emit `{unknown[0] if unknown else ''}`",
                help=f"choose from {', '.join(EMITS)}, separated by commas",
            )
        )
    out = options.out or Path("build") / Path(options.spec).stem
    values = parse_values(options.set)
    return compile_command(options.spec, values, options.network, out, emits, options.force)


def _check(options: argparse.Namespace) -> int:
    from bayesnas.commands import check_command

    return check_command(options.specs)


def _fmt(options: argparse.Namespace) -> int:
    from bayesnas.formatting import format_command

    return format_command(options.specs, options.check, options.diff)


def _render(options: argparse.Namespace) -> int:
    from bayesnas.commands import render_command

    values = parse_values(options.set)
    out, network = options.out, options.network
    return render_command(options.spec, values, network, out, options.force, options.relays)


def _count(options: argparse.Namespace) -> int:
    from bayesnas.counting import count_command

    return count_command(options.spec, parse_values(options.set), options.network)


def _sample(options: argparse.Namespace) -> int:
    from bayesnas.counting import sample_command

    return sample_command(options)


def _search(options: argparse.Namespace) -> int:
    from bayesnas.searching import search_command

    return search_command(options)


def _compare(options: argparse.Namespace) -> int:
    from bayesnas.searching import compare_command

    return compare_command(options)


def _train(options: argparse.Namespace) -> int:
    from bayesnas.commands import train_command

    return train_command(options)


def _eval(options: argparse.Namespace) -> int:
    from bayesnas.commands import eval_command

    return eval_command(options)


def _demo(options: argparse.Namespace) -> int:
    from bayesnas.commands import demo_command

    options.out = options.out or Path("build/demo")
    return demo_command(options)


def parse_values(texts: Sequence[str], option: str = "--set") -> dict[str, int]:
    """``--set`` arguments, or another option's, as numbers by name.

    Raises:
        DiagnosticError: D417 (not ``name=whole number``).
    """
    values = {}
    for text in texts:
        name, equals, number = (part.strip() for part in text.partition("="))
        try:
            values[name] = int(number)
        except ValueError:
            equals = ""
        if not equals or not name.isidentifier():
            raise DiagnosticError(
                Diagnostic(
                    "D417",
                    f"cannot read `{option} {text}`",
                    help=f"write `{option} NAME=NUMBER` with a whole number, as in "
                    f"`{option} cells=3`",
                )
            )
    return values


if __name__ == "__main__":
    sys.exit(main())
