r"""Masks with learned drop probabilities, relaxed so that they have gradients.

Zhou, Sun, Luo, Zha, Zeng: *Posterior-guided neural architecture search*, AAAI 2020. A slice of
weights phi is a product m * eps of weights m and a mask eps that is 0 with probability p, and the
prior of phi is N(0, 1/d^2). With N examples, the bound on the evidence is, an example,

    mean negative log-likelihood + sum d^2 (1 - p) / (2 N) ||m||^2
        + sum K / N (p log p + (1 - p) log(1 - p)),

where K masks share the probability p. The logit of p is what is learned.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

TEMPERATURE: Final = 0.2
START: Final = 0.1  # of every p
_POINTS: Final = 400  # of the integral of a mean


def relaxed_masks(
    logits: Tensor, count: int, generator: torch.Generator, temperature: float = TEMPERATURE
) -> Tensor:
    """Masks of some examples [count, R], each in (0, 1), differentiable in the logits (16).

    A mask is 1 - sigmoid((logit p + log(-log r1) - log(-log r2)) / temperature) for uniform r1 and
    r2. The difference of the two Gumbel variables is one logistic variable, which is drawn as such.
    It is above 1/2 with probability 1 - p whatever the temperature.

    Args:
        logits: of p [R].
        count: of examples, each with masks of its own.
        generator: on the CPU, so that every device has the same draws.
        temperature: above 0; near 0 masks are nearly 0 or 1.
    """
    noise = logistic(count, len(logits), generator).to(logits)
    return torch.sigmoid(-(logits + noise) / temperature)


def logistic(count: int, size: int, generator: torch.Generator) -> Tensor:
    """Draws from the standard logistic distribution [count, size], float64, on the CPU."""
    tiny = torch.finfo(torch.float64).eps
    uniform = torch.rand(count, size, generator=generator, dtype=torch.float64)
    return torch.logit(uniform, eps=tiny)


def mean_masks(logits: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """What `relaxed_masks` are on average [R].

    With a = logit p it is the integral of sigmoid(-a - t logit(x)) over x from 0 to 1, t being the
    temperature, by the midpoint rule: 1 - p where t is 0, and (1 - c + c log c) / (1 - c)^2 with
    c = exp(a) where t is 1.
    """
    x = (torch.arange(_POINTS).to(logits) + 0.5) / _POINTS
    return torch.sigmoid(-logits[:, None] - temperature * torch.logit(x)).mean(dim=1)


def weight_term(logits: Tensor, squares: Tensor, precision: float) -> Tensor:
    """sum d^2 (1 - p) / (2 N) ||m||^2, the prior's part of the bound.

    Args:
        logits: of p [R].
        squares: ||m||^2 of each slice [R].
        precision: d^2 / N, what others call weight decay.
    """
    return precision / 2 * (torch.sigmoid(-logits) * squares).sum()


def entropy_term(logits: Tensor, masks: Tensor, examples: int) -> Tensor:
    """sum K / N (p log p + (1 - p) log(1 - p)), the masks' part of the bound.

    Args:
        logits: of p [R].
        masks: K, how many masks have each p [R].
        examples: N.
    """
    p = torch.sigmoid(logits)
    entropy = p * nn.functional.logsigmoid(logits) + (1 - p) * nn.functional.logsigmoid(-logits)
    return (masks * entropy).sum() / examples
