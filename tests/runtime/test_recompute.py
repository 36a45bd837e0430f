"""A supernet whose blocks are computed twice takes the same steps and holds less for them."""

from __future__ import annotations

from random import Random

import pytest
import torch
from living import packaged
from support import compile_text
from torch import Tensor

from bayesnas.compiler.graph import Graph
from bayesnas.compiler.settings import SearchSettings
from bayesnas.compiler.space import member_space
from bayesnas.runtime.data import Data, Part
from bayesnas.runtime.supernet import Supernet

SPECS = ["darts_cell", "digits_cell", "nasbench201", "multiscale"]


def supernet(graph: Graph, recompute: str) -> Supernet:
    generator = torch.Generator().manual_seed(0)
    shape = graph.node(graph.root.inputs[0]).shape or ()
    [classes] = graph.node(graph.root.outputs[0]).shape or ()
    inputs = torch.randint(0, 256, (40, *shape), generator=generator, dtype=torch.uint8)
    part = Part(inputs, torch.arange(40) % classes)
    names = tuple(str(n) for n in range(classes))
    data = Data.of("images", names, part, part.subset(torch.arange(4)))
    settings = SearchSettings(batch_size=8, recompute=recompute)
    return Supernet(graph, "spec", data, settings, 3, torch.device("cpu"))


def steps(net: Supernet) -> list[Tensor]:
    """All parameters and buffers after two steps on a random member and two on the whole space."""
    space, random = member_space(net.graph), Random(1)
    for turn, (inputs, labels) in enumerate(net.batches(4)):
        member = space.draw(random) if turn % 2 else space.candidates()
        net.keep(member)
        net.descend(inputs, labels, net.gates(dict.fromkeys(member, 0.5)))
    return list(net.module.state_dict().values())


@pytest.mark.parametrize("name", SPECS)
def test_steps_are_the_same(name: str) -> None:
    graph = packaged(name).graph
    once, twice = (steps(supernet(graph, word)) for word in ("no", "yes"))
    for one, other in zip(once, twice, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def kept(net: Supernet) -> int:
    """Bytes that a forward pass keeps for the backward pass."""
    seen: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        seen[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        net.module(torch.rand(4, 3, 32, 32), net.gates({}).requires_grad_())
    return sum(tensor.untyped_storage().nbytes() for tensor in seen.values())


def test_less_is_kept() -> None:
    graph = packaged("darts_cell").graph
    once, twice = (kept(supernet(graph, word)) for word in ("no", "yes"))
    assert twice < 0.3 * once


def test_a_space_without_blocks(capsys: pytest.CaptureFixture[str]) -> None:
    text = "network n(x: [3, 8, 8]) -> (y: [3]) {\n    x ~> y : global_avg_pool | classifier(3)\n}"
    text = 'import "ops/basic.nas"\n' + text
    supernet(compile_text(text).graph, "yes")
    assert "note: `recompute` has no effect: all searched edges" in capsys.readouterr().err
