"""How sure `posterior` is, against what is so in the tables.

What is said is a chance: that one of two judged members is better, that a judged member's loss is
within 1 % of the best's, that the best member has an option. By tenths of it: how often it is so.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from math import hypot
from pathlib import Path
from statistics import NormalDist, fmean, pvariance
from typing import Any, Final, TypeAlias

from matplotlib.figure import Figure

from bayesnas.runtime.strategies.posterior.strategy import CLOSE
from benchmarks.quality.spaces import SPACES

Row: TypeAlias = dict[str, Any]
Said: TypeAlias = tuple[float, float]  # a chance, and whether it is so: 1, 0, or 0.5 for neither
Tenths: TypeAlias = list[tuple[int, float, float]]  # how many, the mean said, the share that is so


def tenths(said: Iterator[Said]) -> Tenths:
    """By tenths of what is said."""
    groups: dict[int, list[Said]] = defaultdict(list)
    for chance, true in said:
        groups[min(int(10 * chance), 9)].append((chance, true))
    return [
        (len(group), fmean(chance for chance, _ in group), fmean(true for _, true in group))
        for _, group in sorted(groups.items())
    ]


def orders(rows: Sequence[Row]) -> Iterator[Said]:
    """Of two judged members, that the one with the lower loss is better; errors as independent."""
    for row in rows:
        for (worth, loss, error, _), (its_worth, other, its_error, _) in combinations(
            row["standings"], 2
        ):
            sure = NormalDist().cdf(abs(other - loss) / max(hypot(error, its_error), 1e-12))
            yield sure, 0.5 if worth == its_worth else float((loss < other) == (worth > its_worth))


def closeness(rows: Sequence[Row]) -> Iterator[Said]:
    """Of a judged member, that its loss is within 1 % of the best's.

    Tables have accuracies: a nat is as many points as members of one space and budget spread in
    accuracy for one that they spread in loss.
    """
    places: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        places[row["space"], row["budget"]].append(row)
    for (space, budget), here in places.items():
        judged = [entry for row in here for entry in row["standings"]]
        if len(judged) < 2:
            continue
        spread = pvariance(worth for worth, *_ in judged)
        losses = pvariance(loss for _, loss, *_ in judged) + fmean(e * e for _, _, e, _ in judged)
        points = (spread / losses) ** 0.5
        best = max(SPACES[space].accuracies(SPACES[space].limit(budget)))
        for row in here:
            least = min((loss for _, loss, *_ in row["standings"]), default=0.0)
            for worth, _, _, close in row["standings"]:
                yield close, float(worth >= best - points * CLOSE * abs(least))


def options(rows: Sequence[Row]) -> Iterator[Said]:
    """Of an option, that the best member has it."""
    for row in rows:
        for chance, has in row["options"]:
            yield chance, float(has)


STATEMENTS: Final[Mapping[str, Callable[[Sequence[Row]], Iterator[Said]]]] = {
    "the better of two judged members": orders,
    "within 1 % of the best's loss": closeness,
    "the best member has the option": options,
}


def calibration(rows: Sequence[Row]) -> dict[str, Tenths]:
    """Of each statement, by tenths of the chance that is said."""
    searches = [row for row in rows if row["standings"]]
    return {what: tenths(say(searches)) for what, say in STATEMENTS.items()}


def print_calibration(found: Mapping[str, Tenths]) -> None:
    """For people."""
    for what, groups in found.items():
        if groups:
            print(f"\n{what}: said with a chance of, %; so in, %; how often said")
        for count, said, true in groups:
            print(f"{said:>8.1%}{true:>8.1%}{count:>8,}")


def draw_calibration(found: Mapping[str, Tenths], file: Path) -> None:
    """What is said against what is so; areas are how often it is said, up to a root."""
    figure = Figure(figsize=(11, 3.9), layout="constrained")
    for axes, (what, groups) in zip(figure.subplots(1, len(found)), found.items(), strict=True):
        axes.plot([0, 100], [0, 100], color="#999999", linewidth=1)
        said, true = ([100 * group[k] for group in groups] for k in (1, 2))
        most = max((count for count, _, _ in groups), default=1)
        axes.scatter(said, true, s=[160 * (count / most) ** 0.5 for count, _, _ in groups])
        count = sum(count for count, _, _ in groups)
        axes.set(title=what, xlabel=f"said, % ({count:,} times)", ylabel="so, %")
        axes.set(xlim=(-2, 102), ylim=(-2, 102))
        axes.title.set_size(10)
    figure.savefig(file, metadata={"Date": None})
