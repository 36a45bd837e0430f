"""Learning rates over a training."""

from __future__ import annotations

import math
from typing import Final

from bayesnas.compiler.settings import TrainSettings, epochs_of

TAIL: Final = 5  # epochs at the end of `linear_tail` in which the rate is a fifth


def cosine(start: float, step: int, steps: int) -> float:
    """A learning rate that falls from ``start`` to 0 along half a cosine."""
    return start * 0.5 * (1 + math.cos(math.pi * step / max(steps, 1)))


def learning_rate(settings: TrainSettings, epoch: int, step: int, steps: int) -> float:
    """The learning rate of a step.

    In the warm-up it rises in equal steps, or epochs where the schedule goes by them, the last of
    which has the highest rate. ``cosine`` falls step by step, the others epoch by epoch.

    Args:
        settings: the highest rate, the schedule, and its warm-up.
        epoch: counted from 0.
        step: of the epoch, counted from 0.
        steps: of an epoch.
    """
    highest, warmup = settings.learning_rate, min(settings.warmup_epochs, settings.epochs)
    if settings.schedule == "cosine":
        taken = epoch * steps + step
        if taken < warmup * steps:
            return highest * (taken + 1) / (warmup * steps)
        return cosine(highest, taken - warmup * steps, (settings.epochs - warmup) * steps)
    if epoch < warmup:
        return highest * (epoch + 1) / warmup
    return highest * _by_epoch(settings, epoch - warmup, settings.epochs - warmup)


def _by_epoch(settings: TrainSettings, epoch: int, epochs: int) -> float:
    """The share of the highest rate in an epoch, both counted from the end of the warm-up."""
    if settings.schedule == "cosine_epoch":
        return cosine(1.0, epoch, epochs)
    if settings.schedule == "linear":
        return 1 - epoch / epochs
    if settings.schedule == "linear_tail":
        return _linear_tail(epoch + settings.warmup_epochs, epochs + settings.warmup_epochs)
    if settings.schedule == "exponential":
        return settings.rate_decay**epoch
    if settings.schedule == "steps":
        past = epoch + settings.warmup_epochs
        return settings.rate_decay ** sum(past >= step for step in epochs_of(settings.rate_steps))
    return 1.0


def _linear_tail(epoch: int, epochs: int) -> float:
    """As P-DARTS and PC-DARTS have it: linear but for the last epochs, which go on at a fifth."""
    whole = max(1, epochs - TAIL)
    rest = epochs - epoch
    return (rest - TAIL) / whole if rest > TAIL else rest / (whole * TAIL)
