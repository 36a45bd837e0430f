"""All priors by name: each is a class in a module of this folder, and a line here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from attrs import fields_dict

from bayesnas.compiler.settings import CompressSettings, check_setting
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, check_idle, quote, suggest
from bayesnas.runtime.weights.families import check_families
from bayesnas.runtime.weights.importance import IMPORTANCES
from bayesnas.runtime.weights.priors.bayesnas import BayesNas
from bayesnas.runtime.weights.priors.dropout import Dropout
from bayesnas.runtime.weights.priors.interface import Prior
from bayesnas.runtime.weights.priors.normal_jeffreys import NormalJeffreys, VariationalDropout
from bayesnas.runtime.weights.priors.sparse import GroupLasso
from bayesnas.runtime.weights.turns import TURNS

PRIORS: Final[Mapping[str, type[Prior]]] = {
    "bayesnas": BayesNas,
    "pgnas": Dropout,
    "group_lasso": GroupLasso,
    "normal_jeffreys": NormalJeffreys,
    "variational_dropout": VariationalDropout,
}

STRONG: Final = "bayesnas"  # whose penalty has a strength of its own, lambda_w of (16)
DRAWN: Final = "pgnas"  # a posterior over masks, of which some are judged

# Settings of `compress` that one of them uses alone.
_USERS: Final = {"lambda_w": STRONG, "draws": DRAWN, "curvature": STRONG}

# The families of those that do not judge all.
_JUDGED: Final = {
    "evidence": "channel",
    "norm_scale": "channel",
    "pgnas": "channel",
    "normal_jeffreys": "channel",
    "variational_dropout": "weight",
}


def trainings(name: str, steps: int, result: str) -> int:
    """In how many parts a compression spends its epochs: those that judge, those that train on.

    Args:
        name: of an importance.
        steps: removals.
        result: of `CompressSettings`; ``shared``: nothing is trained on after the last one.
    """
    return steps * ((name in PRIORS) + 1) - (result == "shared")


def usual_importance(families: Sequence[str]) -> str:
    """What judges groups of these families where nothing is named."""
    return "evidence" if set(families) == {"channel"} else "magnitude"


def check_learning(name: str, settings: Mapping[str, Any], budgets: int) -> None:
    """Refuse settings of importances that do nothing, and to remove what nothing bounds.

    Args:
        name: of an importance.
        settings: of `compress`, by name, at their defaults where nothing was said; its families.
        budgets: how many there are.

    Raises:
        DiagnosticError: D231 (a value), D423 (it does nothing), D418 (there is neither a budget nor
            a strength, and no masks are drawn).
    """
    usual = fields_dict(CompressSettings)
    check_setting("compress", "result", settings["result"], None)
    for setting, user in _USERS.items():
        check_setting("compress", setting, settings[setting], None)
        if settings[setting] != usual[setting].default and name != user:
            remedy = f"leave it out, or judge by `--importance {user}`"
            check_idle([f"--option {setting}"], f"with `{name}`", remedy)
    if not budgets and not settings["lambda_w"] and name != DRAWN:
        message = "nothing says how small the network is to be"
        ways = ["add `--budget flops=50%`", f"`--importance {STRONG} --option lambda_w=1`"]
        if set(settings["families"]) == {_JUDGED[DRAWN]}:
            ways.append(f"`--importance {DRAWN}`, which draws masks of any size")
        remedy = f"{', '.join(ways[:-1])}, or {ways[-1]}"
        raise DiagnosticError(Diagnostic("D418", message, help=remedy))


def check_importance(name: str, families: Sequence[str] = ("channel",)) -> None:
    """Refuse what judges nothing, what is no family, and what does not judge these.

    Raises:
        DiagnosticError: D610 (an importance), D614 (a family).
    """
    names = (*IMPORTANCES, *TURNS, *PRIORS)
    if name not in names:
        remedy = suggest(name, names, "use one of them")
        notes = (f"there are {quote(names)}",)
        raise DiagnosticError(
            Diagnostic("D610", f"no importance `{name}`", notes=notes, help=remedy)
        )
    check_families(families)
    others = [family for family in families if family != _JUDGED.get(name, family)]
    if others:
        remedy = f"judge by {quote([n for n in names if n not in _JUDGED], 'or')}"
        message = f"`{name}` judges the family `{_JUDGED[name]}` alone, not `{others[0]}`"
        raise DiagnosticError(Diagnostic("D614", message, help=remedy))
