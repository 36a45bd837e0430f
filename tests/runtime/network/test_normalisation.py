"""Batches of one example, refused where batch normalisation refuses them, and its statistics."""

from __future__ import annotations

import pytest
import torch
from support import graph_of
from torch import nn

from bayesnas.dsl.diagnostics import DiagnosticError
from bayesnas.runtime.network.modules import build
from bayesnas.runtime.network.normalisation import check_batches, renew

BODIES = {
    "maps": ("x -> y : conv(3, 4) >> bn >> flatten >> linear(10)", True),
    "no normalisation": ("x -> y : flatten >> linear(10)", True),
    "1 x 1 maps": ("x -> y : conv(3, 4, stride = 8) >> bn >> flatten >> linear(10)", False),
    "vectors": ("x -> y : flatten >> linear(10) >> bn", False),
}


@pytest.mark.parametrize("name", BODIES)
def test_the_refusal_is_that_of_a_training_step(name: str) -> None:
    body, fits = BODIES[name]
    graph = graph_of(f"network n(x: [1, 8, 8]) -> (y: [10]) {{ {body} }}")
    example = torch.zeros(1, 1, 8, 8)
    module, _ = build(graph, "spec.nas", 0)
    for count, batch_size in ((10, 1), (1, 32)):
        if fits:
            check_batches(graph, "spec.nas", example, count, batch_size)
            module.train()(example)
        else:
            with pytest.raises(DiagnosticError) as caught:
                check_batches(graph, "spec.nas", example, count, batch_size)
            assert caught.value.diagnostics[0].code == "D439"
            with pytest.raises(ValueError, match="more than 1 value per channel"):
                module.train()(example)
    check_batches(graph, "spec.nas", example, 10, 2)


def test_statistics_are_those_of_what_is_left() -> None:
    module = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)).double().eval()
    inputs = torch.randn(8, 2, dtype=torch.float64)
    renew(module, [inputs[:4], inputs[4:]], module)
    made, norm = module[0](inputs), module[1]
    assert not module.training
    torch.testing.assert_close(norm.running_mean, made.mean(0))
    within = [part.var(0) for part in (made[:4], made[4:])]
    torch.testing.assert_close(norm.running_var, (within[0] + within[1]) / 2)
    assert norm.momentum == 0.1


def test_statistics_may_be_those_of_a_network_that_drops_nothing() -> None:
    first = nn.Sequential(nn.Linear(2, 3), nn.Dropout(0.5))
    module = nn.Sequential(first, nn.BatchNorm1d(3)).double()
    inputs = torch.randn(8, 2, dtype=torch.float64)
    renew(module, [inputs], module, drops=False)
    assert first[1].training
    torch.testing.assert_close(module[1].running_mean, first[0](inputs).mean(0))


def test_statistics_leave_out_a_last_example_by_itself() -> None:
    module = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)).double()
    inputs = torch.randn(9, 2, dtype=torch.float64)
    renew(module, [inputs[:6], inputs[6:8], inputs[8:]], module)
    assert module.training
    torch.testing.assert_close(module[1].running_mean, module[0](inputs[:8]).mean(0))


SCAN = """
motif cell(x, before; width) -> (after) {
    both = sum(x, before)
    node a
    both ~> a : linear(width) >> bn | skip
    after = a : tanh
}

network reader(series: [3, 6]) -> (logits: [2]) {
    start = series : zeros(3)
    states = scan cell(series; width = 3) from start
    states -> logits : pick(5) >> linear(2)
}
"""


@pytest.mark.parametrize("scheduled", [True, False])
def test_all_steps_of_a_scan_count_alike(scheduled: bool) -> None:
    module, _ = build(graph_of(SCAN), "spec.nas", 0, scheduled)
    linear = next(m for m in module.double().modules() if m.__class__ is nn.Linear)
    norm = next(m for m in module.modules() if isinstance(m, nn.BatchNorm1d))
    inputs = torch.randn(8, 3, 6, dtype=torch.float64)
    renew(module, [inputs[:6], inputs[6:]], module)
    means, variances = torch.zeros(3).double(), torch.zeros(3).double()
    for part, share in ((inputs[:6], 0.75), (inputs[6:], 0.25)):
        state = torch.zeros(len(part), 3).double()
        for x in part.unbind(dim=2):
            made = linear(x + state)
            means += share / 6 * made.mean(0)
            variances += share / 6 * made.var(0)
            normal = (made - made.mean(0)) / (made.var(0, correction=0) + norm.eps).sqrt()
            state = torch.tanh(normal + x + state)
    torch.testing.assert_close(norm.running_mean, means)
    torch.testing.assert_close(norm.running_var, variances)
