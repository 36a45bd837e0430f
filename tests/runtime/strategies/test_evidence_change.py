"""The column `evidence_change` of `gates.jsonl` is one quantity, whatever the strategy."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from living import budget, images, lines
from support import compile_text
from torch import Tensor

from bayesnas.compiler.graph.model import Graph
from bayesnas.compiler.settings import SearchSettings
from bayesnas.compiler.space.choices import member_space
from bayesnas.runtime.jobs.search import search as search_module
from bayesnas.runtime.jobs.search.search import search
from bayesnas.runtime.jobs.search.space import Space
from bayesnas.runtime.runs.record import RunOptions
from bayesnas.runtime.strategies.bayesnas.posterior import GatePosterior, Layout
from bayesnas.runtime.strategies.evidence import Look
from bayesnas.runtime.strategies.gaussian import Gaussian
from bayesnas.runtime.strategies.interface import evidence_change
from bayesnas.runtime.supernet.gates import Gates

CPU = torch.device("cpu")
# Connections of one candidate that may be dropped: their gates stand at 1/2, and fall to 0.
TIED = """\
import "ops/basic.nas"

motif cell(a) -> (out) {
    node h
    a ~> h : conv_bn(3)
    a ~> out : conv_bn(1)
    h ~> out : skip
}

network net(image: [1, 8, 8]) -> (y: [3]) {
    stem = image : conv_bn_relu(3, 2)
    body = tied chain cell(stem) times 2
    stem -> body : skip
    body -> y : classifier(3)
}
"""
SPACE = compile_text(TIED)
UNTIED = compile_text(TIED.replace("tied chain", "chain"))


def quadratic(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """A gradient and a curvature."""
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(count, count, generator=generator, dtype=torch.float64)
    return torch.randn(count, generator=generator, dtype=torch.float64), root.T @ root


@given(st.integers(1, 5), st.integers(0, 1000))
def test_of_a_quadratic_loss_it_is_what_the_loss_falls_by(count: int, seed: int) -> None:
    g, H = quadratic(count, seed)
    at, move = torch.randn(2, count, dtype=torch.float64)

    def loss(w: Tensor) -> float:
        return float((g - H @ at) @ w + w @ H @ w / 2)  # its gradient at `at` is g

    assert evidence_change(g, H, move) == pytest.approx(loss(at) - loss(at + move), abs=1e-9)


@pytest.mark.parametrize("graph", [SPACE.graph, UNTIED.graph], ids=["tied", "untied"])
@pytest.mark.parametrize("seed", range(3))
def test_two_strategies_say_the_same_of_the_same_removal(graph: Graph, seed: int) -> None:
    gates, space = Gates.of(graph, CPU), member_space(graph)
    gradient, curvature = quadratic(len(gates), seed)
    posterior = GatePosterior.start(Layout.of(graph, gates))
    posterior.w = gates.spread(gates.table(space.mean()))
    assert posterior.w.tolist() == [0.5] * len(gates)
    found = posterior.evidence_changes(gradient, curvature)

    g, H = gates.tied(gradient, curvature)
    price = torch.ones_like(g)
    mean = gates.table(space.mean())
    look = Look(gates.numbers, mean, g, H, price, price, Gaussian(mean, H))
    changes = look.unpriced().changes(space)
    assert found == pytest.approx({group: changes[group] for group in gates.groups})
    # What a removal saves of the budget is no part of it.
    priced = look.changes(space)
    for group in gates.groups:
        assert priced[group] == pytest.approx(changes[group] + 0.5)


@pytest.mark.parametrize("strategy", ["bayesnas", "evidence"])
def test_the_column_is_written(
    strategy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By every strategy that knows it, of every gate that lived to be looked at."""
    monkeypatch.setattr("bayesnas.compiler.artifacts.figure.has_dot", lambda: False)
    monkeypatch.setattr(search_module, "load_data", lambda *_, **__: images())
    settings = SearchSettings(
        strategy=strategy, warmup_epochs=1, rounds=2, epochs=1, batch_size=16, draws=1
    )
    limit = budget("parameters", 10**6)
    search(
        Space(SPACE, budgets=limit), settings, RunOptions("images", tmp_path / "o", device="cpu")
    )
    rows = lines(tmp_path / "o" / "gates.jsonl")
    assert all(isinstance(row["evidence_change"], float) for row in rows)
    by_group: dict[str, set[float]] = {}
    for row in rows:
        by_group.setdefault(row["group"], set()).add(row["evidence_change"])
    assert all(len(values) == 1 for values in by_group.values())
