"""Splits by class: their laws, on counts of every kind."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bayesnas.dsl.diagnostics import DiagnosticError
from bayesnas.runtime.data.examples import Part
from bayesnas.runtime.data.splits import dealt, held_counts, reserve_test, split
from bayesnas.runtime.tasks.classification import Classification


def numbered(counts: list[int]) -> Part:
    """Examples that carry their number, of so many of each class, mixed."""
    classes = np.repeat(np.arange(len(counts)), counts)
    np.random.default_rng(0).shuffle(classes)
    return Part(torch.arange(len(classes))[:, None], torch.from_numpy(classes))


COUNTS = [[5, 5], [100, 3, 2, 1], [1, 1, 7], [0, 4, 0, 9], [17] * 12, [1000, 999, 1], [2, 2, 2]]


@pytest.mark.parametrize("fraction", [0.01, 0.2, 0.5, 0.9])
@pytest.mark.parametrize("counts", COUNTS, ids=str)
def test_what_is_held_out_of_each_class(counts: list[int], fraction: float) -> None:
    given = np.array(counts)
    held = held_counts(given, fraction)
    several = given > 1
    assert (held[~several] == 0).all()
    assert (held[several] >= 1).all()
    assert (held[several] < given[several]).all()
    total, wanted = int(held.sum()), round(fraction * sum(counts))
    bounds = (int(several.sum()), int(np.maximum(given - 1, 0).sum()))
    assert total == min(max(wanted, bounds[0]), bounds[1])


def test_the_shares_are_rounded_down_or_up() -> None:
    counts = np.random.default_rng(0).integers(10, 400, 50)
    held = held_counts(counts, 0.2)
    assert (abs(held - 0.2 * counts) < 1).all()
    assert held.sum() == round(0.2 * counts.sum())


@pytest.mark.parametrize("counts", COUNTS, ids=str)
def test_a_split_is_disjoint_complete_and_as_counted(counts: list[int]) -> None:
    part, task = numbered(counts), Classification(tuple("abcdefghijkl"[: len(counts)]))
    fit, held = split(part, task, 0.2, torch.Generator().manual_seed(0))
    numbers = [one.inputs[:, 0] for one in (fit, held)]
    assert sorted(torch.cat(numbers).tolist()) == list(range(sum(counts)))
    for one, positions in zip((fit, held), numbers, strict=True):
        assert torch.equal(one.targets, part.targets[positions])
    found = held.targets.bincount(minlength=len(counts))
    assert found.tolist() == held_counts(np.array(counts), 0.2).tolist()


def test_a_split_follows_its_generator() -> None:
    part, task = numbered([30, 20]), Classification(("a", "b"))
    first, again, other = (
        split(part, task, 0.2, torch.Generator().manual_seed(seed))[1].inputs for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_every_example_may_be_held_out() -> None:
    strata = np.array([0, 0, 0, 1, 1, 1])
    found = {
        int(k)
        for seed in range(30)
        for k in dealt(strata, 0.3, np.random.default_rng(seed).permutation(6))[1]
    }
    assert found == set(range(6))


def test_the_test_part_does_not_depend_on_chance() -> None:
    strata = np.arange(40) % 3
    first = reserve_test(strata, "`y`")
    np.random.seed(5)
    for found, again in zip(first, reserve_test(strata, "`y`"), strict=True):
        assert (found == again).all()
        assert (np.diff(found) > 0).all()


def test_nothing_can_be_held_out_of_single_examples() -> None:
    with pytest.raises(DiagnosticError) as caught:
        reserve_test(np.arange(4), "`y`")
    [found] = caught.value.diagnostics
    assert found.code == "D514"
    assert found.message == "`y` has one example a class: none can be held out for the test"
