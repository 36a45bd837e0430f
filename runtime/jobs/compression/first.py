"""A network that has no weights yet: trained before it is made smaller."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from attrs import evolve, frozen

from bayesnas.compiler.pipeline import Compiled
from bayesnas.compiler.settings import TrainSettings
from bayesnas.compiler.slices.narrowing import check_decided
from bayesnas.runtime.jobs.compression.bounds import Bounds, Judge
from bayesnas.runtime.jobs.compression.pacing import Clock
from bayesnas.runtime.jobs.train import train
from bayesnas.runtime.network.modules import build
from bayesnas.runtime.runs.ownership import STEPS, TRAINED, settings_of
from bayesnas.runtime.runs.progress import say_note
from bayesnas.runtime.runs.record import RunOptions


@frozen
class Untrained:
    """A network, and the settings that it is trained by before it is made smaller.

    Raises:
        DiagnosticError: D607 (it has searched edges).
    """

    compiled: Compiled
    settings: TrainSettings

    def __attrs_post_init__(self) -> None:
        check_decided(self.compiled)

    def check(self, judge: Judge, clock: Clock | None) -> None:
        """Refuse what cannot be left of it, before it is trained.

        Raises:
            DiagnosticError: D608 (no such layer), D609 (the budget cannot be met).
        """
        module, _ = build(self.compiled.graph, self.compiled.loaded.source.name, 0)
        parameters = {name for name, _ in module.named_parameters()}
        Bounds(self.compiled, judge, module.state_dict(), parameters, clock).check(judge.budgets)

    def train(self, options: RunOptions, texts: Mapping[str, str]) -> Path:
        """The folder of its training, a step of the compression; one that has begun goes on.

        Args:
            options: of the compression.
            texts: files that its folder has besides, by name.

        Raises:
            DiagnosticError: what `train` raises.
        """
        out = first_run(options.out)
        result = train(self.compiled, self.settings, of_part(options, out), texts=texts)
        say_note(f"before the removal: test {result.task.told(result.test)}")
        return out


def first_run(out: Path) -> Path:
    """Where the network of a compression in ``out`` is trained."""
    return out / STEPS / TRAINED


def of_part(options: RunOptions, out: Path) -> RunOptions:
    """Of one part of a compression: it is gone on with if it was begun."""
    begun = settings_of(out) is not None
    resume = options.resume and begun
    # What is gone on with may have begun to replace another compression.
    force = options.force or (options.resume and not begun)
    return evolve(options, out=out, resume=resume, force=force)
