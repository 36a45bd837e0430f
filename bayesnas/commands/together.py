"""Commands of which `torchrun` has started several processes."""

from __future__ import annotations

import argparse

from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError
from bayesnas.dsl.launch import launch


def check_together(options: argparse.Namespace) -> None:
    """Refuse several processes of a command that one alone does.

    Raises:
        DiagnosticError: D446.
    """
    started = launch()
    if started.size > 1 and not getattr(options, "together", False):
        name = getattr(options, "name", "this")
        raise DiagnosticError(
            Diagnostic(
                "D446",
                f"`{name}` is the work of one process, and {started.size} were started",
                help="run it without `torchrun`; `search` and `train` are the commands that "
                "several processes do together",
            )
        )


def first_to_fail() -> bool:
    """Whether no other process of this run has failed before; alone it is the first."""
    if launch().size == 1:
        return True
    from bayesnas.runtime.network import ranks

    return ranks.first_to_fail()
