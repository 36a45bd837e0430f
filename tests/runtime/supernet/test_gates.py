"""Numbers, groups and ties of gates, against the edges of a graph and sums by hand."""

from __future__ import annotations

import pytest
import torch
from living import CELLS, with_known_weights
from support import compile_text
from torch import Tensor
from torch.nn.functional import cross_entropy

from bayesnas.compiler.graph.model import Graph
from bayesnas.runtime.network.modules import build
from bayesnas.runtime.supernet.curvature import gradient, hessian
from bayesnas.runtime.supernet.gates import Gates
from bayesnas.runtime.tasks.classification import Classification

CPU = torch.device("cpu")
TIED = compile_text(CELLS).graph
LOOSE = compile_text(CELLS.replace("tied chain", "chain")).graph
graphs = pytest.mark.parametrize("graph", [TIED, LOOSE], ids=["tied", "loose"])


@graphs
def test_the_gates_of_a_graph(graph: Graph) -> None:
    gates = Gates.of(graph, CPU)
    assert len(gates) == len(graph.searched())
    assert list(gates.groups) == list(graph.groups()) == list(gates.numbers)
    assert list(gates.numbers.values()) == list(range(len(gates.groups)))
    for edge in graph.searched():
        gate = edge.searched_gate
        assert gate.number in gates.groups[gate.group]
        assert gates.group_of_gate[gate.number] == gates.numbers[gate.group]
    assert sorted(gate for group in gates.groups.values() for gate in group) == list(
        range(len(gates))
    )


def test_tied_gates_share_a_group_and_untied_ones_stand_alone() -> None:
    assert {len(group) for group in Gates.of(TIED, CPU).groups.values()} == {2}
    assert {len(group) for group in Gates.of(LOOSE, CPU).groups.values()} == {1}


def test_gates_are_the_weights_of_their_groups() -> None:
    gates = Gates.of(TIED, CPU)
    weights = {group: n + 1.0 for n, group in enumerate(gates.groups)}
    expected = [weights[edge.searched_gate.group] for edge in TIED.searched()]
    assert gates.at(weights).tolist() == expected
    assert gates.at(weights).dtype == torch.float32
    [first, *_] = gates.groups
    assert gates.table({first: 0.1}).tolist() == [0.1, *[0.0] * (len(gates.groups) - 1)]
    assert gates.at({}).tolist() == [0.0] * len(expected)
    assert gates.named(gates.table(weights)) == weights


def test_spread_is_differentiable() -> None:
    """A weight moves all gates of its group: in two cells."""
    gates = Gates.of(TIED, CPU)
    weights = torch.ones(len(gates.groups), dtype=torch.float64, requires_grad=True)
    gates.spread(weights).sum().backward()
    assert weights.grad is not None
    assert weights.grad.tolist() == [2.0] * len(gates.groups)


@graphs
def test_sums_means_and_maxima_over_a_group(graph: Graph) -> None:
    gates = Gates.of(graph, CPU)
    values = torch.randn(len(gates), generator=torch.Generator().manual_seed(0)) - 3
    own = [[float(values[gate]) for gate in group] for group in gates.groups.values()]
    assert gates.sum(values).tolist() == pytest.approx([sum(group) for group in own])
    assert gates.mean(values).tolist() == pytest.approx([sum(g) / len(g) for g in own])
    assert gates.maximum(values).tolist() == [max(group) for group in own]


@graphs
def test_tied_derivatives_are_those_in_a_shared_weight(graph: Graph) -> None:
    gates, module = Gates.of(graph, CPU), build(graph, "net", 0)[0]
    with_known_weights(module)
    inputs = torch.randn(6, 1, 8, 8, dtype=torch.float64)
    labels = torch.arange(6) % 3
    weights = torch.linspace(0.2, 1.0, len(gates.groups), dtype=torch.float64)

    def loss(shared: Tensor) -> Tensor:
        return cross_entropy(module(inputs, gates.spread(shared)), labels)

    at, batch = gates.spread(weights), [(inputs, labels)]
    task = Classification(("a", "b", "c"))
    g, H = gates.tied(gradient(module, task, batch, at), hessian(module, task, batch, at))
    assert torch.allclose(g, torch.autograd.functional.jacobian(loss, weights), atol=1e-12)
    assert torch.allclose(H, torch.autograd.functional.hessian(loss, weights), atol=1e-10)
