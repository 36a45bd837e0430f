"""Steps on a GPU whose passes are recorded as CUDA graphs, against steps launched kernel by kernel.

    python -m benchmarks.recording

Needs a CUDA device; about three minutes, on 2 cores too. Of a search of `darts_cell` (8 cells, 16
channels, batches of 64 and 256, in 32 and 16 bits) the steps in which the whole supernet learns,
random parts of it (`operation_drop` = 0.3), and single members, which are never recorded; of
trainings, a network of a few operations and one of many. Seconds are the mean of 10 steps after
those that record, both ways in turn; of 3 with `--quick`. `--only WORD` measures the rows whose
names have that word.

Data: a slice of CIFAR-10 (12,000 images).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any

import torch

from bayesnas.compiler.pipeline import compile_spec
from bayesnas.compiler.settings import SearchSettings, TrainSettings, make_settings
from bayesnas.compiler.space.choices import MemberSpace, member_space
from bayesnas.compiler.space.members import prune_to
from bayesnas.runtime.data.dataset import Batches
from bayesnas.runtime.data.loading import load_data
from bayesnas.runtime.network.device import pick_device
from bayesnas.runtime.network.learning.learner import Learner
from bayesnas.runtime.network.modules import build
from bayesnas.runtime.network.recording import FIRST
from bayesnas.runtime.strategies.sampling import thinned
from bayesnas.runtime.supernet.supernet import Supernet
from benchmarks.common import cifar_slice, finish

WHOLE, PARTS, MEMBERS = "the whole supernet", "random parts", "members"
SEARCHES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    f"{what}, {size}{', bfloat16' if low else ''}": (
        what,
        {"batch_size": size, "precision": "bfloat16" if low else "float32"},
    )
    for what, size, low in (
        (WHOLE, 64, False),
        (WHOLE, 64, True),
        (WHOLE, 256, False),
        (WHOLE, 256, True),
        (PARTS, 64, False),
        (MEMBERS, 64, False),
        (MEMBERS, 256, False),
    )
}
DROPPABLE = str(Path(__file__).parent / "quality" / "droppable.nas")
TRAININGS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "a member of droppable, 64": (DROPPABLE, {"batch_size": 64}),
    "darts_v2, 96": ("darts_v2", {"batch_size": 96}),
    "darts_v2, 96, bfloat16": ("darts_v2", {"batch_size": 96, "precision": "bfloat16"}),
}


def timed(steps: Iterator[float], count: int) -> float:
    """Mean seconds of a step, after those that record; its last loss is in."""
    for _ in range(FIRST + 2):
        next(steps)
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(count):
        next(steps)
    torch.cuda.synchronize()
    return (time.perf_counter() - start) / count


def of_a_search(data: str, what: str, recorded: bool, device: torch.device) -> Iterator[float]:
    """Steps in which the whole space learns, parts of it, or members; the loss of each."""
    compiled = compile_spec("darts_cell")
    part_of, given = SEARCHES[what]
    settings = make_settings(SearchSettings, given)
    images = load_data(data, compiled.graph).to(device)
    net = Supernet(compiled.graph, "darts_cell.nas", images, settings, 0, device)
    if not recorded:
        net._recording = None
    space, random = member_space(compiled.graph), Random(0)
    for inputs, targets in net.batches(net.epoch_steps):
        part = PARTS_OF[part_of](space, random)
        net.keep(part.candidates())
        yield net.descend(inputs, targets, net.gates.at(part.mean()))


PARTS_OF: Mapping[str, Callable[[MemberSpace, Random], MemberSpace]] = {
    WHOLE: lambda space, _random: space,
    PARTS: lambda space, random: thinned(space, 0.3, random),
    MEMBERS: lambda space, random: space.only(space.draw(random)),
}


def of_a_training(data: str, what: str, recorded: bool, device: torch.device) -> Iterator[float]:
    """Steps of a training; the loss of each."""
    spec, given = TRAININGS[what]
    graph = compile_spec(spec).graph
    if graph.searched():
        graph = prune_to(graph, member_space(graph).draw(Random(1)))
    settings = make_settings(TrainSettings, given)
    images = load_data(data, graph).to(device)
    module, emitted = build(graph, spec, 0)
    learner = Learner(module.to(device), emitted, graph, settings)
    if not recorded:
        learner._recording = None
    draws = torch.Generator().manual_seed(0)
    batches = Batches(images, images.train, settings.batch_size, settings.augment, draws)
    yield from learner.epoch(batches, 0)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="3 steps each")
    parser.add_argument("--only", default="", metavar="WORD", help="rows whose names have it")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        parser.error("needs a CUDA device: passes are recorded on a GPU alone")
    device, data = pick_device("cuda"), f"npz:{cifar_slice(1200, 1000, 32)}"
    rows, steps = {}, 3 if options.quick else 10
    for source, names in ((of_a_search, SEARCHES), (of_a_training, TRAININGS)):
        for name in (name for name in names if options.only in name):
            plain, recorded = (
                timed(source(data, name, way, device), steps) for way in (False, True)
            )
            rows[name] = {"plain": plain, "recorded": recorded, "ratio": plain / recorded}
            print(
                f"{name:34}{plain:10.4f} s{recorded:10.4f} s{plain / recorded:8.2f} x", flush=True
            )
    finish("recording", quick=options.quick, rows=rows)


if __name__ == "__main__":
    main()
