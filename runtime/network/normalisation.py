"""Batch normalisation: whether batches are large enough for it, and its statistics anew."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from bayesnas.compiler.graph.model import Graph
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, quote
from bayesnas.runtime.network.kernels import layout
from bayesnas.runtime.network.modules import build, evaluating, predict
from bayesnas.runtime.network.recompute import NORMS
from bayesnas.runtime.tasks.bundle import Inputs


def check_batches(graph: Graph, origin: str, example: Inputs, count: int, batch_size: int) -> None:
    """Refuse to normalise over a single number, which batch normalisation in training cannot.

    Shapes are those of a forward pass in evaluation mode; of a supernet all operations take part.

    Args:
        graph: of the network.
        origin: the spec's name.
        example: one, normalised, [1, ...].
        count: how many examples it trains on.
        batch_size: how many at once.

    Raises:
        DiagnosticError: D439, naming the modules.
    """
    if min(count, batch_size) > 1:
        return
    # Plainly emitted: a schedule normalises without a call of the module that a hook would notice.
    form = layout(graph, example.device)
    module, _ = build(graph, origin, 0, scheduled=False, layout=form)
    sizes = norm_sizes(module.to(example.device), example)
    single = [name for name, size in sizes.items() if size == 1]
    if not single:
        return
    some = quote(single[:3]) + (", ..." if len(single) > 3 else "")
    raise DiagnosticError(
        Diagnostic(
            "D439",
            "batches of one example leave batch normalisation a single number per channel",
            notes=(f"at {some} of the network, whose inputs are vectors or 1 x 1 maps",),
            help="raise it to `--option batch_size=2` or more"
            if count > 1
            else "give more examples: one trains, as things are",
        )
    )


def norm_sizes(module: nn.Module, example: Inputs) -> dict[str, int]:
    """How many numbers of a channel each batch normalisation sees of one example [1, ...]."""
    sizes: dict[str, int] = {}

    def note(name: str, _module: nn.Module, inputs: tuple[Any, ...]) -> None:
        sizes[name] = prod(inputs[0].shape[2:])

    norms = [(name, m) for name, m in module.named_modules() if isinstance(m, NORMS)]
    hooks = [norm.register_forward_pre_hook(partial(note, name)) for name, norm in norms]
    try:
        with evaluating(module), torch.no_grad():
            predict(module, example)
    finally:
        for hook in hooks:
            hook.remove()
    return sizes


def norms_of(module: nn.Module) -> list[nn.BatchNorm1d | nn.BatchNorm2d]:
    """The batch normalisations of a network."""
    return [m for m in module.modules() if isinstance(m, NORMS)]


@torch.no_grad()
def renew(
    module: nn.Module,
    batches: Iterable[Inputs],
    forward: Callable[[Inputs], object],
    drops: bool = True,
) -> None:
    """Set the statistics of batch normalisation to their mean over batches.

    Each batch counts by its examples, so that it matters little how they are dealt. One of a single
    example behind larger ones is left out: vectors have no statistics then. Of a normalisation
    that a scan calls at every step, all calls count alike. The mode of the network and the momenta
    are as before.

    Args:
        module: the network.
        batches: inputs [N, ...].
        forward: a pass of it.
        drops: whether what is dropped in training is dropped meanwhile, by the global generator.
    """
    norms = norms_of(module)
    training, momenta = module.training, [norm.momentum for norm in norms]
    module.train(drops)
    for norm in norms:
        norm.train().reset_running_stats()
        norm.momentum = None  # the mean over the calls since the reset
    statistics = _statistics(norms)
    means = [tensor.clone() for tensor in statistics]
    again = norms  # those that a pass calls several times, as far as is known
    seen, largest = 0, 0
    try:
        for inputs in batches:
            largest = max(largest, len(inputs))
            if len(inputs) == 1 and largest > 1:
                continue
            for norm in again:
                norm.reset_running_stats()
            forward(inputs)
            if not seen:
                again = [norm for norm in norms if _calls(norm) > 1]
                for norm in {*norms}.difference(again):
                    norm.momentum = 1.0  # the last call's: a GPU need not be asked how many
            seen += len(inputs)
            for mean, tensor in zip(means, statistics, strict=True):
                mean.lerp_(tensor, len(inputs) / seen)
        for mean, tensor in zip(means, statistics, strict=True):
            tensor.copy_(mean)
    finally:
        module.train(training)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


def _calls(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> int:
    """In training mode, since the last reset."""
    return 0 if norm.num_batches_tracked is None else int(norm.num_batches_tracked)


def _statistics(norms: Iterable[nn.BatchNorm1d | nn.BatchNorm2d]) -> list[Tensor]:
    """Means and variances that networks keep, [C] each; of some there are none."""
    kept = (tensor for norm in norms for tensor in (norm.running_mean, norm.running_var))
    return [tensor for tensor in kept if tensor is not None]
