"""What the tests of networks at work share: weights known by shape, snapshots of folders.

Apart from `support`, because the tests of the language need no torch.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from math import prod
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any
from zlib import crc32

import numpy as np
import pytest
import torch
from PIL import Image
from support import compile_text
from torch import Tensor, nn

import bayesnas
from bayesnas.compiler.artifacts.derive import derive_spec
from bayesnas.compiler.emit.pytorch import Emitted
from bayesnas.compiler.graph.model import BudgetConstraint, CostName, Graph
from bayesnas.compiler.graph.prune import prune_graph
from bayesnas.compiler.graph.walks import looked_up
from bayesnas.compiler.pipeline import Compiled, compile_spec
from bayesnas.compiler.space.choices import Member
from bayesnas.dsl.diagnostics import DiagnosticError
from bayesnas.dsl.printing.printer import print_spec
from bayesnas.runtime.data.dataset import Data
from bayesnas.runtime.data.examples import Part
from bayesnas.runtime.supernet.supernet import Score, Supernet
from bayesnas.runtime.tasks.classification import Classification

# ------------------------------------------------------------------------------ living networks

# Specs of the package, with the parameters that make them cheap.
PACKAGED: dict[str, dict[str, int]] = {
    "darts_cell": {"cells": 2, "width": 4},
    "dense_motif": {"layers": 2, "growth": 2},
    "digits_cell": {"cells": 2, "width": 4},
}
# The rest, but `proxylessnas`, whose images are large, and `text`, which takes no random numbers.
OTHERS: dict[str, dict[str, int]] = {
    "densenet": {"layers": 3},
    "hierarchical": {"motifs": 2, "width": 4, "nodes": 3},
    "multiscale": {"width": 4, "times_exchanged": 2},
    "nasbench201": {"cells": 1, "width": 4},
    "nasbench_macro": {"width": 8},
    "nasnet": {"cells": 3, "width": 4},
    "quick_images": {"width": 4},
    "sequence_tcn": {"blocks": 3, "width": 8},
    "table": {},
    "siamese": {"width": 8, "nodes": 2},
    "tabular_mlp": {"layers": 3, "width": 16},
    "transformer": {"width": 16, "blocks": 1},
    "treecell_pyramidnet": {"blocks": 1, "widening": 6},
    "unet": {"width": 4},
    "vision_blocks": {"width": 8, "blocks": 1},
}


@cache
def packaged(name: str) -> Compiled:
    """A spec of the package, small; nothing changes a compiled one."""
    return compile_spec(name, (PACKAGED | OTHERS)[name])


def found_network(space: Compiled, seed: int = 0) -> Compiled:
    """What is left of a space without some half of its searched operations."""
    chance = random.Random(seed)
    removed = [edge.id for edge in space.graph.searched() if chance.random() < 0.5]
    while True:
        try:
            pruned = prune_graph(space.graph, removed)
        except DiagnosticError:
            removed = removed[: len(removed) // 2]
        else:
            return compile_text(print_spec(derive_spec(space, pruned)))


EXAMPLES = 3  # of every input that `inputs_of` makes


def module_of(emitted: Emitted) -> nn.Module:
    namespace: dict[str, type[nn.Module]] = {}
    exec(compile(emitted.source, "<emitted>", "exec"), namespace)
    return namespace[emitted.class_name]()


def inputs_of(graph: Graph) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = [graph.node(i).shape or () for i in graph.root.inputs]
    if looked_up(graph):  # words
        return [torch.randint(2, (EXAMPLES, *s), generator=generator).double() for s in shapes]
    return [torch.randn(EXAMPLES, *s, generator=generator, dtype=torch.float64) for s in shapes]


def gates_of(graph: Graph) -> Tensor:
    count = len(graph.searched())
    return torch.linspace(-0.7, 1.3, count, dtype=torch.float64) if count else torch.ones(0)


def with_known_weights(module: nn.Module) -> nn.Module:
    """The module in float64 and evaluation mode, each tensor set from its kind and shape alone.

    A reference can know the weights then without knowing the module's names.
    """
    module.double().eval()
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if not name.endswith("num_batches_tracked"):
                tensor.copy_(known_weight(name.rpartition(".")[2], tuple(tensor.shape)))
    return module


@cache
def known_weight(kind: str, shape: tuple[int, ...]) -> Tensor:
    """`weight`, `bias`, `running_mean` or `running_var` of that shape."""
    generator = torch.Generator().manual_seed(crc32(f"{kind} {shape}".encode()))
    values = torch.randn(shape, generator=generator, dtype=torch.float64)
    if kind == "running_var":
        return values.abs() + 0.5
    return values / max(1, prod(shape[1:])) ** 0.5


# Two cells that share one architecture, for images of 8 x 8 and three classes.
CELLS = """\
import "ops/basic.nas"

op big = conv_bn(3)
op small = conv_bn(1)

motif cell(a) -> (out) {
    node h[2]
    a ~> h[0] : big | small | skip
    {a, h[0]} ~> h[1] : big | skip
    retain 1 into h[1]
    out = sum(h)
}

network net(image: [1, 8, 8]; width = 4, cells = 2) -> (y: [3]) {
    stem = image : conv_bn_relu(3, width)
    body = tied chain cell(stem) times cells
    body -> y : dropout(20) >> classifier(3)
}

search { warmup_epochs = 1; rounds = 2; epochs = 1; batch_size = 16; lambda_w = 0.002 }
train { epochs = 1; batch_size = 16 }
"""


def images(count: int = 60) -> Data:
    """Noisy stripes of three classes: rows, columns, diagonals."""
    chance = np.random.default_rng(0)
    row, column = np.mgrid[0:8, 0:8]
    labels = torch.arange(count) % 3
    stripes = [
        160 * (((row, column, row + column)[label] + chance.integers(4)) // 2 % 2)
        + chance.integers(0, 90, (8, 8))
        for label in labels.tolist()
    ]
    part = Part(torch.tensor(np.array(stripes), dtype=torch.uint8)[:, None], labels)
    return Data.of(
        "images", Classification(("rows", "columns", "diagonals")), part, part.subset(labels[:6])
    )


def budget(cost: CostName, limit: int) -> tuple[BudgetConstraint, ...]:
    """The one budget of a search."""
    return (BudgetConstraint(cost, limit),)


def watch_judge(monkeypatch: pytest.MonkeyPatch) -> dict[Member, float]:
    """Fills with the held-out losses of the members that searches judge from now on."""
    judge: Callable[[Supernet, Member], Score] = Supernet.judge
    losses: dict[Member, float] = {}

    def watched(net: Supernet, member: Member) -> Score:
        score = judge(net, member)
        losses[member] = score.loss
        return score

    monkeypatch.setattr(Supernet, "judge", watched)
    return losses


# ------------------------------------------------------------------------------ files


def lines(path: Path) -> list[dict[str, Any]]:
    """Of a file of JSON lines."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


# What a search writes, but for what tells of time.
SAME = (
    *("pruned.nas", "gates.jsonl", "rounds.jsonl", "graph.json", "gamma.json", "gamma.md"),
    "supernet.py",
)


def without_seconds(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of history.jsonl that are the same in every run of one seed."""
    return [
        {name: value for name, value in row.items() if not name.startswith("seconds")}
        for row in rows
    ]


def snapshot(folder: Path) -> dict[str, bytes | None]:
    """Everything below a folder by path, folders as None: equal snapshots, nothing was touched."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def run_python(*arguments: str, folder: Path) -> CompletedProcess[str]:
    """This Python in a process of its own, with this package, from ``folder``."""
    home = str(Path(str(bayesnas.__file__)).parent.parent)
    environment = {**os.environ, "PYTHONPATH": home, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


# ------------------------------------------------------------------------------ a small job

# Searched in a second on `striped`; dropout, so that its generator counts in a resumed run.
TINY = """\
import "ops/basic.nas"

op sep(kernel) = depthwise_conv(kernel) >> conv(1) >> bn(affine = 0)
choice ops = sep(3) | max_pool(3) >> bn(affine = 0) | bn(affine = 0)

motif cell(a; width) -> (out) {
    b = a : conv_bn(1, width)
    node h[2]
    for k in 0..2 { {b, h[..k]} ~> h[k] : ops }
    retain 1 into h
    out = concat(h)
}

network tiny(image: [1, 8, 8]; cells = 2, width = 2) -> (logits: [3]) {
    stem = image : conv_bn_relu(3, width)
    body = tied chain cell(stem; width = width) times cells
    body -> logits : relu >> flatten >> dropout(20) >> linear(3)
}

search { warmup_epochs = 1; rounds = 3; epochs = 1; batch_size = 16; lambda_w = 0.02 }
train { epochs = 2; batch_size = 16 }
"""


def write_tiny(folder: Path) -> Path:
    """The spec above as a file."""
    path = folder / "tiny.nas"
    path.write_text(TINY, encoding="utf-8")
    return path


def striped(root: Path, train: int = 16, test: int = 6) -> Path:
    """A folder of three classes of noisy stripes, [1, 8, 8]: rows, columns, diagonals."""
    chance = np.random.default_rng(0)
    row, column = np.mgrid[0:8, 0:8]
    for part, count in (("train", train), ("test", test)):
        for name, position in (("columns", column), ("diagonals", row + column), ("rows", row)):
            (root / part / name).mkdir(parents=True)
            for k in range(count):
                stripes = 160 * ((position + chance.integers(4)) // 2 % 2)
                array = (stripes + chance.integers(0, 90, (8, 8))).astype(np.uint8)
                Image.fromarray(array).save(root / part / name / f"{k}.png")
    return root
