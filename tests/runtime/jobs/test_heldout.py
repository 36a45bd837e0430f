"""When a training looks at what it holds out."""

from __future__ import annotations

import pytest

from bayesnas.runtime.jobs.heldout import FEW, looked_every, looks, told_every


@pytest.mark.parametrize("epochs", [1, 2, 9, 10, 19, 30, 60, 110, 250, 600, 1000])
def test_each_line_has_a_look_of_its_own_and_looks_are_few_epochs_apart(epochs: int) -> None:
    every = looked_every(epochs)
    looked = {n for n in range(1, epochs + 1) if n % every == 0 or n == epochs}
    told = {n for n in range(1, epochs + 1) if n % told_every(epochs) == 0 or n == epochs}
    assert 1 <= every <= FEW
    assert told <= looked
    assert looks(epochs) == len(looked)


def test_the_papers_courses() -> None:
    assert [looked_every(epochs) for epochs in (30, 60, 250, 600)] == [3, 3, 5, 5]
