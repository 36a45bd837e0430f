"""Runs that are killed, again and again, and gone on with: each ends as an undisturbed one."""

from __future__ import annotations

import json
import random
import shutil
import signal
from functools import cache
from pathlib import Path
from typing import Final

from attrs import evolve, frozen

from campaign.runs import COMMANDS, STRATEGIES, Ended, Workshop, contents
from campaign.traps import Trap, after_computing, at_change, measured

_SIGNALS: Final = (signal.SIGKILL,) * 3 + (signal.SIGTERM, signal.SIGINT)
_MOST_ATTEMPTS: Final = 8
_LAST_TRAP: Final = 4  # attempts after which nothing is killed


@frozen
class Killed:
    """How many signals one run got, and what is wrong; empty where nothing is."""

    signals: int
    fault: str


@cache
def _measures(workshop: Workshop, name: str) -> tuple[int, float]:
    """Changes of files and seconds of computing of an undisturbed run."""
    bench = workshop.bench()
    file = bench / "measure.json"
    ended = workshop.run((*COMMANDS[name], "-o", f"{bench.name}/run"), measured(file))
    assert ended.status == 0, ended.err
    told = json.loads(file.read_text())
    shutil.rmtree(bench)
    return told["changes"], told["seconds"]


def _trap(workshop: Workshop, name: str, chance: random.Random) -> Trap:
    changes, seconds = _measures(workshop, name)
    which = chance.choice(_SIGNALS)
    if chance.random() < 0.5:
        return at_change(chance.randrange(changes), which, chance.randrange(10**6))
    return after_computing(chance.uniform(0.001, seconds), which)


def kill(workshop: Workshop, number: int, seed: int) -> Killed:
    """One run of that number: killed at least once, and brought to its end.

    It begins in a new folder, or over an older run. It goes on with ``--resume`` or with
    ``--force``; what is refused is begun again.
    """
    chance = random.Random(f"kill {seed} {number}")
    name = chance.choice(("train", "train", "compare", *STRATEGIES))
    done = Killed(0, "")
    while not (done.signals or done.fault):  # it may end before the signal comes
        over = name != "compare" and chance.random() < 0.2
        bench = workshop.copy(workshop.finished(name, "--seed", "7")) if over else workshop.bench()
        done = _kill(workshop, name, bench, over, chance)
    if done.fault:
        return evolve(done, fault=f"{name} ({bench.name}): {done.fault}")
    shutil.rmtree(bench)
    return done


def _kill(workshop: Workshop, name: str, bench: Path, over: bool, chance: random.Random) -> Killed:
    more: tuple[str, ...] = ("--force",) if over else ()
    count = 0
    for attempt in range(_MOST_ATTEMPTS):
        trap = None
        if attempt < _LAST_TRAP and (attempt == 0 or chance.random() < 0.4):
            trap = _trap(workshop, name, chance)
        ended = workshop.run((*COMMANDS[name], "-o", f"{bench.name}/run", *more), trap)
        if ended.status == 0:
            break
        stopped = trap is not None and _stopped(ended)
        count += stopped
        if fault := _fault(ended, stopped, more, over):
            return Killed(count, f"{' '.join(more)} {fault}")
        more = _going_on(name, ended, stopped, chance)
    else:
        return Killed(count, "does not end")
    right, found = contents(workshop.finished(name)), contents(bench)
    differ = sorted(n for n in {*right, *found} if right.get(n) != found.get(n))
    return Killed(count, f"ends otherwise: {', '.join(differ)}" if differ else "")


def _stopped(ended: Ended) -> bool:
    """Whether it was the signal that ended it."""
    killed = {-one for one in (signal.SIGKILL, signal.SIGPROF, signal.SIGTERM, signal.SIGINT)}
    *_, last = ["", *ended.err.splitlines()]
    return ended.status in killed or (ended.status == 1 and last.startswith("interrupted"))


def _fault(ended: Ended, stopped: bool, more: tuple[str, ...], over: bool) -> str:
    """What is wrong with an attempt that did not end well."""
    if ended.fault:
        return ended.fault
    if stopped:
        return ""
    if not ended.refuses:
        return f"status {ended.status}, {ended.err[-200:]!r}"
    if over and more != ("--force",):
        return ""  # what is there is the older run yet
    if more == ("--resume",) and ended.codes == {"D414"}:
        return ""  # nothing to resume
    return f"refused: {' '.join(line for line in ended.err.splitlines() if 'error[' in line)}"


def _going_on(name: str, ended: Ended, stopped: bool, chance: random.Random) -> tuple[str, ...]:
    """What is added to the command in the next attempt."""
    if not stopped:  # refused
        return ("--force",) if "--force" in ended.err else ()
    ways = [("--force",), (), ()] if name == "compare" else [("--force",), *[("--resume",)] * 3]
    return chance.choice(ways)
