"""All priors by name: each is a class in a module of this folder, and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, quote, suggest
from bayesnas.runtime.weights.importance import IMPORTANCES
from bayesnas.runtime.weights.priors.bayesnas import BayesNas
from bayesnas.runtime.weights.priors.dropout import Dropout
from bayesnas.runtime.weights.priors.interface import Prior
from bayesnas.runtime.weights.priors.sparse import GroupLasso

PRIORS: Final[Mapping[str, type[Prior]]] = {
    "bayesnas": BayesNas,
    "pgnas": Dropout,
    "group_lasso": GroupLasso,
}


def check_importance(name: str) -> None:
    """Refuse what judges no channels.

    Raises:
        DiagnosticError: D610.
    """
    names = (*IMPORTANCES, *PRIORS)
    if name not in names:
        remedy = suggest(name, names, "use one of them")
        notes = (f"there are {quote(names)}",)
        raise DiagnosticError(
            Diagnostic("D610", f"no importance `{name}`", notes=notes, help=remedy)
        )
