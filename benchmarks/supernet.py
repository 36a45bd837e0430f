"""A supernet as the compiler schedules it, against the plain emission of the same space.

    python -m benchmarks.supernet

Takes about 10 minutes on 2 cores: `darts_cell` (8 cells, 16 channels), a batch of 32, then batches
of 8 and 64. `--quick` takes 50 seconds (3 cells, a batch of 8). Another space: `--spec`, `--set`.
`--device cuda` measures on a GPU, there under bfloat16 autocast; `--compile` adds the scheduled
network under `torch.compile`.

Four networks run in turn in one process: plain in the default memory format, plain in
channels-last, scheduled in channels-last, which is what a search runs, and the same with
`recompute = yes`. Ratios are of a round's times to the scheduled one's, and their median over the
rounds is reported, so that other work on the machine falls on all alike; a round before them is not
counted. What is timed: forward in training mode without gradients; forward and backward to weights
and gates, as a search step does; the exact GGN of the gates on a batch of 8. Memory is the largest
sum of tensors held at one time.

Bars, on a batch of 32: a step at least 3.0 times as fast as plain and 1.4 times as fast as plain in
channels-last (on a GPU 2.0 times), and no more memory. Exit status 1 where one is missed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from statistics import median
from typing import Any

import torch
from attrs import frozen
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bayesnas.cli import parse_values
from bayesnas.compiler.emit.pytorch import emit_torch
from bayesnas.compiler.emit.schedule import schedule
from bayesnas.compiler.graph.model import Graph
from bayesnas.compiler.pipeline import compile_spec
from bayesnas.runtime.network.modules import load_source
from bayesnas.runtime.network.recompute import recompute_blocks
from bayesnas.runtime.supernet.curvature import ggn
from bayesnas.runtime.tasks.classification import Classification
from bayesnas.runtime.tasks.interface import Task
from benchmarks.common import finish, peak, seconds

PLAIN, LAST, SCHEDULED = "plain", "plain, channels-last", "scheduled"
RECOMPUTED, COMPILED = "recomputed", "compiled"
BATCH = 32  # of the bars
FEW = 8  # of the curvature, which takes 20 times as long as a step
TIME_BARS = {"cpu": {PLAIN: 3.0, LAST: 1.4}, "cuda": {LAST: 2.0}}


@frozen
class Subject:
    """One emission with a batch in its own memory format."""

    module: nn.Module
    inputs: Tensor
    labels: Tensor
    gates: Tensor
    task: Task

    def forward(self) -> None:
        """Without gradients, normalisation in training mode."""
        self.module.train()
        with torch.no_grad(), self._precision():
            self.module(self.inputs, self.gates)

    def step(self) -> None:
        """Forward and backward, without an optimizer."""
        self.module.train()
        self.module.zero_grad(set_to_none=True)
        gates = self.gates.clone().requires_grad_()
        with self._precision():
            loss = cross_entropy(self.module(self.inputs, gates), self.labels)
        loss.backward()

    def curvature(self) -> None:
        """Exact GGN of the gates, all classes."""
        ggn(self.module, self.task, [(self.inputs, self.labels)], self.gates)

    def _precision(self) -> AbstractContextManager[Any]:
        if self.inputs.device.type != "cuda":
            return nullcontext()
        return torch.autocast("cuda", dtype=torch.bfloat16)


WORK: Mapping[str, Callable[[Subject], None]] = {
    "forward": Subject.forward,
    "step": Subject.step,
    "curvature": Subject.curvature,
}


def subjects(graph: Graph, batch: int, device: torch.device, compiled: bool) -> dict[str, Subject]:
    """All emissions, with the same weights and the same random batch."""
    plan = schedule(graph)
    plans = {PLAIN: None, LAST: None, SCHEDULED: plan, RECOMPUTED: plan}
    plans |= {COMPILED: plan} if compiled else {}
    generator = torch.Generator().manual_seed(0)
    shape = graph.node(graph.root.inputs[0]).shape or ()
    [classes] = graph.node(graph.root.outputs[0]).shape or ()
    inputs = torch.randn(batch, *shape, generator=generator).to(device)
    labels = torch.randint(0, classes, (batch,), generator=generator).to(device)
    task = Classification(tuple(map(str, range(classes))))
    gates = torch.full((len(graph.searched()),), 0.3, device=device)
    found: dict[str, Subject] = {}
    for name, chosen in plans.items():
        emitted = emit_torch(graph, "spec.nas", chosen)
        module = load_source(emitted).to(device)
        if found:
            module.load_state_dict(found[PLAIN].module.state_dict())
        layout = torch.contiguous_format if name == PLAIN else torch.channels_last
        module = module.to(memory_format=layout)
        if name == RECOMPUTED:
            recompute_blocks(module, emitted)
        if name == COMPILED:
            module.compile(fullgraph=True)
        batch_inputs = inputs.to(memory_format=layout) if inputs.dim() == 4 else inputs
        found[name] = Subject(module, batch_inputs, labels, gates, task)
    return found


def measure(
    found: Mapping[str, Subject], work: Callable[[Subject], None], rounds: int
) -> dict[str, dict[str, float]]:
    """Of every emission the median seconds, and its time over the scheduled one's."""
    times: dict[str, list[float]] = {name: [] for name in found}
    for turn in range(rounds + 1):
        for name, subject in found.items():
            passed = seconds(lambda subject=subject: work(subject), subject.inputs.device)
            if turn > 0:
                times[name].append(passed)
    pairs = {n: zip(t, times[SCHEDULED], strict=True) for n, t in times.items()}
    return {
        "seconds": {name: round(median(t), 4) for name, t in times.items()},
        "ratio": {name: round(median(a / b for a, b in p), 2) for name, p in pairs.items()},
    }


def sweep(options: argparse.Namespace, graph: Graph) -> list[dict[str, Any]]:
    """Every batch size: times, ratios and memory of all work; printed as they come."""
    rows = []
    device = torch.device(options.device)
    for batch in [int(text) for text in options.batches.split(",")]:
        found = subjects(graph, batch, device, options.compile)
        row: dict[str, Any] = {"batch": batch}
        print(f"\n{options.spec}, a batch of {batch}\n{'':22}" + "".join(f"{n:>22}" for n in found))
        for name, call in WORK.items():
            if name == "curvature" and batch != FEW:
                continue
            row[name] = measure(found, call, options.rounds)
            held = {n: peak(partial(call, s), device) / 2**20 for n, s in found.items()}
            row[name]["mebibytes"] = {n: round(size, 1) for n, size in held.items()}
            for line in lines(name, row[name], list(found)):
                print(line, flush=True)
        rows.append(row)
    return rows


def lines(name: str, found: Mapping[str, Mapping[str, float]], columns: list[str]) -> list[str]:
    """A piece of work as two lines of a table: times, then memory."""
    times = [f"{found['seconds'][n]:.3f} s, {found['ratio'][n]:.2f} x" for n in columns]
    held = [f"{found['mebibytes'][n]:.0f} MiB" for n in columns]
    return [
        f"{head:22}" + "".join(f"{cell:>22}" for cell in cells)
        for head, cells in ((name, times), ("", held))
    ]


def missed(rows: list[dict[str, Any]], device: str) -> list[str]:
    """Bars that the batch of 32 missed."""
    failures = []
    for row in (row for row in rows if row["batch"] == BATCH):
        ratios, held = row["step"]["ratio"], row["step"]["mebibytes"]
        bars = TIME_BARS[torch.device(device).type]
        failures += [f"{n}: {ratios[n]} < {bar}" for n, bar in bars.items() if ratios[n] < bar]
        failures += [f"memory: more than {n}" for n in bars if held[SCHEDULED] > held[n]]
    return failures


def main() -> None:
    """Measure, print, compare with the bars."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="3 cells, a batch of 8")
    parser.add_argument("--spec", default="darts_cell", help="default %(default)s")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--batches", default="32,8,64", help="default %(default)s")
    parser.add_argument("--rounds", type=int, default=3, help="default %(default)s")
    parser.add_argument("--device", default="cpu", help="default %(default)s")
    parser.add_argument("--threads", type=int, help="CPU threads; default PyTorch decides")
    parser.add_argument("--compile", action="store_true", help="with torch.compile as well")
    options = parser.parse_args()
    if options.quick:
        options.batches, options.rounds = str(FEW), 1
        if options.spec == "darts_cell":
            options.set = ["cells=3", *options.set]
    if options.threads:
        torch.set_num_threads(options.threads)
    rows = sweep(options, compile_spec(options.spec, parse_values(options.set)).graph)
    failures = missed(rows, options.device) if options.spec == "darts_cell" else []
    finish(
        "supernet",
        quick=options.quick,
        spec=options.spec,
        set=options.set,
        device=options.device,
        batches=rows,
        missed=failures,
    )
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
