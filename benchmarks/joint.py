"""Search operations and widths at once, or one after the other.

    python -m benchmarks.joint

The space is `digits_cell` with 2 cells, on digits and on a slice of CIFAR-10 of 12 x 12 pixels. All
networks cost at most the same multiply-accumulates; every search sees the same images, and every
training: 30 epochs of what was found, from scratch.

- `joint`: `search --compress` with the budget.
- `then compressed`: a search without a budget; what it found is trained for 20 epochs, compressed
  to the budget by `evidence`, and trained on for 10.
- `narrower`: the same found network, as wide as fits the budget.

No member of the space is within the budgets at full width.

Forty minutes on one of 2 cores; what was measured stays in build/benchmarks/ and is not measured
again. `--quick` does digits with one seed by short trainings, by the first alone (1 minute).
"""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any, Final

import torch
from attrs import evolve, frozen

from bayesnas.compiler.graph.cost import graph_cost
from bayesnas.compiler.graph.model import BudgetConstraint
from bayesnas.compiler.pipeline import Compiled, compile_spec
from bayesnas.compiler.settings import SearchSettings, TrainSettings
from bayesnas.runtime.jobs.compression.compress import compress
from bayesnas.runtime.jobs.compression.wanted import Compression
from bayesnas.runtime.jobs.search.search import search
from bayesnas.runtime.jobs.search.space import Space
from bayesnas.runtime.jobs.train import train
from bayesnas.runtime.runs.record import RunOptions
from benchmarks.common import (
    BUILD,
    ROOT,
    append,
    cifar_slice,
    finish,
    logged,
    numbers,
    percent,
    words,
)

LOG: Final = BUILD / "joint.jsonl"
STRATEGIES: Final = ("bayesnas",)  # `evidence` searches widths as well
SEARCH: Final = SearchSettings(warmup_epochs=4, rounds=5, epochs=2, curvature_examples=256)
TRAIN: Final = TrainSettings(epochs=30)
WIDEST: Final = 64


@frozen
class Task:
    """Data, the shape of its images, and what the found network may cost."""

    data: Callable[[], str]
    shape: str
    flops: int


TASKS: Final = {
    "digits": Task(lambda: "digits", "[1, 8, 8]", 40_000),
    "cifar10": Task(lambda: f"npz:{cifar_slice(200, 200, 12)}", "[3, 12, 12]", 90_000),
}


@frozen
class Case:
    """One search and training, in a folder of its own."""

    task: Task
    seed: int
    folder: Path
    search: SearchSettings = SEARCH
    train: TrainSettings = TRAIN

    @property
    def budget(self) -> BudgetConstraint:
        """What the network may cost."""
        return BudgetConstraint("flops", self.task.flops)

    def space(self) -> Compiled:
        """The space, for images of that shape."""
        text = (ROOT / "specs" / "digits_cell.nas").read_text("utf-8")
        path = self.folder / "space.nas"
        path.write_text(text.replace("[1, 8, 8]", self.task.shape), "utf-8")
        return compile_spec(path, {"cells": 2})

    def options(self, name: str) -> RunOptions:
        """Of one run of the case."""
        return RunOptions(self.task.data(), self.folder / name, self.seed, "cpu")

    def found(self, joint: bool) -> Path:
        """The spec of what a search finds."""
        settings = evolve(self.search, compress="yes" if joint else "no")
        budgets = (self.budget,) if joint else ()
        search(Space(self.space(), budgets=budgets), settings, self.options("search"))
        return self.folder / "search" / "pruned.nas"

    def trained(self, network: Compiled) -> dict[str, float]:
        """The score of a network after training from scratch."""
        result = train(network, self.train, self.options("train"))
        return {"quality": result.test.quality, "flops": result.flops}


def joint(case: Case) -> dict[str, float]:
    """Operations and widths at once."""
    return case.trained(compile_spec(case.found(joint=True)))


def narrower(case: Case) -> dict[str, float]:
    """What operations alone find without a budget, as wide as fits."""
    path = case.found(joint=False)
    widths = (compile_spec(path, {"width": width}) for width in range(WIDEST, 0, -1))
    fits = (network for network in widths if graph_cost(network.graph).flops <= case.task.flops)
    return case.trained(next(fits))


def then_compressed(case: Case) -> dict[str, float]:
    """What operations alone find without a budget, trained, compressed, trained on."""
    first = evolve(case.train, epochs=max(1, case.train.epochs * 2 // 3))
    path = case.found(joint=False)
    train(compile_spec(path), first, case.options("train"))
    wanted = Compression((case.budget,), "evidence")
    values = {"epochs": max(1, case.train.epochs - first.epochs)}
    options = evolve(case.options("small"), data="")
    result = compress(case.folder / "train", wanted, values, options)
    return {"quality": result.trained.test.quality, "flops": result.after.flops}


METHODS: Final[Mapping[str, Callable[[Case], dict[str, float]]]] = {
    "joint": joint,
    "then compressed": then_compressed,
    "narrower": narrower,
}


def measured(name: str, seed: int, strategy: str, method: str, quick: bool) -> dict[str, Any]:
    """One search and training, from the log where it is there."""
    key = {"task": name, "seed": seed, "strategy": strategy, "method": method}
    for row in logged(LOG) if not quick else []:
        if {entry: row[entry] for entry in key} == key:
            return row
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        case = Case(TASKS[name], seed, Path(folder), evolve(SEARCH, strategy=strategy))
        if quick:
            short = evolve(case.search, warmup_epochs=1, rounds=2, epochs=1)
            case = evolve(case, search=short, train=evolve(TRAIN, epochs=3))
        row = key | METHODS[method](case)
    row["seconds"] = round(time.perf_counter() - start, 1)
    if not quick:
        append(LOG, row)
    return row


def work(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Everything that is asked for."""
    for seed in options.seeds:
        for name in options.tasks:
            for strategy in options.strategies:
                for method in options.methods:
                    yield measured(name, seed, strategy, method, options.quick)


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="digits, one seed, `joint` alone")
    parser.add_argument("--tasks", type=words, default=[*TASKS])
    parser.add_argument("--seeds", type=numbers, default=[0, 1, 2])
    parser.add_argument("--strategies", type=words, default=[*STRATEGIES])
    parser.add_argument("--methods", type=words, default=[*METHODS])
    options = parser.parse_args()
    if options.quick:
        options.tasks, options.seeds, options.methods = ["digits"], [0], ["joint"]
        options.strategies = [*STRATEGIES]
    torch.set_num_threads(1)
    scores: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for row in work(options):
        scores[row["strategy"], row["method"], row["task"]].append(row["quality"])
    print(f"| | | {' | '.join(options.tasks)} |\n|---|---|{'---|' * len(options.tasks)}")
    for strategy in options.strategies:
        for method in options.methods:
            cells = [percent(scores[strategy, method, task]) for task in options.tasks]
            print(f"| {strategy} | {method} | {' | '.join(cells)} |")
    finish(
        "joint",
        quick=options.quick,
        scores=[[*key, fmean(values), len(values)] for key, values in scores.items()],
    )


if __name__ == "__main__":
    main()
