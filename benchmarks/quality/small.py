"""Judge strategies by the table of `small_cell.nas`: what would be had by training every member.

    python -m benchmarks.quality.small

Takes about 15 minutes on 2 cores: 7 strategies, 5 seeds each, 85,000 images a search. `--quick`
judges two strategies with one seed and 8,000 images (40 seconds). Every strategy has the same
supernet, data and training steps; a step of `darts` takes two batches, and `largest` takes none.

Settings were chosen on seeds 10 to 27 by the selection score; reported are other seeds, by the
test score. "Better members" is the share of all members whose mean test accuracy is higher.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import Any

from bayesnas.compiler.pipeline import compile_spec
from bayesnas.compiler.settings import STRATEGIES
from benchmarks.common import finish
from benchmarks.quality.judge import (
    Job,
    best_of_random,
    print_reliability,
    print_summary,
    run_all,
    strategy_names,
    summary,
)
from benchmarks.quality.table import TABLES, name_of

SMALL_CELL = TABLES["small_cell"]
SETTINGS = {"warmup_epochs": 16 / 3, "rounds": 6, "epochs": 8 / 3}  # of 4,000 images
QUICK = {"warmup_epochs": 0.8, "rounds": 3, "epochs": 0.4}


def read_table(path: Path) -> dict[str, dict[str, float]]:
    """The scores of every member by name."""
    lines = [line for line in path.read_text("utf-8").splitlines() if not line.startswith("#")]
    return {
        row.pop("member"): {key: float(value) for key, value in row.items()}
        for row in csv.DictReader(lines)
    }


def main() -> None:
    """Search with every strategy and seed, and look up what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="two strategies, one seed")
    parser.add_argument("--strategies", type=strategy_names, default=",".join(STRATEGIES))
    parser.add_argument("--seeds", default="0,1,2,3,4")
    parser.add_argument("--workers", type=int, default=2, help="processes; default %(default)s")
    parser.add_argument("--option", action="append", default=[], help="NAME=VALUE of the search")
    options = parser.parse_args()
    strategies, seeds = options.strategies, options.seeds.split(",")
    if options.quick:
        strategies, seeds = ["evidence", "random"], ["0"]
    settings: dict[str, Any] = dict(QUICK if options.quick else SETTINGS)
    for text in options.option:
        name, _, value = text.partition("=")
        settings[name] = float(value) if value.replace(".", "", 1).isdigit() else value
    data = SMALL_CELL.data()
    jobs = [
        Job(str(SMALL_CELL.spec), data, strategy, int(seed), tuple(settings.items()))
        for strategy in strategies
        for seed in seeds
    ]
    table, compiled = read_table(SMALL_CELL.csv), compile_spec(SMALL_CELL.spec)
    found = run_all(jobs, options.workers)
    for one in found:
        name = name_of(compiled, one.kept)
        one.scores = {"test": table[name]["test_mean"], "selection": table[name]["selection_mean"]}
        print(f"{one.job.strategy:>10}, seed {one.job.seed}: {name}  {one.scores}")
    tests = [row["test_mean"] for row in table.values()]
    selections = [row["selection_mean"] for row in table.values()]
    judged = summary(found, max(tests), tests)
    print_summary(judged, 100, "accuracy, %")
    print_reliability(found, lambda member: table[name_of(compiled, member)]["test_mean"])
    random = {n: best_of_random(selections, tests, n) for n in (1, 10, 100)}
    for n, value in random.items():
        print(f"best of {n} random members, fully trained and chosen by selection: {value:.2%}")
    finish(
        "quality/small", quick=options.quick, settings=settings, strategies=judged, random=random
    )


if __name__ == "__main__":
    main()
