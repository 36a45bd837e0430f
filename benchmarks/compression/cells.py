"""One compression each: a network, a seed, a ratio, a tool and its importance."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

import torch
from attrs import evolve, frozen
from torch import nn
from tqdm import tqdm

from bayesnas.compiler.graph.cost import graph_cost
from bayesnas.compiler.settings import TrainSettings, make_settings
from bayesnas.runtime.data.dataset import Batches, Data
from bayesnas.runtime.jobs.compression.compress import compress
from bayesnas.runtime.jobs.compression.wanted import Compression
from bayesnas.runtime.jobs.trained import TrainedRun, own_weights
from bayesnas.runtime.network.device import pick_device
from bayesnas.runtime.network.kernels import layout
from bayesnas.runtime.network.learning.learner import Learner
from bayesnas.runtime.network.modules import build
from bayesnas.runtime.network.training import evaluate
from bayesnas.runtime.runs.record import RunOptions
from bayesnas.runtime.weights.choice import Share
from benchmarks.common import BUILD, append, logged
from benchmarks.compression.networks import NETWORKS, Network
from benchmarks.compression.torch_pruning import multiply_accumulates, pruned, pruner

LOG: Final = BUILD / "compression.jsonl"
AT_ONCE: Final = 32  # examples, whose time is measured
TIMES: Final = 7
JUDGED: Final = 1024  # examples at once

Row = dict[str, Any]


@frozen
class Cell:
    """A trained network that is compressed to one of ``ratio`` parts of what it costs."""

    network: str
    seed: int
    ratio: int
    tool: str
    importance: str
    device: str = "cpu"

    @property
    def key(self) -> Row:
        """By which its row is known again."""
        names = ("network", "seed", "ratio", "tool", "importance")
        return {name: getattr(self, name) for name in names}

    @property
    def about(self) -> Network:
        """The network and its data."""
        return NETWORKS[self.network]

    @property
    def base(self) -> Path:
        """The folder of the trained network."""
        return BUILD / "compression" / f"{self.network.replace(' ', '-')}-{self.seed}"

    def prepare(self) -> None:
        """Train the network, unless it is."""
        if not (self.base / "result.json").exists():
            self.about.train(self.base, self.seed, self.device)

    def measure(self) -> Row:
        """Its row: scores, costs, seconds; an error's words where the tool fails."""
        start = time.perf_counter()
        try:
            row = self.key | METHODS[self.tool](self)
        except Exception as error:
            row = self.key | {"error": f"{type(error).__name__}: {error}"[:500]}
        return row | {"device": self.device, "seconds": round(time.perf_counter() - start, 1)}


def ours(cell: Cell) -> Row:
    """By `bayesnas compress`."""
    wanted = Compression((Share("flops", 100 / cell.ratio),), cell.importance)
    with tempfile.TemporaryDirectory() as folder:
        options = RunOptions("", Path(folder) / "run", cell.seed, cell.device)
        result = compress(cell.base, wanted, cell.about.more, options)
        run, small = TrainedRun.open(cell.base), plain(TrainedRun.open(options.out))
        example = torch.zeros(AT_ONCE, *run.shape)
        return {
            "removed": result.removed.quality,
            "trained": result.trained.test.quality,
            "macs": multiply_accumulates(small, example[:1]),
            "parameters": result.after.parameters,
            "before": run.record["test_accuracy"],
            "weights": run.record["weights_hash"],
            "faster": faster(plain(run), small, example),
        }


def theirs(cell: Cell) -> Row:
    """By Torch-Pruning."""
    device = pick_device(cell.device)
    run = TrainedRun.open(cell.base)
    data = run.own_data().to(device)
    graph = run.compiled.graph
    kind = layout(graph, device)
    module, emitted = build(graph, "net", 0, layout=kind)
    module.load_state_dict(own_weights(run))
    module.to(device)
    whole = graph_cost(graph).flops
    example = torch.zeros(2, *run.shape, device=device)
    settings = make_settings(TrainSettings, {**run.training, **cell.about.more})
    if cell.importance == "group norm":
        first = evolve(settings, epochs=settings.epochs // 2)
        settings = evolve(settings, epochs=settings.epochs - first.epochs)
        sparse = pruner(module, cell.importance, example, 0.5)
        learner = Learner(module, emitted, graph, first)
        learner.optimizer.register_step_pre_hook(lambda *_: sparse.regularize(module))
        fit(learner, data, cell.seed)
    smaller = pruned(module, cell.importance, example, data, whole // cell.ratio)
    smaller.to(memory_format=kind)  # which removal has undone
    removed = evaluate(smaller, data, data.test, JUDGED).quality
    fit(Learner(smaller, emitted, graph, settings), data, cell.seed)
    return {
        "removed": removed,
        "trained": evaluate(smaller, data, data.test, JUDGED).quality,
        "macs": multiply_accumulates(smaller, example[:1]),
        "parameters": sum(weight.numel() for weight in smaller.parameters()),
        "before": run.record["test_accuracy"],
        "weights": run.record["weights_hash"],
        "faster": faster(plain(run), smaller.cpu(), torch.zeros(AT_ONCE, *run.shape)),
    }


METHODS: Final[Mapping[str, Callable[[Cell], Row]]] = {"bayesnas": ours, "torch-pruning": theirs}


def plain(run: TrainedRun) -> nn.Module:
    """Its network, which does not standardise its inputs, on the CPU."""
    graph = run.compiled.graph
    module, _ = build(graph, "net", 0, layout=layout(graph, torch.device("cpu")))
    module.load_state_dict(own_weights(run))
    return module


def fit(learner: Learner, data: Data, seed: int) -> None:
    """Train as `bayesnas train` does."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    settings = learner.settings
    batches = Batches(data, data.train, settings.batch_size, settings.augment, generator)
    for epoch in range(settings.epochs):
        for _ in learner.epoch(batches, epoch):
            pass


@torch.no_grad()
def faster(before: nn.Module, after: nn.Module, example: torch.Tensor) -> float:
    """How many times faster a network is on a thread of the CPU, in turn with the other."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(TIMES + 1):
        for module, seconds in zip((before, after), times, strict=True):
            module.eval()
            start = time.perf_counter()
            module(example)
            seconds.append(time.perf_counter() - start)
    first, second = (median(seconds[1:]) for seconds in times)
    return first / second


# ------------------------------------------------------------------------------------- all of them


def measured(cells: Sequence[Cell], workers: int, log: Path = LOG) -> list[Row]:
    """The rows of all cells, in processes of one thread each; those in the log are read.

    Without workers nothing is measured.
    """
    rows = {_name(row): row for row in logged(log)}
    due = [cell for cell in cells if workers and _name(cell.key) not in rows]
    bases = {cell.base: cell for cell in due}
    for cell in bases.values():
        cell.about.data()  # here, since a process of the pool cannot end the program
    if due:
        with multiprocessing.get_context("spawn").Pool(workers) as pool:
            _wait(pool.imap_unordered(_prepare, bases.values()), len(bases))
            for row in tqdm(pool.imap_unordered(_measure, due), total=len(due), disable=None):
                append(log, row)
                rows[_name(row)] = row
    return [rows[name] for cell in cells if (name := _name(cell.key)) in rows]


def _wait(results: Iterable[None], count: int) -> None:
    for _ in tqdm(results, total=count, disable=None):
        pass


def _prepare(cell: Cell) -> None:
    torch.set_num_threads(1)
    with contextlib.redirect_stderr(io.StringIO()):
        cell.prepare()


def _measure(cell: Cell) -> Row:
    torch.set_num_threads(1)
    with contextlib.redirect_stderr(io.StringIO()):
        return cell.measure()


def _name(row: Row) -> tuple[Any, ...]:
    return tuple(row[key] for key in ("network", "seed", "ratio", "tool", "importance"))
