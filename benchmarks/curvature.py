"""Time and memory of every curvature estimator, as ratios to one training step on the same batch.

    python -m benchmarks.curvature

Takes about 2 minutes on 2 cores; `--quick` takes 20 seconds (a smaller batch of the digits space
alone, without the Hessian). `--device cuda` measures on a GPU.

A training step is what a search does: forward in training mode, backward to weights and gates, a
step of SGD. The spaces are `digits_cell` as it stands and `darts_cell` with 4 cells of width 8,
both with freshly drawn weights and images: neither matters to time. Everything runs in one process,
in rounds that run each in turn; the ratios of a round are to its own training step, and their
median over the rounds is reported, so that other work on the machine falls on all alike. One round
before them is not counted. The Hessian takes one pass a gate, so its time is measured on digits
alone and once, and its memory on a GPU alone.

Memory is the largest sum of tensors held at one time, above what was held before the call (weights,
momentum, the batch). On a CPU it is added up from the allocations and releases that PyTorch's
profiler records, in a run of its own; what the libraries below PyTorch allocate for themselves is
not seen. On a GPU it is `torch.cuda.max_memory_allocated`.

Bars: Monte-Carlo (1 sample) takes at most 2 training steps, exact estimators at most 12, and at
most 1.5 times the memory. Exit status 1 where one is missed.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from attrs import frozen
from torch.nn.functional import cross_entropy

from bayesnas.compiler.pipeline import compile_spec
from bayesnas.runtime.network.modules import build, predict
from bayesnas.runtime.network.training import sgd
from bayesnas.runtime.supernet.curvature import ESTIMATORS, gradient
from bayesnas.runtime.tasks.classification import Classification
from benchmarks.common import finish, peak, seconds

CLASSES = 10
TASK = Classification(tuple(map(str, range(CLASSES))))
STEP = "training step"
TIME_BARS = {"fisher_monte_carlo": 2.0, "ggn": 12.0, "ggn_diagonal": 12.0}
MEMORY_BAR = 1.5  # of those above


@frozen
class Case:
    """A space and a batch."""

    spec: str
    parameters: dict[str, int]
    image: tuple[int, ...]
    examples: int
    rounds: int
    hessian: bool = False


FULL = (
    Case("digits_cell", {}, (1, 8, 8), 64, rounds=5, hessian=True),
    Case("darts_cell", {"cells": 4, "width": 8}, (3, 32, 32), 8, rounds=3),
)
QUICK = (Case("digits_cell", {}, (1, 8, 8), 32, rounds=5),)


def subjects(case: Case, device: torch.device) -> dict[str, Callable[[], Any]]:
    """What is measured, by name; the training step first."""
    module, emitted = build(compile_spec(case.spec, case.parameters).graph, case.spec, seed=0)
    module.to(device)
    optimizer = sgd(module.parameters(), 1e-3, 0.9, 1e-4)
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(case.examples, *case.image, generator=generator).to(device)
    labels = torch.randint(0, CLASSES, (case.examples,), generator=generator).to(device)
    gates = torch.ones(len(emitted.gates), device=device)
    batches = [(inputs, labels)]

    def step() -> None:
        module.train()
        own = gates.clone().requires_grad_()
        optimizer.zero_grad(set_to_none=True)
        cross_entropy(predict(module, inputs, own), labels).backward()
        optimizer.step()

    found: dict[str, Callable[[], Any]] = {
        STEP: step,
        "gradient": lambda: gradient(module, TASK, batches, gates),
    }
    for name, estimator in ESTIMATORS.items():
        if name != "hessian" or case.hessian:
            found[name] = lambda estimator=estimator: estimator(
                module, TASK, batches, gates, generator
            )
    return found


def time_ratios(
    found: dict[str, Callable[[], Any]], rounds: int, device: torch.device
) -> tuple[float, dict[str, float]]:
    """Seconds of a training step, and every subject's time in training steps: medians."""
    steps: list[float] = []
    ratios: dict[str, list[float]] = {name: [] for name in found}
    for turn in range(rounds + 1):
        for name, call in found.items():
            if name == "hessian" and turn != 1:
                continue
            passed = seconds(call, device)
            if turn > 0:
                if name == STEP:
                    steps.append(passed)
                ratios[name].append(passed / steps[-1])
    return median(steps), {name: median(values) for name, values in ratios.items()}


def measure(case: Case, device: torch.device) -> dict[str, Any]:
    """Every subject's ratios on a case."""
    found = subjects(case, device)
    step_seconds, times = time_ratios(found, case.rounds, device)
    if device.type == "cpu":
        found.pop("hessian", None)  # the records of that many passes do not fit in memory
    bytes_held = {name: peak(call, device) for name, call in found.items()}
    step_bytes = bytes_held[STEP]
    return {
        "spec": case.spec,
        "parameters": case.parameters,
        "examples": case.examples,
        "step_seconds": round(step_seconds, 4),
        "step_megabytes": round(step_bytes / 2**20, 1),
        "time": {name: round(ratio, 2) for name, ratio in times.items()},
        "memory": {name: round(held / step_bytes, 2) for name, held in bytes_held.items()},
    }


def print_table(row: dict[str, Any]) -> None:
    """The ratios of a case, one line a subject."""
    print(f"\n{row['spec']} {row['parameters'] or ''}, a batch of {row['examples']}")
    print(f"training step: {row['step_seconds']} s, {row['step_megabytes']} MiB")
    print(f"{'':20} {'time':>8} {'memory':>8}")
    for name, ratio in row["time"].items():
        print(f"{name:20} {ratio:8.2f} {row['memory'].get(name, math.nan):8.2f}", flush=True)


def missed(row: dict[str, Any]) -> list[str]:
    """Bars that a case missed."""
    return [
        f"{row['spec']}: {name} {kind} {row[kind][name]} > {bar}"
        for name, time_bar in TIME_BARS.items()
        for kind, bar in (("time", time_bar), ("memory", MEMORY_BAR))
        if row[kind][name] > bar
    ]


def main() -> None:
    """Measure, print, compare with the bars."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="the digits space alone")
    parser.add_argument("--device", default="cpu", help="default %(default)s")
    options = parser.parse_args()
    start = time.perf_counter()
    rows, failures = [], []
    for case in QUICK if options.quick else FULL:
        rows.append(measure(case, torch.device(options.device)))
        print_table(rows[-1])
        failures += missed(rows[-1])
    finish(
        "curvature",
        quick=options.quick,
        device=options.device,
        cases=rows,
        missed=failures,
        seconds=round(time.perf_counter() - start, 1),
    )
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
