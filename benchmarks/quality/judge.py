"""Searches in processes of their own, and what their finds are worth."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import multiprocessing
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache
from math import comb
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Final

import torch
from attrs import field, frozen
from tqdm import tqdm

from bayesnas.compiler.graph.model import BudgetConstraint
from bayesnas.compiler.pipeline import compile_spec
from bayesnas.compiler.settings import SearchSettings, make_settings
from bayesnas.dsl.diagnostics import DiagnosticError
from bayesnas.runtime.data.registry import DataOptions
from bayesnas.runtime.jobs.search.search import search
from bayesnas.runtime.jobs.search.space import Space
from bayesnas.runtime.runs.reading import read_result
from bayesnas.runtime.runs.record import RunOptions
from bayesnas.runtime.runs.schemas import SEARCHED
from benchmarks.common import BUILD, ROOT, append, logged
from benchmarks.quality.spaces import SPACES

LOG: Final = BUILD / "quality.jsonl"
DECIDES: Final = ("runtime/strategies", "runtime/supernet")  # folders whose code makes a find

Row = dict[str, Any]


@cache
def code() -> str:
    """A hash of the sources that decide what a search finds."""
    digest = hashlib.sha256()
    for folder in DECIDES:
        for path in sorted((ROOT / folder).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


@frozen
class Job:
    """One search, in words and numbers, so that it can go to another process.

    Its row is the same whatever the device, but for rounding and seconds.
    """

    space: str
    budget: str
    strategy: str
    seed: int
    options: tuple[tuple[str, Any], ...] = ()
    quick: bool = False
    device: str = "auto"
    code: str = field(factory=code)

    @property
    def key(self) -> Row:
        """By which its row is known again: itself, and the code that it runs."""
        settings = SPACES[self.space].own(self.strategy, self.quick) | dict(self.options)
        key = {name: getattr(self, name) for name in ("space", "budget", "strategy", "seed")}
        return key | {"settings": settings, "code": self.code}


def run(job: Job) -> Row:
    """Search as the command line does; what was found, what it cost, what it is worth.

    ``standings`` are of judged members in the table: accuracy, loss that is believed, its error,
    the chance to be within 1 % of the best's. ``options`` are of options: the chance that the best
    member has it, and whether that of the table does.
    """
    torch.set_num_threads(1)
    space, key = SPACES[job.space], job.key
    proxy = compile_spec(space.spec, dict(space.proxy)) if space.proxy else None
    limit = space.limit(job.budget)
    budgets = () if limit is None else (BudgetConstraint("flops", limit),)
    values = space.compiled.settings("search") | key["settings"] | {"strategy": job.strategy}
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        out = Path(folder) / "run"
        options = RunOptions(
            space.data(job.quick), out, job.seed, job.device, data_options=DataOptions()
        )
        search(
            Space(space.compiled, proxy, budgets), make_settings(SearchSettings, values), options
        )
        result = read_result(out, SEARCHED)
        names = ("gates.jsonl", "members.jsonl", "history.jsonl")
        gates, members, history = (logged(out / name) for name in names)
    member = frozenset(row["group"] for row in gates if row["removed_by"] in (None, "dead"))
    best = space.best(limit)
    chances = {row["group"]: row["chance"] for row in gates} if members else {}
    worths = [
        (space.worth(frozenset(m["member"])), m["loss"], m["error"], m["close"]) for m in members
    ]
    return key | {
        "member": space.member_name(member),
        "test": space.train(member, job.device, job.quick),
        "flops": result["found"]["flops"],
        "images_trained": result["images_trained"],
        "images_judged": result["images_evaluated"],
        "seconds": result["seconds"],
        "seconds_training": history[-1]["seconds_training"],
        "standings": [row for row in worths if row[0] is not None],
        "options": [(chance, group in best) for group, chance in chances.items()],
    }


def run_all(jobs: Sequence[Job], workers: int, log: Path = LOG) -> list[Row]:
    """All jobs, in processes of one thread each; those in the log are read.

    What fails is said and left out; without workers nothing is searched.
    """
    rows = {_name(row): row for row in logged(log)}
    due = [job for job in jobs if workers and _name(job.key) not in rows]
    with multiprocessing.get_context("spawn").Pool(max(1, workers)) as pool:
        for result in tqdm(pool.imap_unordered(_attempt, due), total=len(due), disable=None):
            if isinstance(result, str):
                print(result, flush=True)
            else:
                append(log, result)
                rows[_name(result)] = result
    return [rows[name] for job in jobs if (name := _name(job.key)) in rows]


def _name(row: Row) -> str:
    keys = ("space", "budget", "strategy", "seed", "settings", "code")
    return json.dumps([row[key] for key in keys], sort_keys=True)


def _attempt(job: Job) -> Row | str:
    try:
        return run(job)
    except DiagnosticError as error:
        return f"{job.space}, {job.budget}, {job.strategy}, seed {job.seed}, failed: {error}"


def standing(accuracy: float, others: Sequence[float]) -> float:
    """The share of members that are better."""
    return sum(other > accuracy for other in others) / len(others)


def best_of_random(accuracies: Sequence[float], n: int) -> float:
    """Expected accuracy of the best of n random different members, each trained in full."""
    order = sorted(accuracies, reverse=True)
    total = comb(len(order), n)
    return sum(comb(len(order) - 1 - k, n - 1) / total * best for k, best in enumerate(order))


def summary(rows: Sequence[Row], accuracies: Sequence[float]) -> Mapping[str, Row]:
    """Of all strategies on one space and budget: mean, deviation over seeds, rank, regret, cost."""
    by_name: Mapping[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_name[row["strategy"]].append(row)
    table = {}
    for name, group in by_name.items():
        tests = [row["test"] for row in group]
        better = [standing(test, accuracies) for test in tests]
        table[name] = {
            "mean": fmean(tests),
            "deviation": stdev(tests) if len(tests) > 1 else 0.0,
            "seeds": len(tests),
            "better_members": fmean(better),
            "worst_seed": max(better),
            "regret": max(accuracies) - fmean(tests),
        }
        for cost in ("images_trained", "images_judged", "seconds"):
            table[name][cost] = fmean(row[cost] for row in group)
        steps = [
            row.get("seconds_training", 0.0) / row["seconds"] for row in group if row["seconds"]
        ]
        table[name]["training"] = fmean(steps) if steps else 0.0
    return table
