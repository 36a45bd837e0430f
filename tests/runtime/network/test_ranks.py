"""What a rank takes of a batch, and what it adds to sums: those of all ranks make the whole."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from bayesnas.runtime.network.together import synchronised
from bayesnas.runtime.network.together.launch import Launch, launch
from bayesnas.runtime.network.together.ranks import Share, World
from bayesnas.runtime.tasks.classification import Classification

SIZES = st.integers(1, 9)
COUNTS = st.integers(1, 20)
TASK = Classification(("a", "b", "c"))


def shares(size: int, count: int) -> list[Share]:
    return [World(rank, size).share(count) for rank in range(size)]


@given(SIZES, COUNTS)
def test_every_example_counts_once(size: int, count: int) -> None:
    batch = torch.arange(count)
    parts = [share.of(batch) for share in shares(size, count)]
    assert all(len(part) for part in parts)
    counted = [p for p, share in zip(parts, shares(size, count), strict=True) if share.counts]
    assert torch.equal(torch.cat(counted), batch)
    if count >= size:
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


@given(SIZES, COUNTS)
def test_losses_and_sums_add_up(size: int, count: int) -> None:
    outputs, targets = torch.randn(count, 3, dtype=torch.float64), torch.arange(count) % 3
    each = shares(size, count)
    loss = sum(share.loss(TASK, share.of(outputs), targets) for share in each)
    torch.testing.assert_close(loss, TASK.loss(outputs, targets))
    sums = sum(share.counted(share.of(outputs).sum(dim=0)) for share in each)
    torch.testing.assert_close(sums, outputs.sum(dim=0))
    if count >= size:
        assert torch.equal(sum(share.spread(share.of(outputs)) for share in each), outputs)


@pytest.mark.parametrize(
    "drop",
    [functional.dropout, functional.dropout1d, lambda z, p: functional.dropout(z, p, True, True)],
)
@pytest.mark.parametrize("shape", [(4,), (4, 5)])
def test_a_share_is_dropped_as_in_the_whole(
    drop: Callable[[Tensor, float], Tensor],
    shape: tuple[int, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    batch = torch.randn(7, *shape)
    if drop is functional.dropout1d and batch.dim() < 3:
        return
    torch.manual_seed(0)
    whole, state = drop(batch.clone(), 0.4), torch.get_rng_state()
    for rank in range(3):
        monkeypatch.setattr(synchronised, "world", lambda rank=rank: World(rank, 3))
        torch.manual_seed(0)
        with synchronised.parted(len(batch)) as share:
            torch.testing.assert_close(drop(share.of(batch).clone(), 0.4), share.of(whole))
        assert torch.equal(torch.get_rng_state(), state)


def test_alone_nothing_is_caught() -> None:
    torch.manual_seed(0)
    with synchronised.parted(5) as share:
        assert share == Share(5)
        assert not torch.overrides._is_torch_function_mode_enabled()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("rank", "size", "expected"),
    [
        ("1", "2", Launch(1, 2, 1)),
        ("0", "1", Launch()),
        ("2", "2", Launch()),
        ("", "2", Launch()),
        ("one", "2", Launch()),
    ],
)
def test_how_it_was_started(
    rank: str, size: str, expected: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("RANK", rank), ("WORLD_SIZE", size), ("LOCAL_RANK", rank)):
        monkeypatch.setenv(name, value)
    assert launch() == expected
