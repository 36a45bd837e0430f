"""Passes of a network in training as CUDA graphs: hundreds of kernels launched as one.

The networks here are many small kernels. A GPU has done each before Python has launched the next,
so that a step takes as long as its launches; a recorded one takes as long as its numbers.
"""

from __future__ import annotations

import gc
import warnings
from contextlib import AbstractContextManager, nullcontext
from typing import Final

import torch
from torch import Tensor, nn

from bayesnas.compiler.graph.model import Graph
from bayesnas.runtime.data.free_memory import free_memory
from bayesnas.runtime.network.memory import Footprint
from bayesnas.runtime.network.modules import predict_all
from bayesnas.runtime.network.together.ranks import world
from bayesnas.runtime.tasks.bundle import Inputs, tensors

FIRST: Final = 3  # passes of one shape that are not recorded: the last batch of an epoch is rarer
ROOM: Final = 3  # times the memory of a step, that must be free before one is recorded


class Recording:
    """Forward and backward passes of a network in training, recorded by the shapes of their inputs.

    What is recorded must not depend on numbers that Python holds: they stay as they were.
    The weights' gradients of a replay are overwritten by the next.

    Args:
        module: on a GPU.
        step_bytes: what a pass takes, bytes.
    """

    def __init__(self, module: nn.Module, step_bytes: int) -> None:
        self.module, self.step_bytes = module, step_bytes
        self._passes: dict[str, nn.Module] = {}
        self._seen: dict[str, int] = {}
        self._refused = False

    @staticmethod
    def of(module: nn.Module, graph: Graph, batch_size: int) -> Recording | None:
        """For trainings of a network that was emitted from a graph; None but on a GPU.

        Processes that work together speak to each other in a pass, which is not recorded.
        """
        weight = next(module.parameters(), None)
        if weight is None or weight.device.type != "cuda" or world().size > 1:
            return None
        return Recording(module, Footprint.of(graph).step_bytes(batch_size))

    def has(self, inputs: Inputs, gates: Tensor | None = None) -> bool:
        """Whether such a pass is recorded."""
        return _shape(_given(inputs, gates)) in self._passes

    def record(
        self,
        inputs: Inputs,
        gates: Tensor | None = None,
        within: AbstractContextManager[None] | None = None,
    ) -> bool:
        """Record such a pass, if it comes often and there is room for it; whether it is recorded.

        The network stays as it was. What cannot be recorded is warned of, and not tried again.
        ``within`` is entered while the pass is recorded, and only then.
        """
        given = _given(inputs, gates)
        shape = _shape(given)
        self._seen[shape] = self._seen.get(shape, 0) + 1
        if self._refused or self._seen[shape] <= FIRST or self._hooked():
            return False
        free = free_memory(given[0].device)
        if free is not None and free < ROOM * self.step_bytes:
            return False
        with within or nullcontext():
            self._record(shape, given)
        return shape in self._passes

    def __call__(self, inputs: Inputs, gates: Tensor | None = None) -> Tensor:
        """As `predict`, of a pass that it `has`: outputs [N, K]."""
        given = _given(inputs, gates)
        outputs: Tensor = self._passes[_shape(given)](*given)
        return outputs

    def _hooked(self) -> bool:
        """Whether Python has a say in a pass, which a replay would not ask."""
        modules = self.module.modules()
        return any(m._forward_hooks or m._forward_pre_hooks for m in modules)

    def _record(self, shape: str, given: tuple[Tensor, ...]) -> None:
        device = given[0].device
        gc.collect()  # nodes that accumulate gradients must be made while the pass is recorded
        torch.autograd.graph.set_warn_on_accumulate_grad_stream_mismatch(False)
        buffers = [(buffer, buffer.clone()) for buffer in self.module.buffers()]
        random = torch.cuda.get_rng_state(device)
        samples = tuple(z.detach().clone().requires_grad_(z.requires_grad) for z in given)
        low = _low()
        try:
            with torch.autocast("cuda", low, enabled=low is not None, cache_enabled=False):
                self._passes[shape] = torch.cuda.make_graphed_callables(  # type: ignore[assignment]
                    _Pass(self.module).train(), samples, allow_unused_input=True
                )
        except RuntimeError as error:
            self._refused = True
            torch.cuda.synchronize(device)
            why = str(error).splitlines()[0]
            warnings.warn(f"steps are launched kernel by kernel: {why}", stacklevel=2)
        with torch.no_grad():
            for buffer, value in buffers:
                buffer.copy_(value)
        torch.cuda.set_rng_state(random, device)


class _Pass(nn.Module):
    """`predict_all` of a network as a module."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *given: Tensor) -> Tensor:
        """Outputs [N, K] of inputs, and gates if there are any."""
        return predict_all(self.module, given)


def _given(inputs: Inputs, gates: Tensor | None) -> tuple[Tensor, ...]:
    return (*tensors(inputs), *(() if gates is None else (gates,)))


def _shape(given: tuple[Tensor, ...]) -> str:
    """What passes have alike that can be replayed for each other."""
    return f"{[(tuple(z.shape), z.dtype, z.requires_grad) for z in given]} {_low()}"


def _low() -> torch.dtype | None:
    """What autocast computes in here, if it does."""
    return torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else None
