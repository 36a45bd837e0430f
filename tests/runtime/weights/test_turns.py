"""Channels that go in turns: what the loss rises by, against closed forms, in float64."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from attrs import evolve
from support import compile_text
from torch import Tensor, nn

from bayesnas.compiler.slices.counts import Kept
from bayesnas.compiler.slices.groups import coupled_slices
from bayesnas.runtime.network.modules import build
from bayesnas.runtime.tasks.regression import Regression
from bayesnas.runtime.weights.readers import RIDGE, ridged
from bayesnas.runtime.weights.reconstruction import Reconstruction
from bayesnas.runtime.weights.removal import masked, sliced_tensors
from bayesnas.runtime.weights.subject import Subject
from bayesnas.runtime.weights.turns import Rises, Trial, Turns, dues, evidence, over

TEXT = """\
network net(x: [INPUTS]) -> (y: [1]) {
    x -> y : linear(WIDTH, bias = 0) >> linear(1, bias = BIAS)
}
"""
TASK = Regression(("y",), (0.0,), (1.0,))


def trial(makers: Tensor, readers: Tensor, share: float, bias: int = 0) -> Trial:
    """A network without a loss: its targets are what it computes of the unit vectors."""
    width, inputs = makers.shape
    text = TEXT.replace("WIDTH", str(width)).replace("INPUTS", str(inputs))
    compiled = compile_text(text.replace("BIAS", str(bias)))
    slices = coupled_slices(compiled.graph)
    module, _ = build(compiled.graph, "net.nas", 0)
    module.double().eval()
    first, second = (m for m in module.modules() if isinstance(m, nn.Linear))
    with torch.no_grad():
        first.weight.copy_(makers)
        second.weight.copy_(readers[None])
    vectors = torch.eye(inputs, dtype=torch.float64)
    batches = [(x[None], module(x[None]).detach()) for x in vectors]
    [strand] = slices.removable
    subject = Subject(module, (*sliced_tensors(compiled, slices),), slices.removable)
    whole = Reconstruction.of(module, subject.sliced, [vectors])

    def excess(kept: Kept) -> float:
        return (len(kept[strand]) / width - share) / max(1 - share, 0.01)

    def leave(kept: Kept) -> None:
        module.load_state_dict(masked(compiled, whole.without(kept), slices, kept))

    return Trial(subject, TASK, lambda: batches, lambda: [vectors], excess, share, 1, leave)


def scores(given: Trial) -> Tensor:
    [row] = evidence(given).values()
    return row


@pytest.mark.parametrize(("share", "bias"), [(0.25, 0), (0.5, 0), (0.5, 1)])
def test_scores_are_what_the_loss_rises_by_once_what_stays_takes_over(
    share: float, bias: int
) -> None:
    """Of a network whose loss is a square in its channels, exactly but for the ridge."""
    generator = torch.Generator().manual_seed(1)
    makers = torch.randn(8, 12, dtype=torch.float64, generator=generator) + 2.0 * bias
    readers = torch.randn(8, dtype=torch.float64, generator=generator)
    result = scores(trial(makers, readers, share, bias))
    order = result.argsort()
    deviations = makers - bias * makers.mean(1, keepdim=True)
    square = ridged(deviations @ deviations.T / 12, RIDGE)
    for gone in range(1, 8):
        goes, stays = order[:gone], order[gone:]
        taken = torch.linalg.solve(square[stays][:, stays], square[stays][:, goes])
        rest = square[goes][:, goes] - square[goes][:, stays] @ taken
        missed = readers[goes] @ rest @ readers[goes]
        assert float(result[order[gone - 1]]) == pytest.approx(float(missed / 2), rel=RIDGE)


def test_of_two_that_stand_for_each_other_one_stays() -> None:
    """Each of the equal two matters less than the third, both together more."""
    makers = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.2]])
    result = scores(trial(makers, torch.ones(3), 0.3))
    first, middle, last = result.argsort().tolist()
    assert middle == 2
    assert {first, last} == {0, 1}
    assert float(result[first]) < 0.02 * float(result[middle])


def test_a_network_without_channels_that_may_go() -> None:
    module, x = nn.Linear(2, 1).double(), torch.ones(3, 2, dtype=torch.float64)
    batches = [(x, module(x).detach())]
    subject = Subject(module, (), ())
    given = Trial(
        subject, TASK, lambda: batches, lambda: [x], lambda _: 0.0, 1.0, 1, lambda _: None
    )
    assert evidence(given) == {}


TWO = """\
network net(x: [4]) -> (y: [1], z: [1]) {
    x -> y : linear(6, bias = 0) >> linear(1, bias = 0)
    x -> z : linear(6, bias = 0) >> linear(1, bias = 0)
}
"""


class Given:
    """Rises that are given, of channels that say nothing of each other."""

    def __init__(self, *rises: float) -> None:
        self.rises = torch.tensor(rises, dtype=torch.float64)
        self.surgery = self

    def now(self) -> Tensor:
        return self.rises

    def remove(self, channels: list[int]) -> None:
        """Nothing takes over."""


@pytest.mark.parametrize(
    ("costs", "gone"),
    [
        ((1, 1), [0, 1, 2, 6, 7, 8]),
        ((1, 0), [0, 1, 2, 3, 4]),  # what saves nothing does not go
        ((3, 1), [0, 1, 2, 6]),  # less is lost for what is saved
    ],
)
def test_what_saves_most_for_what_is_lost_goes_first(
    costs: tuple[int, int], gone: list[int]
) -> None:
    compiled = compile_text(TWO)
    slices = coupled_slices(compiled.graph)
    subject = Subject(nn.Linear(1, 1), (), slices.removable)
    one, other = subject.strands
    least = sum(costs) * 6 - 5 if 0 in costs else sum(costs) * 6 - 6 - 4 * (costs[0] > 1)

    def excess(kept: Kept) -> float:
        return costs[0] * len(kept[one]) + costs[1] * len(kept[other]) - least

    turns = Turns(subject, excess)
    turns.until(0, Given(*[1, 2, 3, 4, 5, 6] * 2))  # type: ignore[arg-type]
    assert (~turns.alive).nonzero()[:, 0].tolist() == gone


def test_stairs_are_taken_by_their_mean() -> None:
    """As of latency: a channel alone saves nothing, three of them do."""
    compiled = compile_text(TWO)
    subject = Subject(nn.Linear(1, 1), (), coupled_slices(compiled.graph).removable)
    one, other = subject.strands

    def excess(kept: Kept) -> float:
        return -(-len(kept[one]) // 3) + len(kept[other]) / 100 - 1.06

    turns = Turns(subject, excess)
    turns.until(0, Given(*[1] * 12))  # type: ignore[arg-type]
    assert turns.counts == [3, 6]


def test_budgets_that_bind_alike() -> None:
    """Each channel saves one of the two alone."""
    subject = Subject(nn.Linear(1, 1), (), coupled_slices(compile_text(TWO).graph).removable)
    one, other = subject.strands
    turns = Turns(subject, lambda kept: over([len(kept[one]) / 3 - 1, len(kept[other]) / 3 - 1]))
    turns.until(0, Given(*[1] * 12))  # type: ignore[arg-type]
    assert turns.counts == [3, 3]
    assert over([0.5]) == 0.5
    assert over([0.0, -1.0]) == 0.0


def test_a_strand_that_nothing_reads_counts_as_the_mean() -> None:
    """Nothing is known of it: it is neither the first to go nor the last."""
    given = trial(torch.tensor([[1.0, 0.0], [0.0, 3.0]]), torch.ones(2), 1.0)
    blind = coupled_slices(compile_text(TWO).graph).removable[0]
    subject = evolve(given.subject, strands=(*given.subject.strands, blind))
    rises = evolve(given, subject=subject).rises(torch.ones(8, dtype=torch.bool)).now()
    assert rises.tolist() == pytest.approx([0.25, 2.25, *[1.25] * 6], rel=0.02)


def test_nothing_goes_where_nothing_has_to() -> None:
    result = scores(trial(torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.ones(2), 1.0))
    assert result.tolist() == pytest.approx([0.25, 1.25])  # the last by its own, after the other


def test_costs_fall_by_equal_shares() -> None:
    assert dues(1.0) == []
    assert dues(0.0)[-1] == 0.0  # no budget at all is refused later, by what it would take
    costs = [1.0, *(0.125 + excess * 0.875 for excess in dues(0.125))]
    assert len(costs) == 7
    ratios = [after / before for before, after in pairwise(costs)]
    assert ratios == pytest.approx([0.5**0.5] * 6)
    assert costs[-1] == 0.125


def test_what_nothing_reads_counts_as_the_mean_of_what_is_left() -> None:
    """It gets no cheaper when others go."""
    compiled = compile_text(
        "network net(x: [5]) -> (y: [2]) { x -> y : linear(4) >> linear(3) >> linear(2) }"
    )
    slices = coupled_slices(compiled.graph)
    module, _ = build(compiled.graph, "net.nas", 0)
    module.double().eval()
    *read, _ = [one for one in sliced_tensors(compiled, slices) if one.name.endswith("weight")]
    subject = Subject(module, (*read,), slices.removable)
    inputs = torch.randn(32, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    task = Regression(("a", "b"), (0.0, 0.0), (1.0, 1.0))
    layers = Reconstruction.of(module, subject.sliced, [inputs])
    alive = torch.ones(subject.size, dtype=torch.bool)
    rises = Rises.of(subject, task, [(inputs, torch.zeros(32, 2))], layers, alive)
    unknown = rises.unknown
    assert unknown.sum() == 3
    for channel in (~unknown).nonzero()[:3, 0].tolist():
        now = rises.now()
        assert torch.equal(now[unknown], now[~unknown & rises.alive].mean().expand(3))
        rises.remove(channel)
    now = rises.now()
    assert torch.equal(now[unknown], now[~unknown][-1:].expand(3))


def test_what_goes_of_a_copy_stays_in_the_first() -> None:
    generator = torch.Generator().manual_seed(3)
    makers = torch.randn(5, 7, generator=generator, dtype=torch.float64)
    readers = torch.randn(5, generator=generator, dtype=torch.float64)
    rises = trial(makers, readers, 0.5).rises(torch.ones(5, dtype=torch.bool))
    before, other = rises.now().clone(), rises.copy()
    other.remove(2)
    assert not torch.equal(other.now(), before)
    assert torch.equal(rises.now(), before)
    rises.remove(2)
    assert torch.equal(rises.now(), other.now())
