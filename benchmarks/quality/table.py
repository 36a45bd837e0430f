"""Train members of a space from scratch: the tables strategies are judged by.

    python -m benchmarks.quality.table small_cell
    python -m benchmarks.quality.table droppable

`small_cell` has every member, three seeds each: about 40 minutes on 2 cores. `droppable` has 100
random members and the biggest, one seed each: about 4 hours on 2 cores. What was trained stays in
build/benchmarks/ and is not trained again, so an interrupted run goes on; `--unfinished` writes the
table of what there is so far. `--short 1` trains the members of the table anew, for one epoch, and
says how well that tells what they are worth, and how well FLOPs do (Kendall's tau; 20 minutes on 2
cores for `droppable`). `--quick` trains one seed of 8 members for two epochs (a minute on 2 cores).
Both leave the table as it is.

Data: CIFAR-10 images, averaged down to the network's size. A member is trained on part of the
training images; its *selection* score is its accuracy on the others, the same for every member and
seed, its *test* score that on the test images. Schedule: the spec's.
"""

from __future__ import annotations

import argparse
import csv
import io
import multiprocessing
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from random import Random
from statistics import fmean, stdev
from typing import Any, Final

import numpy as np
import torch
from attrs import evolve, frozen
from scipy.stats import kendalltau
from tqdm import tqdm

from bayesnas.compiler.graph.cost import graph_cost
from bayesnas.compiler.pipeline import Compiled, compile_spec
from bayesnas.compiler.settings import TrainSettings, make_settings
from bayesnas.compiler.space.choices import Member, member_space
from bayesnas.compiler.space.draws import random_member
from bayesnas.compiler.space.members import group_costs, prune_to
from bayesnas.compiler.space.prices import Prices, best_member
from bayesnas.dsl.files import write_text
from bayesnas.runtime.data.dataset import Batches
from bayesnas.runtime.data.examples import Examples
from bayesnas.runtime.data.loading import load_data
from bayesnas.runtime.network.device import pick_device
from bayesnas.runtime.network.kernels import layout
from bayesnas.runtime.network.learning.learner import Learner
from bayesnas.runtime.network.memory import TEST
from bayesnas.runtime.network.modules import build
from bayesnas.runtime.network.training import evaluate
from benchmarks.common import BUILD, append, cifar_slice, finish, logged, need

HERE = Path(__file__).parent
MISSING: Final = "-"  # in a member's name: an edge that it has not


@frozen
class Table:
    """A space, the images its members are trained on, and how many of them.

    Args:
        name: of the files beside this one.
        size: of the images, pixels.
        train: training images of each class.
        test: test images of each class.
        held: of the training images, how many the selection score is of.
        seeds: of each member.
        sample: how many random members; 0 is every member.
    """

    name: str
    size: int
    train: int
    test: int
    held: int
    seeds: tuple[int, ...]
    sample: int = 0

    @property
    def spec(self) -> Path:
        """Of the space."""
        return HERE / f"{self.name}.nas"

    @property
    def csv(self) -> Path:
        """The table."""
        return HERE / f"{self.name}.csv"

    @property
    def log(self) -> Path:
        """All trainings so far, a line each."""
        return BUILD / f"{self.name}.jsonl"

    def data(self) -> str:
        """The images, for the command line's ``--data``."""
        return f"npz:{cifar_slice(self.train, self.test, self.size)}"

    def members(self, compiled: Compiled) -> dict[str, Member]:
        """What the table is of, by name, in random order: an unfinished table is a fair sample."""
        space, random = member_space(compiled.graph), Random(0)
        if not self.sample:
            every = {name_of(compiled, member): member for member in space.members()}
            names = list(every)
            random.shuffle(names)
            return {name: every[name] for name in names}
        prices = Prices.of(compiled.graph, ())
        biggest = best_member(space, group_costs(compiled.graph, "flops"), prices)
        assert biggest is not None
        drawn = {name_of(compiled, biggest): biggest}
        while len(drawn) <= self.sample:
            member = random_member(space, prices, random)
            drawn[name_of(compiled, member)] = member
        return drawn


TABLES: Final = {
    table.name: table
    for table in (
        Table("small_cell", 16, 500, 500, 1_000, (0, 1, 2)),
        Table("droppable", 32, 1_200, 1_000, 2_000, (0,), 100),
    )
}


def name_of(compiled: Compiled, member: Member) -> str:
    """A member's name in the table: of each searched edge in order, the number of its candidate."""
    digits = []
    for connection in member_space(compiled.graph).connections:
        kept = [str(n) for n, option in enumerate(connection.options) if option in member]
        digits.append(kept[0] if len(kept) == 1 else MISSING)
    return "".join(digits)


def member_of(compiled: Compiled, name: str) -> Member:
    """The member of that name."""
    connections = member_space(compiled.graph).connections
    return frozenset(
        connection.options[int(digit)]
        for digit, connection in zip(name, connections, strict=True)
        if digit != MISSING
    )


@frozen
class Job:
    """A training: of a member, with a seed, for so many epochs; None is what the spec says."""

    table: str
    member: str
    seed: int
    epochs: int | None = None
    device: str = "cpu"


def train_member(job: Job) -> dict[str, Any]:
    """Train one member with one seed; its scores."""
    torch.set_num_threads(1)
    start = time.perf_counter()
    table = TABLES[job.table]
    compiled = compile_spec(table.spec)
    data = load_data(table.data(), compiled.graph)
    fit, held = _split(data.train, table.held)
    graph = prune_to(compiled.graph, member_of(compiled, job.member))
    settings = make_settings(TrainSettings, compiled.settings("train"))
    if job.epochs is not None:
        settings = evolve(settings, epochs=job.epochs)
    device = pick_device(job.device)
    data, fit, held = data.to(device), fit.to(device), held.to(device)
    module, emitted = build(graph, table.spec.name, job.seed, layout=layout(graph, device))
    learner = Learner(module.to(device), emitted, graph, settings)
    generator = torch.Generator().manual_seed(job.seed)
    batches = Batches(data, fit, settings.batch_size, settings.augment, generator)
    losses = [fmean(learner.epoch(batches, epoch)) for epoch in range(settings.epochs)]
    cost = graph_cost(graph)
    return {
        "member": job.member,
        "seed": job.seed,
        "parameters": cost.parameters,
        "flops": cost.flops,
        "selection": evaluate(module, data, held, TEST).quality,
        "test": evaluate(module, data, data.test, TEST).quality,
        "train_losses": [round(loss, 4) for loss in losses],
        "torch": torch.__version__,
        "seconds": round(time.perf_counter() - start, 2),
    }


def _split(part: Examples, held: int) -> tuple[Examples, Examples]:
    """Examples to train on, and ``held`` others; drawn without regard to classes."""
    order = torch.randperm(len(part), generator=torch.Generator().manual_seed(0))
    return part.subset(order[held:]), part.subset(order[:held])


def train_all(jobs: Iterable[Job], log: Path, workers: int) -> list[dict[str, Any]]:
    """The scores of all jobs; those in the log are read, the others are trained and appended."""
    rows = logged(log)
    done = {(row["member"], row["seed"]) for row in rows}
    due = [job for job in jobs if (job.member, job.seed) not in done]
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        for row in tqdm(pool.imap_unordered(train_member, due), total=len(due), disable=None):
            append(log, row)
            rows.append(row)
    return rows


def as_csv(table: Table, rows: Iterable[dict[str, Any]]) -> str:
    """One row per member, the best by selection score first."""
    by_member: dict[str, list[dict[str, Any]]] = defaultdict(list)
    versions: Counter[str] = Counter()
    for row in sorted(rows, key=lambda row: int(row["seed"])):
        by_member[row["member"]].append(row)
        versions[row.get("torch", "unknown")] += 1
    entries = []
    for name, trainings in by_member.items():
        entry: dict[str, Any] = {"member": name}
        entry |= {key: trainings[0][key] for key in ("parameters", "flops")}
        for score in ("selection", "test"):
            values = [row[score] for row in trainings]
            entry[f"{score}_mean"] = round(fmean(values), 5)
            if len(table.seeds) > 1:
                entry[f"{score}_std"] = round(stdev(values), 5)
        entries.append(entry)
    entries.sort(key=lambda entry: (-entry["selection_mean"], entry["member"]))
    text = io.StringIO()
    text.write(f"# Made by `python -m benchmarks.quality.table {table.name}` (see there), ")
    made = ", ".join(f"{version} ({count} trainings)" for version, count in versions.items())
    text.write(f"torch {made}, seeds {', '.join(map(str, table.seeds))}.\n")
    writer = csv.DictWriter(text, list(entries[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(entries)
    return text.getvalue()


def agreement(table: Table, short: Iterable[dict[str, Any]]) -> dict[str, float]:
    """Kendall's tau with the test accuracies of the table, of FLOPs and of short trainings."""
    worth = {row["member"]: float(row["test_mean"]) for row in read_csv(table)}
    rows = [row for row in short if row["member"] in worth]
    true = [worth[row["member"]] for row in rows]
    signs = {"flops": 1, "selection": 1, "train_losses": -1}
    told = {key: [np.ravel(row[key])[-1] * sign for row in rows] for key, sign in signs.items()}
    return {key: round(float(kendalltau(values, true)[0]), 2) for key, values in told.items()}


def read_csv(table: Table) -> list[dict[str, str]]:
    """The rows of the committed table."""
    lines = need(table.csv).read_text("utf-8").splitlines()
    return [*csv.DictReader(line for line in lines if not line.startswith("#"))]


def main() -> None:
    """Train, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("table", choices=TABLES)
    parser.add_argument("--quick", action="store_true", help="8 members, 2 epochs; no table")
    parser.add_argument(
        "--unfinished", action="store_true", help="train nothing; the table of what there is"
    )
    parser.add_argument("--short", type=int, metavar="EPOCHS", help="what so few epochs tell")
    parser.add_argument("--workers", type=int, default=2, help="processes; default %(default)s")
    parser.add_argument("--device", default="cpu", help="default %(default)s")
    options = parser.parse_args()
    table = TABLES[options.table]
    members = table.members(compile_spec(table.spec))
    table.data()  # made once, before the processes
    start = time.perf_counter()
    if options.quick:
        quick, log = list(members)[:8], BUILD / f"{table.name}_quick.jsonl"
        log.unlink(missing_ok=True)
        jobs = [Job(table.name, name, 0, 2, options.device) for name in quick]
        rows = train_all(jobs, log, options.workers)
    elif options.short:
        log = BUILD / f"{table.name}_{options.short}.jsonl"
        jobs = [Job(table.name, name, 0, options.short, options.device) for name in members]
        rows = train_all(jobs, log, options.workers)
        for key, tau in agreement(table, rows).items():
            print(f"tau of {key} with the accuracy after all epochs: {tau}")
    else:
        jobs = [
            Job(table.name, name, seed, device=options.device)
            for seed in table.seeds
            for name in members
        ]
        rows = train_all([] if options.unfinished else jobs, table.log, options.workers)
        write_text(table.csv, as_csv(table, (row for row in rows if row["member"] in members)))
    best = max(rows, key=lambda row: row["selection"])
    finish(
        "quality/table",
        table=table.name,
        quick=options.quick,
        trainings=len(rows),
        seconds_each=round(fmean(row["seconds"] for row in rows), 2),
        seconds=round(time.perf_counter() - start, 1),
        best=best,
    )


if __name__ == "__main__":
    main()
