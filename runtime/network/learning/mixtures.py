"""Mixtures of examples: mixup (Zhang et al., ICLR 2018) and CutMix (Yun et al., ICCV 2019).

The loss of a mixture is that of its two targets, by their shares: it needs no soft targets, so it
holds for every learning task. Random numbers are PyTorch's own, whose state checkpoints hold.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from attrs import frozen
from torch import Tensor

from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, quote
from bayesnas.runtime.tasks.bundle import Bundle, Inputs, mapped

Loss = Callable[[Tensor, Tensor], Tensor]


@frozen(eq=False)
class Mixture:
    """A batch mixed with itself in another order.

    Args:
        inputs: [N, ...].
        others: the numbers of the examples that each was mixed with [N]; None: nothing was mixed.
        share: of the example itself, from 0 to 1.
    """

    inputs: Inputs
    others: Tensor | None = None
    share: float = 1.0

    def loss(self, task_loss: Loss, outputs: Tensor, targets: Tensor) -> Tensor:
        """By ``task_loss`` of outputs and targets: the mean over the two targets of each."""
        loss = task_loss(outputs, targets)
        if self.others is None:
            return loss
        return self.share * loss + (1 - self.share) * task_loss(outputs, targets[self.others])


def check_names(name: str, primitives: Sequence[str], mixup: float) -> None:
    """Refuse mixup of numbers of ``name`` that these primitives look up: between two names is none.

    Raises:
        DiagnosticError: D515.
    """
    if mixup and primitives:
        what = f"`mixup` mixes numbers, {quote(primitives)} looks those of `{name}` up as names"
        remedy = "leave `mixup` out, or write `mixup = 0`"
        raise DiagnosticError(Diagnostic("D515", what, help=remedy))


def check_mixtures(name: str, inputs: Inputs, placed: bool, cutmix: float) -> None:
    """Refuse CutMix of what is no single image, or of images that targets of ``name`` lie on.

    Raises:
        DiagnosticError: D515.
    """
    single = not isinstance(inputs, Bundle) and inputs.dim() == 4
    if not cutmix or (single and not placed):
        return
    what = "puts rectangles of images into others"
    why = f"targets of `{name}` lie on them" if single else f"an example of `{name}` is no image"
    remedy = "leave `cutmix` out, or write `cutmix = 0`"
    raise DiagnosticError(Diagnostic("D515", f"`cutmix` {what}, {why}", help=remedy))


def mixed(inputs: Inputs, mixup: float, cutmix: float) -> Mixture:
    """A batch [N, ...] mixed one way or the other, where both are asked for by the toss of a coin.

    Args:
        inputs: as the network takes them; CutMix takes images [N, C, H, W].
        mixup: alpha of the Beta distribution of shares; 0: none.
        cutmix: that of the shares of the areas; 0: none.
    """
    if not mixup and not cutmix:
        return Mixture(inputs)
    others = torch.randperm(len(inputs)).to(inputs.device)
    by_area = bool(cutmix) and (not mixup or float(torch.rand(())) < 0.5)
    alpha = cutmix if by_area else mixup
    share = float(torch.distributions.Beta(alpha, alpha).sample())
    if by_area and not isinstance(inputs, Bundle):
        return _patched(inputs, others, share)
    return Mixture(mapped(lambda x: share * x + (1 - share) * x[others], inputs), others, share)


def _patched(inputs: Tensor, others: Tensor, share: float) -> Mixture:
    """With a rectangle of about ``1 - share`` of the area from the other image."""
    height, width = inputs.shape[2:]
    reach = math.sqrt(1 - share) / 2
    row, column = (int(torch.randint(size, ())) for size in (height, width))
    top, bottom = _span(row, round(reach * height), height)
    left, right = _span(column, round(reach * width), width)
    patched = inputs.clone()
    patched[:, :, top:bottom, left:right] = inputs[others, :, top:bottom, left:right]
    area = (bottom - top) * (right - left) / (height * width)
    return Mixture(patched, others, 1 - area)


def _span(middle: int, reach: int, size: int) -> tuple[int, int]:
    return max(0, middle - reach), min(size, middle + reach)
