"""What is said where a search or a training ends in numbers that are none, or has not learned."""

from __future__ import annotations

import math
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Final

from attrs import evolve, frozen
from torch.nn.functional import embedding

from bayesnas.compiler.operations.plugins import loaded_plugins
from bayesnas.compiler.operations.primitives import PRIMITIVES
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, memory_ran_out, quote
from bayesnas.runtime.data.dataset import Data
from bayesnas.runtime.data.examples import CHUNK
from bayesnas.runtime.data.folders.decoding import died
from bayesnas.runtime.network.modules import EMITTED
from bayesnas.runtime.runs.folder import Run
from bayesnas.runtime.runs.ownership import has_checkpoint
from bayesnas.runtime.tasks.bundle import tensors
from bayesnas.runtime.tasks.interface import Task
from bayesnas.runtime.tasks.scores import Score

_LOPSIDED: Final = 1.5  # times the mean, the share of the largest class
_ENDING: Final = ("D504", "D505", "D602", "D617")  # what ends a run in its midst
_MEND: Final = (
    "mend the plugin, or what it is fed: inputs come as float32, standardised unless a note says "
    "that they stay as they are, or `--standardise no` is passed"
)


@contextmanager
def explained(run: Run, learning_rate: float) -> Iterator[None]:
    """Divergence in here (D602) names a lower learning rate; what ends a run, the checkpoint kept.

    Raises:
        DiagnosticError: what is raised in here.
    """
    try:
        yield
    except (DiagnosticError, RuntimeError) as caught:
        error = caught if isinstance(caught, DiagnosticError) else died(caught)
        if error is None:
            raise
        kept = f"the last good checkpoint is kept in `{run.out}`"
        notes = (kept,) if has_checkpoint(run.out) else ()
        remedy = lower_rate(learning_rate, "`--option learning_rate={}`")
        said = [
            evolve(d, notes=(*d.notes, *notes)) if d.code in _ENDING else d
            for d in remedied(error, remedy).diagnostics
        ]
        raise DiagnosticError(*said, status=error.status) from None


@contextmanager
def plugins_named(data: Data | None = None) -> Iterator[None]:
    """What a plugin's own code raises in here is said with its place in the plugin.

    So is what a network raises that plugins are part of, behind them. What the system lacks, memory
    above all, is no fault of the plugin that asks for it. Where it is numbers that an embedding has
    no rows for, the range of those of the ``data`` is told, if that is known here.

    Raises:
        DiagnosticError: D605 (status 1); whatever else is raised in here is raised as it is.
    """
    try:
        yield
    except (DiagnosticError, BrokenPipeError):
        raise
    except (Exception, SystemExit) as error:
        text = str(error)
        where = _in_plugin(error.__traceback__) or _behind_plugins(error.__traceback__, text)
        if where is None or memory_ran_out(error) or died(error) is not None:
            raise
        who, place = where
        reason = ": ".join([type(error).__name__, *text.splitlines()[:1]])
        message = f"{who} fails: {reason.rstrip('.')}"
        lookup = _Lookup.failed(error)
        notes = () if lookup is None else (lookup.told(data),)
        trace = error.__traceback__
        loading = _in_plugin(trace) is not None and not _in_network(trace)
        fed = "mend the plugin" if loading else _MEND
        remedy = fed if lookup is None else lookup.remedy(data)
        diagnostic = Diagnostic("D605", message, notes=(place, *notes), help=remedy)
        raise DiagnosticError(diagnostic, status=1) from error


@frozen
class _Lookup:
    """Numbers of which an embedding of so many ``rows`` has some not."""

    rows: int
    least: int
    most: int

    @classmethod
    def failed(cls, error: BaseException) -> _Lookup | None:
        """The one that raised an error; None if none did."""
        for frame, _ in traceback.walk_tb(error.__traceback__):
            if isinstance(error, IndexError) and frame.f_code is embedding.__code__:
                ids, weight = frame.f_locals["input"], frame.f_locals["weight"]
                lookup = cls(len(weight), int(ids.min()), int(ids.max()))
                return None if lookup.least >= 0 and lookup.most < lookup.rows else lookup
        return None

    def told(self, data: Data | None) -> str:
        """In words; of ``data`` with all its numbers, where they are what was looked up."""
        span = f"{self.least:,} to {self.most:,}" if self.least < self.most else f"{self.most:,}"
        asked = f"it was asked for {span}"
        if data is not None and self._are_of(data):
            least, most = _range(data)
            asked = f"those of `{data.name}` go from {least:,.0f} to {most:,.0f}"
        has = f"an embedding has {self.rows:,} rows, for numbers from 0 to {self.rows - 1:,}"
        return f"{has}; {asked}"

    def remedy(self, data: Data | None) -> str:
        """What to do about it."""
        if data is not None and not self._are_of(data):
            return f"pass `--standardise no`, which leaves the numbers of `{data.name}` as they are"
        most = self.most if data is None else int(_range(data)[1])
        number = f"number what they name from 0 to {self.rows - 1:,}"
        if self.least < 0 or most < self.rows:
            return number
        return f"{number}, or give the embedding {most + 1:,} rows"

    def _are_of(self, data: Data) -> bool:
        least, most = _range(data)
        return least <= self.least and self.most <= most


def _range(data: Data) -> tuple[float, float]:
    """The least and the largest number of all examples."""
    least, most = math.inf, -math.inf
    for part in (data.train, data.test):
        for inputs, _ in part.in_order(CHUNK):
            least = min(least, *(float(x.min()) for x in tensors(inputs)))
            most = max(most, *(float(x.max()) for x in tensors(inputs)))
    return least, most


def _in_plugin(trace: TracebackType | None) -> tuple[str, str] | None:
    """The plugin whose code ran last, in words, and where; None if none did."""
    plugins, found = set(loaded_plugins()), None
    for frame, line in traceback.walk_tb(trace):
        if (name := frame.f_globals.get("__name__")) in plugins:
            code = frame.f_code
            found = f"the plugin `{name}`", f"at {code.co_filename}:{line}, in `{code.co_name}`"
    return found


def _behind_plugins(trace: TracebackType | None, text: str) -> tuple[str, str] | None:
    """The network that failed where plugins are loaded, and what is known of the place."""
    plugins = sorted({p.module for p in PRIMITIVES.values() if p.module})
    who = f"a network with the plugin{'s' * (len(plugins) > 1)} {quote(plugins)}"
    if plugins and "device-side assert" in text:  # raised when next the GPU is asked
        return who, "a GPU tells no place; `--device cpu` shows it"
    if plugins and _in_network(trace):
        return who, "not in the plugin's own code: what it returned may be no tensor, or another"
    return None


def _in_network(trace: TracebackType | None) -> bool:
    """Whether a network was run when something failed."""
    names = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(trace)]
    return any(name.startswith(EMITTED) for name in names)


def lower_rate(learning_rate: float, place: str) -> str:
    """A remedy against divergence; ``place`` says how a rate is set, with `{}` for it."""
    return f"lower `learning_rate`, for instance {place.format(f'{learning_rate / 10:g}')}"


def remedied(error: DiagnosticError, remedy: str) -> DiagnosticError:
    """The same with this remedy where it tells of divergence (D602)."""
    said = [evolve(d, help=remedy) if d.code == "D602" else d for d in error.diagnostics]
    return DiagnosticError(*said, status=error.status)


def unlearned(
    task: Task,
    chance: Score | None,
    history: Sequence[Mapping[str, Any]],
    count: int,
    weighted: bool,
) -> str:
    """A remark on a search whose networks are hardly better than a constant answer.

    None where classes are ``weighted``: then one that has learned may be right less often.

    Args:
        task: what was learned.
        chance: the score of the best constant answer on the held-out examples; None: unknown.
        history: rows of the search, the last of what is left of the supernet.
        count: of held-out examples.
        weighted: whether classes are.
    """
    if chance is None or weighted:
        return ""
    qualities = [task.score_of("holdout", row).quality for row in history]
    constant = f"{task.quality_text(chance.quality)}, that of one answer for all examples"
    remedy = "train longer (`warmup_epochs`, `epochs`), or with another `learning_rate`"
    if not any(quality > chance.quality for quality in qualities):
        moved = "rose above" if task.scale > 0 else "fell below"
        return (
            f"held-out {task.metric} never {moved} {constant}: nothing was learned, and what "
            f"was found is arbitrary; {remedy}"
        )
    error = _by_chance(task, qualities[-1], chance, count)
    if error is None:
        return ""
    return (
        f"held-out {task.metric} ended at {task.quality_text(qualities[-1])}, "
        f"{_not_clearly_better(task, chance, error, 'examples')}: the shared weights have learned "
        f"little to choose by; {remedy}"
    )


def _by_chance(task: Task, quality: float, chance: Score, count: int) -> float | None:
    """How far chance moves a quality that one answer for all explains; None where it does not.

    Nor without an error: then there is a single answer, which the census has told.
    """
    error = task.standard_error(chance.quality, count)
    return error if error and quality <= chance.quality + error else None


def _not_clearly_better(task: Task, chance: Score, error: float, examples: str) -> str:
    beyond = "above" if task.scale > 0 else "below"
    return (
        f"not clearly {beyond} {task.quality_text(chance.quality)}, that of one answer for all "
        f"{examples} (chance alone moves it by {task.quality_text(task.filed(error))})"
    )


def no_better(task: Task, score: Score, chance: Score | None, count: int, weighted: bool) -> str:
    """A remark on a test score of so many examples that one answer for all of them explains.

    Classes that are ``weighted`` excuse one that is worse.
    """
    error = None if chance is None else _by_chance(task, score.quality, chance, count)
    if chance is None or error is None:
        return ""
    if weighted and score.quality < chance.quality - error:
        return ""
    remedy = "train longer (`epochs`), or with another `learning_rate`"
    if not weighted and chance.quality * len(task.strata_names) > _LOPSIDED:
        remedy += ", or weigh rare classes more (`--option class_weights=balanced`)"
    hardly = _not_clearly_better(task, chance, error, f"{count:,} examples")
    return f"test {task.told(score)} is {hardly}: {remedy}"
