"""What both judges share: searches in processes of their own, and what their finds are worth."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import multiprocessing
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from math import comb, hypot
from pathlib import Path
from statistics import NormalDist, fmean, stdev
from typing import Any

import torch
from attrs import define, field, frozen
from tqdm import tqdm

from bayesnas.commands.values import parse_budgets
from bayesnas.compiler.pipeline import compile_spec
from bayesnas.compiler.settings import STRATEGIES, SearchSettings, make_settings
from bayesnas.compiler.space.choices import Member
from bayesnas.dsl.diagnostics import DiagnosticError
from bayesnas.runtime.data.registry import DataOptions
from bayesnas.runtime.jobs.search import search
from bayesnas.runtime.jobs.space import Space
from bayesnas.runtime.runs.folder import RunOptions
from bayesnas.runtime.runs.reading import read_result
from bayesnas.runtime.runs.schemas import SEARCHED


@frozen
class Job:
    """One search: everything in words and numbers, so that it can go to another process."""

    spec: str
    data: str
    strategy: str
    seed: int
    settings: tuple[tuple[str, Any], ...] = ()
    budgets: tuple[str, ...] = ()
    proxy: tuple[tuple[str, int], ...] = ()


@define
class Found:
    """What a search found, by tied groups.

    ``standings`` are the losses that it believes of judged members, each with its error.
    """

    job: Job
    kept: Member
    images_trained: int = 0
    images_evaluated: int = 0
    seconds: float = 0.0
    scores: dict[str, float] = field(factory=dict)
    standings: list[tuple[Member, float, float]] = field(factory=list)


def strategy_names(text: str) -> list[str]:
    """The strategies of a command line; argparse's refusal where one is unknown."""
    names = text.split(",")
    for name in names:
        if name not in STRATEGIES:
            raise argparse.ArgumentTypeError(f"no strategy `{name}`: {', '.join(STRATEGIES)}")
    return names


def run(job: Job) -> Found:
    """Search as the command line does."""
    torch.set_num_threads(1)
    wanted = compile_spec(job.spec)
    proxy = compile_spec(job.spec, dict(job.proxy)) if job.proxy else None
    values = wanted.settings("search") | dict(job.settings) | {"strategy": job.strategy}
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        out = Path(folder) / "run"
        options = RunOptions(job.data, out, seed=job.seed, data_options=DataOptions())
        search(
            Space(wanted, proxy, parse_budgets(job.budgets)),
            make_settings(SearchSettings, values),
            options,
        )
        result = read_result(out, SEARCHED)
        rows, members = _lines(out / "gates.jsonl"), _lines(out / "members.jsonl")
    kept = frozenset(row["group"] for row in rows if row["removed_by"] in (None, "dead"))
    found = Found(
        job, kept, result["images_trained"], result["images_evaluated"], result["seconds"]
    )
    found.standings = [(frozenset(m["member"]), m["loss"], m["error"]) for m in members]
    return found


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def run_all(jobs: Sequence[Job], workers: int) -> list[Found]:
    """All jobs, in processes of one thread each; what fails is said and left out."""
    found = []
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        results = pool.imap_unordered(_attempt, jobs)
        for result in tqdm(results, total=len(jobs), disable=None):
            if isinstance(result, str):
                print(result, flush=True)
            else:
                found.append(result)
    order = {job: n for n, job in enumerate(jobs)}
    return sorted(found, key=lambda f: order[f.job])


def _attempt(job: Job) -> Found | str:
    try:
        return run(job)
    except DiagnosticError as error:
        return f"{job.strategy}, seed {job.seed}, failed: {error}"


def standing(score: float, scores: Sequence[float]) -> float:
    """The share of all members that are better."""
    return sum(other > score for other in scores) / len(scores)


def best_of_random(choose_by: Sequence[float], shown: Sequence[float], n: int) -> float:
    """Expected ``shown`` score of the best by ``choose_by`` of n random different members."""
    order = sorted(range(len(shown)), key=lambda k: -choose_by[k])
    total = comb(len(order), n)
    return sum(comb(len(order) - 1 - k, n - 1) / total * shown[i] for k, i in enumerate(order))


def print_reliability(found: Sequence[Found], score: Callable[[Member], float]) -> None:
    """How sure searches are of the order of two judged members, and how often they are right.

    Errors are taken to be independent. ``score`` is what a member is worth, by the table.
    """
    pairs: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for one in found:
        rows = [(loss, error, score(member)) for member, loss, error in one.standings]
        for (loss, error, worth), (other, its_error, its_worth) in combinations(rows, 2):
            sure = NormalDist().cdf(abs(other - loss) / max(hypot(error, its_error), 1e-12))
            right = 0.5 if worth == its_worth else float((loss < other) == (worth > its_worth))
            pairs[min(int(10 * sure), 9)].append((sure, right))
    for _, group in sorted(pairs.items()):
        said, true = (fmean(values) for values in zip(*group, strict=True))
        print(f"of {len(group):,} pairs said to be in order with {said:.0%}, {true:.0%} are")


def summary(found: Sequence[Found], best: float, scores: Sequence[float]) -> dict[str, Any]:
    """Of all strategies: mean and deviation over seeds, rank, regret, cost."""
    by_name: Mapping[str, list[Found]] = defaultdict(list)
    for one in found:
        by_name[one.job.strategy].append(one)
    table = {}
    for name, group in by_name.items():
        values = [one.scores["test"] for one in group]
        table[name] = {
            "mean": fmean(values),
            "deviation": stdev(values) if len(values) > 1 else 0.0,
            "seeds": len(values),
            "better_members": fmean(standing(value, scores) for value in values),
            "regret": best - fmean(values),
            "images_trained": fmean(one.images_trained for one in group),
            "images_evaluated": fmean(one.images_evaluated for one in group),
            "seconds": fmean(one.seconds for one in group),
        }
    return table


def print_summary(table: Mapping[str, Mapping[str, Any]], scale: float, unit: str) -> None:
    """The table for people."""
    head = ("strategy", f"test {unit}", "better members", "regret", "images", "judged", "seconds")
    print("".join(f"{name:>18}" for name in head))
    for name, row in sorted(table.items(), key=lambda item: -item[1]["mean"]):
        cells = (
            name,
            f"{scale * row['mean']:.2f} ± {scale * row['deviation']:.2f}",
            f"{row['better_members']:.1%}",
            f"{scale * row['regret']:.2f}",
            f"{row['images_trained']:,.0f}",
            f"{row['images_evaluated']:,.0f}",
            f"{row['seconds']:.0f}",
        )
        print("".join(f"{cell:>18}" for cell in cells))
