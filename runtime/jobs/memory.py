"""What is said of memory: before work that may not fit, and when it has run out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

import torch
from attrs import evolve, frozen

from bayesnas.compiler.graph.model import Graph
from bayesnas.compiler.settings import SearchSettings, TrainSettings
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, memory_ran_out
from bayesnas.runtime.data.free_memory import free_memory
from bayesnas.runtime.network.device import pick_device
from bayesnas.runtime.network.memory import Footprint
from bayesnas.runtime.network.together.ranks import world
from bayesnas.runtime.runs.ownership import has_checkpoint, settings_of
from bayesnas.runtime.runs.progress import say_note
from bayesnas.runtime.runs.record import AutoBatch, RunOptions

Settings = TypeVar("Settings", SearchSettings, TrainSettings)

AUTO_MOST: Final = 256  # examples of a batch that is chosen, unless more are asked for
AUTO_STEPS: Final = 20  # of an epoch, that it leaves at least
_ROOM: Final = 0.75  # of what is free, that a step may take by its shapes, which tell 0.84 of it
_SMALL: Final = 32  # examples of a batch that is not rounded
_EVEN: Final = 8
_WORTH: Final = 0.9  # of what a step takes, that recomputing has to fall below to be advised


@frozen
class Demand:
    """What the training steps of some work take, and what is free for them; bytes.

    ``recomputed`` is the footprint with `recompute = yes`, where that is another way to go.
    ``free`` is None where it is not known.
    """

    footprint: Footprint
    batch_size: int
    free: int | None
    recomputed: Footprint | None = None

    @classmethod
    def of(
        cls,
        graph: Graph,
        settings: SearchSettings | TrainSettings,
        device: torch.device,
        examples: int | None = None,
    ) -> Demand:
        """Of the work on a network, before it begins; no batch has more than all ``examples``."""
        twice = isinstance(settings, SearchSettings) and settings.recompute == "yes"
        footprint, recomputed = Footprint.of(graph, twice), None
        if isinstance(settings, SearchSettings) and not twice:
            other = Footprint.of(graph, recompute=True)
            recomputed = other if other.step < _WORTH * footprint.step else None
        batch = settings.batch_size if examples is None else min(settings.batch_size, examples)
        return cls(footprint, batch, free_memory(device), recomputed)

    @property
    def affordable(self) -> int:
        """The largest batch up to the wanted one that should fit; one at least."""
        return max(1, self._fitting(self.footprint, self.batch_size))

    def warning(self) -> str:
        """A remark where a step seems to take more than is free; else nothing."""
        takes = self.footprint.step_bytes(self.batch_size)
        if self.free is None or takes <= self.free:
            return ""
        return (
            f"a training step takes about {size(takes)} with batch_size = {self.batch_size}, and "
            f"{size(self.free)} are free: the system may end the work without a word; "
            f"{self.remedy()}"
        )

    def remedy(self) -> str:
        """What takes less: a smaller batch that should fit, cells computed twice.

        An estimate that says all fits was wrong, if memory has run out: then half the batch.
        """
        parts = []
        if count := self._fitting(self.footprint, self.batch_size // 2):
            takes = size(self.footprint.step_bytes(count))
            parts.append(f"`--option batch_size={count}` (about {takes})")
        twice = self.recomputed
        if twice is not None and (count := self._fitting(twice, self.batch_size)):
            less = "" if count == self.batch_size else f" --option batch_size={count}"
            takes = size(twice.step_bytes(count))
            parts.append(f"`--option recompute=yes{less}` (about {takes})")
        if not parts:
            return "make the network narrower or its images smaller: no smaller batch would do"
        return f"pass {' or '.join(parts)}"

    def _fitting(self, footprint: Footprint, most: int) -> int:
        """The largest batch that should fit, ``most`` at most; 0 where none does."""
        return most if self.free is None else min(most, footprint.fitting(int(_ROOM * self.free)))


def size(count: int) -> str:
    """Bytes for people."""
    return f"{count / 2**30:.1f} GiB" if count >= 0.95 * 2**30 else f"{count / 2**20:.0f} MiB"


def fitted(settings: Settings, graph: Graph, examples: int, options: RunOptions) -> Settings:
    """The settings with the largest batch that should fit, where that was asked for.

    A note says which. It has no more examples than were asked for or, where none were, than the
    settings have or than `AUTO_MOST` and an `AUTO_STEPS`-th of all. A run that goes on keeps its
    own.

    Args:
        settings: of a search or a training.
        graph: what the steps work on.
        examples: to train on.
        options: of the run.
    """
    if options.batch is None:
        return settings
    chosen = _chosen(settings, options.batch, graph, examples, options)
    # Ranks have other devices, and the first has the folder: it decides for all.
    return evolve(settings, batch_size=int(world().told(str(chosen).encode())))


def _chosen(
    settings: Settings, batch: AutoBatch, graph: Graph, examples: int, options: RunOptions
) -> int:
    """The batch size of `fitted`."""
    begun = settings_of(options.out) if options.resume else None
    if begun is not None:
        kept = begun.get("settings", {}).get("batch_size")
        count = kept if isinstance(kept, int) else settings.batch_size
        say_note(f"batch_size = {count}, with which the run was begun: `--resume` keeps it")
        return count
    usual = max(settings.batch_size, min(AUTO_MOST, examples // AUTO_STEPS))
    most, ranks = min(batch.most or usual, examples), world().size
    demand = Demand.of(graph, settings, pick_device(options.device))
    fits = evolve(demand, batch_size=math.ceil(most / ranks)).affordable
    count = _round(min(most, ranks * fits))
    takes = size(demand.footprint.step_bytes(math.ceil(count / ranks)))
    told = "nothing says what is free" if demand.free is None else f"{size(demand.free)} are free"
    say_note(f"batch_size = {count}, of {most} at most: a step takes about {takes}, and {told}")
    return count


def _round(count: int) -> int:
    """As kernels like it: a multiple of 8, where that is not much less."""
    return count if count < _SMALL else count // _EVEN * _EVEN


@contextmanager
def watched(demand: Demand, out: Path | None = None) -> Iterator[None]:
    """A remark before work in here that may not fit; where memory runs out, what helps.

    ``out`` is the folder of the run, if there is one.

    Raises:
        DiagnosticError: D603 (status 1).
    """
    say_note(demand.warning())
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not memory_ran_out(error):
            raise
        raise _ran_out(demand, str(error).splitlines()[:1], out) from None


def _ran_out(demand: Demand, said: list[str], out: Path | None) -> DiagnosticError:
    takes = size(demand.footprint.step_bytes(demand.batch_size))
    notes = [*said, f"a training step takes about {takes} with batch_size = {demand.batch_size}"]
    if demand.free is not None:
        notes.append(f"{size(demand.free)} were free when the work began")
    if out is not None and has_checkpoint(out):
        less = "" if demand.recomputed is None else ", or with `--option recompute=yes`"
        notes.append(
            "the last checkpoint is kept: `--resume` goes on from it, at the same batch_size, "
            f"where more is free{less}"
        )
    return DiagnosticError(
        Diagnostic("D603", "out of memory", notes=tuple(notes), help=demand.remedy()), status=1
    )
