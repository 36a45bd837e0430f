"""Judge strategies on paths: search `nasbench_macro`, look the found chain up in its table.

    python -m benchmarks.quality.macro

Takes some 80 minutes on 2 cores: 3 seeds of every strategy, without a budget and under 60 MFLOPs
(half of it with `--budgets 60M`). `--quick` runs one budgeted search on 2,000 images (50 seconds)
and is no measure of quality. Supernets have a quarter of the channels (`--proxy width=8`); budgets
are those of the whole network, by the table's own count.

Data: 25,000 CIFAR-10 training images (2,500 of each class), of which a fifth trains nothing. The
table holds the test accuracies of all 6,561 chains after full training (Su et al., CVPR 2021).
A search trains on 60,000 images, 3 passes over what trains, and draws 24 members; what it judges is
counted apart. With `--long` it trains on 232,000, less than 10 passes over all, by settings that
were chosen on seeds 10 to 12; under the budget that is no better. Reported are seeds 0 to 2.
"""

from __future__ import annotations

import argparse
import csv
from typing import Any

from bayesnas.compiler.pipeline import compile_spec
from bayesnas.compiler.settings import STRATEGIES
from bayesnas.compiler.space.choices import Member, member_space
from benchmarks.common import MACRO_TABLE, cifar_slice, finish, need
from benchmarks.quality.judge import (
    Found,
    Job,
    best_of_random,
    print_reliability,
    print_summary,
    run_all,
    strategy_names,
    summary,
)

SPEC = "nasbench_macro"
BUDGET = 60_000_000
SETTINGS = {"warmup_epochs": 1.8, "rounds": 4, "epochs": 0.3, "draws": 24}
LONG = {"warmup_epochs": 8.0, "rounds": 4, "epochs": 0.9, "batch_size": 32, "draws": 24}
QUICK = {"warmup_epochs": 0.4, "rounds": 2, "curvature_examples": 256, "draws": 4}
PER_CLASS, QUICK_PER_CLASS = 2500, 200


def read_table() -> dict[str, tuple[float, int]]:
    """Of every chain, its test accuracy in percent and its FLOPs."""
    with need(MACRO_TABLE).open() as file:
        return {
            row["architecture"]: (float(row["test_accuracy_mean"]), int(row["flops"]))
            for row in csv.DictReader(file)
        }


def chain_of(member: Member) -> str:
    """The name of a member in the table: of each layer, 0 identity, 1 or 2."""
    space = member_space(compile_spec(SPEC).graph)
    digits = []
    for connection in space.connections:
        options = list(connection.options)
        if space.droppable(connection):
            options.insert(0, "")  # only the residual is left
        kept = [n for n, option in enumerate(options) if option in member]
        digits.append(str(kept[0] if kept else 0))
    return "".join(digits)


def judge(found: list[Found], limit: int | None) -> dict[str, Any]:
    """Print and return how good the chains are among those inside the limit."""
    table = read_table()
    inside = [accuracy for accuracy, flops in table.values() if limit is None or flops <= limit]
    for one in found:
        chain = chain_of(one.kept)
        accuracy, flops = table[chain]
        one.scores = {"test": accuracy}
        kind = f"{one.job.strategy}, seed {one.job.seed}"
        print(f"{kind:>20}: {chain}  {accuracy:.2f} %, {flops / 1e6:.1f} MFLOPs")
    judged = summary(found, max(inside), inside)
    print_summary(judged, 1, "accuracy, %")
    print_reliability(found, lambda member: table[chain_of(member)][0])
    random = {n: best_of_random(inside, inside, n) for n in (1, 10, 100)}
    for n, value in random.items():
        print(f"best of {n} random members by the table itself: {value:.2f} %")
    return {"strategies": judged, "random": random}


def own(strategy: str, settings: dict[str, float]) -> dict[str, float]:
    """Settings of a strategy: a step of `darts` takes two batches, so it gets half of the steps."""
    return settings | {"epochs": settings["epochs"] / 2} if strategy == "darts" else settings


def main() -> None:
    """Search with and without a budget."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="one small search")
    size.add_argument("--long", action="store_true", help="train on 232,000 images a search")
    parser.add_argument("--strategies", type=strategy_names, default=",".join(STRATEGIES))
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--width", type=int, default=8, help="channels; 32 are the table's")
    parser.add_argument("--budgets", default="none,60M", help="default %(default)s")
    parser.add_argument("--workers", type=int, default=2, help="processes; default %(default)s")
    parser.add_argument("--option", action="append", default=[], help="NAME=NUMBER of the search")
    options = parser.parse_args()
    settings = dict(LONG if options.long else SETTINGS)
    strategies, seeds = options.strategies, options.seeds.split(",")
    budgets = options.budgets.split(",")
    per_class = PER_CLASS
    if options.quick:
        strategies, seeds, budgets = ["evidence"], ["0"], ["60M"]
        settings, per_class = settings | QUICK, QUICK_PER_CLASS
    settings |= {name: float(v) for name, _, v in (o.partition("=") for o in options.option)}
    data = f"npz:{cifar_slice(per_class, 10, 32)}"
    jobs = [
        Job(
            SPEC,
            data,
            strategy,
            int(seed),
            tuple(own(strategy, settings).items()),
            () if budget == "none" else (f"flops={budget}",),
            (("width", options.width),),
        )
        for budget in budgets
        for seed in seeds
        for strategy in strategies
    ]
    found = run_all(jobs, options.workers)
    figures = {}
    for budget in budgets:
        print(f"\nbudget: {budget}")
        limit = None if budget == "none" else BUDGET
        figures[budget] = judge([f for f in found if bool(f.job.budgets) == bool(limit)], limit)
    finish("quality/macro", quick=options.quick, settings=settings, **figures)


if __name__ == "__main__":
    main()
