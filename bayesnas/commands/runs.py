"""What a run is told by the command line besides its settings."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import evolve

from bayesnas.commands.values import check_seed, parse_batch
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError

if TYPE_CHECKING:
    from bayesnas.runtime.runs.events import Listener
    from bayesnas.runtime.runs.record import RunOptions

MAX_THREADS: Final = 1024  # PyTorch ends the process where the system refuses it a thread


def run_options(
    options: argparse.Namespace,
    out: Path,
    seed: int = 0,
    resume: bool = False,
    force: bool = False,
) -> RunOptions:
    """The options of a run in the folder ``out``; data and device are those of the command line.

    Raises:
        DiagnosticError: D418 (a number or seed that cannot be), D423 (an option does nothing).
    """
    from bayesnas.runtime.data.registry import DataOptions, check_use
    from bayesnas.runtime.runs.record import AutoBatch, RunOptions

    set_threads(options.threads)
    check_seed(seed)
    data = DataOptions(
        options.resize,
        options.download,
        options.data_root,
        options.fit,
        getattr(options, "standardise", "auto"),
        tuple(dict.fromkeys(options.target)),
        options.level,
        stream=getattr(options, "stream", False),
        workers=getattr(options, "workers", None),
    )
    check_use(options.data or "", data)
    told = listeners(getattr(options, "log", ()))
    run = RunOptions(options.data or "", out, seed, options.device, resume, force, data, told)
    batch = parse_batch(getattr(options, "batch_size", None), getattr(options, "option", ()))
    return evolve(run, batch=batch) if isinstance(batch, AutoBatch) else run


def batch_setting(options: argparse.Namespace) -> dict[str, int]:
    """The setting that a number of ``--batch-size`` stands for, if it is one.

    Raises:
        DiagnosticError: see `parse_batch`.
    """
    batch = parse_batch(getattr(options, "batch_size", None), options.option)
    return {"batch_size": batch} if isinstance(batch, int) else {}


def listeners(names: Sequence[str]) -> tuple[Listener, ...]:
    """Those of the words of ``--log``, each once.

    Raises:
        DiagnosticError: D436 (a package is missing).
    """
    if not names:
        return ()
    from bayesnas.runtime.runs.tensorboard import TensorBoard

    return (TensorBoard(),)


def set_threads(count: int | None) -> None:
    """How many CPU threads PyTorch uses, if that was asked for.

    Raises:
        DiagnosticError: D418 (fewer than one, or more than `MAX_THREADS`).
    """
    if count is None:
        return
    if not 1 <= count <= MAX_THREADS:
        number = "1 or more" if count < 1 else f"at most {MAX_THREADS}"
        remedy = f"write {number}, or leave `--threads` out"
        raise DiagnosticError(Diagnostic("D418", f"cannot use {count} threads", help=remedy))
    import torch

    torch.set_num_threads(count)
