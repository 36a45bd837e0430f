"""Channels as gates: the updates at their fixed point, and gamma by what makes a channel."""

from __future__ import annotations

import torch
from support import compile_text
from torch import Tensor, nn

from bayesnas.compiler.slices.groups import coupled_slices, sources_of
from bayesnas.compiler.slices.ties import Strand
from bayesnas.runtime.weights.gated import believed, solved_gates
from bayesnas.runtime.weights.neighbours import StrandNeighbours
from bayesnas.runtime.weights.subject import Subject

CHAIN = """\
network net(image: [1, 4, 4]) -> (logits: [2]) {
    a = image : conv(3, 4) >> bn >> relu
    b = a : conv(3, 3)
    c = concat(a, b)
    c -> logits : conv(1, 5) >> global_avg_pool >> linear(2)
}
"""


def row(*numbers: float) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


def test_what_makes_a_strand() -> None:
    slices = coupled_slices(compile_text(CHAIN).graph)
    sources = sources_of(slices)
    a, b, c = slices.removable
    assert [s.size for s in (a, b, c)] == [4, 3, 5]
    [image] = sources[a]
    assert image.fixed
    assert sources[image] == ()
    assert (sources[b], sources[c]) == ((a,), (a, b))


def test_a_gate_is_solved_for() -> None:
    g, H, omega = row(-0.1, 0.3, 0.0, 0.2), row(2.0, 0.5, 0.0, 4.0), row(0.7, 0.1, 1.0, 5.0)
    grid = torch.linspace(-2, 2, 400_001, dtype=torch.float64)
    for n, solved in enumerate(solved_gates(g, H, omega)):
        F = g[n] * (grid - 1) + H[n] * (grid - 1) ** 2 / 2 + omega[n] * grid.abs()
        assert abs(solved - grid[F.argmin()]) < 1e-4


def test_a_belief_solves_the_equations() -> None:
    first, second = Strand(2), Strand(3)
    some = nn.Linear(1, 1).double()
    subject = Subject(some, (), (first, second))
    g, H = row(0, 0.01, -0.02, 0, 0.01), row(0.4, 0.001, 0.2, 0.09, 0.3)
    neighbours = StrandNeighbours(subject, {first: (), second: (first,)})
    alive = torch.tensor([True, True, True, False, True])
    lambda_w = 0.01
    belief = believed((g, H), alive, neighbours, lambda_w)
    gamma, g, H = belief.gamma, g / lambda_w, H / lambda_w
    C = 1 / (1 / gamma + H)
    omega = (1 / gamma - C / gamma**2).clamp_min(0).sqrt()
    s = belief.solved / omega
    whole = neighbours.before(s.nan_to_num())
    living = belief.solved > 0
    expected = 1 / (1 / s + 1 / whole)
    torch.testing.assert_close(gamma[living], expected[living], rtol=5e-3, atol=0)
    torch.testing.assert_close(belief.error[living], C[living].sqrt(), rtol=5e-3, atol=0)
    assert gamma[~living].tolist() == [0] * int((~living).sum())
    assert living.tolist() == [True, False, True, False, True]  # the second says too little


def test_what_is_made_of_nothing_has_no_gamma() -> None:
    first, second = Strand(1), Strand(1)
    subject = Subject(nn.Linear(1, 1).double(), (), (first, second))
    neighbours = StrandNeighbours(subject, {first: (Strand(1),), second: (first,)})
    g, H = row(0, 0), row(1.0, 1.0)
    alive = torch.tensor([False, True])
    assert believed((g, H), alive, neighbours, 0.01).gamma.tolist() == [0, 0]
