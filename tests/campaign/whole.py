"""The whole campaign, on several processes: its progress, its figures, what it found."""

from __future__ import annotations

import argparse
import multiprocessing
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from attrs import define, field, frozen
from tqdm import tqdm

from campaign.flips import flip
from campaign.kills import Killed, kill
from campaign.lies import lie
from campaign.native import NativeChecks, native_checks
from campaign.runs import Workshop

_GOOD: Final = ("same", "refused", "told")
Outcome = tuple[str, str]  # in a word, and what it is about


def _killed(workshop: Workshop, number: int, seed: int) -> Outcome:
    done: Killed = kill(workshop, number, seed)
    return (done.fault or "same"), f"run {number}, {done.signals} signals"


PARTS: Final[dict[str, Callable[[Workshop, int, int], Outcome]]] = {
    "kills": _killed,
    "lies": lie,
    "flips": flip,
}


@frozen
class _Task:
    """One trial of a part of the campaign."""

    part: str
    number: int
    seed: int
    root: Path

    def run(self) -> tuple[str, Outcome]:
        """What comes of it."""
        try:
            outcome = PARTS[self.part](Workshop(self.root), self.number, self.seed)
        except AssertionError as error:
            outcome = f"the campaign itself fails: {error}", f"trial {self.number}"
        return self.part, outcome


@define
class Figures:
    """What came of all trials, by part; native checks are counted apart."""

    came: dict[str, Counter[str]] = field(factory=dict)
    faults: list[str] = field(factory=list)
    compared: int = 0

    def add(self, part: str, outcome: Outcome) -> None:
        """One more."""
        word, about = outcome
        good = word in _GOOD
        self.came.setdefault(part, Counter())[word if good else "wrong"] += 1
        if not good:
            self.faults.append(f"{part}: {about}: {word}")

    def add_native(self, checks: NativeChecks) -> None:
        """Operations that were compared."""
        self.compared += checks.compared
        self.faults += [f"native: {fault}" for fault in checks.faults]

    def line(self) -> str:
        """All of them."""
        words = []
        for part, came in self.came.items():
            names = _WORDS if part != "kills" else {"same": "ended as undisturbed ones"}
            told = [f"{came[word]} {name}" for word, name in names.items()]
            words.append(f"{came.total()} {_PARTS[part]}: {', '.join(told)}")
        if self.compared:
            words.append(f"{self.compared:,} native checks")
        return "; ".join([*words, f"{len(self.faults)} faults"])


_PARTS: Final = {"kills": "killed runs", "lies": "lies", "flips": "damaged files"}
_WORDS: Final = {"refused": "refused", "same": "without effect", "told": "remarked on"}


def _trials(counts: dict[str, int], seed: int, root: Path) -> list[_Task]:
    """All trials, those of all parts mixed."""
    tasks = [
        ((number + 0.5) / count, part, _Task(part, number, seed, root))
        for part, count in counts.items()
        for number in range(count)
    ]
    return [task for *_, task in sorted(tasks, key=lambda entry: entry[:2])]


def _outcomes(tasks: Sequence[_Task], jobs: int) -> Iterator[tuple[str, Outcome]]:
    if jobs == 1:
        yield from map(_Task.run, tasks)
        return
    with multiprocessing.get_context("fork").Pool(jobs) as pool:
        yield from pool.imap_unordered(_Task.run, tasks)


def campaign(counts: dict[str, int], seed: int, jobs: int, root: Path) -> Figures:
    """So many trials of each part, in the folder ``root``."""
    workshop = Workshop(root)
    workshop.furnish()
    figures = Figures()
    tasks = _trials(counts, seed, root)
    for part, outcome in tqdm(_outcomes(tasks, jobs), "campaign", len(tasks), unit="trial"):
        figures.add(part, outcome)
    return figures


def main(words: Sequence[str]) -> int:
    """The command; 1 if anything is not as promised."""
    parser = argparse.ArgumentParser("python -m tests.campaign", description=__doc__)
    for part, count in {"kills": 100, "lies": 60, "flips": 200}.items():
        parser.add_argument(f"--{part}", type=int, default=count, metavar="N")
    parser.add_argument(
        "--native", type=float, default=0.01, metavar="SHARE", help="of all operations"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2, help="processes; default %(default)s")
    parser.add_argument("--keep", type=Path, help="a new folder to work in, and to look at")
    options = parser.parse_args(words)
    warnings.filterwarnings("ignore", "Validating sparse", UserWarning)  # lies are looked at
    start = time.monotonic()
    counts = {part: getattr(options, part) for part in PARTS}
    with TemporaryDirectory(prefix="campaign-") as folder:
        root = options.keep or Path(folder)
        figures = campaign(counts, options.seed, options.jobs, root.absolute())
    if options.native:
        figures.add_native(native_checks(options.native))
    print(*figures.faults, sep="\n", end="\n" if figures.faults else "")
    print(f"{figures.line()}; seed {options.seed}, {time.monotonic() - start:.0f} s")
    return min(len(figures.faults), 1)
