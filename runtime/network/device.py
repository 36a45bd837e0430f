"""The device that a run works on."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import torch
from torch import Tensor

from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError
from bayesnas.runtime.network.together.launch import launch


def pick_device(name: str) -> torch.device:
    """The device of that name; ``auto`` is CUDA where there is one.

    Of several processes on a machine each has a GPU of its own.
    A GPU is told to convolve by kernels that give the same numbers each time.

    Raises:
        DiagnosticError: D412 (unknown, or not on this machine, or one for several processes).
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    started = launch()
    if started.size > 1 and name.startswith("cuda:"):
        message = f"`{name}` is one device, and {started.size} processes were started"
        remedy = "choose `cuda`: each takes one of its own"
        raise DiagnosticError(Diagnostic("D412", message, help=remedy))
    if started.size > 1 and name == "cuda":
        name = f"cuda:{started.local_rank}"
    device = _usable(name)
    if device.type == "cuda":
        torch.backends.cudnn.deterministic = True
        # Of threads that go backward; they make the context themselves.
        warnings.filterwarnings("ignore", ".*no current CUDA context")
    return device


def random_states(device: torch.device) -> dict[str, Tensor]:
    """Of PyTorch's own random numbers, dropout's and drop path's: a GPU draws them by itself."""
    states = {"dropout": torch.get_rng_state()}
    if device.type == "cuda":
        states["dropout_cuda"] = torch.cuda.get_rng_state(device)
    return states


def restore_random_states(states: Mapping[str, Tensor], device: torch.device) -> None:
    """Back to what `random_states` gave, perhaps on another device."""
    torch.set_rng_state(states["dropout"].cpu())
    if device.type == "cuda" and "dropout_cuda" in states:
        torch.cuda.set_rng_state(states["dropout_cuda"].cpu(), device)


def _usable(name: str) -> torch.device:
    """The device of that name.

    Raises:
        DiagnosticError: D412 (there is none, or it cannot work here).
    """
    try:
        device = torch.device(name)
    except RuntimeError:
        raise _missing(name) from None
    try:
        torch.empty(1, device=device).item()  # the device `meta` holds no numbers
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        if device.type == "cuda":
            count = torch.cuda.device_count() if torch.cuda.is_available() else 0
            reason = f"PyTorch sees {count or 'no'} GPU{'' if count == 1 else 's'} here"
        raise _missing(name, reason) from None
    return device


def _missing(name: str, *notes: str) -> DiagnosticError:
    message, remedy = f"no device `{name}` on this machine", "choose `auto`, `cpu`, or `cuda`"
    remedy += " where PyTorch sees a GPU"
    return DiagnosticError(Diagnostic("D412", message, notes=notes, help=remedy))
