"""A network in training as kernels of PyTorch's own compiler, `torch.compile`.

Weights, buffers and their names are those of the network itself: what is compiled is its call.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError

BACKEND: Final = "inductor"


class CompiledCall(nn.Module):
    """Calls a network by what PyTorch's compiler has made of it, once a shape of its inputs.

    Args:
        module: on a device for which there is a compiler, see `check_compiler`.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        # Not as a submodule: the network is another's, in its mode of training or evaluation.
        self._call = [torch.compile(module, dynamic=False, backend=BACKEND)]

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """What the network returns.

        Raises:
            DiagnosticError: D613 (it cannot be compiled).
        """
        from torch._dynamo.exc import BackendCompilerFailed  # imports half of PyTorch

        try:
            outputs: Tensor | tuple[Tensor, ...] = self._call[0](*inputs)
        except BackendCompilerFailed as error:
            raise _fails("PyTorch cannot compile this network", error) from None
        return outputs


def check_compiler(device: torch.device) -> None:
    """Refuse a machine on which PyTorch compiles nothing.

    Raises:
        DiagnosticError: D613.
    """
    small = torch.compile(_doubled, dynamic=False, backend=BACKEND)
    try:
        small(torch.ones(8, device=device))
    except Exception as error:
        raise _fails(f"PyTorch has no compiler for `{device.type}` here", error) from None


def _doubled(z: Tensor) -> Tensor:
    """z: [N]."""
    return 2 * z


def _fails(message: str, error: Exception) -> DiagnosticError:
    inner = getattr(error, "inner_exception", error)
    reason = next((line for line in str(inner).splitlines() if line.strip()), type(inner).__name__)
    needs = "a C++ compiler such as `g++` for CPUs, Triton and a C compiler for GPUs"
    return DiagnosticError(
        Diagnostic(
            "D613",
            message,
            notes=(reason.strip(), f"it needs {needs}"),
            help="leave `--compile` out",
        )
    )
