"""Spaces in which the right answer is known by construction, searched by `posterior`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from attrs import evolve
from support import compile_text
from torch import Tensor

from bayesnas.compiler.settings import SearchSettings
from bayesnas.runtime.data.dataset import Data
from bayesnas.runtime.data.examples import Part
from bayesnas.runtime.jobs.search import search as search_module
from bayesnas.runtime.jobs.search.search import search
from bayesnas.runtime.jobs.search.space import Space
from bayesnas.runtime.runs.record import RunOptions
from bayesnas.runtime.tasks.classification import Classification

COUNT = 1200
SIZE = 8


def data_of(images: Tensor, labels: Tensor) -> Data:
    part = Part((255 * images.clamp(0, 1)).to(torch.uint8), labels)
    rest = part.subset(torch.arange(40))
    return Data.of("planted", Classification(("no", "yes")), part, rest)


def noise(generator: torch.Generator, count: int = COUNT) -> Tensor:
    return 0.5 + 0.1 * torch.randn(count, 1, SIZE, SIZE, generator=generator)


def fine() -> Data:
    """The class is the sign of a chessboard, which nothing sees behind a maximum."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 2, (COUNT,), generator=generator)
    row, column = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    board = 1.0 - 2 * ((row + column) % 2)
    signs = (2.0 * labels - 1)[:, None, None, None]
    return data_of(noise(generator) + 0.025 * signs * board, labels)


def pattern(hint: float, count: int = COUNT) -> Data:
    """Upright or lying stripes of either phase anywhere; ``hint`` of brightness tells them at once.

    No mean over pixels tells stripes apart, only products of neighbours do.
    """
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(0, 2, (count,), generator=generator)
    phases = torch.randint(0, 2, (count, 1, 1), generator=generator)
    row, column = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    lines = torch.where(labels[:, None, None] == 1, row, column)
    stripes = 1.0 - 2 * ((lines + phases) % 2)
    signs = (2.0 * labels - 1)[:, None, None, None]
    bright = hint * signs + 0.1 * torch.randn(count, 1, 1, 1, generator=generator)
    return data_of(noise(generator, count) + 0.1 * stripes[:, None] + bright, labels)


HEAD = """
network n(image: [1, 8, 8]) -> (logits: [2]) {
    stem = image : conv(1, 8) >> bn
    c = cell(stem)
    c -> logits : HEAD >> linear(2)
}
"""
BLURRED = """
motif cell(x) -> (y) {
    x ~> y : skip >> bn(affine = 0) | max_pool(5) >> conv(3) >> bn(affine = 0)
        | max_pool(5) >> conv(5) >> bn(affine = 0)
    retain 1 into y
}
""" + HEAD.replace("HEAD", "flatten")
CELL = """
motif cell(x) -> (y) {
    node h
    x ~> h : skip >> bn(affine = 0) | max_pool(3) >> bn(affine = 0)
        | conv(3) >> bn(affine = 0) >> relu
    {x, h} ~> y : skip >> bn(affine = 0) | max_pool(3) >> bn(affine = 0)
        | conv(3) >> bn(affine = 0) >> relu
}
""" + HEAD.replace("HEAD", "global_avg_pool")

ONE = """
motif cell(x) -> (y) {
    x ~> y : skip >> bn(affine = 0) | max_pool(3) >> bn(affine = 0)
        | conv(3) >> bn(affine = 0) >> relu
    retain 1 into y
}
""" + HEAD.replace("HEAD", "global_avg_pool")
DEAR = """
motif cell(x) -> (y) {
    x ~> y : skip >> bn(affine = 0) | max_pool(5) >> conv(5) >> bn(affine = 0)
        | conv(3) >> bn(affine = 0) >> relu
    retain 1 into y
}
""" + HEAD.replace("HEAD", "global_avg_pool")


USUAL = SearchSettings(
    strategy="posterior", warmup_epochs=2, rounds=4, batch_size=32, draws=12, learning_rate=0.05,
    curvature_examples=128, augment="none",
)  # fmt: skip


def found(
    text: str,
    data: Data,
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
    **settings: float | str,
) -> str:
    """The spec that a search ends with."""
    monkeypatch.setattr("bayesnas.compiler.artifacts.figure.has_dot", lambda: False)
    monkeypatch.setattr(search_module, "load_data", lambda *_, **__: data)
    options = RunOptions("planted", out, seed=seed, device="cpu")
    search(Space(compile_text(text)), evolve(USUAL, **settings), options)
    return (out / "pruned.nas").read_text("utf-8")


@pytest.mark.parametrize("seed", [0, 1])
def test_an_identity_that_is_best_stays_though_it_costs_nothing(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = found(BLURRED, fine(), tmp_path / "o", monkeypatch, seed, epochs=2)
    assert "skip" in spec
    assert "max_pool(5)" not in spec


# Brightness, which an identity passes on, tells 84 % of the classes in a few steps.
@pytest.mark.parametrize(
    ("seed", "hint"), [(0, 0.0), (1, 0.1)], ids=["needed", "beside what learns fast and little"]
)
def test_a_convolution_that_is_best_stays(
    seed: int, hint: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = found(CELL, pattern(hint), tmp_path / "o", monkeypatch, seed)
    assert "conv(3) >> bn(affine = 0) >> relu" in spec


@pytest.mark.parametrize("seed", [0, 1])
def test_a_convolution_that_is_best_stays_beside_one_that_costs_more(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = found(DEAR, pattern(0.1), tmp_path / "o", monkeypatch, seed)
    assert "conv(3) >> bn(affine = 0) >> relu" in spec
    assert "conv(5)" not in spec


def test_what_learns_fast_does_not_take_the_place_of_what_wins_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After one slow pass nothing has seen the stripes yet, and an identity has the least loss.

    So whoever judges by that alone collapses.
    """

    def kept(strategy: str, **settings: float) -> list[bool]:
        short = {"warmup_epochs": 0.5, "rounds": 2, "epochs": 0.25, "learning_rate": 0.003}
        specs = [
            found(ONE, pattern(0.1), tmp_path / f"{strategy}_{seed}", monkeypatch, seed,
                  strategy=strategy, **short, **settings)
            for seed in (3, 4, 5)
        ]  # fmt: skip
        return ["conv(3)" in spec for spec in specs]

    assert all(kept("posterior", wanted_epochs=600))
    assert not any(kept("random"))


def test_no_more_images_are_judged_than_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found(CELL, pattern(0.1, 400), tmp_path / "o", monkeypatch, 0, epochs=2.5)
    result = json.loads((tmp_path / "o" / "result.json").read_text("utf-8"))
    assert result["images_evaluated"] <= result["images_trained"]
    assert result["images_evaluated"] > 0.9 * result["images_trained"]


def test_fewer_are_judged_than_were_asked_for_with_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found(CELL, pattern(0.1, 400), tmp_path / "o", monkeypatch, 0, warmup_epochs=1, draws=200)
    members = (tmp_path / "o" / "members.jsonl").read_text("utf-8").splitlines()
    assert len(members) < 200
    said = capsys.readouterr().err
    assert f"note: {len(members)} of " in said
    assert " members are judged: more would" in said
