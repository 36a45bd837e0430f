"""Networks made of their emitted source."""

from __future__ import annotations

import pytest
import torch
from support import graph_of

from bayesnas.runtime.network.modules import build, unbundling
from bayesnas.runtime.tasks.bundle import Bundle

TEXT = """\
network net(left: [2, 4, 4], right: [3, 4, 4]) -> (y: [2]) {
    both = concat(left, right)
    both -> y : conv(3, 4) >> global_avg_pool >> linear(2)
}
"""


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format], ids=str)
def test_the_inputs_of_a_data_set_go_in_together(layout: torch.memory_format) -> None:
    """By their names, in whatever order they stand."""
    graph = graph_of(TEXT)
    module, _ = build(graph, "net.nas", 0, layout=layout)
    module = unbundling(module, graph)
    left, right = torch.randn(3, 2, 4, 4), torch.randn(3, 3, 4, 4)
    given = Bundle({"right": right, "left": left})
    torch.testing.assert_close(module(given), module(left, right))
