"""Spaces of blocks that are used today: searched for a few steps, and what is found runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from living import OTHERS, packaged

import bayesnas
from bayesnas.compiler.graph.cost import graph_cost
from bayesnas.compiler.graph.model import Graph
from bayesnas.compiler.graph.scans import is_scanned
from bayesnas.compiler.graph.sharing import is_shared
from bayesnas.compiler.pipeline import compile_spec
from bayesnas.runtime.data.dataset import Data
from bayesnas.runtime.network.modules import build

FEW = {"epochs": 1, "warmup_epochs": 1, "rounds": 1, "batch_size": 8, "discretize": "yes"}


def noise(graph: Graph) -> Data:
    """Noise of so many classes, each of another mean; of maps, a class per pixel."""
    random = np.random.default_rng(0)
    classes, *places = graph.node(graph.root.outputs[0]).shape or ()
    label = np.arange(4 * classes) % classes
    shapes = {port: graph.node(port).shape or () for port in graph.root.inputs}
    inputs = {
        port: (random.normal(size=(len(label), *shape)).T + label).T.astype(np.float32)
        for port, shape in shapes.items()
    }
    targets = np.broadcast_to(label.reshape(-1, *[1] * len(places)), (len(label), *places)).copy()
    return bayesnas.data_of_arrays(inputs, {graph.root.outputs[0]: targets}, name="noise")


@pytest.mark.parametrize(
    "name", ["vision_blocks", "transformer", "sequence_tcn", "siamese", "unet"]
)
def test_it_is_searched(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bayesnas.compiler.artifacts.figure.has_dot", lambda: False)
    assert name in OTHERS
    space = packaged(name)
    graph, out = space.graph, tmp_path / "run"
    given = {"strategy": "bayesnas", "augment": "none", **FEW}
    bayesnas.search(space, noise(graph), out, device="cpu", **given)
    found = compile_spec(out / "pruned.nas").graph
    assert not found.searched()
    assert is_shared(found) == is_shared(graph)
    assert 0 < graph_cost(found).parameters < graph_cost(graph).parameters
    module, _ = build(found, "pruned.nas", seed=0)
    inputs = [torch.randn(2, *(graph.node(port).shape or ())) for port in graph.root.inputs]
    assert module(*inputs).shape == (2, *(graph.node(graph.root.outputs[0]).shape or ()))


def test_a_recurrent_cell_is_searched_on_a_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bayesnas.compiler.artifacts.figure.has_dot", lambda: False)
    (tmp_path / "t.txt").write_text("abcd" * 40, encoding="utf-8")
    space = compile_spec("darts_rnn", {"words": 4, "nodes": 2, "width": 4, "steps": 4})
    out = tmp_path / "run"
    bayesnas.search(space, f"text:{tmp_path / 't.txt'}", out, strategy="bayesnas", **FEW)
    assert "perplexity" in (out / "history.jsonl").read_text("utf-8")
    graph = compile_spec(out / "pruned.nas").graph
    assert is_scanned(graph)
    assert not graph.searched()
