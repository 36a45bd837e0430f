"""Examples dealt into two parts by class: for what a search holds out, or a missing test part.

Each stratum of a task (`Task.strata`: the classes) gives its share to both parts, so that neither
lacks a class by chance.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import torch

from bayesnas.dsl.diagnostics import DiagnosticError
from bayesnas.runtime.data.examples import Examples
from bayesnas.runtime.tasks.interface import Task
from bayesnas.runtime.tasks.parts import Array, wrong

HOLDOUT: Final = 0.2  # share of the training part that judges a search and trains nothing
TEST_SHARE: Final = 0.2  # of all examples, where there is no test part


def held_counts(counts: Array, fraction: float) -> Array:
    """How many examples of each stratum are held out, int64 [S].

    A stratum of two examples or more has at least one in both parts; a lone example is not held
    out. As far as that allows, each gives its share, rounded down or up, and all together a
    ``fraction`` of all examples, rounded.

    Args:
        counts: of the examples of each stratum, int64 [S].
        fraction: above 0, below 1.
    """
    least, most = (counts > 1).astype(np.int64), np.maximum(counts - 1, 0)
    shares = fraction * counts
    held = np.floor(shares).astype(np.int64).clip(least, most)
    total = min(max(round(fraction * int(counts.sum())), int(least.sum())), int(most.sum()))
    while missing := total - int(held.sum()):
        step = 1 if missing > 0 else -1
        free = held < most if step > 0 else held > least
        held[np.where(free, step * (shares - held), -np.inf).argmax()] += step
    return held


def dealt(strata: Array, fraction: float, order: Array) -> tuple[Array, Array]:
    """Positions of the examples that stay and of those held out, each in the order of ``order``.

    None is held out where every stratum has a single example.

    Args:
        strata: numbers from 0, int64 [N].
        fraction: of the examples that are held out, above 0, below 1.
        order: a permutation of the N positions; of each stratum the first are held out.
    """
    held = held_counts(np.bincount(strata), fraction)
    sorted_ = np.argsort(strata[order], kind="stable")
    starts = np.concatenate([[0], np.bincount(strata).cumsum()[:-1]])
    ranks = np.empty(len(order), dtype=np.int64)  # of each within its stratum, in that order
    ranks[sorted_] = np.arange(len(order)) - starts[strata[order][sorted_]]
    out = ranks < held[strata[order]]
    return order[~out], order[out]


def split(
    part: Examples, task: Task, fraction: float, generator: torch.Generator
) -> tuple[Examples, Examples]:
    """A random split by class: all but about a ``fraction``, and that; see `held_counts`."""
    order = torch.randperm(len(part), generator=generator).numpy()
    fit, held = (torch.from_numpy(p) for p in dealt(task.strata(part.targets), fraction, order))
    device = part.targets.device
    return part.subset(fit.to(device)), part.subset(held.to(device))


def reserve_test(strata: Array, place: str) -> tuple[Array, Array]:
    """Positions for the training and for the test part, in order: in every run the same.

    Raises:
        DiagnosticError: D514 (every stratum has a single example); ``place`` names the targets.
    """
    # RandomState: its numbers are the same in every version of NumPy.
    order = np.random.RandomState(0).permutation(len(strata))
    fit, held = dealt(strata, TEST_SHARE, order)
    if not len(held):
        raise none_held(place, "test")
    return np.sort(fit), np.sort(held)


def split_words(task: Task) -> str:
    """How a test part was split off, for notes."""
    return f"{'of every class ' if task.strata_names else ''}a fifth and in every run the same"


def none_held(place: str, purpose: str) -> DiagnosticError:
    """D514: there is nothing to hold out for that purpose."""
    what = f"has one example a class: none can be held out for the {purpose}"
    return wrong(place, "D514", what, "add examples: two of each class or more")
