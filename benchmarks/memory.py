"""Peak memory of every pass of a search and of every strategy, as ratios to one training step.

    python -m benchmarks.memory

Takes about 10 minutes on 2 cores: `darts_cell` with 3 cells of width 4 on random images of 160 x
160, in batches of 4; `--quick` takes 3 minutes (96 x 96). `--size 320` takes 40 minutes and 4 GiB.

Everything runs in a process of its own. Its peak is that of the whole process, as the system counts
it, less that of a process that stops where the first pass would begin: what PyTorch, the data and
the weights take is left out. A training step is two, since the first one makes the momentum. A
strategy's row is a whole short search by it: a warm-up, two rounds, members drawn and judged. The
estimate is what `runtime/network/memory.py` tells from the graph alone.

Bars: no pass takes more than 1.1 training steps, no strategy more than 100 MiB beside that, and the
estimate of a step is within a factor of 2 of the measured one. Exit status 1 where one is missed.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch

from bayesnas.compiler.pipeline import Compiled, compile_loaded, compile_spec
from bayesnas.compiler.settings import STRATEGIES, SearchSettings
from bayesnas.dsl.diagnostics import Source
from bayesnas.dsl.loader import load_text
from bayesnas.runtime.data.dataset import Data
from bayesnas.runtime.data.examples import Part
from bayesnas.runtime.jobs.search.search import search
from bayesnas.runtime.network.memory import TEST
from bayesnas.runtime.network.training import evaluate
from bayesnas.runtime.runs.record import RunOptions
from bayesnas.runtime.supernet.supernet import Supernet
from bayesnas.runtime.tasks.classification import Classification
from benchmarks.common import finish

NOTHING, STEP = "nothing", "training step"
CURVATURES: Final = ("ggn", "ggn_diagonal", "fisher_monte_carlo", "fisher_empirical", "hessian")
EXAMPLES: Final = 60
CLASSES: Final = 10
SHORT: Final = {"warmup_epochs": 0.1, "rounds": 2, "epochs": 0.1, "draws": 2}
MOST: Final = 1.1  # training steps that anything may take: a system counts in pages and arenas
BESIDES: Final = 100 * 2**20  # bytes, of what a search loads, draws and writes besides


def space(options: argparse.Namespace) -> Compiled:
    """The DARTS cell for images of the size asked for."""
    text = compile_spec("darts_cell").loaded.source.text
    text = text.replace("[3, 32, 32]", f"[3, {options.size}, {options.size}]")
    loaded = load_text(Source("darts_cell.nas", text), Path())
    return compile_loaded(loaded, {"cells": options.cells, "width": options.width})


def data(size: int) -> Data:
    """Random images of random classes."""
    generator = torch.Generator().manual_seed(0)
    shape = (EXAMPLES, 3, size, size)
    inputs = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    part = Part(inputs, torch.arange(EXAMPLES) % CLASSES)
    return Data.of("random", Classification(tuple(map(str, range(CLASSES)))), part, part)


def passes(net: Supernet) -> dict[str, tuple[int, Callable[[], Any]]]:
    """Every pass: how many examples it takes at once, and the pass."""
    gates = net.gates.at(dict.fromkeys(net.gates.groups, 0.3))
    part, room = net.fit_part, net.at_once

    def step() -> None:
        for inputs, targets in net.batches(2):
            net.descend(inputs, targets, gates.clone().requires_grad_())

    def recalibrate() -> None:
        with net.recalibrated(gates):
            pass

    found: dict[str, tuple[int, Callable[[], Any]]] = {
        NOTHING: (0, lambda: None),
        STEP: (net.settings.batch_size, step),
        "gradient": (room.derivative(), lambda: net.gradient(gates, part)),
        "recalibration": (room.forward(256), recalibrate),
        "judgement": (room.forward(256), lambda: net.score(gates)),
        "test": (
            room.forward(TEST),
            lambda: evaluate(net.module, net.data, net.data.test, room.forward(TEST), gates),
        ),
    }
    name = net.settings.curvature
    size = room.curvature(name, CLASSES)
    found[f"curvature: {name}"] = size, lambda: net.curvature(gates, part.first(2 * size))
    return found


def alone(options: argparse.Namespace) -> dict[str, Any]:
    """The peak of this process in bytes, after one pass or one search, and what is told of it."""
    torch.set_num_threads(1)
    name, compiled, images = options.alone, space(options), data(options.size)
    about: dict[str, Any] = {}
    if name in STRATEGIES:
        settings = SearchSettings(strategy=name, batch_size=options.batch, **SHORT)
        with tempfile.TemporaryDirectory() as folder:
            search(compiled, settings, RunOptions(images, Path(folder) / "run", device="cpu"))
    else:
        _, _, curvature = name.partition(": ")
        settings = SearchSettings(batch_size=options.batch, curvature=curvature or "ggn")
        net = Supernet(compiled.graph, "spec", images, settings, 0, torch.device("cpu"))
        count, call = passes(net)[name]
        about = {"at_once": count, "estimate": options.batch * net.at_once.footprint.step}
        call()
    unit = 1 if sys.platform == "darwin" else 1024
    return {"peak": unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, **about}


def measured(options: argparse.Namespace, name: str) -> dict[str, Any]:
    """`alone` in a process of its own."""
    numbers = [f"--{key}={getattr(options, key)}" for key in ("size", "batch", "cells", "width")]
    command = [sys.executable, "-m", "benchmarks.memory", f"--alone={name}", *numbers]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def table(options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Every pass and every strategy: bytes above nothing, and over those of a training step."""
    curvatures = [f"curvature: {name}" for name in CURVATURES]
    names = [STEP, "gradient", *curvatures, "recalibration", "judgement", "test"]
    names += [name for name in STRATEGIES if name != "largest"]
    base = measured(options, NOTHING)["peak"]
    print(f"{'':30}{'at once':>10}{'MiB':>10}{'steps':>8}")
    rows: dict[str, dict[str, Any]] = {}
    for name in names:
        found = measured(options, name)
        held = found["peak"] - base
        ratio = round(held / rows[STEP]["bytes"], 2) if rows else 1.0
        rows[name] = found | {"bytes": held, "steps": ratio}
        count = found.get("at_once", "")
        print(f"{name:30}{count:>10}{held / 2**20:>10.0f}{ratio:>8.2f}", flush=True)
    return rows


def missed(rows: dict[str, dict[str, Any]]) -> list[str]:
    """Bars that were missed."""
    step = MOST * rows[STEP]["bytes"]
    bars = {name: step + (BESIDES if name in STRATEGIES else 0) for name in rows}
    failures = [f"{n}: {row['steps']}" for n, row in rows.items() if row["bytes"] > bars[n]]
    ratio = rows[STEP]["estimate"] / rows[STEP]["bytes"]
    return failures + ([f"the estimate is {ratio:.2f} steps"] if not 0.5 < ratio < 2 else [])


def main() -> None:
    """Measure each alone, print the table, compare with the bars."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="images of 96 x 96")
    parser.add_argument("--size", type=int, default=160, help="default %(default)s")
    parser.add_argument("--batch", type=int, default=4, help="default %(default)s")
    parser.add_argument("--cells", type=int, default=3, help="default %(default)s")
    parser.add_argument("--width", type=int, default=4, help="default %(default)s")
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.quick:
        options.size = 96
    if options.alone:
        print(json.dumps(alone(options)))
        return
    rows = table(options)
    ratio = rows[STEP]["estimate"] / rows[STEP]["bytes"]
    print(f"\nestimated of a training step: {ratio:.2f} of what was measured")
    failures = missed(rows)
    finish("memory", quick=options.quick, size=options.size, rows=rows, missed=failures)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
