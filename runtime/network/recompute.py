"""Less memory for more time: what a supernet's blocks hold is computed again in the backward pass.

Blocks are the outermost instances of motifs that have searched edges, where there are several:
cells, stages. A training step then holds what lies between the blocks, and the insides of one (Chen
et al., *Training Deep Nets with Sublinear Memory Cost*, 2016).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from bayesnas.compiler.emit.pytorch import Emitted
from bayesnas.runtime.network.together.synchronised import again

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def recompute_blocks(module: nn.Module, emitted: Emitted) -> int:
    """Let training steps compute the insides of every block twice; how many blocks there are.

    Outputs, gradients and buffers stay what they were; a plugin that changes a state of its own in
    a forward pass changes it twice.
    """
    names = blocks(emitted)
    for name in names:
        block: Any = module.get_submodule(name)
        block.forward = _twice(block, block.forward)
    return len(names)


def blocks(emitted: Emitted) -> set[str]:
    """Paths of the blocks, at the least depth at which there are several; else none."""
    owners = [_steps(path)[:-1] for path, _ in emitted.gates]
    for depth in range(1, max(map(len, owners), default=0) + 1):
        names = {".".join(owner[:depth]) for owner in owners if len(owner) >= depth}
        if len(names) > 1:
            return names
    return set()


def _steps(path: str) -> list[str]:
    """The modules on a path that run: a list does not, its items do (``body.0`` is one step)."""
    return re.findall(r"[^.]+(?:\.[0-9]+)*", path)


def _twice(block: nn.Module, forward: Callable[..., Any]) -> Callable[..., Any]:
    """The forward pass of a block that is run again in the backward pass."""

    def run(*inputs: Any) -> Any:
        if not (block.training and torch.is_grad_enabled()):
            return forward(*inputs)
        return checkpoint(
            forward,
            *inputs,
            use_reentrant=False,
            context_fn=lambda: (nullcontext(), counted_once(block)),
        )

    return run


@contextmanager
def counted_once(block: nn.Module) -> Iterator[None]:
    """A forward pass in here is run again: batch normalisation takes no note of what it sees."""
    norms = [norm for norm in block.modules() if isinstance(norm, NORMS)]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked = norm.num_batches_tracked.clone()
    try:
        with again():
            yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count
