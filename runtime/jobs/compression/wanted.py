"""What is asked of a compression."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from attrs import asdict, evolve, field, frozen

from bayesnas.compiler.graph.model import BudgetConstraint
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, check_idle
from bayesnas.runtime.weights.choice import Limits, Share
from bayesnas.runtime.weights.families import MASKED, ordered
from bayesnas.runtime.weights.priors.registry import (
    PRIORS,
    check_importance,
    check_learning,
    trainings,
    usual_importance,
)

DRAWS: Final = 24


@frozen
class Compression:
    """What is asked of a compression.

    Args:
        budgets: what the smaller network may cost, as amounts or as shares.
        importance: a name of `IMPORTANCES`, `TURNS` or `PRIORS`; empty is `usual_importance`.
        limits: what stays whatever the scores say.
        families: names of `FAMILIES`, whose groups go.
        steps: removals, each followed by its share of the training; 1 or more.
        draws: masks that are judged on held-out examples, where the importance draws some; 0: 24.
        lambda_w: how strong the penalty of `bayesnas` is; 0: as the budgets ask.
        curvature: how `bayesnas` takes that of the loss in each weight, one of `WEIGHT_CURVATURES`.
        result: ``shared``: nothing is trained on after the last removal, and all epochs judge.
    """

    budgets: tuple[BudgetConstraint | Share, ...]
    importance: str = ""
    limits: Limits = field(factory=Limits)
    steps: int = 1
    families: tuple[str, ...] = ("channel",)
    draws: int = 0
    lambda_w: float = 0.0
    curvature: str = "sampled"
    result: str = "trained"

    @property
    def learns(self) -> bool:
        """Whether channels are judged by what a training says of them."""
        return self.importance in PRIORS

    @property
    def shared(self) -> bool:
        """Whether what stays keeps its weights in the end."""
        return self.result == "shared"

    @property
    def trainings(self) -> int:
        """In how many parts epochs are spent: those that judge, those that train on."""
        return trainings(self.importance, self.steps, self.result)

    @property
    def timed(self) -> bool:
        """Whether a budget is of latency."""
        return any(budget.cost == "latency" for budget in self.budgets)

    def checked(self, values: Mapping[str, Any]) -> Compression:
        """The same with what is left to it filled in.

        Args:
            values: settings of the trainings that were asked for.

        Raises:
            DiagnosticError: D231, D418, D423, D609 (masks for a budget of latency), D610, D614.
        """
        name = self.importance or usual_importance(self.families)
        families, draws = ordered(self.families), self.draws or DRAWS
        check_importance(name, self.families)
        wanted = evolve(self, importance=name, families=families, draws=draws)
        check_learning(
            name, asdict(evolve(wanted, draws=self.draws), recurse=False), len(self.budgets)
        )
        if not wanted.trainings:
            idle = [f"--option {setting}" for setting in values]
            remedy = "leave it out: nothing is trained"
            check_idle(idle, f"with `{name}` and `result = shared`", remedy)
        masks = [family for family in families if family in MASKED]
        if masks and self.timed:  # no kernel skips them
            message = f"no mask makes a network faster, and `{masks[0]}` ends in one"
            remedy = "bound `flops` or `parameters`, or remove channels: `--family channel`"
            raise DiagnosticError(Diagnostic("D609", message, help=remedy))
        return wanted
