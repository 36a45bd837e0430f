"""A supernet whose blocks are computed twice takes the same steps and holds less for them."""

from __future__ import annotations

from random import Random

import pytest
import torch
from living import CELLS, packaged
from support import compile_text
from torch import Tensor

from bayesnas.compiler.emit.pytorch import emit_torch
from bayesnas.compiler.graph.model import Graph
from bayesnas.compiler.pipeline import compile_spec
from bayesnas.compiler.settings import SearchSettings
from bayesnas.compiler.space.choices import member_space
from bayesnas.runtime.data.dataset import Data
from bayesnas.runtime.data.examples import Part
from bayesnas.runtime.network.recompute import blocks
from bayesnas.runtime.supernet.supernet import Supernet
from bayesnas.runtime.tasks.classification import Classification
from benchmarks.common import peak

SPECS = ["darts_cell", "digits_cell", "nasbench201", "multiscale"]
DROPPING = CELLS.replace("op small = conv_bn(1)", "op small = conv_bn(1) >> dropout(20)")


def supernet(graph: Graph, recompute: str) -> Supernet:
    generator = torch.Generator().manual_seed(0)
    shape = graph.node(graph.root.inputs[0]).shape or ()
    [classes] = graph.node(graph.root.outputs[0]).shape or ()
    inputs = torch.randint(0, 256, (40, *shape), generator=generator, dtype=torch.uint8)
    part = Part(inputs, torch.arange(40) % classes)
    names = tuple(str(n) for n in range(classes))
    data = Data.of("images", Classification(names), part, part.subset(torch.arange(4)))
    settings = SearchSettings(batch_size=8, recompute=recompute)
    return Supernet(graph, "spec", data, settings, 3, torch.device("cpu"))


def steps(net: Supernet) -> list[Tensor]:
    """All parameters and buffers after two steps on a random member and two on the whole space."""
    space, random = member_space(net.graph), Random(1)
    for turn, (inputs, labels) in enumerate(net.batches(4)):
        member = space.draw(random) if turn % 2 else space.candidates()
        net.keep(member)
        net.descend(inputs, labels, net.gates.at(dict.fromkeys(member, 0.5)))
    return list(net.module.state_dict().values())


@pytest.mark.parametrize("name", [*SPECS, "dropping"])
def test_steps_are_the_same(name: str) -> None:
    graph = compile_text(DROPPING).graph if name == "dropping" else packaged(name).graph
    once, twice = (steps(supernet(graph, word)) for word in ("no", "yes"))
    for one, other in zip(once, twice, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_blocks_are_cells_and_not_the_lists_they_stand_in() -> None:
    graph = compile_spec("nasbench201", {"cells": 2, "width": 4}).graph
    assert blocks(emit_torch(graph, "spec.nas")) == {f"{a}.{k}" for a in "ace" for k in range(2)}


@pytest.mark.parametrize("name", ["darts_cell", "treecell_pyramidnet"])
def test_less_is_held(name: str) -> None:
    """The largest sum of tensors during a step, the insides of one block included."""
    whole = {"blocks": 1}  # in narrow blocks there is little to hold
    graph = (packaged(name) if name == "darts_cell" else compile_spec(name, whole)).graph

    def held(recompute: str) -> int:
        net = supernet(graph, recompute)
        inputs, labels = next(iter(net.batches(1)))
        gates = net.gates.at(dict.fromkeys(net.gates.groups, 0.5))
        return peak(lambda: net.descend(inputs, labels, gates), torch.device("cpu"))

    assert held("yes") < 0.75 * held("no")


ALONE = """\
import "ops/basic.nas"

motif all(x) -> (y) {
    x ~> y : conv_bn(3) | skip
}

network n(x: [3, 8, 8]) -> (y: [3]) {
    z = all(x)
    z -> y : classifier(3)
}
"""
NONE = """\
import "ops/basic.nas"

network n(x: [3, 8, 8]) -> (y: [3]) {
    x ~> y : global_avg_pool | classifier(3)
}
"""


@pytest.mark.parametrize("text", [ALONE, NONE])
def test_a_space_without_blocks(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    supernet(compile_text(text).graph, "yes")
    assert "note: `recompute` has no effect: there are no cells" in capsys.readouterr().err
