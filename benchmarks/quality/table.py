"""Train every member of `small_cell.nas`, three seeds each: the table strategies are judged by.

    python -m benchmarks.quality.table

Takes about 40 minutes on 2 cores; what was trained stays in build/benchmarks/ and is not trained
again, so an interrupted run goes on. `--quick` trains one seed of 8 members (30 seconds on 2
cores) and leaves the table as it is.

Data: 500 training and 500 test images of each CIFAR-10 class, averaged down to 16 x 16. A member is
trained on 4,000 of the training images; its *selection* score is its accuracy on the other 1,000,
the same for every member and seed, its *test* score that on the test images. Schedule: the spec's.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import multiprocessing
import time
from collections import defaultdict
from pathlib import Path
from random import Random
from statistics import fmean, stdev
from typing import Any

import torch
from tqdm import tqdm

from bayesnas.compiler.graph.cost import graph_cost
from bayesnas.compiler.pipeline import Compiled, compile_spec
from bayesnas.compiler.settings import TrainSettings, make_settings
from bayesnas.compiler.space.choices import Member, member_space
from bayesnas.compiler.space.members import prune_to
from bayesnas.dsl.files import write_text
from bayesnas.runtime.data.dataset import split
from bayesnas.runtime.data.loading import load_data
from bayesnas.runtime.network.memory import TEST
from bayesnas.runtime.network.modules import build
from bayesnas.runtime.network.training import evaluate, sgd, train_epoch
from benchmarks.common import BUILD, cifar_slice, finish

HERE = Path(__file__).parent
SPEC = HERE / "small_cell.nas"
TABLE = HERE / "small_cell.csv"
SEEDS = (0, 1, 2)
PER_CLASS, SIZE = 500, 16
HELD = 0.2


def members(compiled: Compiled) -> dict[str, Member]:
    """Every member by name: the number of the candidate on each searched edge, in order."""
    space = member_space(compiled.graph)
    return {name_of(compiled, member): member for member in space.members()}


def name_of(compiled: Compiled, member: Member) -> str:
    """A member's name in the table; an edge it does not have is `-`."""
    digits = []
    for connection in member_space(compiled.graph).connections:
        kept = [str(n) for n, option in enumerate(connection.options) if option in member]
        digits.append(kept[0] if len(kept) == 1 else "-")
    return "".join(digits)


def train_member(job: tuple[str, int]) -> dict[str, Any]:
    """Train one member with one seed; its scores."""
    torch.set_num_threads(1)
    name, seed = job
    start = time.perf_counter()
    compiled = compile_spec(SPEC)
    data = load_data(f"npz:{cifar_slice(PER_CLASS, PER_CLASS, SIZE)}", compiled.graph)
    fit, held = split(data.train, HELD, torch.Generator().manual_seed(0))
    graph = prune_to(compiled.graph, members(compiled)[name])
    settings = make_settings(TrainSettings, compiled.settings("train"))
    module, _ = build(graph, SPEC.name, seed)
    optimizer = sgd(module, settings.learning_rate, settings.momentum, settings.weight_decay)
    generator = torch.Generator().manual_seed(seed)
    for epoch in range(settings.epochs):
        train_epoch(module, optimizer, data, fit, settings, epoch, generator, lambda _: None)
    cost = graph_cost(graph)
    return {
        "member": name,
        "seed": seed,
        "parameters": cost.parameters,
        "flops": cost.flops,
        "selection": evaluate(module, data, held, TEST),
        "test": evaluate(module, data, data.test, TEST),
        "seconds": round(time.perf_counter() - start, 2),
    }


def train_all(jobs: list[tuple[str, int]], log: Path, workers: int) -> list[dict[str, Any]]:
    """The scores of all jobs; those in the log are read, the others are trained and appended."""
    log.parent.mkdir(parents=True, exist_ok=True)
    rows = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    done = {(row["member"], row["seed"]) for row in rows}
    left = [job for job in jobs if job not in done]
    with multiprocessing.get_context("spawn").Pool(workers) as pool, log.open("a") as file:
        for row in tqdm(pool.imap_unordered(train_member, left), total=len(left), disable=None):
            print(json.dumps(row), file=file, flush=True)
            rows.append(row)
    return rows


def as_csv(rows: list[dict[str, Any]]) -> str:
    """One row a member, the best by selection score first."""
    by_member: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: int(row["seed"])):
        by_member[row["member"]].append(row)
    table = []
    for name, found in by_member.items():
        entry: dict[str, Any] = {"member": name}
        entry |= {key: found[0][key] for key in ("parameters", "flops")}
        for score in ("selection", "test"):
            values = [row[score] for row in found]
            entry[f"{score}_mean"] = round(fmean(values), 5)
            entry[f"{score}_std"] = round(stdev(values), 5)
        table.append(entry)
    table.sort(key=lambda entry: (-entry["selection_mean"], entry["member"]))
    text = io.StringIO()
    text.write("# Made by `python -m benchmarks.quality.table` (see there), ")
    text.write(f"torch {torch.__version__}, {len(SEEDS)} seeds a member.\n")
    writer = csv.DictWriter(text, list(table[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    return text.getvalue()


def main() -> None:
    """Train, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="one seed of 8 members; no table")
    parser.add_argument("--workers", type=int, default=2, help="processes; default %(default)s")
    options = parser.parse_args()
    names = list(members(compile_spec(SPEC)))
    Random(0).shuffle(names)  # an unfinished table is a fair sample
    cifar_slice(PER_CLASS, PER_CLASS, SIZE)
    if options.quick:
        jobs, log = [(name, 0) for name in names[:8]], BUILD / "small_cell_quick.jsonl"
        log.unlink(missing_ok=True)
    else:
        jobs = [(name, seed) for seed in SEEDS for name in names]
        log = BUILD / "small_cell.jsonl"
    start = time.perf_counter()
    rows = train_all(jobs, log, options.workers)
    if not options.quick:
        write_text(TABLE, as_csv(rows))
    best = max(rows, key=lambda row: row["selection"])
    finish(
        "quality/table",
        quick=options.quick,
        trainings=len(rows),
        seconds_each=round(fmean(row["seconds"] for row in rows), 2),
        seconds=round(time.perf_counter() - start, 1),
        best=best,
    )


if __name__ == "__main__":
    main()
