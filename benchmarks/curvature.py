"""Time and memory of every curvature estimator, as ratios to one training step on the same images.

    python -m benchmarks.curvature

Takes about 2 minutes on 2 cores; `--quick` takes 30 seconds (a smaller batch of the digits space,
without the Hessian, and LeNet-5). `--device cuda` measures on a GPU.

A training step is what a search does: forward in training mode, backward to weights and gates, a
step of SGD. The spaces are `digits_cell` as it stands and `darts_cell` with 4 cells of width 8,
both with freshly drawn weights and images: neither matters to time. Everything runs in one process,
in rounds that run each in turn; the ratios of a round are to its own training step, and their
median over the rounds is reported, so that other work on the machine falls on all alike. One round
before them is not counted. The Hessian takes one pass a gate, so its time is measured on digits
alone and once, and its memory on a GPU alone.

Of weights it is a whole update of `compress --importance bayesnas` that is measured: the curvature
in each of LeNet-5's and of ResNet-20's, on the 128 images and in the batches that `compress` takes,
then gamma and omega of all channels. The step is one of all 128. The exact one, like the Hessian,
is measured once.

Memory is the largest sum of tensors held at one time, above what was held before the call (weights,
momentum, the batch). On a CPU it is added up from the allocations and releases that PyTorch's
profiler records, in a run of its own; what the libraries below PyTorch allocate for themselves is
not seen. On a GPU it is `torch.cuda.max_memory_allocated`.

Bars: Monte-Carlo (1 sample) takes at most 2 training steps, exact estimators at most 12, and at
most 1.5 times the memory; a sampled update of weights takes at most 3. Exit status 1 where one is
missed.
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
from attrs import evolve, frozen
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bayesnas.compiler.pipeline import compile_spec
from bayesnas.compiler.settings import WEIGHT_CURVATURES
from bayesnas.compiler.slices.groups import coupled_slices
from bayesnas.runtime.jobs.compression.removal import CURVED, CURVED_AT_ONCE
from bayesnas.runtime.network.modules import build, predict
from bayesnas.runtime.network.training import sgd
from bayesnas.runtime.supernet.curvature import ESTIMATORS, gradient
from bayesnas.runtime.tasks.classification import Classification
from bayesnas.runtime.weights.priors.bayesnas import BayesNas
from bayesnas.runtime.weights.priors.interface import Problem
from bayesnas.runtime.weights.removal import sliced_tensors
from bayesnas.runtime.weights.subject import Subject
from benchmarks.common import ROOT, finish, peak, seconds

CLASSES = 10
TASK = Classification(tuple(map(str, range(CLASSES))))
STEP = "training step"
OF_WEIGHTS = {name: f"weights: {name}" for name in WEIGHT_CURVATURES}
TIME_BARS = {
    "fisher_monte_carlo": 2.0, "ggn": 12.0, "ggn_diagonal": 12.0, OF_WEIGHTS["sampled"]: 3.0
}  # fmt: skip
MEMORY_BAR = 1.5  # of those above
ONCE = ("hessian", OF_WEIGHTS["exact"])  # takes so many passes that their record has no room


@frozen
class Case:
    """A space, or a network whose weights are measured, and a batch."""

    spec: str
    parameters: dict[str, int]
    image: tuple[int, ...]
    examples: int
    rounds: int
    hessian: bool = False
    weights: bool = False


FULL = (
    Case("digits_cell", {}, (1, 8, 8), 64, rounds=5, hessian=True),
    Case("darts_cell", {"cells": 4, "width": 8}, (3, 32, 32), 8, rounds=3),
    Case("lenet5", {}, (1, 28, 28), CURVED, rounds=9, weights=True),
    Case("resnet20", {}, (3, 32, 32), CURVED, rounds=5, weights=True),
)
QUICK = (
    Case("digits_cell", {}, (1, 8, 8), 32, rounds=5),
    Case("lenet5", {}, (1, 28, 28), CURVED, rounds=5, weights=True),
)


def images(case: Case, generator: torch.Generator, device: torch.device) -> tuple[Tensor, Tensor]:
    """Random images with random labels."""
    inputs = torch.randn(case.examples, *case.image, generator=generator)
    labels = torch.randint(0, CLASSES, (case.examples,), generator=generator)
    return inputs.to(device), labels.to(device)


def training_step(
    module: nn.Module, inputs: Tensor, labels: Tensor, gates: Tensor | None = None
) -> Callable[[], None]:
    """A step on all of the images."""
    optimizer = sgd(module.parameters(), 1e-3, 0.9, 1e-4)

    def step() -> None:
        module.train()
        own = None if gates is None else gates.clone().requires_grad_()
        optimizer.zero_grad(set_to_none=True)
        cross_entropy(predict(module, inputs, own), labels).backward()
        optimizer.step()

    return step


def subjects(case: Case, device: torch.device) -> dict[str, Callable[[], Any]]:
    """What is measured, by name; the training step first."""
    module, emitted = build(compile_spec(case.spec, case.parameters).graph, case.spec, seed=0)
    module.to(device)
    generator = torch.Generator().manual_seed(0)
    inputs, labels = images(case, generator, device)
    gates = torch.ones(len(emitted.gates), device=device)
    batches = [(inputs, labels)]
    found: dict[str, Callable[[], Any]] = {
        STEP: training_step(module, inputs, labels, gates),
        "gradient": lambda: gradient(module, TASK, batches, gates),
    }
    for name, estimator in ESTIMATORS.items():
        if name != "hessian" or case.hessian:
            found[name] = lambda estimator=estimator: estimator(
                module, TASK, batches, gates, generator
            )
    return found


def updates(case: Case, device: torch.device) -> dict[str, Callable[[], Any]]:
    """The same of a network's weights: updates of `compress --importance bayesnas`."""
    compiled = compile_spec(ROOT / "benchmarks" / "networks" / f"{case.spec}.nas", case.parameters)
    module, _ = build(compiled.graph, case.spec, seed=0)
    module.to(device)
    generator = torch.Generator().manual_seed(0)
    inputs, labels = images(case, generator, device)
    batches = [*zip(inputs.split(CURVED_AT_ONCE), labels.split(CURVED_AT_ONCE), strict=True)]
    slices = coupled_slices(compiled.graph)
    sliced = (*sliced_tensors(compiled, slices),)
    subject = Subject(module, sliced, slices.removable, generator=generator)
    problem = Problem(
        subject, TASK, lambda: batches, len(inputs), 3e-4, {}, steps=1, excess=lambda _: 1.0
    )
    priors = {name: BayesNas(evolve(problem, curvature=name)) for name in WEIGHT_CURVATURES}
    found: dict[str, Callable[[], Any]] = {STEP: training_step(module, inputs, labels)}
    return found | {OF_WEIGHTS[name]: prior.weights for name, prior in priors.items()}


def time_ratios(
    found: dict[str, Callable[[], Any]], rounds: int, device: torch.device
) -> tuple[float, dict[str, float]]:
    """Seconds of a training step, and every subject's time in training steps: medians."""
    steps: list[float] = []
    ratios: dict[str, list[float]] = {name: [] for name in found}
    for turn in range(rounds + 1):
        for name, call in found.items():
            if name in ONCE and turn != 1:
                continue
            passed = seconds(call, device)
            if turn > 0:
                if name == STEP:
                    steps.append(passed)
                ratios[name].append(passed / steps[-1])
    return median(steps), {name: median(values) for name, values in ratios.items()}


def measure(case: Case, device: torch.device) -> dict[str, Any]:
    """Every subject's ratios on a case."""
    found = updates(case, device) if case.weights else subjects(case, device)
    step_seconds, times = time_ratios(found, case.rounds, device)
    if device.type == "cpu":
        found = {name: call for name, call in found.items() if name not in ONCE}
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
        if row[kind].get(name, 0.0) > bar
    ]


def main() -> None:
    """Measure, print, compare with the bars."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="smaller cases alone")
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
