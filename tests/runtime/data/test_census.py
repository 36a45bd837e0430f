"""What is said of the numbers of examples."""

from __future__ import annotations

import pytest
import torch

from bayesnas.dsl.diagnostics import DiagnosticError
from bayesnas.runtime.data.census import Census
from bayesnas.runtime.data.dataset import Data
from bayesnas.runtime.data.examples import Part
from bayesnas.runtime.data.splits import split
from bayesnas.runtime.tasks.classification import Classification


def part(counts: list[int]) -> Part:
    targets = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    return Part(torch.randn(len(targets), 2), targets)


def data(train: list[int], test: list[int]) -> Data:
    names = tuple(f"c{k}" for k in range(len(train)))
    return Data.of("table", Classification(names), part(train), part(test))


def test_a_training_with_plenty_of_examples() -> None:
    census = Census.of(data([400, 500], [100, 120]), None)
    assert census.notes(weighted=False) == [
        "`table` has 900 examples to train on, 220 to test; by class `c0` 400 + 100, `c1` 500 + 120"
    ]
    assert census.record() == {
        "train": 900,
        "test": 220,
        "classes": {"c0": {"train": 400, "test": 100}, "c1": {"train": 500, "test": 120}},
    }


def test_a_search_holds_out_what_is_counted() -> None:
    given = data([10, 23, 1], [5, 5, 5])
    census = Census.of(given, 0.2)
    fit, held = split(given.train, given.task, 0.2, torch.Generator().manual_seed(3))
    assert census.train.tolist() == fit.targets.bincount(minlength=3).tolist()
    assert census.held_out is not None
    assert census.held_out.tolist() == held.targets.bincount(minlength=3).tolist()
    assert census.notes(weighted=True)[0] == (
        "`table` has 27 examples to train on, 7 held out, 15 to test; "
        "by class `c0` 8 + 2 + 5, `c1` 18 + 5 + 5, `c2` 1 + 0 + 5"
    )


def test_what_is_missing_small_and_out_of_balance() -> None:
    notes = Census.of(data([50, 6], [25, 0]), 0.2).notes(weighted=False)
    assert notes[1:] == [
        "there are no test examples of `c1`: the accuracy says nothing about them",
        "chance alone moves the accuracy on 11 held-out examples by ± 15 points and on 25 test "
        "examples by ± 10 points or so",
        "there are fewer than 10 training examples of `c1`",
        "classes are out of balance: 40 training examples of `c0`, 5 of `c1`; always "
        "answering `c0` would be right for 88.9%; `--option class_weights=balanced` lets all "
        "classes count alike",
    ]
    assert len(Census.of(data([50, 6], [25, 0]), 0.2).notes(weighted=True)) == 4


def test_many_classes_in_few_words() -> None:
    census = Census.of(data([20 + k for k in range(1200)], [5] * 1000 + [0] * 200), None)
    assert census.notes(weighted=True)[:2] == [
        "`table` has 743,400 examples to train on, 5,000 to test, in 1,200 classes, from "
        "`c0` 20 + 5 to `c1199` 1,219 + 0 (`settings.json` has all)",
        "there are no test examples of 200 of 1,200 classes: the accuracy says nothing about them",
    ]
    assert len(census.record()["classes"]) == 1200


def test_many_classes_of_one_size() -> None:
    census = Census.of(data([2] * 1000, [1] * 1000), None)
    assert census.notes(weighted=True)[0] == (
        "`table` has 2,000 examples to train on, 1,000 to test, in 1,000 classes, 2 + 1 of each"
    )


def test_a_search_with_one_example_a_class() -> None:
    with pytest.raises(DiagnosticError, match="`table` has one example a class: none can be held"):
        Census.of(data([1, 1, 1], [1, 1, 1]), 0.2)
