"""Judge strategies on spaces whose members' accuracies are known: one table, and the worst of it.

    python -m benchmarks.quality
    python -m benchmarks.quality --spaces small_cell --strategies posterior,random --seeds 0,1

All spaces, strategies and budgets take about 20 hours on 2 cores. What was searched stays in
build/benchmarks/ and is not searched again by the same code, so an interrupted run goes on;
`--unfinished` prints what there is. `--quick` judges two strategies with one seed on a small number
of images (about five minutes on 2 cores) and is no measure of quality.

Every strategy has the same supernet, data and training steps; `darts`, of which a step takes two
batches, has half of them, and `largest` none. Budgets are FLOPs of the found network: none, half or
a quarter of the biggest member's, or a number (NAS-Bench-Macro: `60M`). Settings were chosen on
seeds from 10 on; 0 to 4 are for reporting. "Better" is the share of the members inside the budget
that have a higher test accuracy than what was found: the mean over seeds, and of the worst one.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bayesnas.compiler.settings import STRATEGIES
from bayesnas.dsl.amounts import amount_value
from benchmarks.common import finish, need, numbers
from benchmarks.quality.calibration import calibration, draw_calibration, print_calibration
from benchmarks.quality.judge import Job, Row, best_of_random, run_all, summary
from benchmarks.quality.spaces import SPACES

Table = Mapping[str, Row]


def words(known: Sequence[str], what: str) -> Any:
    """A reader of lists with commas, for argparse."""

    def read(text: str) -> list[str]:
        for name in (names := text.split(",")):
            if name not in known:
                raise argparse.ArgumentTypeError(f"no {what} `{name}`: {', '.join(known)}")
        return names

    return read


def limits(text: str) -> list[str]:
    """Budgets of a command line: by name, or numbers of FLOPs."""
    for budget in (given := text.split(",")):
        if budget not in ("none", "half", "quarter"):
            try:
                amount_value(budget)
            except ValueError:
                message = f"no budget `{budget}`: none, half, quarter, or FLOPs, as in 60M"
                raise argparse.ArgumentTypeError(message) from None
    return given


def option(text: str) -> tuple[str, Any]:
    """NAME=VALUE of a search."""
    name, _, value = text.partition("=")
    return name, float(value) if value.replace(".", "", 1).isdigit() else value


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="two small searches")
    there = [name for name, space in SPACES.items() if space.file.exists()]
    parser.add_argument(
        "--spaces",
        type=words(list(SPACES), "space"),
        default=there,
        help=f"some of {', '.join(SPACES)}; default those whose table is there: {', '.join(there)}",
    )
    parser.add_argument(
        "--strategies", type=words(list(STRATEGIES), "strategy"), default=list(STRATEGIES)
    )
    parser.add_argument(
        "--budgets",
        type=limits,
        help="default none, half and quarter, and 60M on macro",
    )
    parser.add_argument("--seeds", type=numbers, default=[0, 1, 2, 3, 4], help="default 0 to 4")
    parser.add_argument("--workers", type=int, default=2, help="processes; default %(default)s")
    parser.add_argument("--device", default="auto", help="default %(default)s")
    parser.add_argument("--option", type=option, action="append", default=[], help="NAME=VALUE")
    parser.add_argument("--unfinished", action="store_true", help="search nothing")
    parser.add_argument("--figure", type=Path, help="where to draw how sure searches are, an .svg")
    return parser.parse_args()


def print_table(place: str, table: Table) -> None:
    """The strategies on one space and budget, for people; the best first."""
    print(f"\n{place}")
    head = (
        "strategy",
        "test, %",
        "seeds",
        "better",
        "worst",
        "regret",
        "trained",
        "judged",
        "s",
        "of it steps",
    )
    print("".join(f"{name:>16}" for name in head))
    for name, row in sorted(table.items(), key=lambda item: -item[1]["mean"]):
        cells = (
            name,
            f"{row['mean']:.2f} ± {row['deviation']:.2f}",
            str(row["seeds"]),
            f"{row['better_members']:.1%}",
            f"{row['worst_seed']:.1%}",
            f"{row['regret']:.2f}",
            f"{row['images_trained']:,.0f}",
            f"{row['images_judged']:,.0f}",
            f"{row['seconds']:.0f}",
            f"{row['training']:.0%}",
        )
        print("".join(f"{cell:>16}" for cell in cells))


def print_worst(tables: Mapping[str, Table]) -> None:
    """Of each strategy, where it did worst."""
    print("\nworst of all spaces and budgets (of a strategy on n of them)")
    for name in STRATEGIES:
        rows = {place: table[name] for place, table in tables.items() if name in table}
        if rows:
            mean = max(rows, key=lambda place: rows[place]["better_members"])
            seed = max(rows, key=lambda place: rows[place]["worst_seed"])
            print(
                f"{name:>12} ({len(rows)}): {rows[mean]['better_members']:.1%} better on average "
                f"({mean}), {rows[seed]['worst_seed']:.1%} with the worst seed ({seed})"
            )


def main() -> None:
    """Search with every strategy and seed on every space, and look up what was found."""
    options = parsed()
    strategies, seeds = options.strategies, options.seeds
    budgets = {name: options.budgets or SPACES[name].budgets for name in options.spaces}
    if options.quick:
        budgets = dict.fromkeys(budgets, ("none",))
        strategies, seeds = ["posterior", "random"], [0]
    for space in options.spaces:  # here, since a process of the pool cannot end the program
        need(SPACES[space].file)
        SPACES[space].data(options.quick)
    jobs = [
        Job(space, budget, strategy, seed, tuple(options.option), options.quick, options.device)
        for seed in seeds
        for space in options.spaces
        for budget in budgets[space]
        for strategy in strategies
    ]
    rows = run_all(jobs, 0 if options.unfinished else options.workers)
    tables, random = {}, {}
    for space in options.spaces:
        for budget in budgets[space]:
            here = [row for row in rows if (row["space"], row["budget"]) == (space, budget)]
            if not here:
                continue
            accuracies = SPACES[space].accuracies(SPACES[space].limit(budget))
            place = f"{space}, budget {budget}"
            tables[place] = summary(here, accuracies)
            print_table(place, tables[place])
            random[place] = {
                n: best_of_random(accuracies, n) for n in (1, 10, 100) if n <= len(accuracies)
            }
            for n, value in random[place].items():
                print(f"best of {n} random members, each trained in full: {value:.2f} %")
    print_worst(tables)
    sure = calibration(rows)
    print_calibration(sure)
    if options.figure:
        draw_calibration(sure, options.figure)
    finish("quality", quick=options.quick, tables=tables, random=random, calibration=sure)


if __name__ == "__main__":
    main()
