"""Runs that are interrupted on the way, and whether what goes on ends alike."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from bayesnas.runtime.jobs.search import search as search_module
from bayesnas.runtime.runs.folder import Run


@contextmanager
def stopped_at_saves(*numbers: int) -> Iterator[None]:
    """The work is interrupted once so many checkpoints are there, counted from 1."""
    save, saved = Run.save_checkpoint, list[Run]()

    def stop(run: Run, state: dict[str, Any]) -> None:
        save(run, state)
        saved.append(run)
        if len(saved) in numbers:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "save_checkpoint", stop)
        yield


@contextmanager
def stopped_in_round(number: int) -> Iterator[None]:
    """A search is interrupted when that round is to be decided, counted from 0."""
    update = search_module._Search._update

    def stop(self: search_module._Search, rounds: int) -> dict[str, str]:
        if self.round == number:
            raise KeyboardInterrupt
        return update(self, rounds)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search_module._Search, "_update", stop)
        yield


def same_weights(one: Path, other: Path) -> bool:
    """Whether two runs have learned the same, to the bit."""
    states = [torch.load(run / "weights.pt", weights_only=True) for run in (one, other)]
    return states[0].keys() == states[1].keys() and all(
        torch.equal(states[0][name], states[1][name]) for name in states[0]
    )
