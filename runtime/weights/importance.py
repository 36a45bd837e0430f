"""How much the channels of a trained network matter, by its weights and its gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import torch
from torch import Tensor, nn

from bayesnas.compiler.slices.ties import Strand
from bayesnas.runtime.weights.choice import Scores
from bayesnas.runtime.weights.subject import Subject, group_sums

SCALING: Final = (nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm)


def magnitude(subject: Subject) -> Scores:
    """The size of all that a group stands for, `Subject.all_sums`, as its subject compares them."""
    with torch.no_grad():
        weights = dict(subject.module.named_parameters())
        squares = subject.all_sums({name: w.detach() ** 2 for name, w in weights.items()})
    return subject.compared(squares)


def taylor(subject: Subject) -> Scores:
    """What the loss changes by to first order without a group, as its subject compares them.

    A channel is taken out where it is read, as by a gate (Molchanov et al. 2019); of the changes
    on several batches the sum of squares is taken.
    """
    weights = dict(subject.module.named_parameters())
    totals: dict[Strand, Tensor] = {}
    for loss in subject.losses():
        grads = torch.autograd.grad(loss, [*weights.values()], allow_unused=True)
        with torch.no_grad():
            pairs = zip(weights.items(), grads, strict=True)
            products = {name: w * grad for (name, w), grad in pairs if grad is not None}
            for strand, row in subject.sums(products).items():
                totals[strand] = totals.get(strand, torch.zeros_like(row)) + row**2
    return subject.compared(totals)


def norm_scale(subject: Subject) -> Scores:
    """The mean size of the scales that normalisations give a channel (Liu et al., ICCV 2017).

    A strand without any has the mean of the others in all its channels.
    """
    weights = dict(subject.module.named_parameters())
    norms = {f"{n}.weight" for n, m in subject.module.named_modules() if isinstance(m, SCALING)}
    scales = {t.name for t in subject.sliced if t.name in norms}
    with torch.no_grad():
        sizes = {name: w.detach().abs() for name, w in weights.items() if name in scales}
        sums = group_sums(subject, sizes)
        counts = group_sums(subject, {name: torch.ones_like(w) for name, w in sizes.items()})
    normed = [sums[s] / counts[s] for s in subject.strands if bool((counts[s] > 0).all())]
    mean = float(torch.cat(normed).mean()) if normed else 1.0
    return {s: torch.where(counts[s] > 0, sums[s] / counts[s], mean) for s in subject.strands}


def at_random(subject: Subject) -> Scores:
    """Any number, uniform between 0 and 1: what others are compared with."""
    return {s: torch.rand(s.size, generator=subject.generator) for s in subject.strands}


IMPORTANCES: Final[Mapping[str, Callable[[Subject], Scores]]] = {
    "magnitude": magnitude,
    "taylor": taylor,
    "norm_scale": norm_scale,
    "random": at_random,
}
