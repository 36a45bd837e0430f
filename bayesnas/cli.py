"""The command line. Results go to stdout, diagnostics and progress to stderr.

Exit status: 0 done, 1 the work failed, 2 the input is wrong.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from bayesnas.commands.arguments import SettingsAsked
from bayesnas.commands.parser import bayesnas_parser, compile_parser
from bayesnas.commands.tables import settings_table
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, memory_ran_out, render_all
from bayesnas.dsl.terminal import accept_any_text, say, tell, visible
from bayesnas.runtime.network.together.launch import launch, silenced


def main(arguments: Sequence[str] | None = None) -> int:
    """The command ``bayesnas``; the exit status."""
    accept_any_text(sys.stdout, sys.stderr)
    parser = bayesnas_parser()
    if "_ARGCOMPLETE" in os.environ:  # the shell asks what may stand next
        from argcomplete import autocomplete

        autocomplete(parser)
    return _run(parser, arguments)


def compile_main(arguments: Sequence[str] | None = None) -> int:
    """The command ``bayesnas-compile``: ``bayesnas compile`` under its own name."""
    accept_any_text(sys.stdout, sys.stderr)
    return _run(compile_parser(), arguments)


def _run(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> int:
    # Threads that spin while they wait stall each other on a busy machine; torch reads this once.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        with silenced():
            try:
                options = parser.parse_args(arguments)
            except SettingsAsked as asked:
                say(*settings_table(asked.kind))
                return 0
        command: Callable[[argparse.Namespace], int] = options.command
        with _terminable(), silenced():
            check_together(options)
            _load_plugins(getattr(options, "plugin", ()))
            return command(options)
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except (Exception, KeyboardInterrupt) as error:
        told = _told(error)
        if not _first_to_fail():
            return 1
        if told is None:
            raise
        tell(told)
        return error.status if isinstance(error, DiagnosticError) else 1


def _told(error: BaseException) -> str | None:
    """What a failure is to a user; None where it is a fault of ours."""
    if isinstance(error, DiagnosticError):
        return render_all(error.diagnostics)
    if isinstance(error, KeyboardInterrupt):
        return visible("; ".join(["interrupted", *map(str, error.args)]))
    diagnostic = _work_failed(error)
    return None if diagnostic is None else render_all([diagnostic])


# ------------------------------------------------------------------------ several processes


def check_together(options: argparse.Namespace) -> None:
    """Refuse several processes of a command that one alone does.

    Raises:
        DiagnosticError: D446.
    """
    started = launch()
    if started.size == 1 or getattr(options, "together", False):
        return
    raise DiagnosticError(
        Diagnostic(
            "D446",
            f"`{options.name}` is the work of one process, and {started.size} were started",
            help="run it without `torchrun`; `search` and `train` are what several do together",
        )
    )


def _first_to_fail() -> bool:
    """Whether no other process of this run has failed before; alone it is the first."""
    if launch().size == 1:
        return True
    from bayesnas.runtime.network.together import ranks

    return ranks.first_to_fail()


# ------------------------------------------------------------------------------- failures


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM, as of a batch system or a shutdown, ends a command like Ctrl-C.

    Python hands signals to the main thread alone; one that is ignored stays so.
    """
    ours = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    )
    if ours:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _load_plugins(names: Sequence[str]) -> None:
    if names:
        from bayesnas.compiler.operations.plugins import load_plugin

        for name in names:
            load_plugin(name)


def _work_failed(error: BaseException) -> Diagnostic | None:
    """What a failure of the machine is to a user; None where it is a fault of ours."""
    if isinstance(error, OSError):
        reason = (error.strerror or str(error)).lower()
        place = f" `{error.filename}`" if error.filename else ""
        remedy = "check permissions and free space, or name another folder"
        return Diagnostic("D419", f"cannot read or write{place}: {reason}", help=remedy)
    if memory_ran_out(error):
        remedy = "give it more memory, or a smaller network or less data"
        notes = tuple(str(error).splitlines()[:1])
        return Diagnostic("D603", "out of memory", notes=notes, help=remedy)
    if "torch" in sys.modules:
        from bayesnas.runtime.data.folders.decoding import died

        if (ended := died(error)) is not None:
            return ended.diagnostics[0]
    return None


if __name__ == "__main__":  # as torchrun was told to start it until there was `bayesnas.__main__`
    sys.exit(main())
