"""Budgets are met exactly, and what limits say stays does."""

from __future__ import annotations

import pytest
import torch
from support import compile_text, network

from bayesnas.compiler.graph.cost import graph_cost
from bayesnas.compiler.graph.model import BudgetConstraint, CostName
from bayesnas.compiler.pipeline import Compiled
from bayesnas.compiler.slices.counts import Kept, kept_cost
from bayesnas.compiler.slices.groups import Slices, coupled_slices
from bayesnas.compiler.slices.narrowing import narrowed_spec
from bayesnas.compiler.slices.ties import Strand
from bayesnas.dsl.diagnostics import DiagnosticError
from bayesnas.dsl.printing.printer import print_spec
from bayesnas.runtime.weights.choice import Limits, Ranking, free_strands, within

TEXT = network("""
    a = x : conv(3, 8) >> bn >> relu
    b = a : conv(3, 8) >> bn
    c = a : conv(3, 12) >> relu >> conv(1, 8)
    h = sum(b, c)
    d = h : conv(1, 6) >> bn
    d -> y : conv(3, 4)
""")


def scored(strands: list[Strand]) -> dict[Strand, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {strand: torch.rand(strand.size, generator=generator) for strand in strands}


def setup(text: str = TEXT, limits: Limits | None = None) -> tuple[Compiled, Slices, Ranking]:
    compiled = compile_text(text)
    slices, limits = coupled_slices(compiled.graph), limits or Limits()
    strands = free_strands(compiled, slices, limits.layers)
    return compiled, slices, Ranking(scored(strands), limits)


@pytest.mark.parametrize("cost", ["parameters", "flops"])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 1.0])
def test_as_much_stays_as_the_budget_allows(cost: CostName, share: float) -> None:
    compiled, slices, ranking = setup()
    limit = int(share * getattr(graph_cost(compiled.graph), cost))

    def costs(kept: Kept) -> int:
        return kept_cost(compiled.graph, slices, kept).of(cost)

    kept = within(compiled.graph, slices, ranking, [BudgetConstraint(cost, limit)])
    assert costs(kept) <= limit
    counts = {strand: len(channels) for strand, channels in kept.items()}
    for strand, count in counts.items():  # nothing more fits
        if count < strand.size:
            assert costs(ranking.best({**counts, strand: count + 1})) > limit
    first = max(n for n in range(len(ranking.channels) + 1) if costs(ranking.kept(n)) <= limit)
    assert all(set(kept[s]) >= set(some) for s, some in ranking.kept(first).items())
    text = print_spec(narrowed_spec(compiled, slices, kept))
    assert graph_cost(compile_text(text).graph) == kept_cost(compiled.graph, slices, kept)


def test_the_best_stay() -> None:
    _, _, ranking = setup()
    kept = ranking.kept(10)
    scores = scored([*ranking.orders])
    best = sorted((float(s) for row in scores.values() for s in row), reverse=True)[:10]
    for strand, channels in kept.items():
        assert channels == sorted(channels)
        assert set(channels) >= {k for k, s in enumerate(scores[strand]) if float(s) >= best[-1]}


@pytest.mark.parametrize("count", [0, 5, 17, 40])
def test_widths_are_rounded_upwards_and_no_less_than_the_least(count: int) -> None:
    _, _, plain = setup()
    _, _, ranking = setup(limits=Limits(least=3, round_to=4))
    for before, after in zip(plain.kept(count).items(), ranking.kept(count).items(), strict=True):
        (strand, few), (_, many) = before, after
        assert len(many) >= max(len(few), 3)
        assert len(many) % 4 == 0 or len(many) == strand.size
        assert len(many) - max(len(few), 3) < 4


def test_layers_that_are_kept_lose_nothing() -> None:
    compiled, slices, ranking = setup(limits=Limits(layers=("b.0",)))
    kept = ranking.kept(0)
    sizes = {strand.size for strand in kept}
    assert sizes == {12, 6}  # what goes into `b` and what comes out of it stays
    text = print_spec(narrowed_spec(compiled, slices, kept))
    assert "b = a : conv(3, 8) >> bn\n" in text


def test_a_layer_that_there_is_not() -> None:
    compiled = compile_text(TEXT)
    with pytest.raises(DiagnosticError) as caught:
        free_strands(compiled, coupled_slices(compiled.graph), ["logits"])
    [diagnostic] = caught.value.diagnostics
    assert (diagnostic.code, diagnostic.message) == ("D608", "the network has no layer `logits`")


def test_a_budget_that_cannot_be_met() -> None:
    compiled, slices, ranking = setup(limits=Limits(least=2, round_to=4, layers=("y",)))
    with pytest.raises(DiagnosticError) as caught:
        within(compiled.graph, slices, ranking, [BudgetConstraint("parameters", 100)])
    [diagnostic] = caught.value.diagnostics
    assert (diagnostic.code, caught.value.status) == ("D609", 1)
    assert diagnostic.message == "no removal of channels leaves at most 100 parameters"
    least = kept_cost(compiled.graph, slices, ranking.kept(0)).parameters
    assert f"it has {least:,}" in diagnostic.notes[0]
    ways = "lower `--least`, or lower `--round-to`, or keep fewer layers"
    assert diagnostic.help == f"raise the budget, or {ways}"
