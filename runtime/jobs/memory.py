"""What is said of memory: before work that may not fit, and when it has run out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import torch
from attrs import frozen

from bayesnas.compiler.graph.model import Graph
from bayesnas.compiler.settings import SearchSettings, TrainSettings
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, memory_ran_out
from bayesnas.runtime.data.free_memory import free_memory
from bayesnas.runtime.network.memory import Footprint
from bayesnas.runtime.runs.progress import say_note

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
        cls, graph: Graph, settings: SearchSettings | TrainSettings, device: torch.device
    ) -> Demand:
        """Of the work on a network, before it begins."""
        twice = isinstance(settings, SearchSettings) and settings.recompute == "yes"
        footprint, recomputed = Footprint.of(graph, twice), None
        if isinstance(settings, SearchSettings) and not twice:
            other = Footprint.of(graph, recompute=True)
            recomputed = other if other.step < _WORTH * footprint.step else None
        return cls(footprint, settings.batch_size, free_memory(device), recomputed)

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
        return most if self.free is None else min(most, footprint.fitting(self.free))


def size(count: int) -> str:
    """Bytes for people."""
    return f"{count / 2**30:.1f} GiB" if count >= 0.95 * 2**30 else f"{count / 2**20:.0f} MiB"


@contextmanager
def watched(demand: Demand) -> Iterator[None]:
    """A remark before work in here that may not fit; where memory runs out, what helps.

    Raises:
        DiagnosticError: D603 (status 1).
    """
    say_note(demand.warning())
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not memory_ran_out(error):
            raise
        raise _ran_out(demand, str(error).splitlines()[:1]) from None


def _ran_out(demand: Demand, said: list[str]) -> DiagnosticError:
    takes = size(demand.footprint.step_bytes(demand.batch_size))
    notes = [*said, f"a training step takes about {takes} with batch_size = {demand.batch_size}"]
    if demand.free is not None:
        notes.append(f"{size(demand.free)} were free when the work began")
    return DiagnosticError(
        Diagnostic("D603", "out of memory", notes=tuple(notes), help=demand.remedy()), status=1
    )
