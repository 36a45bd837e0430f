"""Compression by Torch-Pruning, of the networks that this project trains."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, Final

import torch
from torch import Tensor, nn

from bayesnas.runtime.data.dataset import Data, plain_batches

try:
    import torch_pruning
except ImportError:
    torch_pruning = None

IMPORTANCES: Final = ("magnitude", "taylor", "batch norm", "group norm")
EXAMPLES: Final = 1024  # that gradients are taken on
TRIES: Final = 12  # of the bisection


def pruner(module: nn.Module, importance: str, example: Tensor, ratio: float) -> Any:
    """A pruner of Torch-Pruning, global, with its defaults otherwise."""
    score = {
        "magnitude": torch_pruning.importance.GroupMagnitudeImportance,
        "group norm": torch_pruning.importance.GroupMagnitudeImportance,
        "taylor": torch_pruning.importance.GroupTaylorImportance,
        "batch norm": torch_pruning.importance.BNScaleImportance,
        "random": torch_pruning.importance.RandomImportance,
    }[importance]()
    kind = "GroupNormPruner" if importance == "group norm" else "BasePruner"
    [*_, last] = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
    return getattr(torch_pruning.pruner, kind)(
        module,
        example,
        importance=score,
        global_pruning=True,
        pruning_ratio=ratio,
        ignored_layers=[last],
    )


def pruned(module: nn.Module, importance: str, example: Tensor, data: Data, most: int) -> nn.Module:
    """The network with the largest share of channels that costs at most so much."""
    gradients = gradients_of(module, data)
    low, high, best = 0.0, 1.0, None
    for _ in range(TRIES):
        middle, copy = (low + high) / 2, deepcopy(module)
        for weight, gradient in zip(copy.parameters(), gradients, strict=True):
            weight.grad = gradient.clone()
        torch.manual_seed(0)  # of random importance
        pruner(copy, importance, example, middle).step()
        if multiply_accumulates(copy, example[:1]) <= most:
            high, best = middle, copy
        else:
            low = middle
    assert best is not None, "no ratio of channels is small enough"
    best.zero_grad()
    return best


def gradients_of(module: nn.Module, data: Data) -> list[Tensor]:
    """Of the loss on some examples, summed over batches."""
    part = data.train.sample(EXAMPLES, torch.Generator().manual_seed(0))
    module.eval().zero_grad()
    for inputs, targets in plain_batches(data, part, 64):
        data.task.loss(module(inputs), targets).backward()  # type: ignore[no-untyped-call]
    return [
        w.grad.clone() if w.grad is not None else torch.zeros_like(w) for w in module.parameters()
    ]


@torch.no_grad()
def multiply_accumulates(module: nn.Module, example: Tensor) -> int:
    """Of convolutions and linear layers, for one example, as the layers are."""
    total = 0

    def count(layer: nn.Module, _inputs: tuple[Tensor, ...], outputs: Tensor) -> None:
        nonlocal total
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        total += outputs[0].numel() * layer.weight[0].numel()

    layers = [m for m in module.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    handles = [layer.register_forward_hook(count) for layer in layers]
    training = module.training
    module.eval()(example)
    module.train(training)
    for handle in handles:
        handle.remove()
    return total
