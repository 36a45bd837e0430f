"""Spaces of blocks that are used today: searched for a few steps, and what is found runs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from living import OTHERS, packaged

import bayesnas
from bayesnas.compiler.graph.cost import graph_cost
from bayesnas.compiler.pipeline import compile_spec
from bayesnas.runtime.data.dataset import Data, Part
from bayesnas.runtime.network.modules import build
from bayesnas.runtime.tasks.classification import Classification

FEW = {"epochs": 1, "warmup_epochs": 1, "rounds": 1, "batch_size": 8, "discretize": "yes"}
SPACES = ("vision_blocks", "transformer", "sequence_tcn")


def noise(shape: tuple[int, ...], classes: int) -> Data:
    """Noise of so many classes, each of another mean."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(4 * classes) % classes
    inputs = torch.randn(len(labels), *shape, generator=generator)
    part = Part(inputs + labels.view(-1, *[1] * len(shape)), labels)
    task = Classification(tuple(f"class {k}" for k in range(classes)))
    return Data.of("noise", task, part, part.subset(labels[:classes]), augment="none")


@pytest.mark.parametrize("name", SPACES)
def test_it_is_searched(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bayesnas.compiler.artifacts.figure.has_dot", lambda: False)
    assert name in OTHERS
    space = packaged(name)
    graph = space.graph
    shape, (classes,) = (graph.node(n).shape or () for n in (graph.root.inputs[0], "logits"))
    out = tmp_path / "run"
    bayesnas.search(space, noise(shape, classes), out, strategy="bayesnas", device="cpu", **FEW)
    found = compile_spec(out / "pruned.nas")
    assert not found.graph.searched()
    assert 0 < graph_cost(found.graph).parameters < graph_cost(graph).parameters
    module, _ = build(found.graph, "pruned.nas", seed=0)
    assert module(torch.randn(2, *shape)).shape == (2, classes)
