"""Families of groups of weights: which weights they are, what they cost, what fits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from itertools import product

import pytest
import torch
from attrs import evolve
from support import compile_text

from bayesnas.compiler.graph.cost import graph_cost
from bayesnas.compiler.graph.model import BudgetConstraint
from bayesnas.dsl.diagnostics import DiagnosticError
from bayesnas.runtime.network.modules import build
from bayesnas.runtime.weights.families import (
    FAMILIES,
    MASKED,
    TILE,
    Pieces,
    Prices,
    Weighing,
    masks,
    pieces_of,
)
from bayesnas.runtime.weights.importance import IMPORTANCES
from bayesnas.runtime.weights.priors.registry import PRIORS, check_importance
from bayesnas.runtime.weights.removal import state_paths
from bayesnas.runtime.weights.subject import Subject

NET = """\
network net(image: [2, 6, 6]) -> (logits: [3]) {
    stem = image : conv(3, 4, bias = 1) >> bn >> relu
    half = stem : depthwise_conv(3, stride = 2) >> conv(1, 5)
    half -> logits : flatten >> linear(3)
}
"""
KEYS: dict[str, Callable[[tuple[int, ...]], object]] = {
    "shape": lambda at: at[1:],
    "kernel": lambda at: at[:2],
    "row": lambda at: at[:3],
    "column": lambda at: (at[0], at[1], at[3]),
    "block": lambda at: (at[0] // TILE, (9 * at[1] + 3 * at[2] + at[3]) // TILE),
    "weight": lambda at: at,
}


def pieces(family: str, keep: tuple[str, ...] = ()) -> tuple[Pieces, Prices]:
    compiled = compile_text(NET)
    module, _ = build(compiled.graph, "net.nas", 0)
    weights = dict(module.named_parameters())
    prices = Prices.of(compiled.graph, weights, state_paths(compiled))
    return pieces_of(family, Subject(module, (), ()), prices.uses, keep), prices


@pytest.mark.parametrize("family", MASKED)
def test_groups_of_a_convolution(family: str) -> None:
    groups = MASKED[family]((6, 2, 3, 3))
    sets: dict[object, set[int]] = defaultdict(set)
    for place in product(range(6), range(2), range(3), range(3)):
        sets[KEYS[family](place)].add(int(groups[place]))
    assert all(len(numbers) == 1 for numbers in sets.values())
    assert len(sets) == int(groups.max()) + 1 == len(groups.unique())


def test_groups_of_a_linear_layer_are_those_of_its_matrix() -> None:
    for family, count in {"row": 6, "column": 5, "shape": 5, "kernel": 30, "block": 4}.items():
        assert len(MASKED[family]((6, 5)).unique()) == count
    assert len(MASKED["row"]((6, 5))[2].unique()) == 1


def test_everything_there_costs_what_the_network_costs() -> None:
    _, prices = pieces("weight")
    compiled = compile_text(NET)
    module, _ = build(compiled.graph, "net.nas", 0)
    counts = {n: w.numel() for n, w in module.named_parameters() if n in prices.uses}
    assert len(counts) == 4
    assert prices.cost(counts) == graph_cost(compiled.graph)


@pytest.mark.parametrize("family", MASKED)
@pytest.mark.parametrize("cost", ["parameters", "flops"])
def test_as_many_groups_of_the_highest_scores_as_fit(family: str, cost: str) -> None:
    subject, prices = pieces(family)
    weights = dict(subject.module.named_parameters())
    present = {name: torch.ones_like(weights[name]) for name in prices.uses}
    scores = {
        s: torch.rand(s.size, generator=torch.Generator().manual_seed(n))
        for n, s in enumerate(subject.strands)
    }
    weighing = Weighing(subject, prices, present)
    whole = getattr(graph_cost(compile_text(NET).graph), cost)
    limit = int(0.7 * whole)
    stay = weighing.fitting(scores, [BudgetConstraint(cost, limit)])
    stays = weighing.cost(stay)
    assert getattr(stays, cost) <= limit
    nonzero = {name: int(mask.sum()) for name, mask in masks(subject, stay).items()}
    assert prices.cost(nonzero) == stays
    gone = [(s, k) for s in scores for k in (~stay[s]).nonzero()[:, 0].tolist()]
    strand, k = max(gone, key=lambda at: float(scores[at[0]][at[1]]))
    more = {s: row.clone() for s, row in stay.items()}
    more[strand][k] = True
    assert getattr(weighing.cost(more), cost) > limit


def test_what_is_kept_is_in_no_group_and_too_small_a_budget_is_refused() -> None:
    subject, prices = pieces("kernel", keep=("stem",))
    assert len(subject.strands) == 3
    weights = dict(subject.module.named_parameters())
    present = {name: torch.ones_like(weights[name]) for name in prices.uses}
    weighing = Weighing(subject, prices, present)
    ones = {s: torch.ones(s.size) for s in subject.strands}
    with pytest.raises(DiagnosticError) as caught:
        weighing.fitting(ones, [BudgetConstraint("parameters", 60)])
    [diagnostic] = caught.value.diagnostics
    assert diagnostic.code == "D609"
    assert diagnostic.message == "no mask leaves at most 60 parameters"


@pytest.mark.parametrize(
    ("importance", "families", "told"),
    [
        ("magnitude", ("kernal",), "no family of weights `kernal`"),
        (
            "pgnas",
            ("channel", "row"),
            "`pgnas` judges the family `channel` alone, not `row`",
        ),
    ],
)
def test_families_that_are_refused(importance: str, families: tuple[str, ...], told: str) -> None:
    with pytest.raises(DiagnosticError) as caught:
        check_importance(importance, families)
    [diagnostic] = caught.value.diagnostics
    assert (diagnostic.code, diagnostic.message) == ("D614", told)
    assert diagnostic.help
    check_importance("bayesnas", FAMILIES)
    assert "bayesnas" in PRIORS


def test_operations_without_weights_of_their_own_cost_too() -> None:
    compiled = compile_text("""network net(tokens: [8]) -> (next: [50, 8]) {
    x = tokens : embedding(50, 12) >> conv(3, 12, causal = 1)
    x -> next : unembedding(50)
}
""")
    module, _ = build(compiled.graph, "net.nas", 0)
    weights = dict(module.named_parameters())
    prices = Prices.of(compiled.graph, weights, state_paths(compiled))
    assert prices.cost({n: weights[n].numel() for n in prices.uses}) == graph_cost(compiled.graph)
    assert prices.cost(dict.fromkeys(prices.uses, 0)).flops == 8 * 50 * 12


def test_amounts_are_shares_of_what_is_left_of_a_tensor() -> None:
    """By a loop: of the groups that are as large or larger by weight, over its own weights."""
    subject, _ = pieces("block")
    generator = torch.Generator().manual_seed(1)
    amounts = {s: torch.rand(s.size, generator=generator) for s in subject.strands}
    found = subject.compared(amounts)
    for strand in subject.strands:
        sizes = subject.sizes[strand].tolist()
        row = amounts[strand].double().tolist()
        each = [amount / size for amount, size in zip(row, sizes, strict=True)]
        for k, amount in enumerate(row):
            rest = sum(other for other, one in zip(row, each, strict=True) if one >= each[k])
            assert float(found[strand][k]) == pytest.approx(amount / rest / sizes[k])
        assert max(s * x for s, x in zip(sizes, found[strand].tolist(), strict=True)) == 1
    nothing = {s: torch.zeros(s.size) for s in subject.strands}
    assert not any(row.any() for row in subject.compared(nothing).values())


def test_a_small_tensor_is_not_emptied_while_a_large_one_has_much_to_spare() -> None:
    subject, prices = pieces("weight")
    weights = dict(subject.module.named_parameters())
    with torch.no_grad():
        for weight in weights.values():
            weight.fill_(1.0)
    present = {name: torch.ones_like(weights[name]) for name in prices.uses}
    counts = {name: int(mask.sum()) for name, mask in present.items()}
    limit = prices.rest + sum(counts.values()) // 2
    budgets = [BudgetConstraint("parameters", limit)]
    weighing = Weighing(subject, prices, present)
    stays = weighing.fitting(IMPORTANCES["magnitude"](subject), budgets)
    left = {name: int(mask.sum()) for name, mask in masks(subject, stays).items()}
    least = min(counts, key=lambda name: counts[name])
    assert left[least] == counts[least]
    assert max(left.values()) - min(left.values()) < max(counts.values()) - min(counts.values())


def test_tensors_are_pulled_by_the_weights_that_live_in_them() -> None:
    subject, _ = pieces("kernel")
    alive = torch.ones(subject.size, dtype=torch.bool)
    first, second, *_ = subject.strands
    subject.split(alive)[first][1:] = False
    pull = subject.pull(alive)
    sizes = subject.sizes
    living = {s: float(sizes[s][0] if s is first else sizes[s].sum()) for s in subject.strands}
    assert sum(pull.values()) == pytest.approx(len(pull))
    assert pull[second] / pull[first] == pytest.approx(living[second] / living[first])
    elsewhere = evolve(subject, module=subject.module.to("meta"))  # as on a GPU
    assert elsewhere.sizes[first].device.type == "meta"
    plain = Subject(subject.module, (), (first, second))
    assert plain.pull(torch.ones(plain.size)) == {first: 1, second: 1}
