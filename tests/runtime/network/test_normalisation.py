"""Batches of one example: refused where, and only where, batch normalisation refuses them."""

from __future__ import annotations

import pytest
import torch
from support import graph_of

from bayesnas.dsl.diagnostics import DiagnosticError
from bayesnas.runtime.network.modules import build
from bayesnas.runtime.network.normalisation import check_batches

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
